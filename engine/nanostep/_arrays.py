"""The gate: every array from outside passes here once, before any kernel sees it.

Rule of conversion: booleans, integers and real floating numbers of any size, byte order, stride or alignment are
rounded to the network's dtype (to nearest, as `numpy.ndarray.astype`); anything else (complex, object, text, dates) is
refused. An array that already has the right dtype and is C-contiguous is used in place, without a copy. NaN and
infinity are refused, including those that the rounding makes; NaN in targets is let through where it stands for a
missing target (``nan_targets="ignore"``).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nanostep.architecture import SUMMED_OVER_OUTPUTS, Architecture

PROBABILITY_TOLERANCE = 1e-4
"""How far the sum of a row of target probabilities may be from one (float32 rounding of thousands of classes)."""


@dataclass(frozen=True)
class Samples:
    """Checked data of one call: C-contiguous, finite, in the network's dtype.

    Exactly one of `y` and `labels` is given.

    Attributes
    ----------
    x : ndarray, shape (n, inputs)
    y : ndarray, shape (n, outputs), or None
        The target of each output.
    labels : ndarray of int64, shape (n,), or None
        Class numbers in [0, outputs); stands for one-hot rows of y.
    weight : ndarray, shape (n,), or None
        Factor of the loss of each sample, finite; None for 1.
    has_missing : bool
        Targets may be missing, which add nothing to loss and gradient: entries of y that are NaN or, of class labels
        and their rows of probabilities, rows whose weight is 0.
    """

    x: np.ndarray
    y: np.ndarray | None
    labels: np.ndarray | None
    weight: np.ndarray | None = None
    has_missing: bool = False

    def __len__(self) -> int:
        return len(self.x)

    def take(self, rows: slice | np.ndarray) -> Samples:
        """Return some of the samples, given a slice or their indices."""
        x, y, labels, weight = (
            None if part is None else part[rows] for part in (self.x, self.y, self.labels, self.weight)
        )
        assert x is not None
        return Samples(x, y, labels, weight, self.has_missing)

    def without_aliasing(self, theta: np.ndarray) -> Samples:
        """Return samples that do not share memory with theta, which the kernels write while they read samples."""
        x, y = self.x, self.y
        if np.may_share_memory(x, theta):
            x = x.copy()
        if y is not None and np.may_share_memory(y, theta):
            y = y.copy()
        return self if x is self.x and y is self.y else replace(self, x=x, y=y)


def convert(name: str, value: Any, dtype: np.dtype, *, nan: bool = False) -> np.ndarray:
    """Return `value` as a finite, aligned, C-contiguous array of `dtype`, copying only if it must; NaN may be let
    through."""
    if _is_masked(value):
        raise ValueError(f"{name} has masked entries; fill them first")
    try:
        array = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name} is not a rectangular array of numbers: {error}") from None
    if array.dtype.kind not in "biuf":
        hints = {"c": "; take its real part or its modulus", "O": "; convert it to numbers first"}
        hint = hints.get(array.dtype.kind, "")
        raise TypeError(f"{name} must hold real numbers; got {type(value).__name__} of dtype {array.dtype}{hint}")
    if array.dtype != dtype or not (array.flags.c_contiguous and array.flags.aligned):
        with np.errstate(over="ignore"):
            array = np.require(array, dtype, ["C", "A"])
    if type(array) is not np.ndarray:
        array = array.view(np.ndarray)
    check_finite(name, array, nan=nan)
    return array


def _is_masked(value: Any) -> bool:
    """True for a masked array with masked entries.

    If numpy.ma was never imported, which takes 10 ms, the value cannot be masked; nor can it while another thread is
    still importing numpy.ma.
    """
    masked_array = getattr(sys.modules.get("numpy.ma"), "MaskedArray", None)
    return masked_array is not None and isinstance(value, masked_array) and bool(np.any(value.mask))


def check_finite(name: str, array: np.ndarray, *, nan: bool = False) -> None:
    """Raise ValueError with the place of the first infinity, or NaN unless that is let through, if there is one."""
    with np.errstate(all="ignore"):
        # A finite sum proves finite terms and needs no array of flags; an overflowing sum proves nothing.
        if np.isfinite(array.sum()):
            return
    finite = np.isfinite(array)
    if nan:
        finite |= np.isnan(array)
    if not finite.all():
        place = tuple(int(i) for i in np.argwhere(~finite)[0])
        raise ValueError(
            f"{name} must be finite in {array.dtype}; {name}{list(place)} is {array[place]} "
            f"({int((~finite).sum())} of {array.size} entries are not finite)"
        )


def check_inputs(architecture: Architecture, dtype: np.dtype, X: Any, *, name: str = "X") -> np.ndarray:
    """Return X as (n, inputs); a 1-D X is one sample."""
    x = convert(name, X, dtype)
    if x.ndim == 1:
        x = x.reshape(1, -1)
    if x.ndim != 2 or x.shape[1] != architecture.inputs:
        hint = ""
        if architecture.inputs == 1 and x.ndim == 2 and x.shape[0] == 1:
            hint = f"; for many samples of one feature use {name}.reshape(-1, 1)"
        raise ValueError(
            f"{name} must have shape (n, {architecture.inputs}), or ({architecture.inputs},) for one sample; "
            f"got {np.shape(X)}{hint}"
        )
    return x


def check_nan_targets(value: object) -> bool:
    """Return whether NaN in targets stands for missing ones: "ignore", or "raise"."""
    if not isinstance(value, str) or value not in ("raise", "ignore"):
        raise ValueError(f"nan_targets must be 'raise' or 'ignore'; got {value!r}")
    return value == "ignore"


def check_samples(
    architecture: Architecture,
    dtype: np.dtype,
    X: Any,
    Y: Any,
    *,
    names: tuple[str, str] = ("X", "Y"),
    nan_targets: object = "raise",
) -> Samples:
    """Return the checked X and Y of a call that trains or evaluates: the same number of samples in each, at least one.

    Y has shape (n, targets): as many as outputs, unless the loss takes several outputs for a target; then the target
    of each output is in the samples. With one target, (n,) or a scalar is accepted as well; with a 1-D X, (targets,)
    or a scalar label. For ``cross_entropy`` Y is class labels (n,), integers in [0, outputs), or rows of probabilities
    (n, outputs), such as one-hot rows. Targets are in [0, 1] for ``binary_cross_entropy`` and >= 0 for ``poisson``.

    With ``nan_targets="ignore"`` entries of Y may be NaN. For ``cross_entropy`` these are whole rows, or labels that
    are NaN or -1: such a row gets a weight of 0, and a target that has no effect.
    """
    ignores = check_nan_targets(nan_targets)
    if ignores and architecture.loss == "custom":
        raise ValueError("nan_targets='ignore' is for losses that are known here; a function of yours gets Y as it is")
    x = check_inputs(architecture, dtype, X, name=names[0])
    if len(x) == 0:
        raise ValueError(f"{names[0]} has no samples; at least one is needed")
    n, outputs, targets = len(x), architecture.outputs, architecture.targets
    is_classes = architecture.loss == "cross_entropy"
    raw = rectangular(names[1], Y)
    if is_classes and _looks_like_labels(raw.shape, n, outputs):
        raw = raw.reshape(n)
        if not ignores or raw.dtype.kind not in "if":
            return Samples(x, None, _check_labels(names[1], raw, outputs))
        unknown = np.isnan(raw) | (raw == -1)
        classes = _check_labels(names[1], np.where(unknown, 0, raw), outputs)
        return Samples(x, None, classes, _counted(unknown, dtype), bool(unknown.any()))
    y = convert(names[1], Y, dtype, nan=ignores)
    single = targets == 1 and y.shape in ((n,), ()) and y.size == n
    row = y.shape == (targets,) and np.ndim(X) == 1
    if single or row:
        y = y.reshape(n, targets)
    if y.shape != (n, targets):
        labels = f" or class labels of shape ({n},)" if is_classes else ""
        several = "" if targets == outputs else f", {outputs // targets} for each target"
        raise ValueError(
            f"{names[1]} must have shape ({n}, {targets}) to match {n} samples of {names[0]} "
            f"and {outputs} outputs{several}{labels}; got {y.shape}"
        )
    unknown = np.isnan(y) if ignores else None
    if unknown is None or not unknown.any():
        _check_domain(names[1], y, architecture.loss)
        return Samples(x, architecture.repeated(y), None)
    if not is_classes:
        _check_domain(names[1], y[~unknown], architecture.loss)
        return Samples(x, architecture.repeated(y), None, has_missing=True)
    rows = unknown.all(axis=1)
    partly = unknown.any(axis=1) & ~rows
    if partly.any():
        raise ValueError(
            f"row {int(np.argmax(partly))} of {names[1]} is NaN in part; for loss='cross_entropy' a row of "
            "probabilities is missing as a whole"
        )
    _check_domain(names[1], y[~rows], architecture.loss)
    y = np.where(rows[:, None], np.eye(1, outputs, dtype=dtype), y)
    return Samples(x, y, None, _counted(rows, dtype), has_missing=True)


def _counted(unknown: np.ndarray, dtype: np.dtype) -> np.ndarray | None:
    """Weights of 0 for the rows whose target is unknown and 1 for the others; None if all are known."""
    return np.where(unknown, 0, 1).astype(dtype) if unknown.any() else None


def check_chosen_outputs(architecture: Architecture, dtype: np.dtype, X: Any, Y: Any, outputs: Any) -> Samples:
    """Return samples of which one output each counts, with the loss of that output alone.

    `outputs`, integers, and Y have shape (n,), or are numbers where X is one sample.
    """
    if architecture.loss == "cross_entropy":
        raise ValueError("outputs chooses one output of each row; loss='cross_entropy' takes all of them together")
    if architecture.targets != architecture.outputs or architecture.loss == "custom":
        reason = "is a function of all of them" if architecture.loss == "custom" else "takes several for each target"
        raise ValueError(f"outputs chooses one output of each row; loss={architecture.criterion!r} {reason}")
    x = check_inputs(architecture, dtype, X)
    if len(x) == 0:
        raise ValueError("X has no samples; at least one is needed")
    n, width = len(x), architecture.outputs
    index, y = rectangular("outputs", outputs), convert("Y", Y, dtype)
    for name, array in (("outputs", index), ("Y", y)):
        if array.shape != (n,) and not (array.shape == () and np.ndim(X) == 1):
            raise ValueError(f"{name} must have shape ({n},), one for each sample of X; got {array.shape}")
    if index.dtype.kind not in "iu":
        raise TypeError(f"outputs must hold integers, the numbers of outputs; got dtype {index.dtype}")
    if index.min() < 0 or index.max() >= width:
        bad = index[(index < 0) | (index >= width)].flat[0]
        raise ValueError(f"outputs has {bad}, out of range; accepted are 0 to {width - 1} ({width} outputs)")
    _check_domain("Y", y, architecture.loss)
    rows = np.full((n, width), np.nan, dtype)
    rows[np.arange(n), index.reshape(n)] = y.reshape(n)
    # a mean over outputs is here that of one
    weight = None if architecture.loss in SUMMED_OVER_OUTPUTS else np.full(n, width, dtype)
    return Samples(x, rows, None, weight, has_missing=True)


def _looks_like_labels(shape: tuple[int, ...], n: int, outputs: int) -> bool:
    """True if a Y of this shape holds class labels; with one output, (n, 1) holds probabilities."""
    return shape == (n,) or (shape == () and n == 1) or (shape == (n, 1) and outputs > 1)


def rectangular(name: str, value: Any) -> np.ndarray:
    """Return `value` as an array of any dtype, masked or not."""
    try:
        return np.asanyarray(value)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name} is not a rectangular array of numbers: {error}") from None


def _check_labels(name: str, raw: np.ndarray, outputs: int) -> np.ndarray:
    if raw.dtype.kind not in "biuf":
        raise TypeError(
            f"{name} must hold integer class labels; got dtype {raw.dtype}; "
            "number the classes first, as np.unique(..., return_inverse=True) does"
        )
    if raw.dtype.kind == "f":
        check_finite(name, raw)
        if (raw != np.trunc(raw)).any():
            fraction = raw[raw != np.trunc(raw)][0]
            raise ValueError(f"{name} must hold integer class labels; got fractions such as {fraction}")
    if raw.min() < 0 or raw.max() >= outputs:
        bad = raw[(raw < 0) | (raw >= outputs)][0]
        raise ValueError(f"{name} has label {bad}, out of range; accepted are 0 to {outputs - 1} ({outputs} outputs)")
    return np.require(raw, np.int64, ["C", "A"])


def _check_domain(name: str, y: np.ndarray, loss: str) -> None:
    if y.size == 0:
        return
    if loss in ("binary_cross_entropy", "cross_entropy") and (y.min() < 0 or y.max() > 1):
        bad = y[(y < 0) | (y > 1)][0]
        raise ValueError(f"{name} must be in [0, 1] for loss={loss!r}; got {bad}")
    if loss == "cross_entropy":
        sums = y.sum(axis=1, dtype=np.float64)
        wrong = np.abs(sums - 1.0) > PROBABILITY_TOLERANCE
        if wrong.any():
            row = int(np.argmax(wrong))
            raise ValueError(
                f"each row of {name} must sum to 1 (one-hot or probabilities); row {row} sums to {sums[row]:g}"
            )
    if loss == "poisson" and y.min() < 0:
        raise ValueError(f"{name} must be >= 0 for loss='poisson'; got {y.min()}")


def check_scale(architecture: Architecture, dtype: np.dtype, value: Any) -> np.ndarray:
    """Return factors (parameters,) of the change of theta, finite and >= 0, given for each layer or each parameter."""
    scale = convert("scale", value, dtype)
    layers, count = architecture.layers, architecture.parameter_count
    if scale.shape not in ((len(layers),), (count,)):
        raise ValueError(
            f"scale must have shape ({len(layers)},), one for each layer, or ({count},), as theta; got {scale.shape}"
        )
    if scale.min() < 0:
        i = int(np.argmax(scale < 0))
        raise ValueError(f"scale must be >= 0; scale[{i}] is {scale[i]}")
    if len(scale) == count:
        return scale
    return architecture.by_layer(scale)


def check_scale_of_networks(architecture: Architecture, dtype: np.dtype, value: Any, size: int) -> np.ndarray:
    """Return factors (size, parameters), given as those of a network for all, or with a row for each."""
    scale = convert("scale", value, dtype)
    if scale.ndim != 2:
        each = [check_scale(architecture, dtype, scale)] * size
    elif len(scale) != size:
        raise ValueError(f"scale has {len(scale)} rows for {size} networks; give one for each, or one row for all")
    else:
        each = [check_scale(architecture, dtype, row) for row in scale]
    return np.stack(each)


def unaliased(array: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """Return `array`, or a copy where it shares memory with theta: kernels write theta while they read the others."""
    return array.copy() if np.may_share_memory(array, theta) else array


def check_weight(name: str, value: Any, n: int) -> np.ndarray:
    """Return sample weights (n,) in float64, not normalised: finite, >= 0, not all zero."""
    weight = convert(name, value, np.dtype(np.float64))
    if weight.shape not in ((n,), (n, 1)):
        raise ValueError(f"{name} must have shape ({n},), one for each sample; got {weight.shape}")
    weight = weight.reshape(n)
    if weight.min() < 0:
        i = int(np.argmax(weight < 0))
        raise ValueError(f"{name} must be >= 0; {name}[{i}] is {weight[i]}")
    if not weight.any():
        raise ValueError(f"{name} is 0 for all {n} samples; at least one must count")
    return weight


def weighted(samples: Samples, weight: np.ndarray | None) -> Samples:
    """Return `samples` with these weights, normalised to mean 1 and rounded to the dtype of the samples."""
    return samples if weight is None else _times(samples, normalized(weight).astype(samples.x.dtype))


def weighted_as_given(samples: Samples, name: str, value: Any) -> Samples:
    """Return `samples` with weights of any sign as they are given, (n,), for calls that divide by n."""
    if value is None:
        return samples
    n, weight = len(samples), convert(name, value, samples.x.dtype)
    if weight.shape not in ((n,), (n, 1)):
        raise ValueError(f"{name} must have shape ({n},), one for each sample; got {weight.shape}")
    return _times(samples, weight.reshape(n))


def _times(samples: Samples, weight: np.ndarray) -> Samples:
    """Return `samples` with weights, those whose target is unknown still with a weight of 0."""
    return replace(samples, weight=weight if samples.weight is None else weight * samples.weight)


def normalized(weight: np.ndarray) -> np.ndarray:
    """Return weights (..., n) with a mean of 1."""
    # divided by the largest first, so that neither huge nor subnormal weights spoil the sum
    part = weight / weight.max(axis=-1, keepdims=True)
    return part * (part.shape[-1] / part.sum(axis=-1, keepdims=True))
