"""Sums, folds and transposition across the lanes of vectors; see ``csrc/src/kernels/vector.inc``."""

from __future__ import annotations

from typing import Any


def sum_lanes(m: Any, v: Any, width: int | None = None) -> Any:
    """The sum of the lanes, in every lane. With `width`, the other lanes are 0, and the first `width` get the sum."""
    distance = 1
    while distance < min(m.lanes if width is None else width, m.lanes):
        v = v + m.exchange(v, distance)
        distance *= 2
    return v


def largest_lane(m: Any, v: Any) -> Any:
    """The largest lane, in every lane."""
    distance = m.lanes // 2
    while distance > 0:
        v = m.larger(m.exchange(v, distance), v)
        distance //= 2
    return v


def fold_rows(m: Any, rows: list[Any], largest: bool) -> Any:
    """Lane r of the result is the sum, or the largest if `largest`, of the lanes of rows[r]; each round halves them."""
    rows, d = list(rows), 1
    while d < m.lanes:
        upper = m.lanes_where(d)
        for r in range(0, m.lanes, 2 * d):
            low, high = rows[r], rows[r + d]
            kept = m.select(upper, high, low)
            moved = m.exchange(m.select(upper, low, high), d)
            rows[r] = m.larger(kept, moved) if largest else kept + moved
        d *= 2
    return rows[0]


def transpose(m: Any, rows: list[Any]) -> list[Any]:
    """Lanes x lanes values transposed in log2(lanes) rounds: round d exchanges the upper half of row r with the lower
    half of row r + d, within blocks of 2 d."""
    rows, d = list(rows), 1
    while d < m.lanes:
        upper = m.lanes_where(d)
        for r in range(m.lanes):
            if r & d == 0:
                low, high = rows[r], rows[r + d]
                rows[r] = m.select(upper, m.exchange(high, d), low)
                rows[r + d] = m.select(upper, high, m.exchange(low, d))
        d *= 2
    return rows
