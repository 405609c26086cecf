"""One row through a network on unpacked theta, for calls that are too short to pay for packing, such as online
learning.

W is read along its rows, each once forward and once backward, where it is also updated. Activations and deltas of all
layers are in the caller's memory, padded with zeros to whole vectors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nanostep.backends.jit.activations import activate_vector, derivative_vector
from nanostep.backends.jit.layout import LayerLayout, Net
from nanostep.backends.jit.sample import exponentials, kept, output, vectors
from nanostep.backends.jit.vector import fold_rows, sum_lanes

UNROLLED = 4
"""Vectors, or groups of rows, up to which a loop is unrolled."""


def offsets(net: Net) -> list[tuple[int, int, int]]:
    """Offsets of a, z and d of each layer in the memory of a row."""
    result, at = [], 0
    for s in net.layers:
        result.append((at, at + s.out_pad, at + 2 * s.out_pad))
        at += 3 * s.out_pad
    return result


def row_size(net: Net) -> int:
    """Length of the memory of a row."""
    return 3 * sum(s.out_pad for s in net.layers)


def unroll(m: Any, start: int, stop: int, step: int, body: Callable[..., Any], carried: list[Any]) -> list[Any]:
    """carried = body(i, *carried) for i in range(start, stop, step), unrolled if that is short."""
    if -(-(stop - start) // step) > UNROLLED:
        return m.loop(start, stop, step, body, carried)
    for i in range(start, stop, step):
        carried = body(i, *carried)
    return carried


def row_z(m: Any, s: LayerLayout, theta: Any, x: Any, o: Any, count: int) -> Any:
    """z of `count` <= lanes neurons from o: rows of W times x, folded together, + b. Whole vectors of x are read."""
    w, b = theta + s.theta, theta + (s.theta + s.inputs * s.outputs)
    whole = s.inputs // m.lanes * m.lanes

    def products(i: Any, *sums: Any) -> list[Any]:
        part = m.load(x + i)
        return [part * m.load(w + (o + r) * s.inputs + i) + sums[r] for r in range(count)]

    sums = unroll(m, 0, whole, m.lanes, products, [m.zero()] * count)
    if whole < s.inputs:
        rest = s.inputs - whole
        part = m.load_part(x + whole, rest)
        sums = [part * m.load_part(w + (o + r) * s.inputs + whole, rest) + sums[r] for r in range(count)]
    if s.outputs == 1:
        return sum_lanes(m, sums[0]) + m.splat(m.load_number(b))
    return fold_rows(m, sums + [m.zero()] * (m.lanes - count), False) + m.load_part(b + o, count)


def row_forward(m: Any, net: Net, theta: Any, x: Any, memory: Any) -> list[Any]:
    """a, and where it is needed z, of all layers but the last into memory; return z of the last, in every
    lane if it is a lone one."""
    for s, (a, z, _) in zip(net.layers, offsets(net), strict=True):
        to_a, to_z = memory + a, memory + z
        is_last = s is net.layers[-1]
        whole = s.outputs // m.lanes * m.lanes

        def group(
            o: Any, count: int, s: LayerLayout = s, x: Any = x, to_a: Any = to_a, to_z: Any = to_z, last: bool = is_last
        ) -> None:
            value = row_z(m, s, theta, x, o, count)
            if last or s.f == "silu":
                m.store(to_z + o, value)
            if not last:
                m.store(to_a + o, m.keep_part(activate_vector(m, s.f, value), count))

        unroll(m, 0, whole, m.lanes, lambda o, group=group: group(o, m.lanes) or [], [])
        if whole < s.outputs:
            group(whole, s.outputs - whole)
        x = to_a
    last, (_, z, _) = net.layers[-1], offsets(net)[-1]
    return [m.load(memory + z + o) for o in range(0, last.out_pad, m.lanes)]


def row_output(m: Any, net: Net, z: list[Any], a: Any) -> None:
    """The network's output from its last z into a."""
    s = net.layers[-1]
    if s.f == "softmax":
        e, _, total = exponentials(m, s.outputs, z)
        values = [value / total for value in e]
    else:
        values = [activate_vector(m, s.f, value) for value in z]
    for v, value in enumerate(values):
        m.store_part(a + v * m.lanes, s.outputs - v * m.lanes, value)


def row_step(m: Any, net: Net, theta: Any, x: Any, y: Any, label: Any, lr: Any, memory: Any) -> Any:
    """theta -= lr * gradient of L(x, y), after `row_forward`; return L before it."""
    z = row_forward(m, net, theta, x, memory)
    outcome = output(m, net, z, y, label, lr)
    at = offsets(net)
    for v, value in enumerate(outcome.d):
        m.store(memory + at[-1][2] + v * m.lanes, kept(m, [value], net.layers[-1].outputs)[0])
    for l in range(len(net.layers) - 1, -1, -1):
        s = net.layers[l]
        source = memory + at[l - 1][0] if l > 0 else x
        deltas = memory + at[l][2]
        update_layer(m, net, l, theta, source, deltas, memory)
        b = theta + (s.theta + s.inputs * s.outputs)
        for o in range(0, s.outputs, m.lanes):
            count = s.outputs - o
            m.store_part(b + o, count, m.load_part(b + o, count) - m.load(deltas + o))
    if net.loss == "cross_entropy" and label is not None:
        return outcome.loss + m.log(outcome.factor)
    return outcome.loss


def update_layer(m: Any, net: Net, l: int, theta: Any, source: Any, deltas: Any, memory: Any) -> None:
    """W -= d source^T, and d of the layer below from the old W: W^T d * f'(z)"""
    s, at = net.layers[l], offsets(net)
    w = theta + s.theta
    wide = 8 * m.lanes

    def strip(i: Any, width: int) -> None:
        """Inputs from i on, in up to 8 vectors of sums."""
        parts = [min(m.lanes, width - k) for k in range(0, width, m.lanes)]
        a = [m.load_part(source + i + k * m.lanes, part) for k, part in enumerate(parts)]

        def row(o: Any, *sums: Any) -> list[Any]:
            delta, line = m.splat(m.load_number(deltas + o)), w + o * s.inputs + i
            result = []
            for k, part in enumerate(parts):
                old = m.load_part(line + k * m.lanes, part)
                m.store_part(line + k * m.lanes, part, old - delta * a[k])
                if l > 0:
                    result.append(delta * old + sums[k])
            return result

        sums = unroll(m, 0, s.outputs, 1, row, [m.zero()] * len(parts) if l > 0 else [])
        for k, total in enumerate(sums):
            below, column = net.layers[l - 1], i + k * m.lanes
            z = m.load(memory + at[l - 1][1] + column) if below.f == "silu" else None
            df = derivative_vector(m, below.f, z, a[k])
            m.store(memory + at[l - 1][2] + column, m.keep_part(total * df, parts[k]))

    whole = s.inputs // wide * wide
    m.loop(0, whole, wide, lambda i: strip(i, wide))
    if whole < s.inputs:
        strip(whole, s.inputs - whole)


def row_deltas(m: Any, net: Net, z: list[Any], dout: Any) -> list[Any]:
    """d of the last layer, from its z and dL/da."""
    s = net.layers[-1]
    d = [m.load_part(dout + v * m.lanes, s.outputs - v * m.lanes) for v in range(len(z))]
    if s.f != "softmax":
        return [d * derivative_vector(m, s.f, z, activate_vector(m, s.f, z)) for d, z in zip(d, z, strict=True)]
    e, _, total = exponentials(m, s.outputs, z)
    a = [m.keep_part(value / total, s.outputs - v * m.lanes) for v, value in enumerate(e)]
    mean = m.zero()
    for slope, value in zip(d, a, strict=True):
        mean = slope * value + mean
    mean = sum_lanes(m, mean)
    return [value * (slope - mean) for slope, value in zip(d, a, strict=True)]


def row_backward(m: Any, net: Net, theta: Any, x: Any, g: Any, memory: Any) -> None:
    """Write g.grad = dL/dtheta and g.dx = dL/dx, unless they are None, from g.dout = dL/da after `row_forward`."""
    at = offsets(net)
    z = [m.load(memory + at[-1][1] + o) for o in range(0, net.layers[-1].out_pad, m.lanes)]
    for v, value in enumerate(row_deltas(m, net, z, g.dout)):
        m.store(memory + at[-1][2] + v * m.lanes, m.keep_part(value, net.outputs - v * m.lanes))
    for l in range(len(net.layers) - 1, -1, -1):
        s = net.layers[l]
        source, deltas = memory + at[l - 1][0] if l > 0 else x, memory + at[l][2]
        pull_layer(m, net, l, theta, source, deltas, g, memory)
        if g.grad is not None:
            b = g.grad + (s.theta + s.inputs * s.outputs)
            for o in range(0, s.outputs, m.lanes):
                m.store_part(b + o, s.outputs - o, m.load(deltas + o))


def pull_layer(m: Any, net: Net, l: int, theta: Any, source: Any, deltas: Any, g: Any, memory: Any) -> None:
    """dL/dW = d source^T, and d of the layer below, W^T d * f'(z), or dx"""
    s, at = net.layers[l], offsets(net)
    w = theta + s.theta
    wants_below = l > 0 or g.dx is not None
    wide = 8 * m.lanes

    def strip(i: Any, width: int) -> None:
        """Inputs from i on, in up to 8 vectors of sums."""
        parts = [min(m.lanes, width - k) for k in range(0, width, m.lanes)]
        a = [m.load_part(source + i + k * m.lanes, part) for k, part in enumerate(parts)]

        def row(o: Any, *sums: Any) -> list[Any]:
            delta, line = m.splat(m.load_number(deltas + o)), o * s.inputs + i
            result = []
            for k, part in enumerate(parts):
                if g.grad is not None:
                    m.store_part(g.grad + s.theta + line + k * m.lanes, part, delta * a[k])
                if wants_below:
                    result.append(delta * m.load_part(w + line + k * m.lanes, part) + sums[k])
            return result

        sums = unroll(m, 0, s.outputs, 1, row, [m.zero()] * len(parts) if wants_below else [])
        for k, total in enumerate(sums):
            column = i + k * m.lanes
            if l == 0:
                m.store_part(g.dx + column, parts[k], total)
                continue
            below = net.layers[l - 1]
            z = m.load(memory + at[l - 1][1] + column) if below.f == "silu" else None
            df = derivative_vector(m, below.f, z, a[k])
            m.store(memory + at[l - 1][2] + column, m.keep_part(total * df, parts[k]))

    whole = s.inputs // wide * wide
    m.loop(0, whole, wide, lambda i: strip(i, wide))
    if whole < s.inputs:
        strip(whole, s.inputs - whole)


__all__ = ["row_backward", "row_forward", "row_output", "row_size", "row_step", "vectors"]
