"""Losses, their derivatives, and the output delta."""

from __future__ import annotations

import numpy as np

from nanostep.backends.native._library import check_status, ffi, function, identifier, pointer

Array = np.ndarray


def loss_value(loss: str, output: str, z__bo: Array, a__bo: Array, y__bo: Array) -> float:
    """mean over the batch of L"""
    dtype, shape = z__bo.dtype, z__bo.shape
    call = function(dtype, "loss_value")
    z, a, y = (pointer(array, shape, dtype) for array in (z__bo, a__bo, y__bo))
    value = ffi.new("double *")
    check_status(call(identifier("loss", loss), identifier("activation", output), *shape, z, a, y, value))
    return value[0]


def loss_derivative(loss: str, a__bo: Array, y__bo: Array, da__bo: Array) -> None:
    """da = dL/da of each sample"""
    dtype, shape = a__bo.dtype, a__bo.shape
    call = function(dtype, "loss_derivative")
    a, y = pointer(a__bo, shape, dtype), pointer(y__bo, shape, dtype)
    da = pointer(da__bo, shape, dtype, writable=True)
    check_status(call(identifier("loss", loss), *shape, a, y, da))


def output_delta(loss: str, output: str, z__bo: Array, a__bo: Array, y__bo: Array, d__bo: Array) -> None:
    """d = dL/dz of each sample"""
    dtype, shape = z__bo.dtype, z__bo.shape
    call = function(dtype, "output_delta")
    z, a, y = (pointer(array, shape, dtype) for array in (z__bo, a__bo, y__bo))
    d = pointer(d__bo, shape, dtype, writable=True)
    check_status(call(identifier("loss", loss), identifier("activation", output), *shape, z, a, y, d))
