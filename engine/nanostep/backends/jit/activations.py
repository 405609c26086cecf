"""Activations and their derivatives. Constants are PyTorch's defaults: slope 0.01, alpha = 1, beta = 1.

Kernels of this package work on flat arrays between places given as uint64: a slice would cost a reference count, and
Numba would test a signed index for being negative, which keeps loops from being vectorised.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from nanostep._names import ACTIVATIONS
from nanostep.backends.jit._compile import FASTMATH, OPTIONS
from nanostep.backends.jit._math import elu, exp, expm1_negative, sigmoid, softplus, tanh

Array = np.ndarray

IDENTITY, SIGMOID, TANH, RELU, LEAKY_RELU, ELU, SOFTPLUS, SILU, SOFTMAX = range(len(ACTIVATIONS))
LEAKY_SLOPE = 0.01

ZERO = np.uint64(0)


@njit(fastmath=FASTMATH, **OPTIONS)
def activate_elements(code, start, stop, z, a):
    """a = f(z) from `start` to `stop` for an elementwise f; a may be z. The branch is taken once, outside the loops."""
    zero = z.dtype.type(0)
    slope = z.dtype.type(LEAKY_SLOPE)
    if code == SIGMOID:
        for i in range(start, stop):
            a[i] = sigmoid(z[i])
    elif code == TANH:
        for i in range(start, stop):
            a[i] = tanh(z[i])
    elif code == RELU:
        for i in range(start, stop):
            a[i] = zero if z[i] < zero else z[i]
    elif code == LEAKY_RELU:
        for i in range(start, stop):
            a[i] = z[i] if z[i] > zero else slope * z[i]
    elif code == ELU:
        for i in range(start, stop):
            a[i] = elu(z[i])
    elif code == SOFTPLUS:
        for i in range(start, stop):
            a[i] = softplus(z[i])
    elif code == SILU:
        for i in range(start, stop):
            a[i] = z[i] * sigmoid(z[i])
    else:
        for i in range(start, stop):
            a[i] = z[i]


@njit(fastmath=FASTMATH, **OPTIONS)
def times_derivative(code, start, stop, z, a, d):
    """d *= f'(z) from `start` to `stop` for an elementwise f; from a = f(z) where that is enough."""
    zero = z.dtype.type(0)
    one = z.dtype.type(1)
    slope = z.dtype.type(LEAKY_SLOPE)
    if code == SIGMOID:
        for i in range(start, stop):
            d[i] *= a[i] * (one - a[i])
    elif code == TANH:
        for i in range(start, stop):
            d[i] *= one - a[i] * a[i]
    elif code == RELU:
        for i in range(start, stop):
            d[i] *= one if a[i] > zero else zero
    elif code == LEAKY_RELU:
        for i in range(start, stop):
            d[i] *= one if a[i] > zero else slope
    elif code == ELU:
        for i in range(start, stop):
            d[i] *= one if a[i] > zero else a[i] + one
    elif code == SOFTPLUS:
        for i in range(start, stop):
            d[i] *= -expm1_negative(-a[i])  # sigmoid(z) = 1 - e^-a
    elif code == SILU:
        for i in range(start, stop):
            s = sigmoid(z[i])
            d[i] *= s * (one + z[i] * (one - s))


@njit(fastmath=FASTMATH, **OPTIONS)
def softmax_rows(width, start, stop, z, a):
    """a = softmax of each row of `width` entries from `start` to `stop`; a may be z."""
    # in three passes, so that the exponentials of all rows are one loop, which vectorises however narrow the rows are
    for row in range(start, stop, width):
        largest = z[row]
        for o in range(row, row + width):
            largest = max(largest, z[o])
        for o in range(row, row + width):
            a[o] = z[o] - largest
    for o in range(start, stop):
        a[o] = exp(a[o])
    for row in range(start, stop, width):
        total = z.dtype.type(0)
        for o in range(row, row + width):
            total += a[o]
        scale = z.dtype.type(1) / total
        for o in range(row, row + width):
            a[o] *= scale


@njit(fastmath=FASTMATH, **OPTIONS)
def activate_rows(code, width, start, stop, z, a):
    """a = f(z) on the rows of `width` from `start` to `stop`"""
    if code == SOFTMAX:
        softmax_rows(width, start, stop, z, a)
    else:
        activate_elements(code, start, stop, z, a)


def activate(activation: str, z__bo: Array, a__bo: Array) -> None:
    """a = f(z)"""
    width, size = np.uint64(z__bo.shape[1]), np.uint64(z__bo.size)
    activate_rows(ACTIVATIONS.index(activation), width, ZERO, size, z__bo.reshape(-1), a__bo.reshape(-1))


def activation_derivative(activation: str, z__bo: Array, a__bo: Array, df__bo: Array) -> None:
    """df = f'(z) for an elementwise activation"""
    df__bo[...] = 1
    flat = (z__bo.reshape(-1), a__bo.reshape(-1), df__bo.reshape(-1))
    times_derivative(ACTIVATIONS.index(activation), ZERO, np.uint64(z__bo.size), *flat)
