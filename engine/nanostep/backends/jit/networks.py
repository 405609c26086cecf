"""Whole networks: predict, loss, gradient and training runs, each one compiled call without the GIL."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.core import config

from nanostep._arrays import Samples
from nanostep.architecture import Architecture
from nanostep.backends.contract import Cursor, Plan
from nanostep.backends.jit._compile import specialised
from nanostep.backends.jit._kernel import vector_bytes
from nanostep.backends.jit._threads import most_threads, run_team
from nanostep.backends.jit.layout import GROUP, MAX_TILE, make_net
from nanostep.backends.jit.optimizers import hyperparameter_array, rule_of
from nanostep.backends.jit.sample import is_small, weight_count
from nanostep.backends.jit.team import TEAM_WORDS
from nanostep.backends.jit.train import (
    mean_gradient,
    mean_loss,
    predict_rows,
    train_batches,
    train_descents,
    train_samples,
)
from nanostep.optimizers import Optimizer

Array = np.ndarray

TEAM_FLOPS = 6e5
"""Work of an update from which on a second thread may pay."""


class Engine:
    """See `nanostep.backends.contract.Engine`. Each call has memory of its own, so calls may overlap in time."""

    threads = 1

    def __init__(self, architecture: Architecture, dtype: np.dtype) -> None:
        self.architecture = architecture
        self.dtype = dtype
        self._net = make_net(architecture, dtype, vector_bytes())
        self.isa = {64: "avx512", 32: "avx2"}.get(self._net.lanes * dtype.itemsize, "")

    def predict_row(self, theta__p: Array, x: object) -> None:
        return None

    def step_row(self, theta__p: Array, x: object, y: object, lr: object) -> None:
        return None

    def useful_threads(self, optimizer: Optimizer, plan: Plan, n: int) -> int:
        if 6.0 * self.architecture.parameter_count * min(plan.batch, n) < TEAM_FLOPS:
            return 1
        return min(most_threads(), self._parts(plan, n))

    def _parts(self, plan: Plan, n: int) -> int:
        """Parts that a tile can be handed out in."""
        return -(-min(plan.batch, n, self._net.tile) // GROUP)

    def _members(self, plan: Plan, n: int) -> int:
        """Threads that a call takes: as many as were asked for, if there is work for them."""
        return 1 if config.DISABLE_JIT else min(plan.threads or 1, self._parts(plan, n))

    def predict(self, theta__p: Array, x__ni: Array, a__no: Array) -> None:
        run = specialised(predict_rows, self._net)
        run(self._net, theta__p, len(x__ni), _flat(x__ni), a__no.reshape(-1), self._memory(0))

    def loss(self, theta__p: Array, samples: Samples) -> float:
        run = specialised(mean_loss, self._net)
        return run(self._net, theta__p, *self._data(samples), self._memory(0))

    def gradient(self, theta__p: Array, samples: Samples, grad__p: Array) -> float:
        run = specialised(mean_gradient, self._net)
        return run(self._net, theta__p, *self._data(samples), grad__p, self._memory(0))

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
        h = optimizer.hyperparameters()
        plain = optimizer.kind == "sgd" and not optimizer.slots and h["weight_decay"] == 0
        self.threads = 1
        place = np.array([cursor.epoch, cursor.row, cursor.updates], np.int64)
        loss_sum = np.array([cursor.loss_sum])
        net, seed = self._net, np.uint64(plan.seed)
        data = (*self._data(samples), cursor.order, place, loss_sum, epoch_loss__e)
        if plain and plan.batch == 1 and is_small(net):
            if cursor.carry is None:
                cursor.carry = np.zeros(net.layers[0].out_pad, self.dtype), np.array([0.0, 0.0, 1.0])
            n, x, y, labels, *rest = data
            targets = (None, labels) if samples.y is None else (y, None)
            run = specialised(train_samples, net)
            memory = self._aligned(weight_count(net) * net.lanes)
            ended = run(net, h["lr"], seed, steps, theta__p, n, x, *targets, *rest, memory, *cursor.carry)
        elif plain and plan.batch <= net.tile:
            members = self._members(plan, len(samples))
            run = specialised(train_descents, net)
            ended = self._share(run, members, net, h["lr"], plan.batch, seed, steps, theta__p, *data, self._memory(0))
        else:
            rule, members = rule_of(optimizer, self.dtype), self._members(plan, len(samples))
            run = specialised(train_batches, net, rule)
            ended = self._share(
                run, members, net, rule, hyperparameter_array(optimizer), optimizer.kind == "adamw", plan.batch, seed,
                steps, theta__p, slots__sp, *data, self._memory(len(slots__sp)),
            )  # fmt: skip
        cursor.epoch, cursor.row, cursor.updates = (int(value) for value in place)
        cursor.loss_sum = float(loss_sum[0])
        return ended

    def _share(self, run: Any, members: int, *arguments: Any) -> int:
        """Call a run by a team: the last arguments before memory, (place, loss_sum, epoch_loss), are each member's
        own."""
        *given, place, loss_sum, epoch_loss, memory = arguments
        losses = np.empty(MAX_TILE // GROUP)
        self.threads = members
        if members == 1:
            return int(run(*given, place, loss_sum, epoch_loss, memory, None, 0, 1, losses))
        team = aligned(TEAM_WORDS, np.dtype(np.int64))
        team[:] = 0

        def work(number: int) -> int:
            own = (place, loss_sum, epoch_loss)
            if number > 0:
                own = tuple(array.copy() for array in own)
            return int(run(*given, *own, memory, team, number, members, losses))

        return run_team(work, members)

    def _data(self, samples: Samples) -> tuple[int, Array, Array, Array]:
        """Return n and flat x, y and labels; the one that is not given is empty."""
        y = np.empty(0, self.dtype) if samples.y is None else _flat(samples.y)
        labels = np.empty(0, np.int64) if samples.labels is None else _flat(samples.labels)
        return len(samples), _flat(samples.x), y, labels

    def _memory(self, slots: int) -> Array:
        return self._aligned(self._net.memory_size(slots))

    def _aligned(self, count: int) -> Array:
        return aligned(count, self.dtype)


def aligned(count: int, dtype: np.dtype) -> Array:
    """Return new memory, not cleared, that begins at a cache line: vectors that straddle two cost W4 a tenth."""
    length = count * dtype.itemsize
    memory = np.empty(length + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + length].view(dtype)


class _Memory:
    """Memory of an array as the array interface shows it; keeps its owner alive."""

    def __init__(self, owner: Array) -> None:
        address, _ = owner.__array_interface__["data"]
        self.__array_interface__ = {**owner.__array_interface__, "data": (address, False)}
        self.owner = owner


def _flat(array: Array) -> Array:
    """Return a contiguous array as a flat one that Numba takes for writable.

    A read-only array is another type to Numba, and would cost a compilation of its own. Kernels do not write to data;
    the conformance suite sees to that.
    """
    return np.asarray(array if array.flags.writeable else _Memory(array)).reshape(-1)
