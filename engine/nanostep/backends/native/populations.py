"""Populations in C: networks in the lanes of vectors, or one by one where that is faster or the lanes do not do it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nanostep.architecture import Architecture
from nanostep.backends.native import networks
from nanostep.backends.native._library import check_status, ffi, function, isa_name, lib, pointer
from nanostep.backends.native._pool import most_threads, pool_for
from nanostep.backends.native.optimizers import c_optimizer
from nanostep.backends.populations import InLanes, PopulationCall, PopulationPlan, PopulationSamples
from nanostep.optimizers import SGD, Optimizer

Array = np.ndarray
INT64, FLOAT64, BOOL = np.dtype(np.int64), np.dtype(np.float64), np.dtype(bool)


class Engine(InLanes):
    """See `nanostep.backends.populations.PopulationEngine`."""

    def __init__(self, architecture: Architecture, dtype: np.dtype) -> None:
        self._single = networks.Engine(architecture, dtype)
        super().__init__(self._single, architecture, dtype, most_threads)

    def lanes_pay(self, networks: int, optimizer: Optimizer, plan: PopulationPlan) -> bool:
        joined = self._architecture.loss != "binary_cross_entropy" or self._architecture.output == "sigmoid"
        return joined and super().lanes_pay(networks, optimizer, plan)

    def _lanes_do(self, data: PopulationSamples, call: PopulationCall) -> bool:
        return True

    def _train_in_lanes(
        self,
        theta__mp: Array,
        slots__msp: Array,
        data: PopulationSamples,
        optimizer: Optimizer,
        plan: PopulationPlan,
        call: PopulationCall,
    ) -> tuple[str, int]:
        net, dtype, n, (networks, parameters) = self._single._net, self._dtype, len(data), theta__mp.shape
        slots, count = len(optimizer.slots), len(call.who)
        one = replace(plan.of(0), alpha=0.0, threads=most_threads() if plan.threads is None else plan.threads)
        rates = ffi.NULL
        if call.rates is not None:
            steps = call.epochs * -(-n // plan.batch)
            rates = pointer(call.rates, (len(call.rates), steps), FLOAT64)
            if len(call.rates) == 1:
                one, rates = replace(one, rates=call.rates[0]), ffi.NULL
        pool = pool_for(one.threads)
        c_plan = self._single._plan(one, pool)
        size = ffi.new("size_t *")
        check_status(function(dtype, "population_workspace_size")(net, slots, c_plan, n, call.epochs, size))
        workspace = np.empty(size[0], np.uint8)
        rows = ffi.NULL if data.rows is None else pointer(data.rows, (networks, n), INT64)
        weight = ffi.NULL if data.weight is None else pointer(data.weight, (networks, n), dtype)
        order = ffi.NULL if call.order is None else pointer(call.order, (call.epochs, n), INT64)
        alpha = penalty = ffi.NULL
        if plan.alpha is not None:
            alpha = pointer(plan.alpha, (networks,), FLOAT64)
            penalty = pointer(call.penalty, (count, call.epochs), FLOAT64, writable=True)
        all_rows, x, y, labels, _ = self._single._samples(data.samples)
        hyper = _Hyperparameters(optimizer, networks)
        plain = isinstance(optimizer, SGD) and optimizer.is_plain and plan.is_simple and data.weight is None
        isa, threads = ffi.new("int32_t *"), ffi.new("int32_t *")
        status = function(dtype, "population_train")(
            net, networks, count, pointer(call.who, (count,), INT64),
            pointer(theta__mp, (networks, parameters), dtype, writable=True), slots,
            pointer(slots__msp, (networks, slots, parameters), dtype, writable=True),
            n, all_rows, x, y, labels, rows, weight, order, hyper.c, rates, alpha, plain, c_plan,
            call.epoch, call.updates, call.epochs,
            pointer(call.loss, (count, call.epochs), FLOAT64, writable=True), penalty,
            pointer(call.done, (count,), BOOL, writable=True), isa, threads,
            ffi.from_buffer("char[]", workspace, require_writable=True), len(workspace),
        )  # fmt: skip
        if status != lib.NST_E_CANCELLED:
            check_status(status)
        return isa_name(isa[0]), threads[0]


class _Hyperparameters:
    """The nst_optimizers of an optimiser, and what it refers to."""

    def __init__(self, optimizer: Optimizer, networks: int) -> None:
        self.c = ffi.new("nst_optimizers *")
        self.c.shared = c_optimizer(optimizer.of(0))[0]
        self._arrays = {name: np.ascontiguousarray(values, FLOAT64) for name, values in optimizer.arrays().items()}
        for name, values in self._arrays.items():
            setattr(self.c, name, pointer(values, (networks,), FLOAT64))
