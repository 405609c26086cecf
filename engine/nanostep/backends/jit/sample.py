"""Plain SGD steps on one sample after another, for small networks, where latency is everything.

Vectors run across neurons. All weights are values that the loop over samples carries, so that LLVM keeps them in
registers: the first layer as wt (one vector holds the weights from one input), the others as w (one vector holds
weights to one neuron), which serves both directions: forward as dot products that are folded together, backward as it
stands. Lanes beyond a layer's width are kept at 0 in every activation and delta.

Looking ahead. The next sample x' waits for weights that wait for the delta d of this one. But with W and b from before
the update, z' = (W x' + b) - d (x.x' + 1), and all but d is known while the outputs are still being computed: from the
delta to the next z it is one FMA, and the update itself is off the critical path.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from nanostep.backends.jit._compile import FASTMATH
from nanostep.backends.jit._kernel import kernel
from nanostep.backends.jit._math import vexp, vlog
from nanostep.backends.jit.activations import activate_vector, derivative_vector
from nanostep.backends.jit.arguments import Data, Lookahead
from nanostep.backends.jit.batch import index_of
from nanostep.backends.jit.layout import LayerLayout, Net
from nanostep.backends.jit.losses import (
    delta_vector,
    gaussian_vectors,
    loss_vector,
    quantiles_at,
    share_of,
    slope_vector,
)
from nanostep.backends.jit.vector import fold_rows, largest_lane, sum_lanes
from nanostep.losses import name_of

MAX_VECTORS = 160
"""Vectors of weights of a small network at most: beyond, the code and its compilation become long."""

SAMPLES_PER_LOG = 16
"""Samples whose losses share one logarithm."""

SAFE_SPREAD = 39.0
"""Logits that differ by less need no maximum subtracted: the product of 16 sums of up to 16 of their exponentials is
finite."""


def vectors(net: Net, width: int) -> int:
    return -(-width // net.lanes)


def weight_count(net: Net) -> int:
    """Vectors that hold the weights and biases."""
    first, *others = net.layers
    count = (first.inputs + 1) * vectors(net, first.outputs)
    return count + sum(s.outputs * vectors(net, s.inputs) + vectors(net, s.outputs) for s in others)


@dataclass
class Weights:
    """The weights of a network as lists of vectors.

    wt[i][v] of the first layer; w[l][o][v] of the others, w[0] is empty; b[l][v]. The bias of a lone output is in all
    lanes, as are its z and its delta.
    """

    wt: list[list[Any]]
    w: list[list[list[Any]]]
    b: list[list[Any]]

    @classmethod
    def of(cls, net: Net, values: Sequence[Any]) -> Weights:
        """From the values in the order of `values`."""
        source = iter(values)

        first, *others = net.layers
        wt = [list(islice(source, vectors(net, first.outputs))) for _ in range(first.inputs)]
        w = [[], *([list(islice(source, vectors(net, s.inputs))) for _ in range(s.outputs)] for s in others)]
        return cls(wt, w, [list(islice(source, vectors(net, s.outputs))) for s in net.layers])

    def values(self) -> list[Any]:
        rows = [*self.wt, *(row for layer in self.w for row in layer), *self.b]
        return [value for row in rows for value in row]


def total(m: Any, products: Sequence[tuple[Any, Any]], start: Any) -> Any:
    """Start + the sum of some products, by four sums in flight where there are many."""
    if len(products) <= 4:
        for a, b in products:
            start = a * b + start
        return start
    sums: list[Any] = [start, None, None, None]
    for i, (a, b) in enumerate(products):
        sums[i % 4] = a * b if sums[i % 4] is None else a * b + sums[i % 4]
    return (sums[0] + sums[1]) + (sums[2] + sums[3])


def inputs_of(m: Any, net: Net, x: Any) -> list[Any]:
    return [m.splat(m.load_number(x + i)) for i in range(net.inputs)]


def first_z(m: Any, w: Weights, inputs: list[Any]) -> list[Any]:
    return [total(m, [(x, row[v]) for x, row in zip(inputs, w.wt, strict=True)], b) for v, b in enumerate(w.b[0])]


def next_z(m: Any, net: Net, l: int, w: Weights, a: list[Any]) -> list[Any]:
    """z of layer l > 0 from the activations below it."""
    s = net.layers[l]
    if s.outputs == 1:
        # the bias joins in one lane, and the sum in all lanes is z
        start = m.where(m.first_lanes(1), w.b[l][0])
        return [sum_lanes(m, total(m, list(zip(w.w[l][0], a, strict=True)), start), s.inputs)]
    rows = [total(m, list(zip(row, a, strict=True))[1:], row[0] * a[0]) for row in w.w[l]]
    result = []
    for v, b in enumerate(w.b[l]):
        group = rows[v * m.lanes : (v + 1) * m.lanes]
        result.append(fold_rows(m, group + [m.zero()] * (m.lanes - len(group)), False) + b)
    return result


def kept(m: Any, values: list[Any], width: int) -> list[Any]:
    """0 in the lanes beyond a layer's width; a lone value is in all lanes."""
    if width == 1:
        return values
    return [m.keep_part(value, width - v * m.lanes) for v, value in enumerate(values)]


@dataclass
class Outcome:
    """d of the output layer times the rate; the loss; and a factor whose logarithm is to be added to the loss."""

    d: list[Any]
    loss: Any
    factor: Any


def target_vectors(m: Any, s: LayerLayout, y: Any, label: Any) -> list[Any]:
    if s.outputs == 1:
        return [m.splat(m.load_number(y)) if label is None else m.splat(1.0)]
    starts = range(0, s.outputs, m.lanes)
    if label is None:
        return [m.load_part(y + o, s.outputs - o) for o in starts]
    return [m.select(m.lane_is(label, o), m.splat(1.0), 0.0) for o in starts]


def lanes_total(m: Any, values: list[Any], width: int) -> Any:
    """The sum over the outputs, in every lane."""
    together = values[0]
    for value in values[1:]:
        together = together + value
    return together if width == 1 else sum_lanes(m, together, width)


def output(m: Any, net: Net, z: list[Any], y: Any, label: Any, lr: Any) -> Outcome:
    """From the last z to d and L."""
    s, loss, one = net.layers[-1], net.loss, m.double(1.0)
    width, f, share = s.outputs, s.f, share_of(net.loss, s.outputs)
    target = target_vectors(m, s, y, label)
    q = [quantiles_at(m, loss, v * m.lanes) for v in range(len(z))]
    if name_of(loss) == "gaussian_nll":
        d, terms = gaussian_vectors(m, width, z, target)
        value = share * lanes_total(m, terms, width)
        return Outcome(kept(m, [lr * share * v for v in d], width), m.double(m.lane(value, 0)), one)
    if f != "softmax":
        a = [activate_vector(m, f, v) for v in z]
        scale = lr * share
        d = [delta_vector(m, loss, f, v, b, t, scale, q=p) for v, b, t, p in zip(z, a, target, q, strict=True)]
        terms = [loss_vector(m, loss, f, *values, q=v) for *values, v in zip(z, a, target, q, strict=True)]
        value = share * lanes_total(m, kept(m, terms, width), width)
        return Outcome(kept(m, d, width), m.double(m.lane(value, 0)), one)
    if loss == "cross_entropy" and label is not None and 1 < width <= m.lanes:
        return label_cross_entropy(m, width, z[0], target, label, lr)
    e, top, sums = exponentials(m, width, z)
    if loss == "cross_entropy":
        return cross_entropy(m, width, z, e, top, sums, target, lr)
    a = [v / sums for v in e]
    g = kept(m, [share * slope_vector(m, loss, *pair, q=v) for *pair, v in zip(a, target, q, strict=True)], width)
    mean = lanes_total(m, [value * slope for value, slope in zip(a, g, strict=True)], width)
    d = [lr * (value * (slope - mean)) for value, slope in zip(a, g, strict=True)]
    terms = [loss_vector(m, loss, f, *values, q=v) for *values, v in zip(z, a, target, q, strict=True)]
    value = share * lanes_total(m, kept(m, terms, width), width)
    return Outcome(kept(m, d, width), m.double(m.lane(value, 0)), one)


def custom_output(m: Any, net: Net, z: list[Any], sample: Sample, lr: Any) -> Outcome:
    """The same by a function of the user's."""
    s = net.layers[-1]
    width, starts = s.outputs, range(0, s.out_pad, m.lanes)
    if s.f == "softmax":
        e, _, sums = exponentials(m, width, z)
        a = [value / sums for value in e]
    else:
        a = [activate_vector(m, s.f, value) for value in z]
    memory = m.reals_on_stack(2 * s.out_pad + 1)
    slopes, loss = memory + s.out_pad, memory + 2 * s.out_pad
    for o, value in zip(starts, a, strict=True):
        m.store(memory + o, value)
    m.call_loss(sample.custom, (1, width), memory, sample.y, loss, slopes)
    da = [m.splat(m.load_number(slopes))] if width == 1 else kept(m, [m.load(slopes + o) for o in starts], width)
    if s.f == "softmax":
        mean = lanes_total(m, [value * slope for value, slope in zip(a, da, strict=True)], width)
        d = [value * (slope - mean) for value, slope in zip(a, da, strict=True)]
    else:
        d = [slope * derivative_vector(m, s.f, *pair) for slope, *pair in zip(da, z, a, strict=True)]
    return Outcome(kept(m, [lr * value for value in d], width), m.double(m.load_number(loss)), m.double(1.0))


def exponentials(m: Any, width: int, z: list[Any]) -> tuple[list[Any], Any, Any]:
    """e^(z - max z), max z, and the sum of the first."""
    lowest = m.splat(-np.inf)
    top = None
    for v, value in enumerate(z):
        part = width - v * m.lanes
        shown = value if part >= m.lanes or width == 1 else m.select(m.first_lanes(part), value, lowest)
        top = shown if top is None else m.larger(shown, top)
    top = top if width == 1 else largest_lane(m, top)
    e = kept(m, [vexp(m, value - top) for value in z], width)
    return e, top, lanes_total(m, e, width)


def cross_entropy(
    m: Any, width: int, z: list[Any], e: list[Any], top: Any, sums: Any, target: list[Any], lr: Any
) -> Outcome:
    logarithm, rate = vlog(m, sums), lr / sums
    d = [p * rate - lr * t for p, t in zip(e, target, strict=True)]
    terms = [m.where(t != 0.0, t * ((top - v) + logarithm)) for v, t in zip(z, target, strict=True)]
    value = lanes_total(m, kept(m, terms, width), width)
    return Outcome(kept(m, d, width), m.double(m.lane(value, 0)), m.double(1.0))


def label_cross_entropy(m: Any, width: int, z: Any, target: list[Any], label: Any, lr: Any) -> Outcome:
    """Cross-entropy of a label y.

    Unless logits are far apart, e^(z - z_y) / sum is the softmax, and the logarithm of the sum, which is at least 1, is
    the loss. The sum is returned as the factor, so that one logarithm serves many samples.
    """
    used = m.first_lanes(width)
    above = z - m.splat(m.lane(z, label))
    is_far = m.any_lane(used & ((above >= SAFE_SPREAD) | (above <= -SAFE_SPREAD) | (above != above)))

    def without_maximum() -> list[Any]:
        e = m.where(used, vexp(m, above))
        sums = sum_lanes(m, e, width)
        return [m.where(used, e * (lr / sums) - lr * target[0]), m.double(0.0), m.double(m.lane(sums, 0))]

    def with_maximum() -> list[Any]:
        e, top, sums = exponentials(m, width, [z])
        outcome = cross_entropy(m, width, [z], e, top, sums, target, lr)
        return [*outcome.d, outcome.loss, outcome.factor]

    d, loss, factor = m.when(is_far, with_maximum, without_maximum)
    return Outcome([d], loss, factor)


def separate(m: Any, values: list[Any], width: int) -> list[Any]:
    """One vector for each of the first `width` lanes, with that lane's value in every lane."""
    if width == 1:
        return values
    return [m.splat(m.lane(values[o // m.lanes], o % m.lanes)) for o in range(width)]


class Sample(NamedTuple):
    """Pointers to x and y, and the label; either y or the label is None. `custom`: see `Data`."""

    x: Any
    y: Any
    label: Any
    custom: Any = None


def sample_step(
    m: Any, net: Net, w: Weights, z: list[Any], sample: Sample, ahead: Any, lr: Any
) -> tuple[list[Any], Outcome]:
    """One step with rate lr from z of the first layer. Changes w; returns z of the first layer for the next sample,
    whose x is `ahead`."""
    inputs, nexts = inputs_of(m, net, sample.x), inputs_of(m, net, ahead)
    zs, activations = [z], []
    for l in range(1, len(net.layers)):
        below = net.layers[l - 1]
        a = kept(m, [activate_vector(m, below.f, value) for value in zs[-1]], below.outputs)
        if below.outputs == 1:
            a = [m.where(m.first_lanes(1), a[0])]
        activations.append(a)
        zs.append(next_z(m, net, l, w, a))
    factor = total(m, list(zip(inputs, nexts, strict=True)), m.splat(1.0))
    ahead_z = first_z(m, w, nexts)
    if sample.custom is None:
        outcome = output(m, net, zs[-1], sample.y, sample.label, lr)
    else:
        outcome = custom_output(m, net, zs[-1], sample, lr)
    d = outcome.d
    for l in range(len(net.layers) - 1, 0, -1):
        s, below, a = net.layers[l], net.layers[l - 1], activations[l - 1]
        deltas = separate(m, d, s.outputs)
        w.b[l] = [b - value for b, value in zip(w.b[l], d, strict=True)]
        d = []
        for v, value in enumerate(a):
            df = derivative_vector(m, below.f, zs[l - 1][v], value)
            slopes = [row[v] * df for row in w.w[l]]
            if l == 1:
                products = [(-delta, slope * factor) for delta, slope in zip(deltas, slopes, strict=True)]
                ahead_z[v] = total(m, products, ahead_z[v])
            d.append(total(m, list(zip(deltas, slopes, strict=True))[1:], deltas[0] * slopes[0]))
            for delta, row in zip(deltas, w.w[l], strict=True):
                row[v] = row[v] - delta * value
        if below.outputs == 1:
            d = [m.splat(m.lane(d[0], 0))]
            ahead_z = [m.splat(m.lane(ahead_z[0], 0))] if l == 1 else ahead_z
    if len(net.layers) == 1:
        ahead_z = [value - delta * factor for value, delta in zip(ahead_z, d, strict=True)]
    for x_i, row in zip(inputs, w.wt, strict=True):
        for v, delta in enumerate(d):
            row[v] = row[v] - x_i * delta
    w.b[0] = [b - delta for b, delta in zip(w.b[0], d, strict=True)]
    return ahead_z, outcome


@kernel(fastmath=FASTMATH)
def sample_steps(m: Any, net: Net, data: Data, memory: Any, lr: Any, row: Any, end: Any, lookahead: Lookahead) -> None:
    """Updates from the samples [row, end) of the order, within one epoch."""
    carried_z, sums = lookahead.z, lookahead.state + 1
    is_prepared = (row > 0) & (m.load_number(lookahead.state) == m.double_of(row))
    lr = m.splat(m.rounded(lr))
    count = weight_count(net)
    first_vectors = vectors(net, net.layers[0].outputs)
    state = [m.load(memory + i * m.lanes) for i in range(count)]
    x, y, labels = data.x, data.y, data.labels

    def fresh() -> list[Any]:
        return first_z(m, Weights.of(net, state), inputs_of(m, net, x + index_of(m, data, row) * net.inputs))

    z = m.when(is_prepared, lambda: [m.load(carried_z + v * m.lanes) for v in range(first_vectors)], fresh)

    def step(i: Any, index: Any, loss: Any, pending: Any, *values: Any) -> list[Any]:
        w, z = Weights.of(net, values[first_vectors:]), list(values[:first_vectors])
        following = index_of(m, data, m.smaller_index(i + 1, data.n - 1))
        label = None if labels is None else m.load_number(labels + index)
        target = None if y is None else y + index * net.outputs
        sample = Sample(x + index * net.inputs, target, label, data.custom)
        z, outcome = sample_step(m, net, w, z, sample, x + following * net.inputs, lr)
        return [following, loss + outcome.loss, pending * outcome.factor, *z, *w.values()]

    def chunk(c: Any, *carried: Any) -> list[Any]:
        start, stop = m.larger_index(row, c * SAMPLES_PER_LOG), m.smaller_index(end, (c + 1) * SAMPLES_PER_LOG)
        index, loss, pending, *rest = m.loop(start, stop, 1, step, carried)
        complete = (stop == (c + 1) * SAMPLES_PER_LOG) | (stop == data.n)
        loss, pending = m.when(
            complete, lambda a, b: [a + m.log(b), m.double(1.0)], None, [loss, pending]
        )  # fmt: skip
        return [index, loss, pending, *rest]

    carried = [index_of(m, data, row), m.load_number(sums), m.load_number(sums + 1), *z, *state]
    if net.loss == "cross_entropy" and y is None:
        carried = m.loop(row // SAMPLES_PER_LOG, (end - 1) // SAMPLES_PER_LOG + 1, 1, chunk, carried)
    else:
        carried = m.loop(row, end, 1, step, carried)
    m.store_number(sums, carried[1])
    m.store_number(sums + 1, carried[2])
    for v in range(first_vectors):
        m.store(carried_z + v * m.lanes, carried[3 + v])
    for i, value in enumerate(carried[3 + first_vectors :]):
        m.store(memory + i * m.lanes, value)


def _rows(net: Net) -> list[tuple[int, int, int, bool]]:
    """Each row of vectors: (first entry in theta, distance of entries, entries, repeated in all lanes)."""
    first, *others = net.layers
    rows = [(first.theta + i, first.inputs, first.outputs, first.outputs == 1) for i in range(first.inputs)]
    for s in others:
        rows += [(s.theta + o * s.inputs, 1, s.inputs, False) for o in range(s.outputs)]
    return rows + [(s.theta + s.inputs * s.outputs, 1, s.outputs, s.outputs == 1) for s in net.layers]


@kernel(fastmath=FASTMATH)
def pack_sample(m: Any, net: Net, theta: Any, memory: Any) -> None:
    """Vectors of weights, in the order of `Weights.values`, from theta."""
    at = 0
    for start, distance, count, repeated in _rows(net):
        if repeated:
            m.store(memory + at, m.splat(m.load_number(theta + start)))
        else:
            for i in range(vectors(net, count) * m.lanes):
                m.store_number(memory + at + i, m.load_number(theta + start + i * distance) if i < count else 0.0)
        at += vectors(net, count) * m.lanes


@kernel(fastmath=FASTMATH)
def unpack_sample(m: Any, net: Net, memory: Any, theta: Any) -> None:
    """Theta from vectors of weights."""
    at = 0
    for start, distance, count, _ in _rows(net):
        for i in range(count):
            m.store_number(theta + start + i * distance, m.load_number(memory + at + i))
        at += vectors(net, count) * m.lanes
