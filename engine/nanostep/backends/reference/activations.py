"""Activations f and their derivatives.

Constants are PyTorch's defaults: leaky_relu has slope 0.01, elu has alpha = 1, softplus has beta = 1. At the kinks of
relu and leaky_relu the derivative is that of the left side, as in PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

LEAKY_SLOPE = 0.01

Array = np.ndarray


def sigmoid(z: Array) -> Array:
    """1 / (1 + e^-z), in the form that neither overflows nor loses small values."""
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, 1, e) / (1 + e)


def softplus(z: Array) -> Array:
    """log(1 + e^z)"""
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))


def softmax(z__bo: Array) -> Array:
    """e^z / sum e^z by row, shifted by the largest z (the shift cancels)."""
    e__bo = np.exp(z__bo - z__bo.max(axis=1, keepdims=True))
    return e__bo / e__bo.sum(axis=1, keepdims=True)


FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "identity": lambda z: z,
    "sigmoid": sigmoid,
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0),
    "leaky_relu": lambda z: np.where(z > 0, z, z.dtype.type(LEAKY_SLOPE) * z),
    "elu": lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))),
    "softplus": softplus,
    "silu": lambda z: z * sigmoid(z),
    "softmax": softmax,
}

DERIVATIVES: dict[str, Callable[[Array, Array], Array]] = {
    "identity": lambda z, a: np.ones_like(z),
    "sigmoid": lambda z, a: a * (1 - a),
    "tanh": lambda z, a: 1 - a * a,
    "relu": lambda z, a: (a > 0).astype(a.dtype),
    "leaky_relu": lambda z, a: np.where(a > 0, a.dtype.type(1), a.dtype.type(LEAKY_SLOPE)),
    "elu": lambda z, a: np.where(a > 0, a.dtype.type(1), a + 1),
    "softplus": lambda z, a: -np.expm1(-a),
    "silu": lambda z, a: sigmoid(z) * (1 + z * (1 - sigmoid(z))),
}
"""f'(z), from the output a = f(z) where a determines it; silu is not monotone and needs z."""


def activate(activation: str, z__bo: Array, a__bo: Array) -> None:
    """a = f(z)"""
    a__bo[...] = FUNCTIONS[activation](z__bo)


def activation_derivative(activation: str, z__bo: Array, a__bo: Array, df__bo: Array) -> None:
    """df = f'(z) for an elementwise activation"""
    df__bo[...] = DERIVATIVES[activation](z__bo, a__bo)
