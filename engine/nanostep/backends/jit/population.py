"""Runs of populations: tiles of networks, and who trains them."""

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
"""Single samples whose losses are added up in the dtype before they are added in float64, and between two looks at the
flag that ends a call."""


class Networks(NamedTuple):
    """Of a call: which networks, with what, and what comes out.

    Attributes
    ----------
    who : array of int64, (whole tiles,)
    h, corrected : array, and array of float64 or None
        See `lanes_update.rule_tables`.
    next_ : array of int64, (1,)
        Number of the first network that nobody has taken.
    cancel : array of int32, (1,)
    loss__ke, done__k : arrays
    """

    who: Any
    h: Any
    corrected: Any
    next_: Any
    cancel: Any
    loss__ke: Any
    done__k: Any


def transpose(m: Any, net: Lanes, count: Any, arrays: int, who: Any, outside: Any, inside: Any, enters: bool) -> None:
    """`arrays` arrays of parameters of `count` networks into lanes, or back."""
    length = arrays * net.parameters

    def lane(k: Any) -> None:
        theirs = outside + m.load_number(who + k) * length
        ours = inside + (k // net.lanes * (length * net.lanes) + k - k // net.lanes * net.lanes)

        def parameter(p: Any) -> None:
            source, to = theirs + p, ours + p * net.lanes
            if enters:
                m.store_number(to, m.load_number(source))
            else:
                m.store_number(source, m.load_number(to))

        m.loop(0, length, 1, parameter)

    m.loop(0, count, 1, lane)


@kernel(fastmath=FASTMATH)
def open_tile(m: Any, net: Lanes, first: Any, who: Any, theta__mp: Any, slots__msp: Any, memory: Any) -> None:
    """Parameters and slots of the networks from place `first` of `who` on, into lanes."""
    transpose(m, net, net.width, 1, who + first, theta__mp, memory, True)
    if net.slots > 0:
        transpose(m, net, net.width, net.slots, who + first, slots__msp, memory + net.slot, True)


@kernel(fastmath=FASTMATH)
def close_tile(m: Any, net: Lanes, first: Any, count: Any, who: Any, theta__mp: Any, slots__msp: Any, memory: Any
               ) -> None:  # fmt: skip
    """Those of the first `count` networks of the tile, back."""
    transpose(m, net, count, 1, who + first, theta__mp, memory, False)
    if net.slots > 0:
        transpose(m, net, count, net.slots, who + first, slots__msp, memory + net.slot, False)


@kernel(fastmath=FASTMATH, returns="index")
def width_of(m: Any, net: Lanes) -> Any:
    """Networks of a tile."""
    return m.index(net.width)


@kernel(fastmath=FASTMATH, returns="index")
def take_tile(m: Any, net: Lanes, next_: Any) -> Any:
    """The first network of a tile that no other member has taken."""
    return m.fetch_add(next_, net.width)


@kernel(fastmath=FASTMATH, returns="index")
def is_cancelled(m: Any, net: Lanes, cancel: Any) -> Any:
    """Whether another thread has ended the call."""
    return m.shared_flag(cancel)


@kernel(fastmath=FASTMATH)
def advance(
    m: Any, net: Lanes, rule: Choice, nets: Networks, data: LaneData, first: Any, update: Any, epoch: Any, place: Any,
    rows: Any, memory: Any, losses: Any,
) -> None:  # fmt: skip
    """Update number `update` of each network of the tile from `rows` samples from `place` of the order on, or a step on
    each of these; losses, in float64, grow by L of each network."""
    order = None if data.orders__en is None else data.orders__en + epoch * data.n
    h = nets.h + first * len(row_names(rule))
    corrected = None if nets.corrected is None else nets.corrected + first * len(CORRECTED)
    t = Tile(net, rule, nets.who + first, h, corrected, data, order, memory)
    if rule.names[0] == SINGLE:
        lanes_samples(m, t, place, rows, losses)
    else:
        lanes_batch(m, t, update, place, rows, losses)


@njit(fastmath=FASTMATH, **OPTIONS)
def draw_orders(seed, epoch, orders__en):
    """The sample orders of the epochs from `epoch` on."""
    for e in range(len(orders__en)):
        shuffle_kernel(seed, np.uint64(epoch + e), orders__en[e])


@njit(fastmath=FASTMATH, **OPTIONS)
def train_tiles(net, rule, nets, batch, updates, theta, slots, data, memory, losses):
    """Take tiles until none is left, each through all epochs of the call."""
    mode = flush_subnormals(net)
    count, epochs = nets.loss__ke.shape
    cancelled = False
    while not cancelled:
        first = take_tile(net, nets.next_)
        if first >= count:
            break
        here = min(width_of(net), count - first)
        open_tile(net, first, nets.who, theta, slots, memory)
        update = updates
        for epoch in range(epochs):
            losses[:] = 0.0
            place = 0
            while place < data.n and not cancelled:
                rows = min(batch, data.n - place)
                update += 1
                advance(net, rule, nets, data, first, update, epoch, place, rows, memory, losses)
                place += rows
                cancelled = is_cancelled(net, nets.cancel) != 0
            if cancelled:
                break
            for k in range(here):
                nets.loss__ke[first + k, epoch] = losses[k] / data.n
        if not cancelled:
            close_tile(net, first, here, nets.who, theta, slots, memory)
            for k in range(here):
                nets.done__k[first + k] = True
    restore_mode(net, mode)
