"""Losses L of one sample, dL/da, and the output delta dL/dz; see the reference for the formulas."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from nanostep._names import ACTIVATIONS, LOSSES
from nanostep.backends.jit._compile import FASTMATH, OPTIONS
from nanostep.backends.jit._math import exp, softplus
from nanostep.backends.jit.activations import SIGMOID, SOFTMAX, times_derivative

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
        one = type(a)(1)
        return 1.0 * (cross(y, a) + cross(one - y, one - a))
    if loss == POISSON:
        return 1.0 * (exp(a) - y * a)
    return 1.0 * cross(y, a)


@njit(fastmath=FASTMATH, **OPTIONS)
def cross_entropy_row(width, z, a, y):
    """L of a row of softmax: log a_o = z_o - max z - log(sum e^(z - max z)), and that sum is 1 / max a."""
    top = 0
    for o in range(1, width):
        if z[o] > z[top]:
            top = o
    log_sum = -math.log(a[top])
    total = z.dtype.type(0)
    for o in range(width):
        if y[o] != 0:
            total += y[o] * ((z[top] - z[o]) + log_sum)
    return total


@njit(fastmath=FASTMATH, **OPTIONS)
def sum_losses(loss, output, z__bo, a__bo, y__bo):
    """The sum over the rows of L, in float64."""
    rows, width = z__bo.shape
    total = 0.0
    if loss == CROSS_ENTROPY and output == SOFTMAX:
        for b in range(rows):
            total += cross_entropy_row(width, z__bo[b], a__bo[b], y__bo[b])
    elif loss == BINARY_CROSS_ENTROPY and output == SIGMOID:
        # softplus(z) - y z, as two terms that are >= 0 so that nothing cancels
        one = z__bo.dtype.type(1)
        for b in range(rows):
            for o in range(width):
                y = y__bo[b, o]
                total += y * softplus(-z__bo[b, o]) + (one - y) * softplus(z__bo[b, o])
    else:
        for b in range(rows):
            for o in range(width):
                total += loss_term(loss, a__bo[b, o], y__bo[b, o])
    return total * share_of(loss, width)


@njit(fastmath=FASTMATH, **OPTIONS)
def derive(loss, share, a, y, d):
    """d = share * dL/da on flat arrays"""
    one = a.dtype.type(1)
    for i in range(a.size):
        e = a[i] - y[i]
        if loss == SQUARED:
            d[i] = share * (e + e)
        elif loss == ABSOLUTE:
            d[i] = share if e > 0 else -share if e < 0 else share * e  # share * e: 0, or NaN
        elif loss == HUBER:
            d[i] = share * (one if e > one else -one if e < -one else e)
        elif loss == BINARY_CROSS_ENTROPY:
            d[i] = share * (e / (a[i] * (one - a[i])))
        elif loss == CROSS_ENTROPY:
            d[i] = -share * y[i] / a[i] if y[i] != 0 else share * y[i]
        elif loss == POISSON:
            d[i] = share * (exp(a[i]) - y[i])
        else:
            d[i] = share * e


@njit(fastmath=FASTMATH, **OPTIONS)
def delta_rows(loss, output, width, z, a, y, d):
    """d = dL/dz on flat arrays that hold rows of `width`"""
    share = z.dtype.type(share_of(loss, width))
    if (loss == CROSS_ENTROPY and output == SOFTMAX) or (loss == BINARY_CROSS_ENTROPY and output == SIGMOID):
        for i in range(z.size):
            d[i] = share * (a[i] - y[i])
        return
    derive(loss, share, a, y, d)
    if output == SOFTMAX:
        # the Jacobian of softmax is diag(a) - a a^T
        for start in range(0, z.size, width):
            mean = z.dtype.type(0)
            for o in range(start, start + width):
                mean += d[o] * a[o]
            for o in range(start, start + width):
                d[o] = a[o] * (d[o] - mean)
    else:
        times_derivative(output, z, a, d)


def loss_value(loss: str, output: str, z__bo: Array, a__bo: Array, y__bo: Array) -> float:
    """mean over the batch of L"""
    return sum_losses(LOSSES.index(loss), ACTIVATIONS.index(output), z__bo, a__bo, y__bo) / len(z__bo)


def loss_derivative(loss: str, a__bo: Array, y__bo: Array, da__bo: Array) -> None:
    """da = dL/da of each sample"""
    code = LOSSES.index(loss)
    share = a__bo.dtype.type(share_of(code, a__bo.shape[1]))
    derive(code, share, a__bo.reshape(-1), y__bo.reshape(-1), da__bo.reshape(-1))


def output_delta(loss: str, output: str, z__bo: Array, a__bo: Array, y__bo: Array, d__bo: Array) -> None:
    """d = dL/dz of each sample"""
    flat = (z__bo.reshape(-1), a__bo.reshape(-1), y__bo.reshape(-1), d__bo.reshape(-1))
    delta_rows(LOSSES.index(loss), ACTIVATIONS.index(output), z__bo.shape[1], *flat)
