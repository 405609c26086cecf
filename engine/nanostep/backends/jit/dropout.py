"""Dropout: which units of a hidden layer are dropped, as ``order.dropped`` of the reference defines it.

Nothing is kept from the forward to the backward pass but the activations, as they are after dropping: the factor of a
unit is made anew, by ten operations on a vector of 32 bits a lane, and what an activation was before is known where it
was kept.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from nanostep.backends.jit.activations import derivative_vector
from nanostep.backends.jit.arguments import Extras
from nanostep.backends.jit.layout import LayerPlan
from nanostep.backends.jit.order import GAMMA, scramble

WORD = 2**64
STEP = int(GAMMA) % 2**32
FACTORS = (0x7FEB352D, 0x846CA68B)


@dataclass(frozen=True)
class Dropout:
    """What is dropped in one update.

    Attributes
    ----------
    key : word
        Hash of seed and update.
    p, thresholds : Place
        By layer; see `nanostep.backends.jit.arguments.Extras`.
    row : index
        Row of the batch at which a tile begins.
    """

    key: Any
    p: Any
    thresholds: Any
    row: Any = 0

    def at(self, row: Any) -> Dropout:
        """For the tile that begins at a row of the batch."""
        return replace(self, row=row)


def make_dropout(m: Any, extras: Extras, seed: Any, t: Any) -> Dropout | None:
    """Return what is dropped in update t (from 1), None if nothing ever is."""
    if extras.p is None:
        return None
    key = scramble(scramble(seed + GAMMA) + m.word(t) * GAMMA)
    return Dropout(key, extras.p, extras.thresholds)


def over_units(m: Any, dropout: Dropout, l: int, s: LayerPlan, rows: Any, first: Any, body: Any) -> None:
    """Call body(at, factors) for every vector of units in `rows` rows from row `first` of the tile on: each factor is
    0 or 1 / (1 - p)."""
    layer = scramble(dropout.key + (l + 1) * int(GAMMA) % WORD)
    factor = m.splat(m.rounded(1.0 / (1.0 - m.load_number(dropout.p + l))))
    threshold = m.ramp(m.low_half(m.load_number(dropout.thresholds + l)), 0)

    def row(b: Any) -> None:
        key = scramble(layer + m.word(dropout.row + first + b + 1) * GAMMA)
        high = m.ramp(m.low_half(key >> 32), 0)

        def unit(o: Any) -> None:
            h = m.ramp(m.low_half(key + m.word(o) * STEP), STEP)
            h = (h ^ (h >> 16)) * FACTORS[0]
            h = (h ^ (h >> 15) ^ high) * FACTORS[1]
            body(b * s.row + o, m.select(m.is_below(h ^ (h >> 16), threshold), 0.0, factor))

        m.loop(0, s.out_pad, m.lanes, unit)

    m.loop(0, rows, 1, row)


def drop(m: Any, dropout: Dropout, l: int, s: LayerPlan, rows: Any, first: Any, a: Any) -> None:
    """a *= factors"""

    def unit(at: Any, factors: Any) -> None:
        m.store(a + at, factors * m.load(a + at))

    over_units(m, dropout, l, s, rows, first, unit)


def times_derivative_of_kept(
    m: Any, dropout: Dropout, l: int, s: LayerPlan, rows: Any, first: Any, z: Any, a: Any, d: Any
) -> None:  # fmt: skip
    """d *= f'(z) * factors; a is what `drop` has left"""
    kept = m.splat(m.rounded(1.0 - m.load_number(dropout.p + l)))

    def unit(at: Any, factors: Any) -> None:
        df = derivative_vector(m, s.f, m.load(z + at), kept * m.load(a + at))
        m.store(d + at, (m.load(d + at) * factors) * df)

    over_units(m, dropout, l, s, rows, first, unit)
