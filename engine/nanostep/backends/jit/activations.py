"""Activations and their derivatives. Constants are PyTorch's defaults: slope 0.01, alpha = 1, beta = 1."""

from __future__ import annotations

import numpy as np
from numba import njit

from nanostep._names import ACTIVATIONS
from nanostep.backends.jit._compile import FASTMATH, OPTIONS
from nanostep.backends.jit._math import elu, exp, expm1_negative, sigmoid, softplus, tanh

Array = np.ndarray

IDENTITY, SIGMOID, TANH, RELU, LEAKY_RELU, ELU, SOFTPLUS, SILU, SOFTMAX = range(len(ACTIVATIONS))
LEAKY_SLOPE = 0.01


@njit(fastmath=FASTMATH, **OPTIONS)
def activate_elements(code, z, a):
    """a = f(z) for an elementwise f on flat arrays; a may be z. The branch is taken once, outside the loops."""
    n = z.size
    zero = z.dtype.type(0)
    slope = z.dtype.type(LEAKY_SLOPE)
    if code == SIGMOID:
        for i in range(n):
            a[i] = sigmoid(z[i])
    elif code == TANH:
        for i in range(n):
            a[i] = tanh(z[i])
    elif code == RELU:
        for i in range(n):
            a[i] = zero if z[i] < zero else z[i]
    elif code == LEAKY_RELU:
        for i in range(n):
            a[i] = z[i] if z[i] > zero else slope * z[i]
    elif code == ELU:
        for i in range(n):
            a[i] = elu(z[i])
    elif code == SOFTPLUS:
        for i in range(n):
            a[i] = softplus(z[i])
    elif code == SILU:
        for i in range(n):
            a[i] = z[i] * sigmoid(z[i])
    else:
        for i in range(n):
            a[i] = z[i]


@njit(fastmath=FASTMATH, **OPTIONS)
def times_derivative(code, z, a, d):
    """d *= f'(z) for an elementwise f on flat arrays; from a = f(z) where that is enough."""
    n = z.size
    zero = z.dtype.type(0)
    one = z.dtype.type(1)
    slope = z.dtype.type(LEAKY_SLOPE)
    if code == SIGMOID:
        for i in range(n):
            d[i] *= a[i] * (one - a[i])
    elif code == TANH:
        for i in range(n):
            d[i] *= one - a[i] * a[i]
    elif code == RELU:
        for i in range(n):
            d[i] *= one if a[i] > zero else zero
    elif code == LEAKY_RELU:
        for i in range(n):
            d[i] *= one if a[i] > zero else slope
    elif code == ELU:
        for i in range(n):
            d[i] *= one if a[i] > zero else a[i] + one
    elif code == SOFTPLUS:
        for i in range(n):
            d[i] *= -expm1_negative(-a[i])  # sigmoid(z) = 1 - e^-a
    elif code == SILU:
        for i in range(n):
            s = sigmoid(z[i])
            d[i] *= s * (one + z[i] * (one - s))


@njit(fastmath=FASTMATH, **OPTIONS)
def softmax_rows(width, z, a):
    """a = softmax of each row of `width` entries of flat arrays; a may be z."""
    for start in range(0, z.size, width):
        largest = z[start]
        for o in range(start + 1, start + width):
            largest = max(largest, z[o])
        total = z.dtype.type(0)
        for o in range(start, start + width):
            a[o] = exp(z[o] - largest)
            total += a[o]
        scale = z.dtype.type(1) / total
        for o in range(start, start + width):
            a[o] *= scale


@njit(fastmath=FASTMATH, **OPTIONS)
def activate_rows(code, width, z, a):
    """a = f(z) on flat arrays that hold rows of `width`."""
    if code == SOFTMAX:
        softmax_rows(width, z, a)
    else:
        activate_elements(code, z, a)


def activate(activation: str, z__bo: Array, a__bo: Array) -> None:
    """a = f(z)"""
    activate_rows(ACTIVATIONS.index(activation), z__bo.shape[1], z__bo.reshape(-1), a__bo.reshape(-1))


def activation_derivative(activation: str, z__bo: Array, a__bo: Array, df__bo: Array) -> None:
    """df = f'(z) for an elementwise activation"""
    df__bo[...] = 1
    times_derivative(ACTIVATIONS.index(activation), z__bo.reshape(-1), a__bo.reshape(-1), df__bo.reshape(-1))
