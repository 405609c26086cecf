"""Plain SGD steps on one sample after another, of networks in lanes.

Small networks: the step is unrolled, with the weights of several vectors of networks as values that the loop over
samples carries; the steps of one vector depend on each other, and those of the others fill the gaps. Larger networks:
every weight is read twice a step, in the forward pass, and in the backward pass, which also updates it.
"""

from __future__ import annotations

from typing import Any

from nanostep.backends.jit.activations import derivative_vector
from nanostep.backends.jit.lanes import Lanes, Tile, gather, sample_at, target_of
from nanostep.backends.jit.lanes_batch import forward, output
from nanostep.backends.jit.lanes_layers import activate_lanes, output_row, over_parts
from nanostep.backends.jit.lanes_update import rule_row

Vectors = list[Any]


def unrolled_step(m: Any, net: Lanes, theta: Vectors, x: Vectors, y: Vectors, lr: Any) -> tuple[Vectors, Any]:
    """Return theta after one step, and L before it."""
    layers, theta = net.architecture.layers, list(theta)
    activations, zs = [x], []
    for s in layers:
        below, z = activations[-1], theta[s.biases]
        for o in range(s.outputs):
            for i in range(s.inputs):
                z[o] = theta[s.weights.start + o * s.inputs + i] * below[i] + z[o]
        zs.append(z)
        if s is not layers[-1]:
            activations.append([activate_lanes(m, s.activation, value) for value in z])
    d: Vectors = [None] * layers[-1].outputs
    loss = output_row(m, net.architecture.criterion, layers[-1].activation, len(d), list(zs[-1]), y, d)
    for l in range(len(layers) - 1, -1, -1):
        s, below = layers[l], activations[l]
        sums: Vectors = [None] * s.inputs
        for o, delta in enumerate(d):
            move = lr * delta
            for i in range(s.inputs):
                at = s.weights.start + o * s.inputs + i
                if l > 0:
                    sums[i] = theta[at] * delta if o == 0 else theta[at] * delta + sums[i]
                theta[at] = theta[at] - move * below[i]
            theta[s.biases.start + o] = theta[s.biases.start + o] - move
        if l > 0:
            f, z = layers[l - 1].activation, zs[l - 1]
            d = [sums[i] * derivative_vector(m, f, z[i], below[i]) for i in range(s.inputs)]
    return theta, loss


def unrolled_samples(m: Any, t: Tile, start: Any, end: Any) -> list[Any]:
    """Steps on the samples [start, end) of the order; return the sum of L for each vector of networks."""
    net, data, memory, groups, count = t.net, t.data, t.memory, t.net.groups, t.net.parameters
    inputs, outputs = net.architecture.inputs, net.architecture.outputs
    rates = [rule_row(m, t, "lr", g) for g in range(groups)]

    def sample(at: Any, g: int) -> tuple[Vectors, Vectors]:
        if t.shared:
            x = [m.splat(m.load_number(data.x + (at * inputs + i))) for i in range(inputs)]
            return x, [m.splat(target_of(m, t, at, o)) for o in range(outputs)]
        x = [m.load(memory + (net.x + i * net.width + g * net.lanes)) for i in range(inputs)]
        return x, [m.load(memory + (net.y + o * net.width + g * net.lanes)) for o in range(outputs)]

    def step(i: Any, *state: Any) -> list[Any]:
        at = sample_at(m, t, i)
        if not t.shared:
            gather(m, t, at, 0)
        after, totals = [], []
        for g in range(groups):
            theta, loss = unrolled_step(m, net, list(state[g * count : (g + 1) * count]), *sample(at, g), rates[g])
            after += theta
            totals.append(state[groups * count + g] + loss)
        return after + totals

    state = [m.load(memory + i * net.lanes) for i in range(groups * count)]
    state = m.loop(start, end, 1, step, state + [m.zero()] * groups)
    for i, value in enumerate(state[: groups * count]):
        m.store(memory + i * net.lanes, value)
    return list(state[groups * count :])


def backward_update(m: Any, t: Tile, lr: Any) -> None:
    """theta -= lr * gradient of the sample in memory, from d of the outputs"""
    for l in range(len(t.net.layers) - 1, -1, -1):
        _update_layer(m, t, l, lr)


def _update_layer(m: Any, t: Tile, l: int, lr: Any) -> None:
    """Update a layer, and write d of the layer below, from the old weights."""
    net, memory, lanes = t.net, t.memory, t.net.lanes
    most = 8 if net.lanes * net.dtype.itemsize == 64 else 4
    s, below = net.layers[l], net.layers[l - 1]
    x = memory + (below.a if l > 0 else net.x)
    w, b, d = memory + s.w, memory + s.b, memory + s.d

    def strip(i: Any, count: int) -> None:
        """`count` inputs from i on."""
        columns = range(count)
        if l == 0 and t.shared:
            a = [m.splat(m.load_number(x + (i + k))) for k in columns]
        else:
            a = [m.load(x + (i + k) * lanes) for k in columns]

        def unit(o: Any, *sums: Any) -> list[Any]:
            delta, line = m.load(d + o * lanes), w + (o * s.inputs + i) * lanes
            move, after = lr * delta, []
            for k in columns:
                old = m.load(line + k * lanes)
                m.store(line + k * lanes, old - move * a[k])
                after += [old * delta + sums[k]] if l > 0 else []
            return after

        sums = m.loop(0, s.outputs, 1, unit, [m.zero()] * count if l > 0 else [])
        for k, total in enumerate(sums):
            z = m.load(memory + below.z + (i + k) * lanes)
            m.store(memory + below.d + (i + k) * lanes, total * derivative_vector(m, below.f, z, a[k]))

    over_parts(m, s.inputs, most, strip)
    m.loop(0, s.outputs * lanes, lanes, lambda o: m.store(b + o, m.load(b + o) - lr * m.load(d + o)))


def lanes_samples(m: Any, t: Tile, position: Any, rows: Any, losses: Any) -> None:
    """A step on each of `rows` samples; see `population.advance`."""
    if t.net.rows == 0:
        totals = unrolled_samples(m, t, position, position + rows)
    else:
        lr = rule_row(m, t, "lr")

        def step(i: Any, total: Any) -> list[Any]:
            gather(m, t, sample_at(m, t, i), 0)
            forward(m, t, 1)
            loss = output(m, t, 1)
            backward_update(m, t, lr)
            return [total + loss]

        totals = m.loop(position, position + rows, 1, step, [m.zero()])
    for g, value in enumerate(totals):
        m.add_doubles(losses + g * t.net.lanes, value)
