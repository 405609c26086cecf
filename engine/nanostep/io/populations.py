"""Files of populations: as those of networks (`nanostep.io._format`), with a first axis of networks.

Tensors: ``theta`` (K, parameters), ``slot.NAME`` (K, parameters) for each slot of the optimiser, ``updates`` and
``epochs`` (K,) int64, and ``optimizer.NAME`` (K,) float64 for each hyper-parameter that is an array. Metadata as those
of networks, with ``population``: K; where a ``plateau`` stands is in tensors ``plateau.NAME`` (K,) in place of
``state``, with ``best`` NaN before the first.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.numpy

from nanostep._checks import check_reals
from nanostep.architecture import make_architecture
from nanostep.backends import resolve
from nanostep.errors import FileFormatError
from nanostep.io._format import FORMAT, KEY, make_optimizer, read, to_json, usable, write_atomically
from nanostep.network import DTYPES
from nanostep.optimizers import Optimizer
from nanostep.population import Population
from nanostep.schedules.plateau import PlateauStates, ReduceLROnPlateau

if TYPE_CHECKING:
    from os import PathLike


def save(population: Population, path: str | PathLike[str]) -> None:
    """Write `population` to `path`; see `Population.save`."""
    optimizer = population.optimizer
    arrays = optimizer.arrays()
    header = {
        "format": FORMAT,
        "population": len(population),
        "sizes": population.sizes,
        "activations": population.architecture.activations,
        "loss": population.architecture.loss,
        "optimizer": {"kind": optimizer.kind, **asdict(optimizer.of(0))},
    }
    plateau: dict[str, np.ndarray] = {}
    if population._plateau is not None:
        header["plateau"] = asdict(population._plateau[0])
        plateau = {f"plateau.{name}": array for name, array in population._plateau[1].arrays().items()}
    tensors = {
        "theta": population._theta,
        "updates": population._updates,
        "epochs": population._epochs,
        **{f"slot.{name}": population._slots[:, s].copy() for s, name in enumerate(optimizer.slots)},
        **{f"optimizer.{name}": array for name, array in arrays.items()},
        **plateau,
    }
    write_atomically(Path(path), safetensors.numpy.save(tensors, metadata={KEY: to_json(header)}))


def load(path: str | PathLike[str], backend: str = "auto") -> Population:
    """Return the population in a file that `save` wrote; see `Population.load`."""
    resolve(backend)  # so that a wrong backend is not taken for a wrong file
    header, tensors = read(Path(path))
    if "population" not in header:
        raise FileFormatError(f"{path} holds a network, not a population: ns.load reads it")
    with usable(path):
        *hidden, output = header["activations"]
        architecture = make_architecture(header["sizes"], hidden, output, header["loss"])
        theta = tensors["theta"]
        if theta.ndim != 2 or theta.shape[1] != architecture.parameter_count or theta.dtype.name not in DTYPES:
            raise ValueError(f"theta has shape {theta.shape} and dtype {theta.dtype}, of another architecture")
        optimizer = _with_arrays(make_optimizer(header["optimizer"]), tensors)
        for name, array in tensors.items():
            per_parameter = name == "theta" or name.startswith("slot.")
            if array.shape != (theta.shape if per_parameter else theta.shape[:1]):
                raise ValueError(f"{name} has shape {array.shape} for {len(theta)} networks")
        slots = [tensors[f"slot.{name}"].astype(theta.dtype, copy=False) for name in optimizer.slots]
        updates, epochs = (tensors[name].astype(np.int64) for name in ("updates", "epochs"))
        plateau = None
        if "plateau" in header:
            floats, integers = ("base_lr", "lr", "best"), ("bad_epochs", "cooldown")
            states = [tensors[f"plateau.{name}"].astype(np.float64) for name in floats]
            states += [tensors[f"plateau.{name}"].astype(np.int64) for name in integers]
            check_reals("plateau lr", states[1], 0.0)
            plateau = ReduceLROnPlateau(**header["plateau"]), PlateauStates(*states)
    population = Population.__new__(Population)
    population._set_up(architecture, theta.dtype, backend, len(theta))
    population._reset(optimizer)
    population._theta[...] = theta
    for s, slot in enumerate(slots):
        population._slots[:, s] = slot
    population._updates[...], population._epochs[...] = updates, epochs
    population._plateau = plateau
    return population


def _with_arrays(optimizer: Optimizer, tensors: dict[str, Any]) -> Optimizer:
    """Return `optimizer` with the hyper-parameters that are arrays."""
    for key, array in tensors.items():
        name = key.removeprefix("optimizer.")
        if name == key:
            continue
        if name in ("beta1", "beta2"):
            betas = list(getattr(optimizer, "betas"))  # noqa: B009 (Adam only)
            betas[name == "beta2"] = array
            name, array = "betas", tuple(betas)
        setattr(optimizer, name, array)
    optimizer.check()
    return optimizer
