"""Runs of many steps: updates, epochs, order. Each function is one compiled call without the GIL."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from nanostep.backends.jit._compile import FASTMATH, OPTIONS
from nanostep.backends.jit._kernel import Choice, kernel
from nanostep.backends.jit.arguments import Data, Extras, State, Step, UpdateRule, Worker
from nanostep.backends.jit.batch import Batch, index_of
from nanostep.backends.jit.dropout import make_dropout
from nanostep.backends.jit.gradient import fused_sgd, pack, refresh, unpack
from nanostep.backends.jit.layout import Net
from nanostep.backends.jit.optimizers import Update, apply_rule, clip_factor
from nanostep.backends.jit.order import shuffle_kernel
from nanostep.backends.jit.passes import backward_tile, batch_gradient, load_parameters
from nanostep.backends.jit.sample import pack_sample, sample_steps, unpack_sample
from nanostep.backends.jit.squares import finish_gradient
from nanostep.backends.jit.team import barrier, packed_parts

FUSED_SGD = "fused_sgd"
"""The rule of plain SGD on batches of at most a tile: the weights are updated as the gradient is computed."""


@kernel(fastmath=FASTMATH, returns="index")
def flush_subnormals(m: Any, net: Net) -> Any:
    """Let subnormal numbers count as 0 in a run, and return the mode before.

    The errors of a network that has learned its data become as small as numbers get, and an operation on a subnormal
    takes over a hundred cycles (D1 at a loss of 0.001: 26 us a step instead of 6).
    """
    return m.flush_subnormals()


@kernel(fastmath=FASTMATH)
def restore_mode(m: Any, net: Net, before: Any) -> None:
    """Restore the thread's mode, so that the arithmetic of the calling program is not changed."""
    m.restore_mode(before)


@kernel(fastmath=FASTMATH)
def load_state(m: Any, net: Net, rule: Choice, state: State) -> None:
    """Parameters and slots from the public layout."""
    load_parameters(m, net, state.theta, state.memory)
    if rule.names[0] == FUSED_SGD:
        return
    count, packed = net.architecture.parameter_count, state.memory + net.slots
    m.loop(0, state.slot_count, 1, lambda s: pack(m, net, state.slots + s * count, packed + s * net.packed))


@kernel(fastmath=FASTMATH)
def store_state(m: Any, net: Net, rule: Choice, state: State) -> None:
    """Parameters and slots into the public layout."""
    one = m.double(1.0)
    unpack(m, net, state.memory + net.params, one, state.theta)
    if rule.names[0] == FUSED_SGD:
        return
    count, packed = net.architecture.parameter_count, state.memory + net.slots
    m.loop(0, state.slot_count, 1, lambda s: unpack(m, net, packed + s * net.packed, one, state.slots + s * count))


def weight_of_sample(m: Any, extras: Extras, data: Data, position: Any, rows: Any) -> Any:
    """1 / the divisor of a batch: the number of its samples, or the sum of their weights (0 if that is 0)."""
    if data.weight is None:
        return 1.0 / m.double_of(rows)

    def weight(b: Any, total: Any) -> list[Any]:
        return [total + m.double(m.load_number(data.weight + index_of(m, data, position + b)))]

    (divisor,) = m.when(
        extras.batch_mean,
        lambda: m.loop(0, rows, 1, weight, [m.double(0.0)]),
        lambda: [m.double_of(rows)],
    )  # fmt: skip
    (inverse,) = m.when(divisor > 0.0, lambda: [1.0 / divisor], lambda: [m.double(0.0)])
    return inverse


@kernel(fastmath=FASTMATH, returns="double")
def batch_step(m: Any, net: Net, rule: Choice, how: UpdateRule, data: Data, state: State, step: Step) -> Any:
    """An update from a batch of any size; return what the sum of losses grows by."""
    (kind, *flags), h, extras, worker, memory = rule.names, how.optimizer, how.extras, how.worker, state.memory
    dropout = make_dropout(m, extras, step.seed, step.t)
    per_sample = weight_of_sample(m, extras, data, step.position, step.rows)
    share = how.scale * per_sample
    batch = Batch(net, memory, data, step.position, step.rows, extras, dropout, worker)
    if kind == FUSED_SGD:
        total = backward_tile(m, batch)
        fused_sgd(m, batch, step.lr * share)
    else:
        total = batch_gradient(m, batch)
        if extras.squares is not None:
            decay = None if extras.alpha is None else extras.alpha * per_sample
            squares = finish_gradient(m, net, memory, share, decay, extras, worker)
            share = clip_factor(m, h, squares.gradient) if "clip_norm" in flags else m.double(1.0)
            if decay is not None:
                penalty = (0.5 * decay * squares.weights) * m.double_of(step.rows)
                m.store_number(step.penalty_sum, m.load_number(step.penalty_sum) + penalty)
        for at, count in packed_parts(m, net, worker):
            params, grad, slots = (memory + base + at for base in (net.params, net.grad, net.slots))
            factors = None if extras.factors is None else extras.factors + at
            apply_rule(
                Update(m, h, flags, step.lr, step.t, share, count, net.packed, params, grad, slots, factors), kind
            )
        refresh(m, net, memory, worker)
    barrier(m, worker)
    if data.weight is None:
        return total
    return total * m.select(extras.batch_mean, per_sample * m.double_of(step.rows), 1.0)


@kernel(fastmath=FASTMATH)
def end_penalties(m: Any, net: Net, penalty_sum: Any, epoch_penalty: Any, ended: Any, n: Any) -> None:
    """Write the mean penalty of an epoch, if there is one."""
    if penalty_sum is not None:
        m.store_number(epoch_penalty + ended, m.load_number(penalty_sum) / m.double_of(n))
        m.store_number(penalty_sum, m.double(0.0))


@kernel(fastmath=FASTMATH)
def wait_for_team(m: Any, net: Net, worker: Worker) -> None:
    """Wait for all workers of a team, if there is one."""
    barrier(m, worker)


@njit(fastmath=FASTMATH, **OPTIONS)
def train_samples(net, run, state, data, progress, lookahead):
    """`run.steps` plain SGD steps on one sample each; see `train_batches`. One of data.y and data.labels is None.

    Bundles are unpacked first, and there is no `min`: both shorten Numba's compilation.
    """
    steps, rates, seed, shuffle, _ = run
    theta, memory, _, _ = state
    counters, loss_sum, epoch_loss, _, _ = progress
    n, order, ahead = data.n, data.order, lookahead.state
    sums = ahead[1:]
    mode = flush_subnormals(net)
    pack_sample(net, theta, memory)
    ended = made = 0
    if counters[1] == 0 or sums[1] == 1.0:
        sums[0] = loss_sum[0]
    while made < steps:
        row = counters[1]
        if row == 0:
            sums[1] = 1.0
            if shuffle:
                shuffle_kernel(seed, np.uint64(counters[0]), order)
        end = row + steps - made if steps - made < n - row else n
        lr = rates[0]
        if rates.size > 1:  # as far as the rate stays the same
            lr = rates[made]
            same = made + 1
            while same < made + end - row and rates[same] == lr:
                same += 1
            end = row + same - made
        sample_steps(net, data, memory, lr, row, end, lookahead)
        ahead[0] = end
        made += end - row
        counters[1] = end
        if end == n:
            epoch_loss[ended] = sums[0] / n
            ended += 1
            counters[0], counters[1], sums[0], ahead[0] = counters[0] + 1, 0, 0.0, 0.0
    counters[2] += made
    loss_sum[0] = sums[0] + math.log(sums[1])
    unpack_sample(net, memory, theta)
    restore_mode(net, mode)
    return ended


@njit(fastmath=FASTMATH, **OPTIONS)
def train_batches(net, rule, run, state, data, progress, how):
    """`run.steps` updates; `progress` advances. Return how many epochs ended.

    `how` is an UpdateRule.
    """
    steps, rates, seed, shuffle, batch = run
    counters, loss_sum, epoch_loss, penalty_sum, epoch_penalty = progress
    n, worker = data.n, how.worker
    mode = flush_subnormals(net)
    if worker.number == 0:
        load_state(net, rule, state)
    wait_for_team(net, worker)
    ended = 0
    for made in range(steps):
        row = counters[1]
        if row == 0 and shuffle:
            if worker.number == 0:
                shuffle_kernel(seed, np.uint64(counters[0]), data.order)
            wait_for_team(net, worker)
        rows = batch if batch < n - row else n - row
        lr = rates[made if rates.size > 1 else 0]
        step = Step(lr, counters[2] + 1, row, rows, seed, penalty_sum)
        loss_sum[0] += batch_step(net, rule, how, data, state, step)
        counters[2] += 1
        counters[1] = row + rows
        if counters[1] == n:
            epoch_loss[ended] = loss_sum[0] / n
            end_penalties(net, penalty_sum, epoch_penalty, ended, n)
            ended += 1
            counters[0], counters[1], loss_sum[0] = counters[0] + 1, 0, 0.0
    if worker.number == 0:
        store_state(net, rule, state)
    restore_mode(net, mode)
    return ended
