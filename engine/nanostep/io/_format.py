"""Model files: safetensors with JSON metadata. No pickle; loading a file runs no code from it.

Format, version 1. Tensors: ``theta`` (parameters,), and one (parameters,) tensor for each slot of the optimiser, named
``slot.`` and the slot's name, all float32 or all float64. Metadata: key ``nanostep`` with a JSON object of

- ``format``: 1
- ``sizes``, ``activations`` (one per weight layer, output included), ``loss``
- ``loss.NAME`` for each option of the loss, unless they are the defaults: ``loss.delta``, ``loss.quantiles``;
  ``loss.name`` of a function of the user's own (``loss``: "custom")
- ``optimizer``: ``kind`` and its hyper-parameters; ``updates``, ``epochs``: made since its state was fresh
- ``plateau`` (if one was trained with): the arguments of the `ReduceLROnPlateau` and its ``state``
- ``metadata``: the argument of `Network.save`

A checkpoint is such a file with one more key, ``run``, and tensors whose names begin with ``run.``; see
`nanostep.training.checkpoints`. `nanostep.load` ignores them.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors
import safetensors.numpy

from nanostep._base_model import DTYPES
from nanostep._checks import check_integer, check_real
from nanostep.architecture import LOSSES, Architecture, make_architecture
from nanostep.errors import FileFormatError
from nanostep.losses import KINDS, Custom, Loss, unbound
from nanostep.optimizers import OPTIMIZERS, Optimizer
from nanostep.schedules.plateau import PlateauState, ReduceLROnPlateau
from nanostep.training.optimizer_state import OptimizerState

if TYPE_CHECKING:
    from os import PathLike

FORMAT = 1
KEY = "nanostep"
RUN = "run."


def encode(
    architecture: Architecture,
    theta: np.ndarray,
    state: OptimizerState,
    more: Mapping[str, Any],
    tensors: Mapping[str, np.ndarray] | None = None,
) -> bytes:
    """Return the content of the file of a network, with `more` in its header and further `tensors`."""
    header = {
        "format": FORMAT,
        "sizes": architecture.sizes,
        "activations": architecture.activations,
        **encoded_loss(architecture),
        "optimizer": {"kind": state.optimizer.kind, **asdict(state.optimizer)},
        "updates": state.updates,
        "epochs": state.epochs,
        **more,
    }
    if state.plateau is not None:
        header["plateau"] = {**asdict(state.plateau[0]), "state": asdict(state.plateau[1])}
    slots = {f"slot.{name}": row for name, row in zip(state.optimizer.slots, state.slots, strict=True)}
    arrays = {"theta": theta, **slots, **(tensors or {})}
    return safetensors.numpy.save(arrays, metadata={KEY: to_json(header)})


def encoded_loss(architecture: Architecture) -> dict[str, Any]:
    """Return the keys of the header for the loss."""
    options = {} if architecture.loss_options is None else architecture.loss_options.options()
    return {"loss": architecture.loss, **{f"loss.{name}": value for name, value in options.items()}}


def decoded_loss(header: Mapping[str, Any]) -> str | Loss:
    """Return the loss that `encoded_loss` has written."""
    name = header["loss"]
    options = {key.removeprefix("loss."): value for key, value in header.items() if key.startswith("loss.")}
    if name == Custom.name:
        return unbound(**options)
    if not isinstance(name, str) or name not in KINDS or (name in LOSSES and not options):
        return name
    return KINDS[name](**options)


def check_metadata(metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return `metadata` as a dict; raise TypeError if JSON cannot represent it, as with NaN and infinity."""
    if metadata is None:
        return {}
    if not isinstance(metadata, Mapping):
        raise TypeError(f"metadata must be a dict; got {type(metadata).__name__}")
    try:
        json.dumps(dict(metadata), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"metadata must hold only what JSON can: {error}") from None
    return dict(metadata)


def to_json(header: dict[str, Any]) -> str:
    """Return `header` as JSON; NumPy's numbers, which optimisers accept, become plain ones."""
    return json.dumps(header, allow_nan=False, default=lambda number: number.item())


@contextmanager
def usable(path: str | PathLike[str]) -> Iterator[None]:
    """Turn errors in the content of a file into FileFormatError."""
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise FileFormatError(f"{path} is not a usable nanostep model: {reason}") from None


def decode(header: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> tuple[Architecture, OptimizerState]:
    """Return the architecture and the optimiser's state in a file.

    Raises KeyError, TypeError or ValueError unless all parts of the file are consistent. No memory of the size that the
    header claims is allocated before the tensors are known to have that size.
    """
    *hidden, output = header["activations"]
    architecture = make_architecture(header["sizes"], hidden, output, decoded_loss(header))
    theta, shape = tensors["theta"], (architecture.parameter_count,)
    optimizer = make_optimizer(header["optimizer"])
    expected = {"theta", *(f"slot.{name}" for name in optimizer.slots)}
    model = {name: array for name, array in tensors.items() if not name.startswith(RUN)}
    if set(model) != expected:
        raise ValueError(f"it has tensors {sorted(model)}; {optimizer} needs {sorted(expected)}")
    if theta.dtype.name not in DTYPES:
        raise ValueError(f"theta has dtype {theta.dtype}; accepted are {' and '.join(DTYPES)}")
    for name, array in {"theta": theta, **model}.items():
        if array.shape != shape or array.dtype != theta.dtype:
            raise ValueError(
                f"{name} has shape {array.shape} and dtype {array.dtype}; network {architecture} of {theta.dtype} "
                f"needs {shape} of {theta.dtype}"
            )
    slots = np.empty((len(optimizer.slots), len(theta)), theta.dtype)
    for row, name in zip(slots, optimizer.slots, strict=True):
        row[...] = tensors[f"slot.{name}"]
    updates, epochs = (check_integer(name, header[name], 0) for name in ("updates", "epochs"))
    return architecture, OptimizerState(optimizer, slots, updates, epochs, _make_plateau(header.get("plateau")))


def _make_plateau(values: Mapping[str, Any] | None) -> tuple[ReduceLROnPlateau, PlateauState] | None:
    if values is None:
        return None
    state = values["state"]
    for name in ("base_lr", "lr"):
        check_real(f"plateau {name}", state[name], 0.0)
    if state["best"] is not None:
        check_real("plateau best", state["best"])
    for name in ("bad_epochs", "cooldown"):
        check_integer(f"plateau {name}", state[name], 0)
    return ReduceLROnPlateau(**{k: v for k, v in values.items() if k != "state"}), PlateauState(**state)


def make_optimizer(values: Mapping[str, Any]) -> Optimizer:
    if not isinstance(values, dict) or values.get("kind") not in list(OPTIMIZERS):
        raise ValueError(f"optimizer={values!r} is not known; its kind must be one of: {', '.join(OPTIMIZERS)}")
    given = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items() if name != "kind"}
    return OPTIMIZERS[values["kind"]](**given)


def read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the header and the tensors of a model file."""
    # opened here first, because safetensors' errors for missing files, directories and permissions do not name the file
    path.open("rb").close()
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
    except (json.JSONDecodeError, RecursionError) as error:
        raise FileFormatError(f"{path} is damaged: its metadata is not JSON ({error})") from None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        version = header.get("format") if isinstance(header, dict) else None
        raise FileFormatError(f"{path} has format {version!r}; this version of nanostep reads {FORMAT}")
    return header, tensors


def write_atomically(path: str | PathLike[str], content: bytes, suffix: str = "") -> None:
    """Write to a temporary file beside `path` and move it into place, so that no half-written file is ever seen.

    The temporary file has a random name or, with `suffix`, a fixed one, which replaces a file that a killed writer may
    have left behind.
    """
    target = Path(os.path.realpath(path))  # a link stays a link; its target is replaced
    temporary = target.with_name(f".{target.name}.{suffix or secrets.token_hex(4)}")
    try:
        # opened like any new file, so that its permissions follow the process's umask
        with temporary.open("wb" if suffix else "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            temporary.chmod(target.stat().st_mode & 0o777)
        temporary.replace(target)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.filename is not None:
            # with the name that the caller gave
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise
