"""Runs of many steps: updates, epochs, order. Each function is one compiled call without the GIL."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from nanostep.backends.jit._compile import FASTMATH, OPTIONS
from nanostep.backends.jit._kernel import Choice, kernel
from nanostep.backends.jit.arguments import Data, Extras
from nanostep.backends.jit.batch import index_of
from nanostep.backends.jit.dropout import make_dropout
from nanostep.backends.jit.gradient import descend, pack, refresh, unpack
from nanostep.backends.jit.layout import Net
from nanostep.backends.jit.optimizers import Update, apply, clip_factor
from nanostep.backends.jit.order import shuffle_kernel
from nanostep.backends.jit.passes import backward_tile, batch_gradient, enter
from nanostep.backends.jit.sample import pack_sample, sample_steps, unpack_sample
from nanostep.backends.jit.squares import finish_gradient
from nanostep.backends.jit.team import make_member, meet, packed_parts

DESCENT = "descent"
"""The rule of plain SGD on batches of at most a tile, whose gradient need not be kept."""


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
def begin(m: Any, net: Net, rule: Choice, theta: Any, slots: Any, slot_count: Any, memory: Any) -> None:
    """Parameters and slots from the public layout."""
    enter(m, net, theta, memory)
    if rule.names[0] == DESCENT:
        return
    count = net.architecture.parameter_count
    m.loop(0, slot_count, 1, lambda s: pack(m, net, slots + s * count, memory + net.slots + s * net.packed))


@kernel(fastmath=FASTMATH)
def finish(m: Any, net: Net, rule: Choice, memory: Any, theta: Any, slots: Any, slot_count: Any) -> None:
    """Parameters and slots into the public layout."""
    unpack(m, net, memory + net.params, m.double(1.0), theta)
    if rule.names[0] == DESCENT:
        return
    count = net.architecture.parameter_count
    m.loop(
        0, slot_count, 1,
        lambda s: unpack(m, net, memory + net.slots + s * net.packed, m.double(1.0), slots + s * count),
    )  # fmt: skip


def part_of_sample(m: Any, extras: Extras, data: Data, place: Any, rows: Any) -> Any:
    """1 / what a batch is divided by: its samples, or the sum of their weights (0 if that is 0)."""
    if data.weight is None:
        return 1.0 / m.double_of(rows)

    def weight(b: Any, total: Any) -> list[Any]:
        return [total + m.double(m.load_number(data.weight + index_of(m, data, place + b)))]

    (divisor,) = m.when(
        extras.batch_mean,
        lambda: m.loop(0, rows, 1, weight, [m.double(0.0)]),
        lambda: [m.double_of(rows)],
    )  # fmt: skip
    (inverse,) = m.when(divisor > 0.0, lambda: [1.0 / divisor], lambda: [m.double(0.0)])
    return inverse


@kernel(fastmath=FASTMATH, returns="double")
def batch_step(m: Any, net: Net, rule: Choice, extras: Extras, h: Any, decoupled: Any, lr: Any, scale: Any, seed: Any,
               t: Any, place: Any, rows: Any, data: Data, penalty_sum: Any, memory: Any, team: Any, number: Any,
               members: Any, losses: Any) -> Any:  # fmt: skip
    """An update from a batch of any size; return what the sum of losses grows by."""
    kind, *marks = rule.names
    me = make_member(team, number, members, losses)
    dropout = make_dropout(m, extras, seed, t)
    per_sample = part_of_sample(m, extras, data, place, rows)
    share = scale * per_sample
    if kind == DESCENT:
        total = backward_tile(m, net, memory, place, rows, data, me, extras, dropout)
        descend(m, net, memory, rows, data.x, place, data.ordered, lr * share, me)
    else:
        total = batch_gradient(m, net, memory, place, rows, data, me, extras, dropout)
        if extras.squares is not None:
            decay = None if extras.alpha is None else extras.alpha * per_sample
            squares = finish_gradient(m, net, memory, share, decay, extras.squares, me)
            share = clip_factor(m, h, squares.gradient) if "clip_norm" in marks else m.double(1.0)
            if decay is not None:
                penalty = (0.5 * decay * squares.weights) * m.double_of(rows)
                m.store_number(penalty_sum, m.load_number(penalty_sum) + penalty)
        for at, count in packed_parts(m, net, me):
            params, grad, slots = (memory + base + at for base in (net.params, net.grad, net.slots))
            apply(Update(m, h, marks, lr, t, share, count, net.packed, params, grad, slots), kind, decoupled)
        refresh(m, net, memory, me)
    meet(m, me)
    if data.weight is None:
        return total
    return total * m.select(extras.batch_mean, per_sample * m.double_of(rows), 1.0)


@kernel(fastmath=FASTMATH)
def end_penalties(m: Any, net: Net, penalty_sum: Any, epoch_penalty: Any, ended: Any, n: Any) -> None:
    """The mean penalty of an epoch, if there is one."""
    if penalty_sum is not None:
        m.store_number(epoch_penalty + ended, m.load_number(penalty_sum) / m.double_of(n))
        m.store_number(penalty_sum, m.double(0.0))


@kernel(fastmath=FASTMATH)
def meet_all(m: Any, net: Net, team: Any, members: Any) -> None:
    """Wait for all members of a team, if there is one."""
    meet(m, make_member(team, 0, members, None))


@njit(fastmath=FASTMATH, **OPTIONS)
def train_samples(net, rates, seed, draws, steps, theta, n, data, progress, memory, carry, carried):
    """`steps` plain SGD steps on one sample each; see `train_batches`. One of data.y and data.labels is None.

    Between calls within an epoch, carry keeps z of the first layer for the next sample; carried its row, or 0, the sum
    of the losses, and a factor whose logarithm is still to be added to it, with those of the next samples.
    """
    place, sums = progress.place, carried[1:]
    mode = flush_subnormals(net)
    pack_sample(net, theta, memory)
    ended = made = 0
    if place[1] == 0 or sums[1] == 1.0:
        sums[0] = progress.loss_sum[0]
    while made < steps:
        row = place[1]
        if row == 0:
            sums[1] = 1.0
            if draws:
                shuffle_kernel(seed, np.uint64(place[0]), data.order)
        end = min(n, row + steps - made)
        lr = rates[0]
        if rates.size > 1:  # as far as the rate stays the same
            lr = rates[made]
            same = made + 1
            while same < made + end - row and rates[same] == lr:
                same += 1
            end = row + same - made
        prepared = row > 0 and carried[0] == row
        sample_steps(net, memory, lr, row, end, n, data, prepared, carry, sums)
        carried[0] = end
        made += end - row
        place[1] = end
        if end == n:
            progress.epoch_loss[ended] = sums[0] / n
            ended += 1
            place[0], place[1], sums[0], carried[0] = place[0] + 1, 0, 0.0, 0.0
    place[2] += made
    progress.loss_sum[0] = sums[0] + math.log(sums[1])
    unpack_sample(net, memory, theta)
    restore_mode(net, mode)
    return ended


@njit(fastmath=FASTMATH, **OPTIONS)
def train_batches(net, rule, extras, h, decoupled, rates, scale, batch, seed, draws, steps, theta, slots__sp, n, data,
                  progress, memory, team, number, members, losses):  # fmt: skip
    """`steps` updates; `progress` moves on. Return how many epochs ended.

    rates holds one learning rate, or one of each step. An order is drawn for each epoch if `draws`. team is None, or
    the members share each update; see `team.Member`.
    """
    place, loss_sum = progress.place, progress.loss_sum
    mode = flush_subnormals(net)
    if number == 0:
        begin(net, rule, theta, slots__sp, slots__sp.shape[0], memory)
    meet_all(net, team, members)
    ended = 0
    for step in range(steps):
        row = place[1]
        if row == 0 and draws:
            if number == 0:
                shuffle_kernel(seed, np.uint64(place[0]), data.order)
            meet_all(net, team, members)
        rows = min(batch, n - row)
        lr = rates[min(step, rates.size - 1)]
        loss_sum[0] += batch_step(
            net, rule, extras, h, decoupled, lr, scale, seed, place[2] + 1, row, rows, data, progress.penalty_sum,
            memory, team, number, members, losses,
        )  # fmt: skip
        place[2] += 1
        place[1] = row + rows
        if place[1] == n:
            progress.epoch_loss[ended] = loss_sum[0] / n
            end_penalties(net, progress.penalty_sum, progress.epoch_penalty, ended, n)
            ended += 1
            place[0], place[1], loss_sum[0] = place[0] + 1, 0, 0.0
    if number == 0:
        finish(net, rule, memory, theta, slots__sp, slots__sp.shape[0])
    restore_mode(net, mode)
    return ended
