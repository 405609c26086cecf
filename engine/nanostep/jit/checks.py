"""Checks of the methods of `JittedNetwork` where Python calls them: the compiled code does not check sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nanostep._checks import check_real
from nanostep.architecture import Architecture


def check_call(
    architecture: Architecture, work_size: Callable[[int], int], slot_count: int, name: str, arguments: tuple
) -> None:
    """Raise TypeError or ValueError unless the arguments of method `name` are arrays of the sizes that its code uses.

    `work_size` gives the length of the memory of a batch of so many rows with a tape, or of other calls for 0. dtypes,
    contiguity and writability are part of the arrays' types, which are checked when the code is compiled.
    """
    parameters, inputs, outputs = architecture.parameter_count, architecture.inputs, architecture.outputs
    if name == "update":
        theta, grad, slots, t, lr = arguments
        _check_shape("grad", grad, (parameters,))
        _check_shape("slots", slots, (slot_count, parameters))
        if int(t) < 1:
            raise ValueError(f"t counts updates from 1; got {t}")
        if lr is not None:
            check_real("lr", lr)
    elif name in ("forward", "backward"):
        theta, x, other, *rest = arguments
        rows = np.shape(x)[:1] if np.ndim(x) == 2 else ()
        _check_shape("x", x, (*rows, inputs))
        _check_shape("out" if name == "forward" else "dout", other, (*rows, outputs))
        if name == "backward":
            grad, dx, _ = rest
            if grad is not None:
                _check_shape("grad", grad, (parameters,))
            if dx is not None:
                _check_shape("dX", dx, x.shape)
        _check_work(rest[-1], work_size(*rows) if rows else work_size(0))
    else:
        theta, x, y, *rest = arguments
        _check_shape("x", x, (inputs,) if np.ndim(x) == 1 and name == "step" else (len(x) if np.ndim(x) else 1, inputs))
        if x.ndim == 2 and len(x) == 0:
            raise ValueError("x has no rows; at least one is needed")
        _check_targets(y, x.shape[:-1], outputs)
        if name == "gradient":
            _check_shape("grad", rest[0], (parameters,))
        _check_work(rest[-1], work_size(0))
    _check_shape("theta", theta, (parameters,))


def _check_shape(name: str, value: Any, shape: tuple[int, ...]) -> None:
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{name} must be a NumPy array; got {type(value).__name__}")
    if value.shape != shape:
        raise ValueError(f"{name} must have shape {shape}; got {value.shape}")


def _check_work(work: Any, size: int) -> None:
    if not isinstance(work, np.ndarray) or work.ndim != 1 or len(work) < size:
        raise ValueError(f"work must be what workspace() returns, {size} numbers; got {np.shape(work)}")


def _check_targets(y: Any, rows: tuple[int, ...], outputs: int) -> None:
    """Rows of targets, or class numbers within range."""
    if np.asarray(y).dtype.kind not in "iu":
        _check_shape("y", y, (*rows, outputs))
        return
    labels = np.asarray(y)
    if labels.shape != rows:
        raise ValueError(f"y must hold a class number for each row, shape {rows}; got {labels.shape}")
    if labels.min() < 0 or labels.max() >= outputs:
        raise ValueError(f"y has class numbers from {labels.min()} to {labels.max()}; accepted are 0 to {outputs - 1}")
