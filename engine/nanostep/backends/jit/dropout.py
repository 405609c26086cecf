"""Dropout: which units of a hidden layer are dropped, as ``order.dropped`` of the reference defines it.

No masks are stored between the forward and the backward pass: the factor of a unit is computed again, by ten operations
on a vector of 32 bits a lane. Where a unit was not dropped, a * (1 - p) is its activation before dropping.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from nanostep.backends.jit.activations import derivative_vector
from nanostep.backends.jit.arguments import Extras
from nanostep.backends.jit.layout import LayerLayout
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
    p, thresholds : Pointer
        By layer; see `nanostep.backends.jit.arguments.Extras`.
    row : index
        Row of the batch at which a tile begins.
    """

    key: Any
    p: Any
    thresholds: Any
    row: Any = 0

    def at(self, row: Any) -> Dropout:
        """For the tile that begins at this row of the batch."""
        return replace(self, row=row)


def make_dropout(m: Any, extras: Extras, seed: Any, t: Any) -> Dropout | None:
    """Return what is dropped in update t (from 1); None for a run without dropout."""
    if extras.p is None:
        return None
    key = scramble(scramble(seed + GAMMA) + m.word(t) * GAMMA)
    return Dropout(key, extras.p, extras.thresholds)


@dataclass(frozen=True)
class LayerMask:
    """What is dropped of layer `l`, whose layout is `s`, in `rows` rows from row `first` of the tile on."""

    dropout: Dropout
    l: int
    s: LayerLayout
    rows: Any
    first: Any


def over_units(m: Any, mask: LayerMask, body: Any) -> None:
    """Call body(at, factors) for every vector of units: each factor is 0 or 1 / (1 - p)."""
    dropout, l, s = mask.dropout, mask.l, mask.s
    layer = scramble(dropout.key + (l + 1) * int(GAMMA) % WORD)
    factor = m.splat(m.rounded(1.0 / (1.0 - m.load_number(dropout.p + l))))
    threshold = m.ramp(m.low_half(m.load_number(dropout.thresholds + l)), 0)

    def row(b: Any) -> None:
        key = scramble(layer + m.word(dropout.row + mask.first + b + 1) * GAMMA)
        high = m.ramp(m.low_half(key >> 32), 0)

        def unit(o: Any) -> None:
            h = m.ramp(m.low_half(key + m.word(o) * STEP), STEP)
            h = (h ^ (h >> 16)) * FACTORS[0]
            h = (h ^ (h >> 15) ^ high) * FACTORS[1]
            body(b * s.row + o, m.select(m.is_below(h ^ (h >> 16), threshold), 0.0, factor))

        m.loop(0, s.out_pad, m.lanes, unit)

    m.loop(0, mask.rows, 1, row)


def drop(m: Any, mask: LayerMask, a: Any) -> None:
    """a *= factors"""

    def unit(at: Any, factors: Any) -> None:
        m.store(a + at, factors * m.load(a + at))

    over_units(m, mask, unit)


def times_derivative_of_dropped(m: Any, mask: LayerMask, z: Any, a: Any, d: Any) -> None:
    """d *= f'(z) * factors; a is the result of `drop`"""
    kept = m.splat(m.rounded(1.0 - m.load_number(mask.dropout.p + mask.l)))

    def unit(at: Any, factors: Any) -> None:
        df = derivative_vector(m, mask.s.f, m.load(z + at), kept * m.load(a + at))
        m.store(d + at, (m.load(d + at) * factors) * df)

    over_units(m, mask, unit)
