"""Whole networks: predict, loss, gradient and training runs, each one compiled call without the GIL.

Kernels are generic in sizes: a network is described by `layout`, an int64 array with a row for each layer (columns below),
so that a new architecture needs no new compilation. Parameters are packed for the length of a call: for each layer
wt (in x out), then b; layers but the first also keep w (out x in), which the backward pass reads. Batches are worked
through in tiles of rows, so that memory does not grow with the batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from nanostep._arrays import Samples
from nanostep._names import ACTIVATIONS, LOSSES
from nanostep.architecture import Architecture
from nanostep.backends.contract import Cursor, Plan
from nanostep.backends.jit._compile import FASTMATH, OPTIONS
from nanostep.backends.jit.activations import activate_rows, times_derivative
from nanostep.backends.jit.layers import add_product, add_rows
from nanostep.backends.jit.losses import delta_rows, sum_losses
from nanostep.backends.jit.optimizers import KINDS, hyperparameter_array, update_scaled
from nanostep.backends.jit.order import shuffle_kernel
from nanostep.backends.jit.samples import SMALL, sample_step
from nanostep.optimizers import Optimizer

Array = np.ndarray

IN, OUT, ACTIVATION, THETA, PACKED, TILE_AT, W_AT = range(7)
"""Columns of a layout: widths, activation, where W stands in theta, wt in the packed parameters, the layer's tile in the
tile arrays (per row), and w in the array of those."""

TILE = 64
"""Rows that go through all layers together, as in the C library."""


@dataclass
class Work:
    """Memory of one call."""

    packed: Array
    grad: Array
    slots: Array
    w: Array
    z: Array
    a: Array
    d: Array
    x: Array
    y: Array

    def arrays(self) -> tuple[Array, ...]:
        return (self.packed, self.grad, self.slots, self.w, self.z, self.a, self.d, self.x, self.y)


@njit(fastmath=FASTMATH, **OPTIONS)
def pack(layout, theta, packed):
    """packed = theta, W transposed"""
    for l in range(layout.shape[0]):
        fan_in, fan_out = layout[l, IN], layout[l, OUT]
        w, p = layout[l, THETA], layout[l, PACKED]
        for o in range(fan_out):
            for i in range(fan_in):
                packed[p + i * fan_out + o] = theta[w + o * fan_in + i]
        for o in range(fan_out):
            packed[p + fan_in * fan_out + o] = theta[w + fan_in * fan_out + o]


@njit(fastmath=FASTMATH, **OPTIONS)
def unpack(layout, packed, scale, theta):
    """theta = scale * packed"""
    for l in range(layout.shape[0]):
        fan_in, fan_out = layout[l, IN], layout[l, OUT]
        w, p = layout[l, THETA], layout[l, PACKED]
        for o in range(fan_out):
            for i in range(fan_in):
                theta[w + o * fan_in + i] = scale * packed[p + i * fan_out + o]
        for o in range(fan_out):
            theta[w + fan_in * fan_out + o] = scale * packed[p + fan_in * fan_out + o]


@njit(fastmath=FASTMATH, **OPTIONS)
def refresh(layout, packed, w):
    """w of every layer but the first from wt, in blocks of 16 x 16 so that both sides stay in cache"""
    for l in range(1, layout.shape[0]):
        fan_in, fan_out = layout[l, IN], layout[l, OUT]
        p, at = layout[l, PACKED], layout[l, W_AT]
        for i0 in range(0, fan_in, 16):
            for o0 in range(0, fan_out, 16):
                for o in range(o0, min(o0 + 16, fan_out)):
                    for i in range(i0, min(i0 + 16, fan_in)):
                        w[at + o * fan_in + i] = packed[p + i * fan_out + o]


@njit(fastmath=FASTMATH, **OPTIONS)
def forward(layout, packed, x__bi, z, a):
    """z and a of every layer for a tile of rows"""
    rows = x__bi.shape[0]
    for l in range(layout.shape[0]):
        fan_in, fan_out = layout[l, IN], layout[l, OUT]
        p, at = layout[l, PACKED], layout[l, TILE_AT] * TILE
        wt__io = packed[p : p + fan_in * fan_out].reshape((fan_in, fan_out))
        b__o = packed[p + fan_in * fan_out : p + (fan_in + 1) * fan_out]
        z_flat, a_flat = z[at : at + rows * fan_out], a[at : at + rows * fan_out]
        z__bo = z_flat.reshape((rows, fan_out))
        for r in range(rows):
            row = z__bo[r]
            for o in range(fan_out):
                row[o] = b__o[o]
        add_product(x__bi, wt__io, z__bo)
        activate_rows(layout[l, ACTIVATION], fan_out, z_flat, a_flat)
        x__bi = a_flat.reshape((rows, fan_out))


@njit(fastmath=FASTMATH, **OPTIONS)
def tile_loss(layout, loss, rows, z, a, y__bo):
    """The sum of L over the rows of the last forward"""
    last = layout.shape[0] - 1
    fan_out, at = layout[last, OUT], layout[last, TILE_AT] * TILE
    z__bo = z[at : at + rows * fan_out].reshape((rows, fan_out))
    a__bo = a[at : at + rows * fan_out].reshape((rows, fan_out))
    return sum_losses(loss, layout[last, ACTIVATION], z__bo, a__bo, y__bo)


@njit(fastmath=FASTMATH, **OPTIONS)
def backward(layout, loss, w, x__bi, y__bo, z, a, d, grad):
    """grad (packed) += gradient of the sum of L over the rows of the last forward"""
    rows, last = x__bi.shape[0], layout.shape[0] - 1
    fan_out, at = layout[last, OUT], layout[last, TILE_AT] * TILE
    end = at + rows * fan_out
    delta_rows(loss, layout[last, ACTIVATION], fan_out, z[at:end], a[at:end], y__bo.reshape(-1), d[at:end])
    for l in range(last, -1, -1):
        fan_in, fan_out = layout[l, IN], layout[l, OUT]
        p, at = layout[l, PACKED], layout[l, TILE_AT] * TILE
        d__bo = d[at : at + rows * fan_out].reshape((rows, fan_out))
        in__bi = x__bi
        if l > 0:
            below = layout[l - 1, TILE_AT] * TILE
            end = below + rows * fan_in
            w_at = layout[l, W_AT]
            w__oi = w[w_at : w_at + fan_out * fan_in].reshape((fan_out, fan_in))
            dx = d[below:end]
            for i in range(dx.size):
                dx[i] = 0
            add_product(d__bo, w__oi, dx.reshape((rows, fan_in)))
            times_derivative(layout[l - 1, ACTIVATION], z[below:end], a[below:end], dx)
            in__bi = a[below:end].reshape((rows, fan_in))
        gt__io = grad[p : p + fan_in * fan_out].reshape((fan_in, fan_out))
        add_product(in__bi.T, d__bo, gt__io)
        add_rows(d__bo, grad[p + fan_in * fan_out : p + (fan_in + 1) * fan_out])


@njit(fastmath=FASTMATH, **OPTIONS)
def gather(x__ni, y__no, labels__n, order__n, place, rows, x, y):
    """Return x and y of `rows` samples from `place` of the order: in place if they stand together, else in x and y."""
    shuffled, labelled = order__n.size > 0, labels__n.size > 0
    fan_in = x__ni.shape[1]
    outputs = y.size // TILE
    x__bi = x__ni[place : place + rows]
    if shuffled:
        x__bi = x[: rows * fan_in].reshape((rows, fan_in))
        for r in range(rows):
            source, target = x__ni[order__n[place + r]], x__bi[r]
            for i in range(fan_in):
                target[i] = source[i]
    if not (shuffled or labelled):
        return x__bi, y__no[place : place + rows]
    y__bo = y[: rows * outputs].reshape((rows, outputs))
    for r in range(rows):
        index = order__n[place + r] if shuffled else place + r
        target = y__bo[r]
        if labelled:
            for o in range(outputs):
                target[o] = 0
            target[labels__n[index]] = 1
        else:
            source = y__no[index]
            for o in range(outputs):
                target[o] = source[o]
    return x__bi, y__bo


@njit(fastmath=FASTMATH, **OPTIONS)
def batch_gradient(layout, loss, x__ni, y__no, labels__n, order__n, place, rows, packed, grad, w, z, a, d, x, y):
    """grad (packed) = gradient of the sum of L over `rows` samples from `place`; return that sum"""
    for i in range(grad.size):
        grad[i] = 0
    total = 0.0
    for done in range(0, rows, TILE):
        x__bi, y__bo = gather(x__ni, y__no, labels__n, order__n, place + done, min(TILE, rows - done), x, y)
        forward(layout, packed, x__bi, z, a)
        total += tile_loss(layout, loss, x__bi.shape[0], z, a, y__bo)
        backward(layout, loss, w, x__bi, y__bo, z, a, d, grad)
    return total


@njit(fastmath=FASTMATH, **OPTIONS)
def predict_kernel(layout, theta, x__ni, a__no, packed, z, a):
    """a__no = output of the network for every row"""
    pack(layout, theta, packed)
    last = layout.shape[0] - 1
    fan_out, at = layout[last, OUT], layout[last, TILE_AT] * TILE
    for done in range(0, x__ni.shape[0], TILE):
        rows = min(TILE, x__ni.shape[0] - done)
        forward(layout, packed, x__ni[done : done + rows], z, a)
        for r in range(rows):
            target = a__no[done + r]
            for o in range(fan_out):
                target[o] = a[at + r * fan_out + o]


@njit(fastmath=FASTMATH, **OPTIONS)
def loss_kernel(layout, loss, theta, x__ni, y__no, labels__n, order__n, packed, z, a, x, y):
    """The sum of L over all samples"""
    pack(layout, theta, packed)
    total = 0.0
    for done in range(0, x__ni.shape[0], TILE):
        rows = min(TILE, x__ni.shape[0] - done)
        x__bi, y__bo = gather(x__ni, y__no, labels__n, order__n, done, rows, x, y)
        forward(layout, packed, x__bi, z, a)
        total += tile_loss(layout, loss, rows, z, a, y__bo)
    return total


@njit(fastmath=FASTMATH, **OPTIONS)
def gradient_kernel(layout, loss, theta, x__ni, y__no, labels__n, order__n, result, packed, grad, w, z, a, d, x, y):
    """result = gradient of the mean of L, laid out as theta; return the mean"""
    n = x__ni.shape[0]
    pack(layout, theta, packed)
    refresh(layout, packed, w)
    total = batch_gradient(layout, loss, x__ni, y__no, labels__n, order__n, 0, n, packed, grad, w, z, a, d, x, y)
    unpack(layout, grad, theta.dtype.type(1 / n), result)
    return total / n


@njit(fastmath=FASTMATH, **OPTIONS)
def train_kernel(
    layout, loss, kind, h, plain, batch, seed, steps, theta, slots__sp, x__ni, y__no, labels__n, order__n, place,
    loss_sum, epoch_loss__e, packed, grad, slots, w, z, a, d, x, y,
):  # fmt: skip
    """Make `steps` updates; place = (epoch, row, updates) and loss_sum (1,) move on. Return the number of epochs ended.

    `plain` asks for the path of single samples: plain SGD, batch 1, a small network; it works on theta as it stands.
    """
    n, one = x__ni.shape[0], theta.dtype.type(1)
    if not plain:
        pack(layout, theta, packed)
        refresh(layout, packed, w)
        for s in range(slots.shape[0]):
            pack(layout, slots__sp[s], slots[s])
    ended = 0
    for _ in range(steps):
        row = place[1]
        if row == 0 and order__n.size > 0:
            shuffle_kernel(seed, np.uint64(place[0]), order__n)
        rows = min(batch, n - row)
        place[2] += 1
        if plain:
            x__bi, y__bo = gather(x__ni, y__no, labels__n, order__n, row, 1, x, y)
            loss_sum[0] += sample_step(layout, loss, theta, x__bi[0], y__bo[0], theta.dtype.type(h[0]), z, a, d)
        else:
            loss_sum[0] += batch_gradient(
                layout, loss, x__ni, y__no, labels__n, order__n, row, rows, packed, grad, w, z, a, d, x, y
            )
            update_scaled(kind, h, place[2], one / theta.dtype.type(rows), packed, grad, slots)
            refresh(layout, packed, w)
        place[1] = row + rows
        if place[1] == n:
            epoch_loss__e[ended] = loss_sum[0] / n
            ended += 1
            place[0] += 1
            place[1] = 0
            loss_sum[0] = 0.0
    if not plain:
        unpack(layout, packed, one, theta)
        for s in range(slots.shape[0]):
            unpack(layout, slots[s], one, slots__sp[s])
    return ended


class Engine:
    """See `nanostep.backends.contract.Engine`. Each call has memory of its own, so calls may overlap in time."""

    isa = ""

    def __init__(self, architecture: Architecture, dtype: np.dtype) -> None:
        self.architecture = architecture
        self.dtype = dtype
        self._loss = LOSSES.index(architecture.loss)
        rows = []
        tile = w = 0
        for l, layer in enumerate(architecture.layers):
            at = layer.weights.start  # packed parameters take as much room as theta
            rows.append((layer.inputs, layer.outputs, ACTIVATIONS.index(layer.activation), at, at, tile, w))
            tile += layer.outputs
            w += layer.inputs * layer.outputs if l > 0 else 0
        self._layout = np.array(rows, np.int64)
        self._tile, self._w = tile * TILE, w
        self._no_order = np.empty(0, np.int64)

    def predict_row(self, theta__p: Array, x: object) -> None:
        return None

    def step_row(self, theta__p: Array, x: object, y: object, lr: object) -> None:
        return None

    def predict(self, theta__p: Array, x__ni: Array, a__no: Array) -> None:
        work = self._work(0)
        predict_kernel(self._layout, theta__p, _readable(x__ni), a__no, work.packed, work.z, work.a)

    def loss(self, theta__p: Array, samples: Samples) -> float:
        work = self._work(0)
        data = self._data(samples)
        total = loss_kernel(
            self._layout, self._loss, theta__p, *data, self._no_order, work.packed, work.z, work.a, work.x, work.y
        )
        return total / len(samples)

    def gradient(self, theta__p: Array, samples: Samples, grad__p: Array) -> float:
        work = self._work(0)
        return gradient_kernel(
            self._layout, self._loss, theta__p, *self._data(samples), self._no_order, grad__p,
            work.packed, work.grad, work.w, work.z, work.a, work.d, work.x, work.y,
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
        plain = (
            plan.batch == 1
            and optimizer.kind == "sgd"
            and not optimizer.slots
            and not optimizer.hyperparameters()["weight_decay"]
            and self.architecture.parameter_count <= SMALL
        )
        place = np.array([cursor.epoch, cursor.row, cursor.updates], np.int64)
        loss_sum = np.array([cursor.loss_sum])
        ended = train_kernel(
            self._layout, self._loss, KINDS.index(optimizer.kind), hyperparameter_array(optimizer), plain, plan.batch,
            np.uint64(plan.seed), steps, theta__p, slots__sp, *self._data(samples), cursor.order, place, loss_sum,
            epoch_loss__e, *self._work(len(slots__sp)).arrays(),
        )  # fmt: skip
        cursor.epoch, cursor.row, cursor.updates = (int(value) for value in place)
        cursor.loss_sum = float(loss_sum[0])
        return ended

    def _data(self, samples: Samples) -> tuple[Array, Array, Array]:
        """Return x, y and labels; the one that is not given is empty."""
        y = np.empty((0, self.architecture.outputs), self.dtype) if samples.y is None else _readable(samples.y)
        labels = np.empty(0, np.int64) if samples.labels is None else _readable(samples.labels)
        return _readable(samples.x), y, labels

    def _work(self, slots: int) -> Work:
        def empty(count: int) -> Array:
            return np.empty(count, self.dtype)

        parameters = self.architecture.parameter_count
        return Work(
            packed=empty(parameters),
            grad=empty(parameters),
            slots=np.empty((slots, parameters), self.dtype),
            w=empty(self._w),
            z=empty(self._tile),
            a=empty(self._tile),
            d=empty(self._tile),
            x=empty(TILE * self.architecture.inputs),
            y=empty(TILE * self.architecture.outputs),
        )


def _readable(array: Array) -> Array:
    """Return `array` as Numba knows a plain one: a read-only array would be a type, and a compilation, of its own."""
    if array.flags.writeable:
        return array
    # The kernels do not write data (the conformance suite sees to that), so the flag is all that differs.
    interface = {**array.__array_interface__, "data": (array.__array_interface__["data"][0], False)}
    view = np.asarray(_Interface(interface, array))
    return view


class _Interface:
    """Memory of an array seen through the array interface; keeps the owner alive."""

    def __init__(self, interface: dict[str, object], owner: Array) -> None:
        self.__array_interface__ = interface
        self.owner = owner
