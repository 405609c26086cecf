"""The output layer of a batch in training: from z and y to delta and loss in one pass, nothing of it kept.

Rows of z and d are `stride` apart, rows of y `width`; d is padded with zeros to whole vectors.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nanostep.backends.jit._math import vexp, vlog
from nanostep.backends.jit.activations import activate_rows, activate_vector
from nanostep.backends.jit.layout import GROUP, Net
from nanostep.backends.jit.losses import (
    ALIKE,
    Counting,
    cross_entropy_row,
    delta_rows,
    delta_vector,
    loss_vector,
    share_of,
    sum_losses,
)
from nanostep.backends.jit.vector import fold_rows, largest_lane, sum_lanes


def targets(m: Any, y: Any, count: int) -> Any:
    """Targets of one vector of outputs, of which `count` are there."""
    return m.load_part(y, count)


def total_of(m: Any, terms: Any) -> Any:
    """The sum of the lanes in float64."""
    return m.double(m.lane(sum_lanes(m, terms), 0))


def output_loop(
    m: Any, loss: str, f: str, rows: Any, width: int, stride: int, z: Any, y: Any, d: Any, counting: Counting
) -> Any:
    """Elementwise outputs: d, and the sum of L."""
    share = share_of(loss, width)

    def row(b: Any, total: Any) -> list[Any]:
        zb, yb, db = z + b * stride, y + b * width, d + b * stride
        scale = counting.weighed(m, b, share)
        for o in range(0, width, m.lanes):
            count = width - o
            logit, target = m.load(zb + o), targets(m, yb + o, count)
            a = activate_vector(m, f, logit)
            m.store(db + o, m.keep_part(delta_vector(m, loss, f, logit, a, target, scale), count))
            terms = loss_vector(m, loss, f, logit, a, target, counting)
            total = total + counting.weighed(m, b, m.keep_part(terms, count))
        return [total]

    (total,) = m.loop(0, rows, 1, row, [m.zero()])
    return total_of(m, share * total)


def narrow_cross_entropy(m: Any, width: int, stride: int, z: Any, y: Any, d: Any, counting: Counting) -> Any:
    """`lanes` rows of softmax and cross-entropy, each in one vector: rows are folded together, so that maxima, sums,
    logarithms and divisions are those of all rows at once. -log a_o = (max z - z_o) + log(sum e^(z - max z))."""
    rows, there = range(m.lanes), m.first_lanes(width)
    logits = [m.load(z + b * stride) for b in rows]
    tops = fold_rows(m, [m.select(there, logit, m.splat(-np.inf)) for logit in logits], True)
    apart = [m.splat(m.lane(tops, b)) - logits[b] for b in rows]
    e = [m.where(there, vexp(m, -apart[b])) for b in rows]
    sums = fold_rows(m, e, False)
    inverse, logarithm = 1.0 / sums, vlog(m, sums)
    total = m.zero()
    for b in rows:
        target = targets(m, y + b * width, width)
        surprise = counting.bounded(m, apart[b] + m.splat(m.lane(logarithm, b)))
        m.store(d + b * stride, counting.weighed(m, b, e[b] * m.splat(m.lane(inverse, b)) - target))
        loss = m.where(target != 0.0, target * surprise)  # 0 * infinity is not meant
        total = total + counting.weighed(m, b, loss)
    return total


def wide_cross_entropy(m: Any, width: int, z: Any, y: Any, d: Any, counting: Counting, b: Any) -> Any:
    """Row b of softmax and cross-entropy of any width."""
    whole, rest = width // m.lanes * m.lanes, width % m.lanes
    lowest = m.splat(-np.inf)
    (top,) = m.loop(0, whole, m.lanes, lambda o, top: [m.larger(m.load(z + o), top)], [lowest])
    if rest:
        top = m.larger(m.select(m.first_lanes(rest), m.load(z + whole), lowest), top)
    top = largest_lane(m, top)

    def exponential(o: Any, total: Any, part: int | None = None) -> list[Any]:
        e = m.keep_part(vexp(m, m.load(z + o) - top), part)
        m.store(d + o, e)
        return [total + e]

    def term(o: Any, total: Any, part: int | None = None) -> list[Any]:
        target = m.load_part(y + o, part)
        m.store(d + o, counting.weighed(m, b, m.load(d + o) * inverse - target))
        surprise = counting.bounded(m, (top - m.load(z + o)) + logarithm)
        return [total + m.where(target != 0.0, target * surprise)]

    (total,) = m.loop(0, whole, m.lanes, exponential, [m.zero()])
    if rest:
        (total,) = exponential(whole, total, rest)
    total = sum_lanes(m, total)
    inverse, logarithm = 1.0 / total, vlog(m, total)
    (loss,) = m.loop(0, whole, m.lanes, term, [m.zero()])
    if rest:
        (loss,) = term(whole, loss, rest)
    return counting.weighed(m, b, loss)


def output_cross_entropy(m: Any, rows: Any, width: int, stride: int, z: Any, y: Any, d: Any, counting: Counting) -> Any:
    """Softmax with cross-entropy: d, and the sum of L."""
    total: Any = m.zero()
    done: Any = 0

    def places(b: Any) -> tuple[Any, Any, Any]:
        return z + b * stride, y + b * width, d + b * stride

    def narrow(first: Any, total: Any) -> list[Any]:
        return [total + narrow_cross_entropy(m, width, stride, *places(first), counting.from_row(first))]

    if width <= m.lanes:
        done = rows // m.lanes * m.lanes
        (total,) = m.loop(0, done, m.lanes, narrow, [total])
    (total,) = m.loop(
        done, rows, 1, lambda b, t: [t + wide_cross_entropy(m, width, *places(b), counting, b)], [total]
    )  # fmt: skip
    return total_of(m, total)


def output_rows(
    m: Any, net: Net, memory: Any, rows: Any, y: Any, start: Any = 0, losses: Any = None, counting: Counting = ALIKE
) -> Any:
    """Write d of the last layer for `rows` rows of the tile from `start` on, whose targets begin at y; return the sum
    of weight * L, and write that of each group of rows to `losses`."""
    s = net.layers[-1]
    loss, f, width, stride = net.loss, s.f, s.outputs, s.row

    def group(first: Any, count: Any, total: Any) -> list[Any]:
        z, d = (memory + at + (start + first) * stride for at in (s.z, s.d))
        target = y + first * width
        these = counting.from_row(first)
        if f == "softmax" and loss == "cross_entropy":
            value = output_cross_entropy(m, count, width, stride, z, target, d, these)
        elif f != "softmax":
            value = output_loop(m, loss, f, count, width, stride, z, target, d, these)
        else:
            a = memory + s.a + (start + first) * stride
            share = share_of(loss, width)
            activate_rows(m, f, count, width, stride, z, a)
            m.loop(0, count, 1, lambda b: m.store(d + b * stride + (s.out_pad - m.lanes), 0.0))
            delta_rows(m, loss, f, count, width, stride, share, z, a, target, d, these)
            value = sum_losses(m, loss, f, count, width, stride, z, a, target, these) * share
        if losses is not None:
            m.store_number(losses + (start + first) // GROUP, value)
        return [total + value]

    whole = rows // GROUP * GROUP
    (total,) = m.loop(0, whole, GROUP, lambda first, t: group(first, GROUP, t), [m.double(0.0)])
    (total,) = m.when(rows > whole, lambda t: group(whole, rows - whole, t), None, [total])
    return total


__all__ = ["cross_entropy_row", "output_rows"]
