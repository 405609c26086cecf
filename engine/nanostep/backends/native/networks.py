"""Whole networks: predict, loss, gradient and training runs, each one call of the C library without the GIL."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from nanostep._arrays import Samples
from nanostep.architecture import Architecture
from nanostep.backends.contract import Cursor, Plan
from nanostep.backends.native._library import (
    Row,
    check_status,
    ffi,
    function,
    identifier,
    isa_in_use,
    isa_name,
    lib,
    open_row,
    pointer,
)
from nanostep.backends.native._pool import most_threads, pool_for
from nanostep.backends.native.optimizers import c_optimizer
from nanostep.optimizers import Optimizer

Array = np.ndarray
INT64 = np.dtype(np.int64)
REGIMES = ("tiny", "samples", "tiles", "blocks")
"""Names of nst_regime, in order."""


class Engine:
    """See `nanostep.backends.contract.Engine`. Each call has a workspace of its own, so calls may overlap in time."""

    def __init__(self, architecture: Architecture, dtype: np.dtype) -> None:
        self.architecture = architecture
        self.dtype = dtype
        self.isa = isa_in_use()
        self.threads = 1
        self._sizes = ffi.new("size_t[]", architecture.sizes)
        self._activations = ffi.new("int32_t[]", [identifier("activation", a) for a in architecture.activations])
        self._net = ffi.new(
            "nst_architecture *",
            {
                "layers": len(architecture.activations),
                "sizes": self._sizes,
                "activations": self._activations,
                "loss": identifier("loss", architecture.loss),
            },
        )

        # a row and the theta that it is for, exchanged together: threads may call at the same time
        self._row: tuple[Array | None, Any] = (None, None)

    def predict_row(self, theta__p: Array, x: object) -> Array | None:
        theta, row = self._row
        return (row if theta is theta__p else self._open_row(theta__p)).predict(x)

    def step_row(self, theta__p: Array, x: object, y: object, lr: object) -> float | None:
        theta, row = self._row
        return (row if theta is theta__p else self._open_row(theta__p)).step(x, y, lr)

    def _open_row(self, theta__p: Array) -> Row:
        row = open_row(self._net, theta__p, self.architecture.inputs, self.architecture.outputs)
        self._row = theta__p, row
        return row

    def useful_threads(self, optimizer: Optimizer, plan: Plan, n: int) -> int:
        return self.choose(optimizer, replace(plan, threads=most_threads()), n)["threads"]

    def choose(self, optimizer: Optimizer, plan: Plan, n: int) -> dict[str, Any]:
        """Return which kernels a run would use: the fields of nst_choice by names, and whether each layer is wide."""
        choice = ffi.new("nst_choice *")
        wide = ffi.new("int32_t[]", len(self.architecture.activations))
        pool = pool_for(plan.threads)
        c_plan = self._plan(plan, pool)
        check_status(function(self.dtype, "choose")(self._net, n, c_optimizer(optimizer), c_plan, choice, wide))
        fields = {name: getattr(choice[0], name) for name, _ in ffi.typeof("nst_choice").fields}
        return {**fields, "regime": REGIMES[choice.regime], "isa": isa_name(choice.isa), "wide": list(map(bool, wide))}

    def predict(self, theta__p: Array, x__ni: Array, a__no: Array) -> None:
        a = pointer(a__no, (len(x__ni), self.architecture.outputs), self.dtype, writable=True)
        call = function(self.dtype, "predict")
        check_status(call(self._net, self._theta(theta__p), len(x__ni), self._inputs(x__ni), a, *self._workspace(0)))

    def loss(self, theta__p: Array, samples: Samples) -> float:
        value = ffi.new("double *")
        call = function(self.dtype, "loss")
        check_status(call(self._net, self._theta(theta__p), *self._samples(samples), *self._workspace(0), value))
        return value[0]

    def gradient(self, theta__p: Array, samples: Samples, grad__p: Array) -> float:
        value = ffi.new("double *")
        grad = self._theta(grad__p, writable=True)
        call = function(self.dtype, "gradient")
        check_status(call(self._net, self._theta(theta__p), *self._samples(samples), *self._workspace(0), grad, value))
        return value[0]

    def train(
        self,
        theta__p: Array,
        slots__sp: Array,
        samples: Samples,
        optimizer: Optimizer,
        plan: Plan,
        cursor: Cursor,
        steps: int,
        epoch_loss__e: Array,
    ) -> int:
        count = len(optimizer.slots)
        theta = self._theta(theta__p, writable=True)
        slots = pointer(slots__sp, (count, len(theta__p)), self.dtype, writable=True)
        order = pointer(cursor.order, (len(samples) if plan.shuffle else 0,), INT64, writable=True)
        losses = pointer(epoch_loss__e, epoch_loss__e.shape, np.dtype(np.float64), writable=True)
        steps_per_epoch = -(-len(samples) // plan.batch)
        if len(epoch_loss__e) < steps // steps_per_epoch + (steps % steps_per_epoch > 0):
            raise ValueError(f"epoch_loss has room for {len(epoch_loss__e)} epochs; {steps} steps may end more")
        # held here until the call is over: the plan does not keep it alive
        pool = pool_for(plan.threads)
        c_plan = self._plan(plan, pool)
        if cursor.carry is None:
            cursor.carry = ffi.new("nst_cursor *"), *self._workspace(count)
        c_cursor, memory, size = cursor.carry
        c_cursor.order, c_cursor.epoch, c_cursor.row = order, cursor.epoch, cursor.row
        c_cursor.updates, c_cursor.loss_sum = cursor.updates, cursor.loss_sum
        ended = ffi.new("size_t *")
        call = function(self.dtype, "train")
        status = call(
            self._net, theta, count, slots, *self._samples(samples), c_optimizer(optimizer), c_plan, c_cursor, steps,
            losses, ended, memory, size,
        )  # fmt: skip
        cursor.epoch, cursor.row = c_cursor.epoch, c_cursor.row
        cursor.updates, cursor.loss_sum = c_cursor.updates, c_cursor.loss_sum
        if status != lib.NST_E_CANCELLED:
            check_status(status)
        self.isa, self.threads = isa_name(c_cursor.isa), c_cursor.threads
        return ended[0]

    def _plan(self, plan: Plan, pool: Any) -> Any:
        """Return a new nst_plan; whoever uses it holds the pool and plan.cancel."""
        cancel = ffi.NULL if plan.cancel is None else pointer(plan.cancel, (1,), np.dtype(np.int32))
        fields = {"batch": plan.batch, "seed": plan.seed, "shuffle": plan.shuffle, "threads": plan.threads or 0}
        return ffi.new("nst_plan *", {**fields, "pool": pool, "cancel": cancel})

    def _theta(self, theta__p: Array, *, writable: bool = False) -> Any:
        return pointer(theta__p, (self.architecture.parameter_count,), self.dtype, writable=writable)

    def _inputs(self, x__ni: Array) -> Any:
        return pointer(x__ni, (len(x__ni), self.architecture.inputs), self.dtype)

    def _samples(self, samples: Samples) -> tuple[int, Any, Any, Any]:
        """Return n, x, y and labels as the C library takes them."""
        n = len(samples)
        y = labels = ffi.NULL
        if samples.y is not None:
            y = pointer(samples.y, (n, self.architecture.outputs), self.dtype)
        if samples.labels is not None:
            labels = pointer(samples.labels, (n,), INT64)
        return n, self._inputs(samples.x), y, labels

    def _workspace(self, slot_count: int) -> tuple[Any, int]:
        """Return new working memory and its size in bytes; nothing is cleared."""
        size = ffi.new("size_t *")
        check_status(function(self.dtype, "workspace_size")(self._net, slot_count, size))
        return ffi.from_buffer("char[]", np.empty(size[0], np.uint8), require_writable=True), size[0]
