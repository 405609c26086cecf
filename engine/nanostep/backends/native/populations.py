"""Populations in C: networks in the lanes of vectors, or one by one where that is faster or lanes do not support it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from nanostep.architecture import Architecture
from nanostep.backends.in_lanes import InLanes
from nanostep.backends.native import networks, optimizers
from nanostep.backends.native._library import check_status, ffi, function, isa_name, lib, pointer
from nanostep.backends.native._pool import most_threads, pool_for
from nanostep.backends.native.optimizers import c_optimizer
from nanostep.backends.population_contract import (
    PopulationSamples,
    PopulationTask,
    PopulationTraining,
)
from nanostep.optimizers import SGD, Optimizer

Array = np.ndarray
INT64, FLOAT64, BOOL = np.dtype(np.int64), np.dtype(np.float64), np.dtype(bool)


class Engine(InLanes):
    """See `nanostep.backends.population_contract.PopulationEngine`."""

    def __init__(self, architecture: Architecture, dtype: np.dtype) -> None:
        self._single = networks.Engine(architecture, dtype)
        super().__init__(self._single, architecture, optimizers, dtype, most_threads)

    def _lanes_fit(self, networks: int, slots: int = 0, vectors: int = 1) -> bool:
        joined = self._architecture.loss != "binary_cross_entropy" or self._architecture.output == "sigmoid"
        return joined and super()._lanes_fit(networks, slots, vectors)

    def _lanes_support(self, data: PopulationSamples, call: PopulationTask) -> bool:
        return True

    def predict(
        self,
        theta__mp: Array,
        x: Array,
        a__kno: Array,
        index__k: Array | None = None,
        rows__mn: Array | None = None,
        threads: int | None = None,
    ) -> None:
        networks = len(theta__mp)
        if not self._lanes_fit(networks):
            super().predict(theta__mp, x, a__kno, index__k, rows__mn)
            return
        if x.ndim == 3:
            rows__mn = np.arange(networks * x.shape[1]).reshape(x.shape[:2])
            x = x.reshape(-1, x.shape[2])
        indices = np.arange(networks) if index__k is None else index__k
        n = len(x) if rows__mn is None else rows__mn.shape[1]
        rows = ffi.NULL if rows__mn is None else pointer(rows__mn, (networks, n), INT64)
        a = pointer(a__kno, (len(indices), n, self._architecture.outputs), self._dtype, writable=True)
        task = n, len(x), self._single._inputs(x), rows, a
        self._evaluate("population_predict", theta__mp, indices, task, threads)

    def loss(
        self,
        theta__mp: Array,
        data: PopulationSamples,
        loss__k: Array,
        index__k: Array | None = None,
        threads: int | None = None,
    ) -> None:
        networks, n = len(theta__mp), len(data)
        if data.samples.has_missing or not self._lanes_fit(networks):
            super().loss(theta__mp, data, loss__k, index__k)
            return
        indices = np.arange(networks) if index__k is None else index__k
        samples = self._of_networks(data, networks)
        value = pointer(loss__k, (len(indices),), FLOAT64, writable=True)
        self._evaluate("population_loss", theta__mp, indices, (n, *samples, value), threads)

    def gradient(self, theta__mp: Array, data: PopulationSamples, loss__m: Array, grad__mp: Array) -> None:
        networks, n, single, weight = len(theta__mp), len(data), self._single, _weights(data, len(theta__mp))
        samples = replace(data.samples if data.rows is None else data.samples.take(data.rows.reshape(-1)), weight=None)
        _, x, y, labels, _ = single._samples(samples)
        own_weight = ffi.NULL if weight is None else pointer(weight, (networks, n), self._dtype)
        grad, value = self._thetas(grad__mp), pointer(loss__m, (networks,), FLOAT64, writable=True)
        call, net = function(self._dtype, "population_gradient"), single._net_of(data.samples)
        own, theta, memory = data.rows is not None, self._thetas(theta__mp), single._workspace(0)
        check_status(call(net, networks, theta, n, own, x, y, labels, own_weight, *memory, grad, value))

    def vjp(
        self,
        theta__mp: Array,
        x: Array,
        dout__mno: Array,
        *,
        of_z: bool,
        grad__mp: Array | None,
        dx__mni: Array | None,
    ) -> None:
        networks, n, single, dtype = len(theta__mp), x.shape[-2], self._single, self._dtype
        inputs, outputs = self._architecture.inputs, self._architecture.outputs
        dout = pointer(dout__mno, (networks, n, outputs), dtype)
        grad = ffi.NULL if grad__mp is None else self._thetas(grad__mp)
        dx = ffi.NULL if dx__mni is None else pointer(dx__mni, (networks, n, inputs), dtype, writable=True)
        call, theta, memory = function(dtype, "population_vjp"), self._thetas(theta__mp), single._workspace(0)
        own, rows = x.ndim == 3, pointer(x, x.shape, dtype)
        check_status(call(single._net, networks, theta, n, own, rows, dout, of_z, *memory, grad, dx))

    def apply(
        self,
        optimizer: Optimizer,
        updates__m: Array,
        theta__mp: Array,
        grad__mp: Array,
        slots__msp: Array,
        scale__mp: Array | None,
    ) -> None:
        momentum = optimizer.arrays().get("momentum")
        if momentum is not None and momentum.any() and not momentum.all():  # some have fewer slots
            super().apply(optimizer, updates__m, theta__mp, grad__mp, slots__msp, scale__mp)
            return
        (networks, count), slots, dtype = theta__mp.shape, slots__msp.shape[1], self._dtype
        hyper, updates = _Hyperparameters(optimizer, networks), pointer(updates__m, (networks,), INT64)
        theta, grad = self._thetas(theta__mp), self._thetas(grad__mp, writable=False)
        own_slots = pointer(slots__msp, slots__msp.shape, dtype, writable=True)
        scale = ffi.NULL if scale__mp is None else self._thetas(scale__mp, writable=False)
        call = function(dtype, "population_apply")
        check_status(call(hyper.c, networks, updates, count, theta, grad, slots, own_slots, scale))

    def _thetas(self, array__mp: Array, *, writable: bool = True) -> Any:
        """A pointer to parameters of all networks, or what is laid out as these."""
        shape = len(array__mp), self._architecture.parameter_count
        return pointer(array__mp, shape, self._dtype, writable=writable)

    def _evaluate(
        self, name: str, theta__mp: Array, index__k: Array, task: tuple[Any, ...], threads: int | None
    ) -> None:
        """Call the function `name` of the C library for the networks `index__k`."""
        net, dtype = self._single._net, self._dtype
        indices = pointer(index__k, (len(index__k),), INT64)
        theta = pointer(theta__mp, (len(theta__mp), self._architecture.parameter_count), dtype)
        pool, size = pool_for(threads), ffi.new("size_t *")
        check_status(function(dtype, "population_evaluation_size")(net, pool, size))
        workspace = ffi.from_buffer("char[]", np.empty(size[0], np.uint8), require_writable=True)
        state = net, len(theta__mp), len(index__k), indices, theta
        check_status(function(dtype, name)(*state, *task, pool, threads or 0, workspace, size[0]))

    def _of_networks(self, data: PopulationSamples, networks: int) -> tuple[Any, ...]:
        """Return the number of rows, x, y, labels, and each network's rows and weights, as C arguments."""
        all_rows, x, y, labels, _ = self._single._samples(data.samples)
        shape = networks, len(data)
        rows = ffi.NULL if data.rows is None else pointer(data.rows, shape, INT64)
        weight = ffi.NULL if data.weight is None else pointer(data.weight, shape, self._dtype)
        return all_rows, x, y, labels, rows, weight

    def _train_in_lanes(self, training: PopulationTraining, call: PopulationTask) -> tuple[str, int]:
        theta__mp, slots__msp, data, optimizer, config = training
        net, dtype, n, (networks, parameters) = self._single._net, self._dtype, len(data), theta__mp.shape
        slots, count = len(optimizer.slots), len(call.indices)
        one = replace(config.of(0), alpha=0.0, threads=most_threads() if config.threads is None else config.threads)
        rates = ffi.NULL
        if call.rates is not None:
            steps = call.epochs * -(-n // config.batch)
            rates = pointer(call.rates, (len(call.rates), steps), FLOAT64)
            if len(call.rates) == 1:
                one, rates = replace(one, rates=call.rates[0]), ffi.NULL
        pool = pool_for(one.threads)
        c_run = self._single._c_run(one, pool)
        size = ffi.new("size_t *")
        check_status(function(dtype, "population_workspace_size")(net, slots, c_run, n, call.epochs, size))
        workspace = np.empty(size[0], np.uint8)
        order = ffi.NULL if call.order is None else pointer(call.order, (call.epochs, n), INT64)
        alpha = penalty = ffi.NULL
        if config.alpha is not None:
            alpha = pointer(config.alpha, (networks,), FLOAT64)
            penalty = pointer(call.penalty, (count, call.epochs), FLOAT64, writable=True)
        hyper = _Hyperparameters(optimizer, networks)
        plain = isinstance(optimizer, SGD) and optimizer.is_plain and config.is_simple and data.weight is None
        isa, threads = ffi.new("int32_t *"), ffi.new("int32_t *")
        status = function(dtype, "population_train")(
            net, networks, count, pointer(call.indices, (count,), INT64),
            pointer(theta__mp, (networks, parameters), dtype, writable=True), slots,
            pointer(slots__msp, (networks, slots, parameters), dtype, writable=True),
            n, *self._of_networks(data, networks), order, hyper.c, rates, alpha, plain, c_run,
            call.epoch, call.updates, call.epochs,
            pointer(call.loss, (count, call.epochs), FLOAT64, writable=True), penalty,
            pointer(call.done, (count,), BOOL, writable=True), isa, threads,
            ffi.from_buffer("char[]", workspace, require_writable=True), len(workspace),
        )  # fmt: skip
        if status != lib.NST_E_CANCELLED:
            check_status(status)
        return isa_name(isa[0]), threads[0]


def _weights(data: PopulationSamples, networks: int) -> Array | None:
    """Return the weight of each network's samples, those of missing labels included."""
    weight, of_rows = data.weight, data.samples.weight
    if of_rows is None:
        return weight
    own = np.broadcast_to(of_rows, (networks, len(of_rows))) if data.rows is None else of_rows[data.rows]
    return np.ascontiguousarray(own if weight is None else weight * own)


class _Hyperparameters:
    """The nst_optimizers of an optimiser, and the arrays that it points to."""

    def __init__(self, optimizer: Optimizer, networks: int) -> None:
        self.c = ffi.new("nst_optimizers *")
        self.c.shared = c_optimizer(optimizer.of(0))[0]
        self._arrays = {name: np.ascontiguousarray(values, FLOAT64) for name, values in optimizer.arrays().items()}
        for name, values in self._arrays.items():
            setattr(self.c, name, pointer(values, (networks,), FLOAT64))
