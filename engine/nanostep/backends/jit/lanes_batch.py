"""Gradients of batches of networks in lanes: a few rows go through all layers while they are in L1."""

from __future__ import annotations

from typing import Any

from nanostep.backends.jit.activations import times_derivative
from nanostep.backends.jit.lanes import Tile, gather, sample_at
from nanostep.backends.jit.lanes_layers import LanesProduct, Numbers, Row, activate_lanes, multiply, output_row
from nanostep.backends.jit.lanes_update import lanes_update


def forward(m: Any, t: Tile, rows: int) -> None:
    """z of all layers, and a of all but the last."""
    net, memory = t.net, t.memory
    x, unit = memory + net.x, 1 if t.shared else net.lanes
    for s in net.layers:
        count = s.outputs * net.lanes
        multiply(
            m,
            LanesProduct(rows, s.outputs, s.inputs, x, s.inputs * unit, unit, memory + s.w, net.lanes,
                         s.inputs * net.lanes, memory + s.z, count, net.lanes, start=memory + s.b, start_n=net.lanes,
                         shared=unit == 1),
        )  # fmt: skip
        if s is not net.layers[-1] and s.f != "identity":

            def activate(i: Any, s: Any = s) -> None:
                m.store(memory + s.a + i, activate_lanes(m, s.f, m.load(memory + s.z + i)))

            m.loop(0, rows * count, net.lanes, activate)
        x, unit = memory + s.a, net.lanes


def output(m: Any, t: Tile, rows: int) -> Any:
    """d of the last layer; return the sum of L."""
    net, memory, lanes, s = t.net, t.memory, t.net.lanes, t.net.layers[-1]
    loss, width = net.architecture.criterion, s.outputs

    def row(b: Any, total: Any) -> list[Any]:
        z, d = (Row(m, memory + (b * (width * lanes) + at)) for at in (s.z, s.d))
        y = Numbers(m, memory + (b * width + net.y)) if t.shared else Row(m, memory + (b * (width * lanes) + net.y))
        return [total + output_row(m, loss, s.f, width, z, y, d)]

    (total,) = m.loop(0, rows, 1, row, [m.zero()])
    return total


def backward(m: Any, t: Tile, rows: int, adds: Any) -> None:
    """Compute the gradient of the rows; add it to that of the batch if `adds`, otherwise start the batch with it."""
    net, memory, lanes = t.net, t.memory, t.net.lanes
    for l in range(len(net.layers) - 1, -1, -1):
        s, below = net.layers[l], net.layers[l - 1]
        x, unit = (memory + below.a, lanes) if l > 0 else (memory + net.x, 1 if t.shared else lanes)
        w, b, d = memory + (net.grad + s.w), memory + (net.grad + s.b), memory + s.d
        into, out_of = s.inputs * lanes, s.outputs * lanes
        multiply(
            m,
            LanesProduct(s.inputs, s.outputs, rows, x, unit, s.inputs * unit, d, out_of, lanes, w, lanes, into,
                         start=w, start_m=lanes, start_n=into, start_if=adds, shared=unit == 1),
        )  # fmt: skip

        def bias(o: Any, b: Any = b, d: Any = d, out_of: int = out_of) -> None:
            total = m.zero() if adds is False else m.select(adds, m.load(b + o), 0.0)
            for r in range(rows):
                total = total + m.load(d + (o + r * out_of))
            m.store(b + o, total)

        m.loop(0, out_of, lanes, bias)
        if l > 0:
            multiply(
                m,
                LanesProduct(rows, s.inputs, s.outputs, d, out_of, lanes, memory + s.w, into, lanes, memory + below.d,
                             into, lanes),
            )  # fmt: skip
            times_derivative(m, below.f, rows * into, memory + below.z, memory + below.a, memory + below.d)


def lanes_batch(m: Any, t: Tile, update: Any, position: Any, rows: Any, losses: Any) -> None:
    """An update from `rows` samples; see `population.advance`."""

    def part(done: Any, count: int) -> None:
        m.loop(0, count, 1, lambda r: gather(m, t, sample_at(m, t, position + done + r), r))
        forward(m, t, count)
        m.add_doubles(losses, output(m, t, count))
        backward(m, t, count, done > 0)

    most = t.net.rows
    if most == 1:  # batches of one sample
        part(0, 1)
    else:
        whole = rows // most * most
        m.loop(0, whole, most, lambda done: part(done, most))
        m.loop(whole, rows, 1, lambda done: part(done, 1))
    lanes_update(m, t, update, 1.0 / m.double_of(rows))
