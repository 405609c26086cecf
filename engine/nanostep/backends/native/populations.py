"""Populations in C: networks in the lanes of vectors, or one by one where that is faster or the lanes do not do it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from nanostep.architecture import Architecture
from nanostep.backends.native import networks
from nanostep.backends.native._library import check_status, ffi, function, identifier, isa_name, lib, pointer
from nanostep.backends.native._pool import most_threads, pool_for
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
        return call.rates is None

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
        pool = pool_for(one.threads)
        c_plan = self._single._plan(one, pool)
        size = ffi.new("size_t *")
        check_status(function(dtype, "population_workspace_size")(net, slots, c_plan, n, call.epochs, size))
        workspace = np.empty(size[0], np.uint8)
        rows = ffi.NULL if data.rows is None else pointer(data.rows, (networks, n), INT64)
        weight = ffi.NULL if data.weight is None else pointer(data.weight, (networks, n), dtype)
        order = ffi.NULL if call.order is None else pointer(call.order, (call.epochs, n), INT64)
        alpha__k = None if plan.alpha is None else np.ascontiguousarray(plan.alpha[call.who], FLOAT64)
        alpha = ffi.NULL if alpha__k is None else pointer(alpha__k, (count,), FLOAT64)
        all_rows, x, y, labels, _ = self._single._samples(data.samples)
        optimizers = ffi.from_buffer("nst_optimizer[]", optimizer_table(optimizer, call.who))
        plain = isinstance(optimizer, SGD) and optimizer.is_plain and plan.is_simple and data.weight is None
        isa, threads = ffi.new("int32_t *"), ffi.new("int32_t *")
        status = function(dtype, "population_train")(
            net, networks, count, pointer(call.who, (count,), INT64),
            pointer(theta__mp, (networks, parameters), dtype, writable=True), slots,
            pointer(slots__msp, (networks, slots, parameters), dtype, writable=True),
            n, all_rows, x, y, labels, rows, weight, order, optimizers, alpha, plain, c_plan,
            call.epoch, call.updates, call.epochs,
            pointer(call.loss, (count, call.epochs), FLOAT64, writable=True),
            pointer(call.penalty, (count, call.epochs), FLOAT64, writable=True),
            pointer(call.done, (count,), BOOL, writable=True), isa, threads,
            ffi.from_buffer("char[]", workspace, require_writable=True), len(workspace),
        )  # fmt: skip
        if status != lib.NST_E_CANCELLED:
            check_status(status)
        return isa_name(isa[0]), threads[0]


@cache
def _optimizer_type() -> np.dtype:
    """nst_optimizer as NumPy lays it out."""
    members = ffi.typeof("nst_optimizer").fields
    kinds = {"int32_t": np.int32, "double": np.float64}
    return np.dtype(
        {
            "names": [name for name, _ in members],
            "formats": [kinds[member.type.cname] for _, member in members],
            "offsets": [member.offset for _, member in members],
            "itemsize": ffi.sizeof("nst_optimizer"),
        }
    )


def optimizer_table(optimizer: Optimizer, who__k: Array) -> Array:
    """Return an nst_optimizer for each of some networks, one after another."""
    table = np.zeros(len(who__k), _optimizer_type())
    table["kind"] = identifier("optimizer", optimizer.kind)
    for name, value in optimizer.of(0).hyperparameters().items():
        table[name] = value
    for name, values in optimizer.arrays().items():
        table[name] = values[who__k]
    return table
