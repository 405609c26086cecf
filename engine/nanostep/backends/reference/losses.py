"""Losses L(a, y) of one sample, their derivatives dL/da, and the output delta dL/dz.

A batch takes the mean over samples. ``half_squared_error`` and ``cross_entropy`` sum over outputs; the others take the
mean over outputs, as PyTorch's MSELoss, L1Loss, HuberLoss, BCELoss and PoissonNLLLoss (log_input=True, so the network's
output is the logarithm of the rate) with ``reduction="mean"`` do. ``gaussian_nll`` takes the mean over targets, each of
which has two outputs. A loss is given by its name or, if it has options, as an object of `nanostep.losses`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from nanostep.architecture import SUMMED_OVER_OUTPUTS
from nanostep.backends.reference.activations import DERIVATIVES, softplus
from nanostep.losses import Loss, Quantile, delta_of, name_of

Array = np.ndarray

LOG_FLOOR = -100.0
SLOPE_FLOOR = 1e-12
"""Where binary cross-entropy is not joined with sigmoid: PyTorch's bounds on log a, and on a (1 - a) as a divisor."""


def _huber(a: Array, y: Array, delta: float) -> Array:
    e = np.abs(a - y)
    return np.where(e <= delta, e * e / 2, delta * (e - delta / 2))


def _pinball(a: Array, y: Array, q: Array) -> Array:
    e = y - a
    return np.maximum(q * e, (q - 1) * e)


def _pinball_derivative(a: Array, y: Array, q: Array) -> Array:
    """0 where a = y, as for the absolute error"""
    e = a - y
    return np.where(e > 0, 1 - q, np.where(e < 0, -q, e))


def _gaussian_nll(a: Array, y: Array) -> Array:
    """The term of each mean, and 0 for the logarithms of the variances: they come after all means, y is there twice"""
    mean, s = np.split(a, 2, axis=1)
    terms = (s + (y[:, : mean.shape[1]] - mean) ** 2 * np.exp(-s)) / 2
    return np.concatenate([terms, np.zeros_like(terms)], axis=1)


def _gaussian_nll_derivative(a: Array, y: Array) -> Array:
    mean, s = np.split(a, 2, axis=1)
    e = (mean - y[:, : mean.shape[1]]) * np.exp(-s)
    return np.concatenate([e, (1 - (mean - y[:, : mean.shape[1]]) * e) / 2], axis=1)


def _cross(p: Array, q: Array) -> Array:
    """-p log q, and 0 where p = 0"""
    return -p * np.log(np.where(p == 0, 1, q))


def _binary_cross_entropy(a: Array, y: Array) -> Array:
    """-(y log a + (1 - y) log(1 - a)), with logarithms of at least LOG_FLOOR, as PyTorch's BCELoss"""
    return -(y * np.maximum(np.log(a), LOG_FLOOR) + (1 - y) * np.maximum(np.log(1 - a), LOG_FLOOR))


TERMS: dict[str, Callable[[Array, Array], Array]] = {
    "half_squared_error": lambda a, y: (a - y) ** 2 / 2,
    "squared_error": lambda a, y: (a - y) ** 2,
    "absolute_error": lambda a, y: np.abs(a - y),
    "binary_cross_entropy": _binary_cross_entropy,
    "cross_entropy": lambda a, y: _cross(y, a),
    "poisson": lambda a, y: np.exp(a) - y * a,
    "gaussian_nll": _gaussian_nll,
}
"""The term that each output adds to L, of the losses without options."""

TERM_DERIVATIVES: dict[str, Callable[[Array, Array], Array]] = {
    "half_squared_error": lambda a, y: a - y,
    "squared_error": lambda a, y: 2 * (a - y),
    "absolute_error": lambda a, y: np.sign(a - y),
    "binary_cross_entropy": lambda a, y: (a - y) / np.maximum(a * (1 - a), SLOPE_FLOOR),
    "cross_entropy": lambda a, y: np.where(y == 0, 0, -y / a),
    "poisson": lambda a, y: np.exp(a) - y,
    "gaussian_nll": _gaussian_nll_derivative,
}

JOINED = frozenset({("cross_entropy", "softmax"), ("binary_cross_entropy", "sigmoid")})
"""(loss, output) pairs whose delta is a - y, and whose loss is computed from z so that log(0) cannot occur."""


def share_of(loss: str | Loss, outputs: int) -> float:
    """Weight of one output in L."""
    if name_of(loss) == "gaussian_nll":
        return 2.0 / outputs
    return 1.0 if loss in SUMMED_OVER_OUTPUTS else 1.0 / outputs


def loss_terms(loss: str | Loss, a__bo: Array, y__bo: Array) -> Array:
    """Return the term that each output adds to L."""
    if isinstance(loss, Quantile):
        return _pinball(a__bo, y__bo, loss.of_outputs(a__bo.shape[1], a__bo.dtype))
    if name_of(loss) == "huber":
        return _huber(a__bo, y__bo, delta_of(loss))
    return TERMS[name_of(loss)](a__bo, y__bo)


def loss_slopes(loss: str | Loss, a__bo: Array, y__bo: Array) -> Array:
    """Return the derivative of the sum of the terms by each output."""
    if isinstance(loss, Quantile):
        return _pinball_derivative(a__bo, y__bo, loss.of_outputs(a__bo.shape[1], a__bo.dtype))
    if name_of(loss) == "huber":
        return np.clip(a__bo - y__bo, -delta_of(loss), delta_of(loss))
    return TERM_DERIVATIVES[name_of(loss)](a__bo, y__bo)


def sample_losses(
    loss: str | Loss,
    output: str,
    z__bo: Array,
    a__bo: Array,
    y__bo: Array,
    log_clip_min: float = -math.inf,
    *,
    missing__bo: Array | None = None,
) -> Array:
    """Return L of each sample, shape (batch,); see `nanostep.backends.contract.RunConfig` for `log_clip_min`.

    Targets that are missing add nothing.
    """
    if (loss, output) == ("cross_entropy", "softmax"):
        shifted__bo = z__bo - z__bo.max(axis=1, keepdims=True)
        log_a__bo = shifted__bo - np.log(np.exp(shifted__bo).sum(axis=1, keepdims=True))
        terms__bo = np.where(y__bo == 0, 0, -y__bo * np.maximum(log_a__bo, log_clip_min))
    elif (loss, output) == ("binary_cross_entropy", "sigmoid"):
        # softplus(z) - y z, written as y softplus(-z) + (1 - y) softplus(z): both terms >= 0, so nothing cancels
        yes__bo, no__bo = np.minimum(softplus(-z__bo), -log_clip_min), np.minimum(softplus(z__bo), -log_clip_min)
        terms__bo = y__bo * yes__bo + (1 - y__bo) * no__bo
    else:
        terms__bo = loss_terms(loss, a__bo, y__bo)
    if missing__bo is not None:
        terms__bo[missing__bo] = 0
    return terms__bo.sum(axis=1) * a__bo.dtype.type(share_of(loss, a__bo.shape[1]))


def loss_value(loss: str | Loss, output: str, z__bo: Array, a__bo: Array, y__bo: Array) -> float:
    """mean over the batch of L"""
    return float(sample_losses(loss, output, z__bo, a__bo, y__bo).mean())


def loss_derivative(loss: str | Loss, a__bo: Array, y__bo: Array, da__bo: Array) -> None:
    """da = dL/da of each sample"""
    da__bo[...] = loss_slopes(loss, a__bo, y__bo) * a__bo.dtype.type(share_of(loss, a__bo.shape[1]))


def times_output_derivative(output: str, z__bo: Array, a__bo: Array, da__bo: Array) -> Array:
    """Return dL/dz of each sample, given dL/da."""
    if output == "softmax":
        # the Jacobian of softmax is diag(a) - a a^T
        return a__bo * (da__bo - (da__bo * a__bo).sum(axis=1, keepdims=True))
    return da__bo * DERIVATIVES[output](z__bo, a__bo)


def sample_deltas(
    loss: str | Loss, output: str, z__bo: Array, a__bo: Array, y__bo: Array, missing__bo: Array | None = None
) -> Array:
    """Return dL/dz of each sample, to which targets that are missing add nothing."""
    if (loss, output) in JOINED:
        d__bo = (a__bo - y__bo) * a__bo.dtype.type(share_of(loss, a__bo.shape[1]))
        if missing__bo is not None:
            d__bo[missing__bo] = 0
        return d__bo
    da__bo = np.empty_like(a__bo)
    loss_derivative(loss, a__bo, y__bo, da__bo)
    if missing__bo is not None:
        da__bo[missing__bo] = 0
    return times_output_derivative(output, z__bo, a__bo, da__bo)


def output_delta(loss: str | Loss, output: str, z__bo: Array, a__bo: Array, y__bo: Array, d__bo: Array) -> None:
    """d = dL/dz of each sample"""
    d__bo[...] = sample_deltas(loss, output, z__bo, a__bo, y__bo)
