"""Losses, their derivatives, and the output delta."""

from __future__ import annotations

from typing import Any

import numpy as np

from nanostep.backends.native._library import check_status, ffi, function, identifier, pointer
from nanostep.losses import Custom, Loss, Quantile, delta_of, name_of

Array = np.ndarray


def c_loss(loss: str | Loss, dtype: np.dtype | None = None) -> tuple[int, Any, Any]:
    """Return the nst_loss of a loss, its nst_loss_options, null for the defaults, and what they point to: the caller
    must keep both alive while they are used. A function of the user's is for one `dtype`."""
    number = identifier("loss", name_of(loss))
    if isinstance(loss, str):
        return number, ffi.NULL, None
    options, quantiles = ffi.new("nst_loss_options *"), None
    options.delta = delta_of(loss)
    if isinstance(loss, Quantile):
        quantiles = ffi.new("double[]", loss.quantiles)
        options.quantiles, options.quantile__q = len(quantiles), quantiles
    if isinstance(loss, Custom) and dtype is not None:
        field = "custom_f32" if dtype == np.float32 else "custom_f64"
        setattr(options, field, ffi.cast(f"nst_f{8 * dtype.itemsize}_loss_function *", loss.address(dtype)))
    return number, options, quantiles


def loss_value(loss: str | Loss, output: str, z__bo: Array, a__bo: Array, y__bo: Array) -> float:
    """mean over the batch of L"""
    dtype, shape = z__bo.dtype, z__bo.shape
    call = function(dtype, "loss_value")
    z, a, y = (pointer(array, shape, dtype) for array in (z__bo, a__bo, y__bo))
    value = ffi.new("double *")
    number, options, _kept = c_loss(loss)
    check_status(call(number, options, identifier("activation", output), *shape, z, a, y, value))
    return value[0]


def loss_derivative(loss: str | Loss, a__bo: Array, y__bo: Array, da__bo: Array) -> None:
    """da = dL/da of each sample"""
    dtype, shape = a__bo.dtype, a__bo.shape
    call = function(dtype, "loss_derivative")
    a, y = pointer(a__bo, shape, dtype), pointer(y__bo, shape, dtype)
    da = pointer(da__bo, shape, dtype, writable=True)
    number, options, _kept = c_loss(loss)
    check_status(call(number, options, *shape, a, y, da))


def output_delta(loss: str | Loss, output: str, z__bo: Array, a__bo: Array, y__bo: Array, d__bo: Array) -> None:
    """d = dL/dz of each sample"""
    dtype, shape = z__bo.dtype, z__bo.shape
    call = function(dtype, "output_delta")
    z, a, y = (pointer(array, shape, dtype) for array in (z__bo, a__bo, y__bo))
    d = pointer(d__bo, shape, dtype, writable=True)
    number, options, _kept = c_loss(loss)
    check_status(call(number, options, identifier("activation", output), *shape, z, a, y, d))
