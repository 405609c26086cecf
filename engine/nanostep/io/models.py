"""Model files: safetensors with JSON metadata. No pickle; loading a file runs no code from it.

Format, version 1. Tensors: ``theta`` (parameters,), and one (parameters,) tensor for each slot of the optimiser, named
``slot.`` and the slot's name, all float32 or all float64. Metadata: key ``nanostep`` with a JSON object of

- ``format``: 1
- ``sizes``, ``activations`` (one per weight layer, output included), ``loss``
- ``optimizer``: ``kind`` and its hyper-parameters; ``updates``, ``epochs``: made since its state was fresh
- ``metadata``: whatever the caller of `save` gave
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors
import safetensors.numpy

from nanostep._checks import check_integer
from nanostep.errors import BackendUnavailable, FileFormatError
from nanostep.network import Network
from nanostep.optimizers import OPTIMIZERS, Optimizer
from nanostep.training import OptimizerState

if TYPE_CHECKING:
    from os import PathLike

FORMAT = 1
KEY = "nanostep"


def save(net: Network, path: str | PathLike[str], metadata: Mapping[str, Any] | None = None) -> None:
    """Write `net` to `path`; see `Network.save`.

    Raises
    ------
    TypeError
        `metadata` is not a dict that JSON can hold.
    OSError
        The file cannot be written; what stood at `path` before still stands there.
    """
    state = net._state
    header = {
        "format": FORMAT,
        "sizes": net.sizes,
        "activations": net.architecture.activations,
        "loss": net.loss_name,
        "optimizer": {"kind": state.optimizer.kind, **asdict(state.optimizer)},  # type: ignore[call-overload]
        "updates": state.updates,
        "epochs": state.epochs,
        "metadata": _checked_metadata(metadata),
    }
    slots = {f"slot.{name}": row for name, row in zip(state.optimizer.slots, state.slots, strict=True)}
    content = safetensors.numpy.save({"theta": net.theta, **slots}, metadata={KEY: json.dumps(header)})
    _write_atomically(Path(path), content)


def load(path: str | PathLike[str], backend: str = "auto") -> Network:
    """Return the network in a file that `Network.save` wrote, with the state of its optimiser.

    Training goes on as if it had not been interrupted when the optimiser is not given, or is ``net.optimizer``.

    Parameters
    ----------
    path : str or path-like
    backend : {"auto", "c", "numba", "numpy"}, default="auto"
        Files do not say which backend wrote them.

    Raises
    ------
    FileNotFoundError
    FileFormatError
        The file is damaged, or is not a nanostep model.
    BackendUnavailable
        The backend asked for cannot run here.
    """
    header, tensors = _read(Path(path))
    try:
        *hidden, output = header["activations"]
        theta = tensors["theta"]
        net = Network(header["sizes"], hidden, output, header["loss"], theta.dtype, backend, seed=0)
        optimizer = _make_optimizer(header["optimizer"])
        slots = [tensors[f"slot.{name}"] for name in optimizer.slots]
        if len(tensors) != 1 + len(slots) or any(array.shape != theta.shape for array in slots):
            raise ValueError(f"its tensors {sorted(tensors)} do not fit {optimizer}")
        if any(array.dtype != theta.dtype for array in slots):
            raise ValueError("its tensors differ in dtype")
        if theta.shape != net.theta.shape:
            raise ValueError(f"theta has shape {theta.shape}; its sizes ask for {net.theta.shape}")
        state = OptimizerState(
            optimizer,
            np.array(slots, theta.dtype).reshape(len(slots), len(theta)),
            check_integer("updates", header["updates"], 0),
            check_integer("epochs", header["epochs"], 0),
        )
    except BackendUnavailable:
        raise
    except (KeyError, TypeError, ValueError, MemoryError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise FileFormatError(f"{path} is not a usable nanostep model: {reason}") from None
    # what was saved is what comes back, NaN included
    net._theta[...] = theta
    net._state = state
    return net


def read_metadata(path: str | PathLike[str]) -> dict[str, Any]:
    """Return the metadata that was given to `Network.save` ({} if none was)."""
    metadata = _read(Path(path))[0].get("metadata", {})
    if not isinstance(metadata, dict):
        raise FileFormatError(f"{path} is not a usable nanostep model: its metadata is not an object")
    return metadata


def _checked_metadata(metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    if metadata is None:
        return {}
    if not isinstance(metadata, Mapping):
        raise TypeError(f"metadata must be a dict; got {type(metadata).__name__}")
    try:
        json.dumps(dict(metadata))
    except (TypeError, ValueError) as error:
        raise TypeError(f"metadata must hold only what JSON can: {error}") from None
    return dict(metadata)


def _make_optimizer(values: Mapping[str, Any]) -> Optimizer:
    if not isinstance(values, dict) or values.get("kind") not in OPTIMIZERS:
        raise ValueError(f"unknown optimiser {values!r}")
    given = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items() if name != "kind"}
    return OPTIMIZERS[values["kind"]](**given)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the header and the tensors of a model file."""
    if not path.exists():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get(KEY)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (safetensors.SafetensorError, TypeError, ValueError) as error:
        raise FileFormatError(f"{path} is damaged, or not a nanostep model: {error}") from None
    if text is None:
        raise FileFormatError(f"{path} is a safetensors file, but not a nanostep model: it has no {KEY!r} metadata")
    try:
        header = json.loads(text)
    except json.JSONDecodeError as error:
        raise FileFormatError(f"{path} is damaged: its metadata is not JSON ({error})") from None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        version = header.get("format") if isinstance(header, dict) else None
        raise FileFormatError(f"{path} has format {version!r}; this version of nanostep reads {FORMAT}")
    return header, tensors


def _write_atomically(path: Path, content: bytes) -> None:
    """Write to a file beside `path` and move it into place, so that nobody ever sees half of it."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, _permissions(path))
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _permissions(path: Path) -> int:
    """Permissions of the file that is replaced, or those a new file would get; mkstemp gives the owner's only."""
    try:
        return path.stat().st_mode & 0o777
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask
