"""One update of the parameters."""

from __future__ import annotations

from typing import Any

import numpy as np

from nanostep.backends.native._library import check_status, ffi, function, identifier, pointer
from nanostep.optimizers import OPTIMIZERS, Optimizer, refuse_arrays

Array = np.ndarray


def c_optimizer(optimizer: Optimizer) -> Any:
    """Return a new nst_optimizer."""
    return ffi.new("nst_optimizer *", {"kind": identifier("optimizer", optimizer.kind), **optimizer.hyperparameters()})


def fill(optimizer: object, address: int) -> int | None:
    """Write a checked nst_optimizer to an address and return its number of slots.

    Return None for an optimiser of a class of the user's own: its fields may not be all that there is to it.
    """
    if not isinstance(optimizer, Optimizer) or type(optimizer) is not OPTIMIZERS.get(optimizer.kind):
        return None
    optimizer.check()
    refuse_arrays(optimizer)
    ffi.cast("nst_optimizer *", address)[0] = c_optimizer(optimizer)[0]
    return len(optimizer.slots)


def update(optimizer: Optimizer, t: int, theta__p: Array, grad__p: Array, slots__sp: Array) -> None:
    """theta and slots after update number t with gradient grad"""
    dtype, n, count = theta__p.dtype, len(theta__p), len(optimizer.slots)
    call = function(dtype, "update")
    theta, grad = pointer(theta__p, (n,), dtype, writable=True), pointer(grad__p, (n,), dtype)
    slots = pointer(slots__sp, (count, n), dtype, writable=True)
    check_status(call(c_optimizer(optimizer), t, n, theta, grad, count, slots))


def apply(optimizer: Optimizer, t: int, theta__p: Array, grad__p: Array, slots__sp: Array, scale__p: Array) -> None:
    """update, with the change of theta multiplied by scale; entries of scale 0 stay as they are"""
    dtype, n, count = theta__p.dtype, len(theta__p), len(optimizer.slots)
    call = function(dtype, "apply")
    theta, grad = pointer(theta__p, (n,), dtype, writable=True), pointer(grad__p, (n,), dtype)
    slots, scale = pointer(slots__sp, (count, n), dtype, writable=True), pointer(scale__p, (n,), dtype)
    check_status(call(c_optimizer(optimizer), t, n, theta, grad, count, slots, scale))
