"""Whole networks: predict, loss, gradient and training runs, each one compiled call without the GIL."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from nanostep._arrays import Samples
from nanostep._names import LOSSES
from nanostep.architecture import Architecture
from nanostep.backends.contract import Cursor, Plan
from nanostep.backends.jit._compile import FASTMATH, OPTIONS
from nanostep.backends.jit._layout import IN, OUT, TILE, TILE_AT, make_layout
from nanostep.backends.jit.batches import batch_gradient, forward, gather, pack, refresh, tile_loss, unpack
from nanostep.backends.jit.optimizers import KINDS, hyperparameter_array, update_scaled
from nanostep.backends.jit.order import shuffle_kernel
from nanostep.backends.jit.samples import SMALL, sample_step
from nanostep.backends.jit.unrolled import can_unroll, train_unrolled
from nanostep.optimizers import Optimizer

Array = np.ndarray


class Work(NamedTuple):
    """Memory of one call: packed parameters, gradient, slots; transposed weights; tiles of z, a, d; gathered x, y."""

    packed: Array
    grad: Array
    slots: Array
    wt: Array
    z: Array
    a: Array
    d: Array
    x: Array
    y: Array


@njit(fastmath=FASTMATH, **OPTIONS)
def predict_kernel(layout, theta, n, x__ni, a__no, packed, wt, z, a):
    """a__no = output of the network for every row"""
    pack(layout, theta, packed)
    refresh(layout, packed, wt)
    tile, last = np.uint64(TILE), layout.shape[0] - 1
    inputs, outputs, at = layout[0, IN], layout[last, OUT], layout[last, TILE_AT]
    for done in range(np.uint64(0), n, tile):
        rows = min(tile, n - done)
        forward(layout, packed, wt, rows, done * inputs, x__ni, z, a)
        for i in range(rows * outputs):
            a__no[done * outputs + i] = a[at + i]


@njit(fastmath=FASTMATH, **OPTIONS)
def loss_kernel(layout, loss, theta, n, x__ni, y__no, labels__n, order__n, packed, wt, z, a, x, y):
    """The sum of L over all samples, which are not shuffled"""
    pack(layout, theta, packed)
    refresh(layout, packed, wt)
    tile, zero = np.uint64(TILE), np.uint64(0)
    inputs, outputs = layout[0, IN], layout[layout.shape[0] - 1, OUT]
    total = 0.0
    for done in range(zero, n, tile):
        rows = min(tile, n - done)
        _, gathered = gather(inputs, outputs, x__ni, y__no, labels__n, order__n, done, rows, x, y)
        forward(layout, packed, wt, rows, done * inputs, x__ni, z, a)
        if gathered:
            total += tile_loss(layout, loss, rows, zero, y, z, a)
        else:
            total += tile_loss(layout, loss, rows, done * outputs, y__no, z, a)
    return total


@njit(fastmath=FASTMATH, **OPTIONS)
def gradient_kernel(
    layout, loss, theta, n, x__ni, y__no, labels__n, order__n, result, packed, grad, wt, z, a, d, x, y
):  # fmt: skip
    """result = gradient of the mean of L, laid out as theta; return the mean"""
    zero = np.uint64(0)
    pack(layout, theta, packed)
    refresh(layout, packed, wt)
    total = batch_gradient(layout, loss, x__ni, y__no, labels__n, order__n, zero, n, packed, grad, wt, z, a, d, x, y)
    unpack(layout, grad, theta.dtype.type(1 / n), result)
    return total / n


@njit(fastmath=FASTMATH, **OPTIONS)
def train_singles(layout, loss, lr, seed, steps, theta, n, x__ni, y__no, labels__n, order__n, place, loss_sum,
                  epoch_loss__e, z, a, d, x, y):  # fmt: skip
    """`steps` plain SGD steps on one sample each; see `train_batches`. Works on theta as it stands."""
    inputs, outputs = layout[0, IN], layout[layout.shape[0] - 1, OUT]
    one, zero = np.uint64(1), np.uint64(0)
    epoch, row, total = place[0], place[1], loss_sum[0]
    ended = 0
    for _ in range(steps):
        if row == zero and order__n.size > 0:
            shuffle_kernel(seed, epoch, order__n)
        index = np.uint64(order__n[row]) if order__n.size > 0 else row
        if labels__n.size > 0:
            gather(inputs, outputs, x__ni, y__no, labels__n, order__n[:0], index, one, x, y)
            total += sample_step(layout, loss, theta, index * inputs, x__ni, zero, y, lr, z, a, d)
        else:
            total += sample_step(layout, loss, theta, index * inputs, x__ni, index * outputs, y__no, lr, z, a, d)
        row += one
        if row == n:
            epoch_loss__e[ended] = total / n
            ended += 1
            epoch, row, total = epoch + one, zero, 0.0
    place[0], place[1], place[2], loss_sum[0] = epoch, row, place[2] + np.uint64(steps), total
    return ended


@njit(fastmath=FASTMATH, **OPTIONS)
def train_batches(layout, loss, kind, h, batch, seed, steps, theta, slots__sp, n, x__ni, y__no, labels__n, order__n,
                  place, loss_sum, epoch_loss__e, packed, grad, slots, wt, z, a, d, x, y):  # fmt: skip
    """Make `steps` updates; place = (epoch, row, updates) and loss_sum (1,) move on. Return how many epochs ended."""
    one, zero = np.uint64(1), np.uint64(0)
    unit = theta.dtype.type(1)
    pack(layout, theta, packed)
    refresh(layout, packed, wt)
    for s in range(slots.shape[0]):
        pack(layout, slots__sp[s], slots[s])
    ended = 0
    for _ in range(steps):
        row = place[1]
        if row == zero and order__n.size > 0:
            shuffle_kernel(seed, place[0], order__n)
        rows = min(batch, n - row)
        loss_sum[0] += batch_gradient(
            layout, loss, x__ni, y__no, labels__n, order__n, row, rows, packed, grad, wt, z, a, d, x, y
        )
        place[2] += one
        update_scaled(kind, h, place[2], unit / theta.dtype.type(rows), packed, grad, slots)
        refresh(layout, packed, wt)
        place[1] = row + rows
        if place[1] == n:
            epoch_loss__e[ended] = loss_sum[0] / n
            ended += 1
            place[0], place[1], loss_sum[0] = place[0] + one, zero, 0.0
    unpack(layout, packed, unit, theta)
    for s in range(slots.shape[0]):
        unpack(layout, slots[s], unit, slots__sp[s])
    return ended


class Engine:
    """See `nanostep.backends.contract.Engine`. Each call has memory of its own, so calls may overlap in time."""

    isa = ""
    threads = 1

    def __init__(self, architecture: Architecture, dtype: np.dtype) -> None:
        self.architecture = architecture
        self.dtype = dtype
        self._loss = LOSSES.index(architecture.loss)
        self._layout = make_layout(architecture)
        self._no_order = np.empty(0, np.int64)

    def predict_row(self, theta__p: Array, x: object) -> None:
        return None

    def step_row(self, theta__p: Array, x: object, y: object, lr: object) -> None:
        return None

    def useful_threads(self, optimizer: Optimizer, plan: Plan, n: int) -> int:
        return 1

    def predict(self, theta__p: Array, x__ni: Array, a__no: Array) -> None:
        work = self._work(0)
        n, x = np.uint64(len(x__ni)), _flat(x__ni)
        predict_kernel(self._layout, theta__p, n, x, a__no.reshape(-1), work.packed, work.wt, work.z, work.a)

    def loss(self, theta__p: Array, samples: Samples) -> float:
        work = self._work(0)
        return loss_kernel(
            self._layout, self._loss, theta__p, *self._data(samples), self._no_order,
            work.packed, work.wt, work.z, work.a, work.x, work.y,
        ) / len(samples)  # fmt: skip

    def gradient(self, theta__p: Array, samples: Samples, grad__p: Array) -> float:
        work = self._work(0)
        return gradient_kernel(
            self._layout, self._loss, theta__p, *self._data(samples), self._no_order, grad__p,
            work.packed, work.grad, work.wt, work.z, work.a, work.d, work.x, work.y,
        )  # fmt: skip

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
        place = np.array([cursor.epoch, cursor.row, cursor.updates], np.uint64)
        loss_sum = np.array([cursor.loss_sum])
        run = (*self._data(samples), cursor.order, place, loss_sum, epoch_loss__e)
        work, seed = self._work(len(slots__sp)), np.uint64(plan.seed)
        single = plain and plan.batch == 1
        # a lone sample is a call of `step`, which is not worth a compilation
        if single and len(samples) > 1 and samples.labels is None and can_unroll(self.architecture):
            n, x, y, _ = self._data(samples)
            run_unrolled = train_unrolled(self.architecture)
            ended = run_unrolled(h["lr"], seed, steps, theta__p, n, x, y, cursor.order, place, loss_sum, epoch_loss__e)
        elif single and self.architecture.parameter_count <= SMALL:
            lr = self.dtype.type(h["lr"])
            ended = train_singles(self._layout, self._loss, lr, seed, steps, theta__p, *run, *work[4:])
        else:
            kind, batch = KINDS.index(optimizer.kind), np.uint64(plan.batch)
            hyper = hyperparameter_array(optimizer)
            ended = train_batches(
                self._layout, self._loss, kind, hyper, batch, seed, steps, theta__p, slots__sp, *run, *work
            )
        cursor.epoch, cursor.row, cursor.updates = (int(value) for value in place)
        cursor.loss_sum = float(loss_sum[0])
        return ended

    def _data(self, samples: Samples) -> tuple[np.uint64, Array, Array, Array]:
        """Return n and flat x, y and labels; the one that is not given is empty."""
        y = np.empty(0, self.dtype) if samples.y is None else _flat(samples.y)
        labels = np.empty(0, np.int64) if samples.labels is None else _flat(samples.labels)
        return np.uint64(len(samples)), _flat(samples.x), y, labels

    def _work(self, slots: int) -> Work:
        parameters = self.architecture.parameter_count
        inputs, *widths = self.architecture.sizes
        tile = TILE * sum(widths)
        counts = (parameters, parameters, (slots, parameters), parameters, tile, tile, tile, TILE * inputs)
        return Work(*(_aligned(count, self.dtype) for count in (*counts, TILE * widths[-1])))


def _aligned(shape: int | tuple[int, int], dtype: np.dtype) -> Array:
    """Return an uninitialised array that begins at a cache line: vectors that straddle two cost W4 a tenth."""
    bytes_needed = int(np.prod(shape)) * dtype.itemsize
    memory = np.empty(bytes_needed + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + bytes_needed].view(dtype).reshape(shape)


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
