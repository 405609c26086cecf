"""Runs of populations: tiles of networks, which threads take from a shared counter."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from nanostep.backends.jit._compile import FASTMATH, OPTIONS
from nanostep.backends.jit._kernel import Choice, kernel
from nanostep.backends.jit.lanes import LaneData, Lanes, Tile
from nanostep.backends.jit.lanes_batch import lanes_batch
from nanostep.backends.jit.lanes_step import lanes_samples
from nanostep.backends.jit.lanes_update import CORRECTED, SINGLE, row_names
from nanostep.backends.jit.order import shuffle_kernel
from nanostep.backends.jit.train import flush_subnormals, restore_mode

SAMPLES_TOGETHER = 16
"""Single samples whose losses are summed in the dtype before they are added in float64; the flag that cancels a call is
read once for so many."""


class PopulationRun(NamedTuple):
    """A call: the networks, how they are trained, and what comes out.

    Attributes
    ----------
    indices : array of int64, (whole tiles,)
        Indices of the networks.
    h, corrected : array, and array of float64 or None
        See `lanes_update.rule_tables`.
    batch, updates : int
        Samples of an update, and updates made before the call.
    theta, slots : flat arrays
        Of all networks of the population.
    data : LaneData
    next_ : array of int64, (1,)
        First network that no thread has taken yet.
    cancel : array of int32, (1,)
    loss__ke, done__k : arrays
    """

    indices: Any
    h: Any
    corrected: Any
    batch: Any
    updates: Any
    theta: Any
    slots: Any
    data: LaneData
    next_: Any
    cancel: Any
    loss__ke: Any
    done__k: Any


class Step(NamedTuple):
    """Where a tile is in its run: `rows` samples from `position` of the order on."""

    first: Any
    update: Any
    epoch: Any
    position: Any
    rows: Any


def transpose(m: Any, net: Lanes, count: Any, indices: Any, arrays: int, outside: Any, inside: Any, enters: bool
              ) -> None:  # fmt: skip
    """Copy `arrays` arrays of parameters of `count` networks into lanes, or back."""
    length = arrays * net.parameters

    def lane(k: Any) -> None:
        network = outside + m.load_number(indices + k) * length
        own_lane = inside + (k // net.lanes * (length * net.lanes) + k - k // net.lanes * net.lanes)

        def parameter(p: Any) -> None:
            source, to = network + p, own_lane + p * net.lanes
            if enters:
                m.store_number(to, m.load_number(source))
            else:
                m.store_number(source, m.load_number(to))

        m.loop(0, length, 1, parameter)

    m.loop(0, count, 1, lane)


@kernel(fastmath=FASTMATH)
def load_tile(m: Any, net: Lanes, run: PopulationRun, first: Any, memory: Any) -> None:
    """Parameters and slots of the tile that begins at `first` of the indices, into lanes."""
    indices = run.indices + first
    transpose(m, net, net.width, indices, 1, run.theta, memory, True)
    if net.slots > 0:
        transpose(m, net, net.width, indices, net.slots, run.slots, memory + net.slot, True)


@kernel(fastmath=FASTMATH)
def store_tile(m: Any, net: Lanes, run: PopulationRun, first: Any, count: Any, memory: Any) -> None:
    """Those of the first `count` networks of the tile, back."""
    indices = run.indices + first
    transpose(m, net, count, indices, 1, run.theta, memory, False)
    if net.slots > 0:
        transpose(m, net, count, indices, net.slots, run.slots, memory + net.slot, False)


@kernel(fastmath=FASTMATH, returns="index")
def width_of(m: Any, net: Lanes) -> Any:
    """Networks of a tile."""
    return m.index(net.width)


@kernel(fastmath=FASTMATH, returns="index")
def next_tile(m: Any, net: Lanes, next_: Any) -> Any:
    """Take the next tile; return its first network."""
    return m.fetch_add(next_, net.width)


@kernel(fastmath=FASTMATH, returns="index")
def is_cancelled(m: Any, net: Lanes, cancel: Any) -> Any:
    """Whether another thread has ended the call."""
    return m.shared_flag(cancel)


@kernel(fastmath=FASTMATH)
def advance(m: Any, net: Lanes, rule: Choice, run: PopulationRun, step: Step, memory: Any, losses: Any) -> None:
    """Update each network of a tile from `step.rows` samples, or make a step on each of these; losses, in float64, grow
    by L of each network."""
    data, first = run.data, step.first
    order = None if data.orders__en is None else data.orders__en + step.epoch * data.n
    h = run.h + first * len(row_names(rule))
    corrected = None if run.corrected is None else run.corrected + first * len(CORRECTED)
    t = Tile(net, rule, run.indices + first, h, corrected, data, order, memory)
    if rule.names[0] == SINGLE:
        lanes_samples(m, t, step.position, step.rows, losses)
    else:
        lanes_batch(m, t, step.update, step.position, step.rows, losses)


@njit(fastmath=FASTMATH, **OPTIONS)
def draw_orders(seed, epoch, orders__en):
    """The sample orders of the epochs from `epoch` on."""
    for e in range(len(orders__en)):
        shuffle_kernel(seed, np.uint64(epoch + e), orders__en[e])


@njit(fastmath=FASTMATH, **OPTIONS)
def train_tiles(net, rule, run, memory, losses):
    """Take tiles until none is left, and train each through all epochs of the call."""
    mode = flush_subnormals(net)
    _, _, _, batch, updates, _, _, data, next_, cancel, loss__ke, done__k = run
    n, width, (count, epochs) = data.n, width_of(net), loss__ke.shape
    cancelled = False
    while not cancelled:
        first = next_tile(net, next_)
        if first >= count:
            break
        here = width if width < count - first else count - first
        load_tile(net, run, first, memory)
        update = updates
        for epoch in range(epochs):
            losses[:] = 0.0
            position = 0
            while position < n and not cancelled:
                rows = batch if batch < n - position else n - position
                update += 1
                advance(net, rule, run, Step(first, update, epoch, position, rows), memory, losses)
                position += rows
                cancelled = is_cancelled(net, cancel) != 0
            if cancelled:
                break
            for k in range(here):
                loss__ke[first + k, epoch] = losses[k] / n
        if not cancelled:
            store_tile(net, run, first, here, memory)
            for k in range(here):
                done__k[first + k] = True
    restore_mode(net, mode)
