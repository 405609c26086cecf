"""The output layer of a batch in training: from z and y to delta and loss in one pass.

Rows of z and d are `stride` apart, rows of y `width`; d is padded with zeros to whole vectors.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nanostep.backends.jit._math import vexp, vlog
from nanostep.backends.jit.activations import activate_rows, activate_vector
from nanostep.backends.jit.layout import GROUP, Net
from nanostep.backends.jit.losses import (
    UNWEIGHTED,
    OutputRows,
    Weighting,
    custom_rows,
    delta_rows,
    delta_vector,
    gaussian_vectors,
    loss_vector,
    quantiles_at,
    sum_losses,
)
from nanostep.backends.jit.vector import fold_rows, largest_lane, sum_lanes
from nanostep.losses import name_of


def total_of(m: Any, terms: Any) -> Any:
    """The sum of the lanes in float64."""
    return m.double(m.lane(sum_lanes(m, terms), 0))


def output_loop(m: Any, rows: Any, r: OutputRows) -> Any:
    """Elementwise activations: write d, and return the sum of L."""

    def row(b: Any, total: Any) -> list[Any]:
        zb, yb, db = r.z + b * r.stride, r.y + b * r.width, r.d + b * r.stride
        scale = r.weighting.weighted(m, b, r.share)
        if name_of(r.loss) == "gaussian_nll":
            starts = range(0, r.width, m.lanes)
            outputs, targets = [m.load(zb + o) for o in starts], [m.load_part(yb + o, r.width - o) for o in starts]
            d, terms = gaussian_vectors(m, r.width, outputs, targets, r.weighting)
            for o, value in zip(starts, d, strict=True):
                m.store(db + o, m.keep_part(scale * value, r.width - o))
            return [sum((r.weighting.weighted(m, b, term) for term in terms), total)]
        for o in range(0, r.width, m.lanes):
            count = r.width - o
            logit, target = m.load(zb + o), m.load_part(yb + o, count)
            a = activate_vector(m, r.output, logit)
            q = quantiles_at(m, r.loss, o)
            delta = delta_vector(m, r.loss, r.output, logit, a, target, scale, q=q)
            m.store(db + o, m.keep_part(r.weighting.known(m, target, delta), count))
            terms = loss_vector(m, r.loss, r.output, logit, a, target, r.weighting, q=q)
            terms = r.weighting.known(m, target, terms)
            total = total + r.weighting.weighted(m, b, m.keep_part(terms, count))
        return [total]

    (total,) = m.loop(0, rows, 1, row, [m.zero()])
    return total_of(m, r.share * total)


def narrow_cross_entropy(m: Any, r: OutputRows) -> Any:
    """`lanes` rows of softmax and cross-entropy, each in one vector: rows are folded together, so that maxima, sums,
    logarithms and divisions are those of all rows at once. -log a_o = (max z - z_o) + log(sum e^(z - max z))."""
    rows, used = range(m.lanes), m.first_lanes(r.width)
    logits = [m.load(r.z + b * r.stride) for b in rows]
    tops = fold_rows(m, [m.select(used, logit, m.splat(-np.inf)) for logit in logits], True)
    below = [m.splat(m.lane(tops, b)) - logits[b] for b in rows]
    e = [m.where(used, vexp(m, -below[b])) for b in rows]
    sums = fold_rows(m, e, False)
    inverse, logarithm = 1.0 / sums, vlog(m, sums)
    total = m.zero()
    for b in rows:
        target = m.load_part(r.y + b * r.width, r.width)
        surprisal = r.weighting.bounded(m, below[b] + m.splat(m.lane(logarithm, b)))
        m.store(r.d + b * r.stride, r.weighting.weighted(m, b, e[b] * m.splat(m.lane(inverse, b)) - target))
        loss = m.where(target != 0.0, target * surprisal)  # not 0 * infinity
        total = total + r.weighting.weighted(m, b, loss)
    return total


def wide_cross_entropy(m: Any, r: OutputRows, b: Any) -> Any:
    """Row b of softmax and cross-entropy of any width."""
    z, y, d = r.z + b * r.stride, r.y + b * r.width, r.d + b * r.stride
    whole, rest = r.width // m.lanes * m.lanes, r.width % m.lanes
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
        m.store(d + o, r.weighting.weighted(m, b, m.load(d + o) * inverse - target))
        surprisal = r.weighting.bounded(m, (top - m.load(z + o)) + logarithm)
        return [total + m.where(target != 0.0, target * surprisal)]

    (total,) = m.loop(0, whole, m.lanes, exponential, [m.zero()])
    if rest:
        (total,) = exponential(whole, total, rest)
    total = sum_lanes(m, total)
    inverse, logarithm = 1.0 / total, vlog(m, total)
    (loss,) = m.loop(0, whole, m.lanes, term, [m.zero()])
    if rest:
        (loss,) = term(whole, loss, rest)
    return r.weighting.weighted(m, b, loss)


def output_cross_entropy(m: Any, rows: Any, r: OutputRows) -> Any:
    """Softmax with cross-entropy: write d, and return the sum of L."""
    total: Any = m.zero()
    done: Any = 0

    def narrow(first: Any, total: Any) -> list[Any]:
        return [total + narrow_cross_entropy(m, r.from_row(first))]

    if r.width <= m.lanes:
        done = rows // m.lanes * m.lanes
        (total,) = m.loop(0, done, m.lanes, narrow, [total])
    (total,) = m.loop(done, rows, 1, lambda b, t: [t + wide_cross_entropy(m, r, b)], [total])
    return total_of(m, total)


def output_rows(
    m: Any, net: Net, memory: Any, rows: Any, y: Any, start: Any = 0, losses: Any = None,
    weighting: Weighting = UNWEIGHTED,
) -> Any:  # fmt: skip
    """Write d of the last layer for `rows` rows of the tile from `start` on, whose targets begin at y; return the sum
    of weight * L, and write that of each group of rows to `losses`."""
    s = net.layers[-1]
    z, a, d = (memory + at + start * s.row for at in (s.z, s.a, s.d))
    all_rows = OutputRows(net.loss, s.f, s.outputs, s.row, z, a, y, d, weighting)

    def group(first: Any, count: Any, total: Any) -> list[Any]:
        r = all_rows.from_row(first)
        if r.weighting.custom is not None:
            value = custom_rows(m, count, r, s.out_pad)
        elif s.f == "softmax" and net.loss == "cross_entropy":
            value = output_cross_entropy(m, count, r)
        elif s.f != "softmax":
            value = output_loop(m, count, r)
        else:
            activate_rows(m, s.f, count, r.width, r.stride, r.z, r.a)
            m.loop(0, count, 1, lambda b: m.store(r.d + b * r.stride + (s.out_pad - m.lanes), 0.0))
            delta_rows(m, count, r.share, r)
            value = sum_losses(m, count, r) * r.share
        if losses is not None:
            m.store_number(losses + (start + first) // GROUP, value)
        return [total + value]

    whole = rows // GROUP * GROUP
    (total,) = m.loop(0, whole, GROUP, lambda first, t: group(first, GROUP, t), [m.double(0.0)])
    (total,) = m.when(rows > whole, lambda t: group(whole, rows - whole, t), None, [total])
    return total
