"""Runs of many steps: epochs, order, tiles. Each function is one compiled call without the GIL."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from nanostep.backends.jit._compile import FASTMATH, OPTIONS
from nanostep.backends.jit._kernel import Choice, kernel
from nanostep.backends.jit.batch import activate_output, backward, forward, gather, tile_loss
from nanostep.backends.jit.gradient import descend, pack, refresh, tile_gradient, unpack
from nanostep.backends.jit.layout import Net
from nanostep.backends.jit.optimizers import Update, apply
from nanostep.backends.jit.order import shuffle_kernel
from nanostep.backends.jit.sample import pack_sample, sample_steps, unpack_sample
from nanostep.backends.jit.team import Member, make_member, meet, packed_parts, part, shared_loss


@dataclass
class Data:
    """The samples of a call: labels stand for y if `labelled`, order counts if `shuffled`."""

    x: Any
    y: Any
    labels: Any
    order: Any
    shuffled: Any
    labelled: Any


def over_tiles(m: Any, net: Net, rows: Any, body: Any, carried: Any = ()) -> Any:
    """carried = body(done, count, *carried) for every tile of `rows` rows"""

    def tile(done: Any, *carried: Any) -> Any:
        return body(done, m.smaller_index(rows - done, net.tile), *carried)

    return m.loop(0, rows, net.tile, tile, carried)


def backward_tile(m: Any, net: Net, memory: Any, place: Any, rows: Any, data: Data, me: Member | None = None) -> Any:
    """Activations and deltas of a tile of samples from `place` of the order; return the sum of L. All members are
    done."""
    low, high = part(m, me, rows)
    shuffled, labelled, count = data.shuffled, data.labelled, high - low
    gather(m, net, memory, place, count, shuffled, labelled, data.x, data.y, data.labels, data.order, low)
    forward(m, net, memory, count, data.x, place, shuffled, low)
    losses = None if me is None else me.losses
    own = backward(m, net, memory, count, data.y, place, shuffled | labelled, low, losses)
    meet(m, me)
    return shared_loss(m, me, rows, own)


def batch_gradient(m: Any, net: Net, memory: Any, place: Any, rows: Any, data: Data, me: Member | None = None) -> Any:
    """This member's part of the packed gradient of the sum of L over `rows` samples from `place`; return that sum."""

    def tile(done: Any, count: Any, total: Any) -> Any:
        loss = backward_tile(m, net, memory, place + done, count, data, me)
        tile_gradient(m, net, memory, done > 0, count, data.x, place + done, data.shuffled, me)
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
def loss_kernel(m: Any, net: Net, theta: Any, n: Any, x: Any, y: Any, labels: Any, labelled: Any, memory: Any) -> Any:
    """The sum of L over all samples"""
    return loss_of(m, net, theta, n, x, y, labels, labelled, memory)


def loss_of(m: Any, net: Net, theta: Any, n: Any, x: Any, y: Any, labels: Any, labelled: Any, memory: Any) -> Any:
    """The sum of L over n samples"""
    pack(m, net, theta, memory + net.params)

    def tile(done: Any, rows: Any, total: Any) -> Any:
        gather(m, net, memory, done, rows, False, labelled, x, y, labels, labels)
        forward(m, net, memory, rows, x, done, False)
        return [total + tile_loss(m, net, memory, rows, y, done, labelled)]

    (total,) = over_tiles(m, net, n, tile, [m.double(0.0)])
    return total


@kernel(fastmath=FASTMATH, returns="double")
def gradient_kernel(m: Any, net: Net, theta: Any, n: Any, x: Any, y: Any, labels: Any, labelled: Any, result: Any,
                    share: Any, memory: Any) -> Any:  # fmt: skip
    """result = share * gradient of the sum of L, laid out as theta; return the sum"""
    enter(m, net, theta, memory)
    total = batch_gradient(m, net, memory, m.index(0), n, Data(x, y, labels, None, False, labelled))
    unpack(m, net, memory + net.grad, share, result)
    return total


def enter(m: Any, net: Net, theta: Any, memory: Any) -> None:
    """Everything that kernels read, from theta."""
    pack(m, net, theta, memory + net.params)
    refresh(m, net, memory)


@kernel(fastmath=FASTMATH, returns="index")
def flush_subnormals(m: Any, net: Net) -> Any:
    """Let subnormal numbers count as 0 in a run, and return the mode before.

    The errors of a network that has learned its data become as small as numbers get, and an operation on a subnormal
    takes over a hundred cycles (D1 at a loss of 0.001: 26 us a step instead of 6).
    """
    return m.flush_subnormals()


@kernel(fastmath=FASTMATH)
def restore_mode(m: Any, net: Net, before: Any) -> None:
    """Give the thread its mode back: the program around a run keeps its arithmetic."""
    m.restore_mode(before)


@kernel(fastmath=FASTMATH)
def begin(m: Any, net: Net, theta: Any, slots: Any, slot_count: Any, memory: Any) -> None:
    """Parameters and slots from the public layout."""
    enter(m, net, theta, memory)
    count = net.architecture.parameter_count
    m.loop(0, slot_count, 1, lambda s: pack(m, net, slots + s * count, memory + net.slots + s * net.packed))


@kernel(fastmath=FASTMATH)
def finish(m: Any, net: Net, memory: Any, theta: Any, slots: Any, slot_count: Any) -> None:
    """Parameters and slots into the public layout."""
    unpack(m, net, memory + net.params, m.double(1.0), theta)
    count = net.architecture.parameter_count
    m.loop(
        0, slot_count, 1,
        lambda s: unpack(m, net, memory + net.slots + s * net.packed, m.double(1.0), slots + s * count),
    )  # fmt: skip


@kernel(fastmath=FASTMATH, returns="double")
def descent_step(m: Any, net: Net, rate: Any, place: Any, rows: Any, x: Any, y: Any, labels: Any, order: Any,
                 shuffled: Any, labelled: Any, memory: Any, team: Any, number: Any, members: Any,
                 losses: Any) -> Any:  # fmt: skip
    """An update of plain SGD from a batch of at most a tile; return the sum of L before it."""
    me = make_member(team, number, members, losses)
    total = backward_tile(m, net, memory, place, rows, Data(x, y, labels, order, shuffled, labelled), me)
    descend(m, net, memory, rows, x, place, shuffled, rate, me)
    meet(m, me)
    return total


@kernel(fastmath=FASTMATH, returns="double")
def batch_step(m: Any, net: Net, rule: Choice, h: Any, decoupled: Any, t: Any, share: Any, place: Any, rows: Any,
               x: Any, y: Any, labels: Any, order: Any, shuffled: Any, labelled: Any, memory: Any, team: Any,
               number: Any, members: Any, losses: Any) -> Any:  # fmt: skip
    """An update by any optimiser from a batch of any size; return the sum of L before it."""
    me = make_member(team, number, members, losses)
    total = batch_gradient(m, net, memory, place, rows, Data(x, y, labels, order, shuffled, labelled), me)
    for at, count in packed_parts(m, net, me):
        params, grad, slots = (memory + base + at for base in (net.params, net.grad, net.slots))
        apply(Update(m, h, t, share, count, net.packed, params, grad, slots), rule.names[0], decoupled)
    refresh(m, net, memory, me)
    meet(m, me)
    return total


@kernel(fastmath=FASTMATH)
def meet_all(m: Any, net: Net, team: Any, members: Any) -> None:
    """Wait for all members of a team, if there is one."""
    meet(m, make_member(team, 0, members, None))


@njit(fastmath=FASTMATH, **OPTIONS)
def predict_rows(net, theta, n, x__ni, a__no, memory):
    """a__no = output of the network for every row"""
    predict_kernel(net, theta, n, x__ni, a__no, memory)


@njit(fastmath=FASTMATH, **OPTIONS)
def mean_loss(net, theta, n, x__ni, y__no, labels__n, memory):
    """The mean of L over all samples"""
    return loss_kernel(net, theta, n, x__ni, y__no, labels__n, labels__n.size > 0, memory) / n


@njit(fastmath=FASTMATH, **OPTIONS)
def mean_gradient(net, theta, n, x__ni, y__no, labels__n, result, memory):
    """result = gradient of the mean of L, laid out as theta; return the mean"""
    return gradient_kernel(net, theta, n, x__ni, y__no, labels__n, labels__n.size > 0, result, 1.0 / n, memory) / n


@njit(fastmath=FASTMATH, **OPTIONS)
def train_samples(net, lr, seed, steps, theta, n, x__ni, y__no, labels__n, order__n, place, loss_sum, epoch_loss__e,
                  memory, carry, carried):  # fmt: skip
    """`steps` plain SGD steps on one sample each; see `train_descents`. One of y and labels is None.

    Between calls within an epoch, carry keeps z of the first layer for the next sample; carried its row, or 0, the sum
    of the losses, and a factor whose logarithm is still to be added to it, with those of the next samples.
    """
    shuffled, sums = order__n.size > 0, carried[1:]
    mode = flush_subnormals(net)
    pack_sample(net, theta, memory)
    ended = made = 0
    if place[1] == 0 or sums[1] == 1.0:
        sums[0] = loss_sum[0]
    while made < steps:
        row = place[1]
        if row == 0:
            sums[1] = 1.0
            if shuffled:
                shuffle_kernel(seed, np.uint64(place[0]), order__n)
        end = min(n, row + steps - made)
        prepared = row > 0 and carried[0] == row
        sample_steps(net, memory, lr, row, end, n, x__ni, y__no, labels__n, shuffled, order__n, prepared, carry, sums)
        carried[0] = end
        made += end - row
        place[1] = end
        if end == n:
            epoch_loss__e[ended] = sums[0] / n
            ended += 1
            place[0], place[1], sums[0], carried[0] = place[0] + 1, 0, 0.0, 0.0
    place[2] += made
    loss_sum[0] = sums[0] + math.log(sums[1])
    unpack_sample(net, memory, theta)
    restore_mode(net, mode)
    return ended


@njit(fastmath=FASTMATH, **OPTIONS)
def train_descents(net, lr, batch, seed, steps, theta, n, x__ni, y__no, labels__n, order__n, place, loss_sum,
                   epoch_loss__e, memory, team, number, members, losses):  # fmt: skip
    """`steps` updates of plain SGD from batches of at most a tile; place = (epoch, row, updates) and loss_sum (1,) move
    on. Return how many epochs ended. team is None, or the members share each update; see `team.Member`."""
    shuffled, labelled = order__n.size > 0, labels__n.size > 0
    mode = flush_subnormals(net)
    if number == 0:
        begin(net, theta, theta, 0, memory)
    meet_all(net, team, members)
    ended = 0
    for _ in range(steps):
        row = place[1]
        if row == 0 and shuffled:
            if number == 0:
                shuffle_kernel(seed, np.uint64(place[0]), order__n)
            meet_all(net, team, members)
        rows = min(batch, n - row)
        loss_sum[0] += descent_step(
            net,
            lr / rows,
            row,
            rows,
            x__ni,
            y__no,
            labels__n,
            order__n,
            shuffled,
            labelled,
            memory,
            team,
            number,
            members,
            losses,
        )
        place[2] += 1
        place[1] = row + rows
        if place[1] == n:
            epoch_loss__e[ended] = loss_sum[0] / n
            ended += 1
            place[0], place[1], loss_sum[0] = place[0] + 1, 0, 0.0
    if number == 0:
        finish(net, memory, theta, theta, 0)
    restore_mode(net, mode)
    return ended


@njit(fastmath=FASTMATH, **OPTIONS)
def train_batches(net, rule, h, decoupled, batch, seed, steps, theta, slots__sp, n, x__ni, y__no, labels__n, order__n,
                  place, loss_sum, epoch_loss__e, memory, team, number, members, losses):  # fmt: skip
    """`steps` updates by any optimiser; see `train_descents`."""
    shuffled, labelled = order__n.size > 0, labels__n.size > 0
    mode = flush_subnormals(net)
    if number == 0:
        begin(net, theta, slots__sp, slots__sp.shape[0], memory)
    meet_all(net, team, members)
    ended = 0
    for _ in range(steps):
        row = place[1]
        if row == 0 and shuffled:
            if number == 0:
                shuffle_kernel(seed, np.uint64(place[0]), order__n)
            meet_all(net, team, members)
        rows = min(batch, n - row)
        loss_sum[0] += batch_step(
            net, rule, h, decoupled, place[2] + 1, 1.0 / rows, row, rows, x__ni, y__no, labels__n, order__n, shuffled,
            labelled, memory, team, number, members, losses,
        )  # fmt: skip
        place[2] += 1
        place[1] = row + rows
        if place[1] == n:
            epoch_loss__e[ended] = loss_sum[0] / n
            ended += 1
            place[0], place[1], loss_sum[0] = place[0] + 1, 0, 0.0
    if number == 0:
        finish(net, memory, theta, slots__sp, slots__sp.shape[0])
    restore_mode(net, mode)
    return ended
