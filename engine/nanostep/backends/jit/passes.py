"""One pass over samples, tile by tile: outputs, loss, gradient."""

from __future__ import annotations

from typing import Any

from numba import njit

from nanostep.backends.jit._compile import FASTMATH, OPTIONS
from nanostep.backends.jit._kernel import kernel
from nanostep.backends.jit.arguments import Data
from nanostep.backends.jit.batch import Batch, activate_output, backward, forward, gather, tile_loss
from nanostep.backends.jit.gradient import pack, refresh, tile_gradient, unpack
from nanostep.backends.jit.layout import Net
from nanostep.backends.jit.team import barrier, partition, reduce_loss


def over_tiles(m: Any, net: Net, rows: Any, body: Any, carried: Any = ()) -> Any:
    """carried = body(done, count, *carried) for every tile of `rows` rows"""

    def tile(done: Any, *carried: Any) -> Any:
        return body(done, m.smaller_index(rows - done, net.tile), *carried)

    return m.loop(0, rows, net.tile, tile, carried)


def backward_tile(m: Any, t: Batch) -> Any:
    """Activations and deltas of a tile; return the sum of weight * L. All workers have finished when it returns."""
    low, high = partition(m, t.worker, t.rows)
    count = high - low
    gather(m, t, low, count)
    forward(m, t, low, count)
    own = backward(m, t, low, count)
    barrier(m, t.worker)
    return reduce_loss(m, t.worker, t.rows, own)


def batch_gradient(m: Any, batch: Batch) -> Any:
    """This worker's part of the packed gradient of the sum of weight * L over a batch; return that sum."""

    def tile(done: Any, count: Any, total: Any) -> Any:
        t = batch.tile(done, count)
        loss = backward_tile(m, t)
        tile_gradient(m, t, done > 0)
        m.when(done + count < batch.rows, lambda: barrier(m, batch.worker))
        return [total + loss]

    (total,) = over_tiles(m, batch.net, batch.rows, tile, [m.double(0.0)])
    return total


@kernel(fastmath=FASTMATH)
def predict_kernel(m: Any, net: Net, theta: Any, n: Any, x: Any, a: Any, memory: Any) -> None:
    """a = output of the network for every row"""
    pack(m, net, theta, memory + net.params)

    def tile(done: Any, rows: Any) -> None:
        forward(m, Batch(net, memory, Data(n, x), done, rows))
        activate_output(m, net, memory, rows, a + done * net.outputs)

    over_tiles(m, net, n, tile)


@kernel(fastmath=FASTMATH, returns="double")
def loss_kernel(m: Any, net: Net, theta: Any, data: Data, memory: Any) -> Any:
    """The sum of weight * L over all samples"""
    return loss_of(m, net, theta, data, memory)


def loss_of(m: Any, net: Net, theta: Any, data: Data, memory: Any) -> Any:
    """The sum of weight * L over all samples, in the order in which they are stored"""
    pack(m, net, theta, memory + net.params)
    data = data._replace(ordered=False)

    def tile(done: Any, rows: Any, total: Any) -> Any:
        t = Batch(net, memory, data, done, rows)
        gather(m, t)
        forward(m, t)
        return [total + tile_loss(m, t)]

    (total,) = over_tiles(m, net, data.n, tile, [m.double(0.0)])
    return total


@kernel(fastmath=FASTMATH, returns="double")
def gradient_kernel(m: Any, net: Net, theta: Any, data: Data, result: Any, share: Any, memory: Any) -> Any:
    """result = share * gradient of the sum of weight * L, laid out as theta; return the sum"""
    load_parameters(m, net, theta, memory)
    total = batch_gradient(m, Batch(net, memory, data._replace(ordered=False), m.index(0), data.n))
    unpack(m, net, memory + net.grad, share, result)
    return total


def load_parameters(m: Any, net: Net, theta: Any, memory: Any) -> None:
    """Pack theta, and copy the weights that the backward pass reads."""
    pack(m, net, theta, memory + net.params)
    refresh(m, net, memory)


@njit(fastmath=FASTMATH, **OPTIONS)
def predict_rows(net, theta, n, x__ni, a__no, memory):
    """a__no = output of the network for every row"""
    predict_kernel(net, theta, n, x__ni, a__no, memory)


@njit(fastmath=FASTMATH, **OPTIONS)
def mean_loss(net, theta, data, memory):
    """The mean of weight * L over all samples"""
    return loss_kernel(net, theta, data, memory) / data.n


@njit(fastmath=FASTMATH, **OPTIONS)
def mean_gradient(net, theta, data, result, memory):
    """result = gradient of the mean of weight * L, laid out as theta; return the mean"""
    return gradient_kernel(net, theta, data, result, 1.0 / data.n, memory) / data.n
