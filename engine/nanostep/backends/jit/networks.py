"""Whole networks: predict, loss, gradient and training runs, each one compiled call without the GIL."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import numpy as np
from numba.core import config as numba_config

from nanostep._arrays import Samples
from nanostep.architecture import Architecture
from nanostep.backends.contract import Cursor, RunConfig
from nanostep.backends.jit._compile import specialised
from nanostep.backends.jit._kernel import Choice, choice, vector_bytes
from nanostep.backends.jit._threads import most_threads, run_team
from nanostep.backends.jit.arguments import Data, Extras, Lookahead, Progress, Run, State, UpdateRule, Worker
from nanostep.backends.jit.jacobian import jacobian_rows
from nanostep.backends.jit.layout import GROUP, MAX_TILE, make_net
from nanostep.backends.jit.optimizers import hyperparameters_of, rule_of
from nanostep.backends.jit.passes import mean_gradient, mean_loss, predict_rows
from nanostep.backends.jit.sample import MAX_VECTORS, weight_count
from nanostep.backends.jit.team import TEAM_WORDS
from nanostep.backends.jit.train import FUSED_SGD, train_batches, train_samples
from nanostep.backends.jit.vjp import Pull, vjp_rows
from nanostep.backends.no_short_cuts import NoShortCuts
from nanostep.backends.reference.losses import JOINED
from nanostep.backends.reference.order import drop_threshold
from nanostep.losses import Custom, unbound
from nanostep.optimizers import SGD, Optimizer

Array = np.ndarray

TEAM_FLOPS = 6e5
"""Work of an update from which a second thread can be faster."""


CALLS_LOSSES = True
"""The kernels call losses that are functions in C; see `nanostep.backends.own_loss`."""


class Engine(NoShortCuts):
    """See `nanostep.backends.contract.Engine`. Each call has its own memory, so calls may run at the same time."""

    threads = 1

    def __init__(self, architecture: Architecture, dtype: np.dtype) -> None:
        self.architecture = architecture
        self.dtype = dtype
        loss = architecture.loss_options
        self._custom: int | None = None
        if isinstance(loss, Custom):  # the same code for all of them
            self._custom = loss.address(dtype)
            architecture = replace(architecture, loss_options=unbound(Custom.name))
        self._net = make_net(architecture, dtype, vector_bytes())
        self.isa = {64: "avx512", 32: "avx2"}.get(self._net.lanes * dtype.itemsize, "")

    @cached_property
    def _weight_count(self) -> int:
        return weight_count(self._net)

    def useful_threads(self, optimizer: Optimizer, config: RunConfig, n: int) -> int:
        if 6.0 * self.architecture.parameter_count * min(config.batch, n) < TEAM_FLOPS:
            return 1
        return min(most_threads(), self._parts(config, n))

    def _parts(self, config: RunConfig, n: int) -> int:
        """Parts into which a tile can be divided."""
        return -(-min(config.batch, n, self._net.tile) // GROUP)

    def _workers(self, config: RunConfig, n: int) -> int:
        """Threads of a call: as many as the run allows, if there is work for them."""
        return 1 if numba_config.DISABLE_JIT else min(config.threads or 1, self._parts(config, n))

    def predict(self, theta__p: Array, x__ni: Array, a__no: Array) -> None:
        run = specialised(predict_rows, self._net)
        run(self._net, theta__p, len(x__ni), flat(x__ni), a__no.reshape(-1), self._memory(0))

    def loss(self, theta__p: Array, samples: Samples) -> float:
        run = specialised(mean_loss, self._net)
        return run(self._net, theta__p, self._data(samples), self._memory(0))

    def gradient(self, theta__p: Array, samples: Samples, grad__p: Array) -> float:
        run = specialised(mean_gradient, self._net)
        return run(self._net, theta__p, self._data(samples), grad__p, self._memory(0))

    def jacobian(self, theta__p: Array, x__ni: Array, a__no: Array, jac__nop: Array) -> None:
        run = specialised(jacobian_rows, self._net)
        a, jacobian = a__no.reshape(-1), jac__nop.reshape(-1)
        run(self._net, theta__p, len(x__ni), flat(x__ni), a, jacobian, self._memory(0))

    def vjp(
        self,
        theta__p: Array,
        x__ni: Array,
        dout__no: Array,
        *,
        of_z: bool,
        grad__p: Array | None,
        dx__ni: Array | None,
    ) -> None:
        if len(x__ni) == 0:
            if grad__p is not None:
                grad__p[...] = 0
            return
        none = np.empty(0, self.dtype)
        grad, dx = (none if array is None else array.reshape(-1) for array in (grad__p, dx__ni))
        pull = Pull(flat(dout__no), grad, dx, of_z, grad__p is not None, dx__ni is not None)
        run = specialised(vjp_rows, self._net)
        run(self._net, theta__p, len(x__ni), flat(x__ni), pull, self._memory(0))

    def train(
        self,
        theta__p: Array,
        slots__sp: Array,
        samples: Samples,
        optimizer: Optimizer,
        config: RunConfig,
        cursor: Cursor,
        steps: int,
        epoch_loss__e: Array,
        *,
        epoch_penalty__e: Array | None = None,
    ) -> int:
        data = self._data(samples, cursor.order if config.shuffle or config.custom_order else None)
        extras = self._extras(samples, optimizer, config)
        progress = _progress(cursor, steps, extras, epoch_loss__e, epoch_penalty__e)
        rates = np.array([optimizer.lr] if config.rates is None else config.rates[:steps], np.float64)
        self.threads = 1
        is_unweighted = extras.is_empty and data.weight is None and data.has_missing is None
        # a lone sample goes the way of batches, whose forward pass has the bits of `predict`
        is_unweighted = is_unweighted and len(samples) > 1
        in_registers = config.batch == 1 and is_unweighted and self._weight_count <= MAX_VECTORS and is_plain(optimizer)
        run = Run(steps, rates, np.uint64(config.seed), config.shuffle, config.batch)
        if in_registers:
            run = run._replace(rates=rates * config.scale)
            ended = self._train_samples(run, theta__p, data, progress, cursor)
        else:
            how = UpdateRule(hyperparameters_of(optimizer), extras, float(config.scale))
            state = State(theta__p, self._memory(len(slots__sp)), slots__sp, len(slots__sp))
            is_fused = is_plain(optimizer) and extras.squares is None and extras.factors is None
            is_fused = is_fused and config.batch <= self._net.tile
            rule = choice(self.dtype, FUSED_SGD) if is_fused else rule_of(optimizer, self.dtype)
            self.threads = self._workers(config, len(samples))
            ended = self._train_batches(rule, run, state, data, progress, how)
        cursor.epoch, cursor.row, cursor.updates = (int(value) for value in progress.counters)
        cursor.loss_sum = float(progress.loss_sum[0])
        if extras.alpha is not None:
            cursor.penalty_sum = float(progress.penalty_sum[0])
        elif epoch_penalty__e is not None:
            epoch_penalty__e[:ended] = 0.0
        return ended

    def _train_samples(self, run: Run, theta: Array, data: Data, progress: Progress, cursor: Cursor) -> int:
        net = self._net
        if cursor.backend_state is None:
            cursor.backend_state = np.zeros(net.layers[0].out_pad, self.dtype), np.array([0.0, 0.0, 1.0])
        data = data._replace(y=None) if data.labelled else data._replace(labels=None)
        state = State(theta, self._aligned(self._weight_count * net.lanes))
        return int(specialised(train_samples, net)(net, run, state, data, progress, Lookahead(*cursor.backend_state)))

    def _train_batches(
        self, rule: Choice, run: Run, state: State, data: Data, progress: Progress, how: UpdateRule
    ) -> int:
        """Train on a team of `threads` workers, each of which advances its own progress."""
        net, workers = self._net, self.threads
        train = specialised(train_batches, net, rule)
        if workers == 1:
            return int(train(net, rule, run, state, data, progress, how))
        team, losses = aligned(TEAM_WORDS, np.dtype(np.int64)), np.empty(MAX_TILE // GROUP)
        team[:] = 0

        def work(number: int) -> int:
            own = progress
            if number > 0:
                own = Progress(*(None if array is None else array.copy() for array in progress))
            worker = Worker(team, number, workers, losses)
            return int(train(net, rule, run, state, data, own, how._replace(worker=worker)))

        return run_team(work, workers)

    def _extras(self, samples: Samples, optimizer: Optimizer, config: RunConfig) -> Extras:
        p, takes_squares = np.array(config.dropout, np.float64), config.alpha > 0 or optimizer.clip_norm is not None
        is_joined = (self.architecture.loss, self.architecture.output) in JOINED
        return Extras(
            smoothing=float(config.smoothing) if config.smoothing > 0 and samples.labels is not None else None,
            p=p if p.any() else None,
            thresholds=np.array([drop_threshold(value) for value in config.dropout], np.int64) if p.any() else None,
            alpha=float(config.alpha) if config.alpha > 0 else None,
            log_clip_min=float(config.log_clip_min) if is_joined and config.log_clip_min > -np.inf else None,
            batch_mean=config.batch_mean,
            squares=np.empty(2 * self._net.groups) if takes_squares else None,
            factors=self._net.by_layer(config.layer_rates).astype(self.dtype) if config.layer_rates else None,
        )

    def _data(self, samples: Samples, order: Array | None = None) -> Data:
        """Return flat arrays of samples; y or labels is empty where it is not given."""
        none = np.empty(0, np.int64)
        y = np.empty(0, self.dtype) if samples.y is None else flat(samples.y)
        labels = none if samples.labels is None else flat(samples.labels)
        order = none if order is None else order
        weight = None if samples.weight is None else flat(samples.weight)
        missing = True if samples.has_missing else None
        return Data(
            len(samples),
            flat(samples.x),
            y,
            labels,
            order,
            order.size > 0,
            labels.size > 0,
            weight,
            missing,
            self._custom,
        )

    def _memory(self, slots: int) -> Array:
        return self._aligned(self._net.memory_size(slots))

    def _aligned(self, count: int) -> Array:
        return aligned(count, self.dtype)


def aligned(count: int, dtype: np.dtype) -> Array:
    """Return new memory, not cleared, that begins at a cache line; vectors across two lines made W4 a tenth slower."""
    length = count * dtype.itemsize
    memory = np.empty(length + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + length].view(dtype)


def _progress(
    cursor: Cursor, steps: int, extras: Extras, epoch_loss__e: Array, epoch_penalty__e: Array | None
) -> Progress:
    counters = np.array([cursor.epoch, cursor.row, cursor.updates], np.int64)
    progress = Progress(counters, np.array([cursor.loss_sum]), epoch_loss__e)
    if extras.alpha is None:
        return progress
    by_epoch = np.empty(steps) if epoch_penalty__e is None else epoch_penalty__e
    return progress._replace(penalty_sum=np.array([cursor.penalty_sum]), epoch_penalty=by_epoch)


def is_plain(optimizer: Optimizer) -> bool:
    """True if an update is theta - lr * gradient."""
    return isinstance(optimizer, SGD) and optimizer.is_plain


class _Memory:
    """Memory of an array, exposed by the array interface as writable; keeps its owner alive."""

    def __init__(self, owner: Array) -> None:
        address, _ = owner.__array_interface__["data"]
        self.__array_interface__ = {**owner.__array_interface__, "data": (address, False)}
        self.owner = owner


def flat(array: Array) -> Array:
    """Return a contiguous array as a flat one that Numba takes for writable.

    A read-only array has another type in Numba, and would need a compilation of its own. Kernels do not write to data,
    which the conformance suite checks.
    """
    return np.asarray(array if array.flags.writeable else _Memory(array)).reshape(-1)
