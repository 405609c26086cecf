"""Activations and their derivatives."""

from __future__ import annotations

import numpy as np

from nanostep.backends.native._library import check_status, function, identifier, pointer

Array = np.ndarray


def activate(activation: str, z__bo: Array, a__bo: Array) -> None:
    """a = f(z)"""
    dtype, shape = z__bo.dtype, z__bo.shape
    call = function(dtype, "activate")
    z, a = pointer(z__bo, shape, dtype), pointer(a__bo, shape, dtype, writable=True)
    check_status(call(identifier("activation", activation), *shape, z, a))


def activation_derivative(activation: str, z__bo: Array, a__bo: Array, df__bo: Array) -> None:
    """df = f'(z) for an elementwise activation"""
    dtype, shape = z__bo.dtype, z__bo.shape
    call = function(dtype, "activation_derivative")
    z, a = pointer(z__bo, shape, dtype), pointer(a__bo, shape, dtype)
    df = pointer(df__bo, shape, dtype, writable=True)
    check_status(call(identifier("activation", activation), *shape, z, a, df))
