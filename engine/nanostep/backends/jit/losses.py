"""Losses L of one sample, dL/da, and the output delta dL/dz; see the reference for the formulas."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from nanostep._names import ACTIVATIONS, LOSSES
from nanostep.backends.jit._compile import FASTMATH, OPTIONS
from nanostep.backends.jit._math import exp, softplus
from nanostep.backends.jit.activations import SIGMOID, SOFTMAX, ZERO, times_derivative
from nanostep.backends.reference.losses import LOG_FLOOR, SLOPE_FLOOR

Array = np.ndarray

HALF_SQUARED, SQUARED, ABSOLUTE, HUBER, BINARY_CROSS_ENTROPY, CROSS_ENTROPY, POISSON = range(len(LOSSES))


@njit(fastmath=FASTMATH, **OPTIONS)
def share_of(loss, width):
    """Weight of one output in L."""
    return 1.0 if loss in (HALF_SQUARED, CROSS_ENTROPY) else 1.0 / width


@njit(fastmath=FASTMATH, **OPTIONS)
def cross(p, q):
    """-p log q, and 0 where p = 0"""
    return -p * math.log(q) if p != 0 else p


@njit(fastmath=FASTMATH, **OPTIONS)
def loss_term(loss, a, y):
    """What one output adds to L, before the share, as float64."""
    e = a - y
    if loss == HALF_SQUARED:
        return 0.5 * (e * e)
    if loss == SQUARED:
        return 1.0 * (e * e)
    if loss == ABSOLUTE:
        return 1.0 * abs(e)
    if loss == HUBER:
        return 0.5 * (e * e) if abs(e) <= 1 else abs(e) - 0.5
    if loss == BINARY_CROSS_ENTROPY:
        one, floor = type(a)(1), type(a)(LOG_FLOOR)
        return -1.0 * (y * max(math.log(a), floor) + (one - y) * max(math.log(one - a), floor))
    if loss == POISSON:
        return 1.0 * (exp(a) - y * a)
    return 1.0 * cross(y, a)


@njit(fastmath=FASTMATH, **OPTIONS)
def sum_cross_entropy(rows, width, at, z, a, y_at, y):
    """The sum of L over rows of softmax: log a_o = z_o - max z - log(sum e^(z - max z)), and that sum is 1 / max a.

    Rows with targets that sum to 1 exactly, such as one-hot rows, share a logarithm: sum log = log product. Each factor
    is at least 2^-31, so the product of 16 stays above 2^-496.
    """
    total, product, factors = 0.0, 1.0, 0
    for _ in range(rows):
        z_top, a_top = z[at], a[at]
        for o in range(at, at + width):
            z_top, a_top = max(z_top, z[o]), max(a_top, a[o])
        linear, weight = z.dtype.type(0), z.dtype.type(0)
        for o in range(width):
            target = y[y_at + o]
            weight += target
            if target != 0:  # 0 * infinity is not meant
                linear += target * (z_top - z[at + o])
        total += linear
        if weight == 1:
            product *= a_top
            factors += 1
        else:
            total -= weight * math.log(a_top)
        if factors == 16:
            total -= math.log(product)
            product, factors = 1.0, 0
        at, y_at = at + width, y_at + width
    return total - math.log(product)


@njit(fastmath=FASTMATH, **OPTIONS)
def sum_losses(loss, output, rows, width, at, z, a, y_at, y):
    """The sum over the rows of L, in float64; rows of z and a begin at `at`, those of y at `y_at`."""
    total = 0.0
    if loss == CROSS_ENTROPY and output == SOFTMAX:
        total = sum_cross_entropy(rows, width, at, z, a, y_at, y)
    elif loss == BINARY_CROSS_ENTROPY and output == SIGMOID:
        # softplus(z) - y z, as two terms that are >= 0 so that nothing cancels
        one = z.dtype.type(1)
        for i in range(rows * width):
            target, logit = y[y_at + i], z[at + i]
            total += target * softplus(-logit) + (one - target) * softplus(logit)
    else:
        for i in range(rows * width):
            total += loss_term(loss, a[at + i], y[y_at + i])
    return total * share_of(loss, width)


@njit(fastmath=FASTMATH, **OPTIONS)
def loss_slope(loss, a, y):
    """dL/da of one output, before the share"""
    one = type(a)(1)
    e = a - y
    if loss == SQUARED:
        return e + e
    if loss == ABSOLUTE:
        return one if e > 0 else -one if e < 0 else e  # e: 0, or NaN
    if loss == HUBER:
        return one if e > one else -one if e < -one else e
    if loss == BINARY_CROSS_ENTROPY:
        return e / max(a * (one - a), type(a)(SLOPE_FLOOR))
    if loss == CROSS_ENTROPY:
        return -y / a if y != 0 else y
    if loss == POISSON:
        return exp(a) - y
    return e


@njit(fastmath=FASTMATH, **OPTIONS)
def derive(loss, share, count, at, a, y_at, y, d):
    """d = share * dL/da for `count` entries; d begins where a does."""
    for i in range(count):
        d[at + i] = share * loss_slope(loss, a[at + i], y[y_at + i])


@njit(fastmath=FASTMATH, **OPTIONS)
def delta_rows(loss, output, rows, width, at, z, a, y_at, y, d):
    """d = dL/dz; rows of z, a and d begin at `at`, those of y at `y_at`."""
    share = z.dtype.type(share_of(loss, width))
    count = rows * width
    if (loss == CROSS_ENTROPY and output == SOFTMAX) or (loss == BINARY_CROSS_ENTROPY and output == SIGMOID):
        for i in range(count):
            d[at + i] = share * (a[at + i] - y[y_at + i])
        return
    derive(loss, share, count, at, a, y_at, y, d)
    if output == SOFTMAX:
        # the Jacobian of softmax is diag(a) - a a^T
        for row in range(at, at + count, width):
            mean = z.dtype.type(0)
            for o in range(row, row + width):
                mean += d[o] * a[o]
            for o in range(row, row + width):
                d[o] = a[o] * (d[o] - mean)
    else:
        times_derivative(output, at, at + count, z, a, d)


def loss_value(loss: str, output: str, z__bo: Array, a__bo: Array, y__bo: Array) -> float:
    """mean over the batch of L"""
    rows, width = (np.uint64(size) for size in z__bo.shape)
    z, a, y = (array.reshape(-1) for array in (z__bo, a__bo, y__bo))
    total = sum_losses(LOSSES.index(loss), ACTIVATIONS.index(output), rows, width, ZERO, z, a, ZERO, y)
    return total / len(z__bo)


def loss_derivative(loss: str, a__bo: Array, y__bo: Array, da__bo: Array) -> None:
    """da = dL/da of each sample"""
    code, width = LOSSES.index(loss), np.uint64(a__bo.shape[1])
    share = a__bo.dtype.type(share_of(code, width))
    a, y, da = (array.reshape(-1) for array in (a__bo, y__bo, da__bo))
    derive(code, share, np.uint64(a.size), ZERO, a, ZERO, y, da)


def output_delta(loss: str, output: str, z__bo: Array, a__bo: Array, y__bo: Array, d__bo: Array) -> None:
    """d = dL/dz of each sample"""
    rows, width = (np.uint64(size) for size in z__bo.shape)
    z, a, y, d = (array.reshape(-1) for array in (z__bo, a__bo, y__bo, d__bo))
    delta_rows(LOSSES.index(loss), ACTIVATIONS.index(output), rows, width, ZERO, z, a, ZERO, y, d)
