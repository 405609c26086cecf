"""What an update needs of all parameters before it changes one: the norm of the gradient, and the L2 penalty.

Sums of squares are taken by groups of inputs, each by the worker that has the group, and then added up in order by
all workers: bits do not depend on their number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nanostep.backends.jit.arguments import Extras, Worker
from nanostep.backends.jit.gradient import over_groups
from nanostep.backends.jit.layout import GROUP, LayerLayout, Net
from nanostep.backends.jit.team import barrier, partition
from nanostep.backends.jit.vector import sum_lanes


@dataclass
class Squares:
    """Sums of squares of all weights (0 where there is no penalty; biases left out), and of the gradient; float64."""

    weights: Any
    gradient: Any


def total_of(m: Any, sums: list[Any]) -> Any:
    """The sum of four vectors, in float64."""
    return m.double(m.lane(sum_lanes(m, (sums[0] + sums[1]) + (sums[2] + sums[3])), 0))


def finish_gradient(m: Any, net: Net, memory: Any, share: Any, decay: Any, extras: Extras, worker: Worker) -> Squares:
    """gradient = share * gradient, + decay * weights unless decay is None; return sums of squares, of the new gradient
    but for the entries whose factor is 0.

    All workers have finished when it returns.
    """
    sums = extras.squares
    share = m.splat(m.rounded(share))
    if decay is not None:
        decay = m.splat(m.rounded(decay))

    def group(g: Any, s: LayerLayout, at: Any, rows: int, is_weight: bool) -> None:
        params, grad = memory + (at + net.params), memory + (at + net.grad)

        def column(o: Any, *sums: Any) -> list[Any]:
            weights, gradient = list(sums[:4]), list(sums[4:])
            for r in range(rows):
                at_row = o + r * s.row
                slope = share * m.load(grad + at_row)
                if is_weight and decay is not None:
                    w = m.load(params + at_row)
                    weights[r % 4] = w * w + weights[r % 4]
                    slope = decay * w + slope
                m.store(grad + at_row, slope)
                if extras.factors is not None:
                    slope = m.where(m.load(extras.factors + at + at_row) != 0.0, slope)
                gradient[r % 4] = slope * slope + gradient[r % 4]
            return weights + gradient

        results = m.loop(0, s.out_pad, m.lanes, column, [m.zero()] * 8)
        m.store_number(sums + g * 2, total_of(m, results[:4]))
        m.store_number(sums + (g * 2 + 1), total_of(m, results[4:]))

    before = 0
    for s in net.layers:
        low, high = partition(m, worker, s.inputs)

        def inputs(i: Any, count: int, s: LayerLayout = s, before: int = before) -> None:
            group(i // GROUP + before, s, i * s.row + s.wt, count, True)

        def biases(s: LayerLayout = s, last: int = before + s.groups - 1) -> None:
            group(last, s, s.b, 1, False)

        over_groups(m, s, low, high, inputs)
        m.when(True if isinstance(high, int) else high == s.inputs, biases)
        before += s.groups
    barrier(m, worker)
    weights, gradient = m.loop(
        0, before, 1,
        lambda g, w, d: [w + m.load_number(sums + g * 2), d + m.load_number(sums + (g * 2 + 1))],
        [m.double(0.0)] * 2,
    )  # fmt: skip
    return Squares(weights, gradient)
