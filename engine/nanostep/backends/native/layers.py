"""The dense layer: forward pass and the two backward products."""

from __future__ import annotations

import numpy as np

from nanostep.backends.native._library import check_status, function, pointer

Array = np.ndarray


def dense_forward(x__bi: Array, w__oi: Array, b__o: Array, z__bo: Array) -> None:
    """z = x W^T + b"""
    dtype, rows, (outputs, inputs) = x__bi.dtype, len(x__bi), w__oi.shape
    call = function(dtype, "dense_forward")
    x, w = pointer(x__bi, (rows, inputs), dtype), pointer(w__oi, (outputs, inputs), dtype)
    b, z = pointer(b__o, (outputs,), dtype), pointer(z__bo, (rows, outputs), dtype, writable=True)
    check_status(call(rows, inputs, outputs, x, w, b, z))


def dense_backward_input(d__bo: Array, w__oi: Array, dx__bi: Array) -> None:
    """dx = d W"""
    dtype, rows, (outputs, inputs) = d__bo.dtype, len(d__bo), w__oi.shape
    call = function(dtype, "dense_backward_input")
    d, w = pointer(d__bo, (rows, outputs), dtype), pointer(w__oi, (outputs, inputs), dtype)
    dx = pointer(dx__bi, (rows, inputs), dtype, writable=True)
    check_status(call(rows, inputs, outputs, d, w, dx))


def dense_backward_weights(d__bo: Array, x__bi: Array, dw__oi: Array, db__o: Array) -> None:
    """dW = d^T x / batch, db = mean of d over the batch"""
    dtype, (rows, outputs), inputs = d__bo.dtype, d__bo.shape, x__bi.shape[1]
    call = function(dtype, "dense_backward_weights")
    d, x = pointer(d__bo, (rows, outputs), dtype), pointer(x__bi, (rows, inputs), dtype)
    dw = pointer(dw__oi, (outputs, inputs), dtype, writable=True)
    db = pointer(db__o, (outputs,), dtype, writable=True)
    check_status(call(rows, inputs, outputs, d, x, dw, db))
