"""Files of populations: as the files of networks (`nanostep.io._format`), with a first axis of networks.

Tensors: ``theta`` (K, parameters), ``slot.NAME`` (K, parameters) for each slot of the optimiser, ``updates`` and
``epochs`` (K,) int64, and ``optimizer.NAME`` (K,) float64 for each hyper-parameter that is an array. The metadata are
those of networks, with ``population``: K. The states of a ``plateau`` are in tensors ``plateau.NAME`` (K,) rather than
in ``state``, with ``best`` NaN before the first value.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.numpy

from nanostep._base_model import DTYPES
from nanostep._checks import check_reals
from nanostep.architecture import Architecture, make_architecture
from nanostep.errors import FileFormatError
from nanostep.io import _format
from nanostep.io._format import FORMAT, KEY
from nanostep.optimizers import Optimizer
from nanostep.populations.optimizer_state import PopulationOptimizerState
from nanostep.schedules.plateau import PlateauStates, ReduceLROnPlateau

if TYPE_CHECKING:
    from os import PathLike


def write(
    path: str | PathLike[str], architecture: Architecture, theta__kp: np.ndarray, state: PopulationOptimizerState
) -> None:
    """Write a file of K networks; see `Population.save`."""
    optimizer = state.optimizer
    header = {
        "format": FORMAT,
        "population": len(theta__kp),
        "sizes": architecture.sizes,
        "activations": architecture.activations,
        **_format.encoded_loss(architecture),
        "optimizer": {"kind": optimizer.kind, **asdict(optimizer.of(0))},
    }
    plateau: dict[str, np.ndarray] = {}
    if state.plateau is not None:
        header["plateau"] = asdict(state.plateau[0])
        plateau = {f"plateau.{name}": array for name, array in state.plateau[1].arrays().items()}
    tensors = {
        "theta": theta__kp,
        "updates": state.updates,
        "epochs": state.epochs,
        **{f"slot.{name}": state.slots[:, s].copy() for s, name in enumerate(optimizer.slots)},
        **{f"optimizer.{name}": array for name, array in optimizer.arrays().items()},
        **plateau,
    }
    _format.write_atomically(path, safetensors.numpy.save(tensors, metadata={KEY: _format.to_json(header)}))


def read(path: str | PathLike[str]) -> tuple[Architecture, np.ndarray, PopulationOptimizerState]:
    """Return architecture, parameters (K, parameters) and optimisers' state in a file that `write` wrote."""
    header, tensors = _format.read(Path(path))
    if "population" not in header:
        raise FileFormatError(f"{path} holds a network, not a population: ns.load reads it")
    with _format.usable(path):
        *hidden, output = header["activations"]
        architecture = make_architecture(header["sizes"], hidden, output, _format.decoded_loss(header))
        theta = tensors["theta"]
        if theta.ndim != 2 or theta.shape[1] != architecture.parameter_count or theta.dtype.name not in DTYPES:
            raise ValueError(f"theta has shape {theta.shape} and dtype {theta.dtype}, of another architecture")
        optimizer = _with_arrays(_format.make_optimizer(header["optimizer"]), tensors)
        for name, array in tensors.items():
            per_parameter = name == "theta" or name.startswith("slot.")
            if array.shape != (theta.shape if per_parameter else theta.shape[:1]):
                raise ValueError(f"{name} has shape {array.shape} for {len(theta)} networks")
        slots = np.empty((len(theta), len(optimizer.slots), theta.shape[1]), theta.dtype)
        for s, name in enumerate(optimizer.slots):
            slots[:, s] = tensors[f"slot.{name}"]
        updates, epochs = (tensors[name].astype(np.int64) for name in ("updates", "epochs"))
        plateau = None
        if "plateau" in header:
            floats, integers = ("base_lr", "lr", "best"), ("bad_epochs", "cooldown")
            states = [tensors[f"plateau.{name}"].astype(np.float64) for name in floats]
            states += [tensors[f"plateau.{name}"].astype(np.int64) for name in integers]
            check_reals("plateau lr", states[1], 0.0)
            plateau = ReduceLROnPlateau(**header["plateau"]), PlateauStates(*states)
    return architecture, theta, PopulationOptimizerState(optimizer, slots, updates, epochs, plateau)


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
