"""One pass over samples, tile by tile: outputs, loss, gradient."""

from __future__ import annotations

from typing import Any

from numba import njit

from nanostep.backends.jit._compile import FASTMATH, OPTIONS
from nanostep.backends.jit._kernel import kernel
from nanostep.backends.jit.arguments import PLAIN, Data, Extras
from nanostep.backends.jit.batch import activate_output, backward, forward, gather, tile_loss
from nanostep.backends.jit.dropout import Dropout
from nanostep.backends.jit.gradient import pack, refresh, tile_gradient, unpack
from nanostep.backends.jit.layout import Net
from nanostep.backends.jit.team import Member, meet, part, shared_loss


def over_tiles(m: Any, net: Net, rows: Any, body: Any, carried: Any = ()) -> Any:
    """carried = body(done, count, *carried) for every tile of `rows` rows"""

    def tile(done: Any, *carried: Any) -> Any:
        return body(done, m.smaller_index(rows - done, net.tile), *carried)

    return m.loop(0, rows, net.tile, tile, carried)


def backward_tile(
    m: Any, net: Net, memory: Any, place: Any, rows: Any, data: Data, me: Member | None = None,
    extras: Extras = PLAIN, dropout: Dropout | None = None,
) -> Any:  # fmt: skip
    """Activations and deltas of a tile of samples from `place` of the order; return the sum of weight * L. All members
    are done."""
    low, high = part(m, me, rows)
    count = high - low
    gather(m, net, memory, place, count, data, low, extras)
    forward(m, net, memory, count, data.x, place, data.ordered, low, dropout)
    losses = None if me is None else me.losses
    own = backward(m, net, memory, count, place, data, low, losses, extras, dropout)
    meet(m, me)
    return shared_loss(m, me, rows, own)


def batch_gradient(
    m: Any, net: Net, memory: Any, place: Any, rows: Any, data: Data, me: Member | None = None,
    extras: Extras = PLAIN, dropout: Dropout | None = None,
) -> Any:  # fmt: skip
    """This member's part of the packed gradient of the sum of weight * L over `rows` samples from `place`; return that
    sum."""

    def tile(done: Any, count: Any, total: Any) -> Any:
        dropped = None if dropout is None else dropout.at(done)
        loss = backward_tile(m, net, memory, place + done, count, data, me, extras, dropped)
        tile_gradient(m, net, memory, done > 0, count, data.x, place + done, data.ordered, me)
        m.when(done + count < rows, lambda: meet(m, me))
        return [total + loss]

    (total,) = over_tiles(m, net, rows, tile, [m.double(0.0)])
    return total


@kernel(fastmath=FASTMATH)
def predict_kernel(m: Any, net: Net, theta: Any, n: Any, x: Any, a: Any, memory: Any) -> None:
    """a = output of the network for every row"""
    pack(m, net, theta, memory + net.params)

    def tile(done: Any, rows: Any) -> None:
        forward(m, net, memory, rows, x, done, False)
        activate_output(m, net, memory, rows, a + done * net.outputs)

    over_tiles(m, net, n, tile)


@kernel(fastmath=FASTMATH, returns="double")
def loss_kernel(m: Any, net: Net, theta: Any, n: Any, data: Data, memory: Any) -> Any:
    """The sum of weight * L over all samples"""
    return loss_of(m, net, theta, n, data, memory)


def loss_of(m: Any, net: Net, theta: Any, n: Any, data: Data, memory: Any) -> Any:
    """The sum of weight * L over n samples as they stand"""
    pack(m, net, theta, memory + net.params)
    data = data._replace(ordered=False)

    def tile(done: Any, rows: Any, total: Any) -> Any:
        gather(m, net, memory, done, rows, data)
        forward(m, net, memory, rows, data.x, done, False)
        return [total + tile_loss(m, net, memory, rows, done, data)]

    (total,) = over_tiles(m, net, n, tile, [m.double(0.0)])
    return total


@kernel(fastmath=FASTMATH, returns="double")
def gradient_kernel(m: Any, net: Net, theta: Any, n: Any, data: Data, result: Any, share: Any, memory: Any) -> Any:
    """result = share * gradient of the sum of weight * L, laid out as theta; return the sum"""
    enter(m, net, theta, memory)
    total = batch_gradient(m, net, memory, m.index(0), n, data._replace(ordered=False))
    unpack(m, net, memory + net.grad, share, result)
    return total


def enter(m: Any, net: Net, theta: Any, memory: Any) -> None:
    """Everything that kernels read, from theta."""
    pack(m, net, theta, memory + net.params)
    refresh(m, net, memory)


@njit(fastmath=FASTMATH, **OPTIONS)
def predict_rows(net, theta, n, x__ni, a__no, memory):
    """a__no = output of the network for every row"""
    predict_kernel(net, theta, n, x__ni, a__no, memory)


@njit(fastmath=FASTMATH, **OPTIONS)
def mean_loss(net, theta, n, data, memory):
    """The mean of weight * L over all samples"""
    return loss_kernel(net, theta, n, data, memory) / n


@njit(fastmath=FASTMATH, **OPTIONS)
def mean_gradient(net, theta, n, data, result, memory):
    """result = gradient of the mean of weight * L, laid out as theta; return the mean"""
    return gradient_kernel(net, theta, n, data, result, 1.0 / n, memory) / n
