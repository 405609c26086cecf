"""The weight gradients of a tile: stored, added to those in memory, or for plain SGD applied at once.

Plain SGD adds the product to the weights as it leaves the registers, in pieces of GROUP inputs by COLUMNS vectors of
neurons, and copies each piece to w while it is in L1: the gradient never goes through memory.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from nanostep.backends.jit.arguments import ALONE, Worker
from nanostep.backends.jit.batch import Batch, rows_of_x
from nanostep.backends.jit.layout import COLUMNS, GROUP, LayerLayout, Net
from nanostep.backends.jit.product import Product, multiply
from nanostep.backends.jit.team import partition
from nanostep.backends.jit.vector import transpose


def sum_rows(m: Any, rows: Any, d: Any, d_row: int) -> Any:
    """The sum of `rows` vectors, `d_row` apart. Four sums in flight."""
    zero = m.zero()
    four = rows // 4 * 4
    s = m.loop(
        0, four, 4,
        lambda b, *s: [s[i] + m.load(d + (b + i) * d_row) for i in range(4)],
        [zero] * 4,
    )  # fmt: skip
    (first,) = m.loop(four, rows, 1, lambda b, s: [s + m.load(d + b * d_row)], [s[0]])
    return (first + s[1]) + (s[2] + s[3])


def bias_gradient(m: Any, s: LayerLayout, t: Batch, apply: Any, high: Any) -> None:
    """Call apply(o, gradient of b) for every vector of neurons, if the worker's inputs, up to `high`, include the
    last."""
    d = t.memory + s.d

    def all_vectors() -> None:
        m.loop(0, s.out_pad, m.lanes, lambda o: apply(o, sum_rows(m, t.rows, d + o, s.row)))

    m.when(True if isinstance(high, int) else high == s.inputs, all_vectors)


def weight_gradient(m: Any, t: Batch, l: int, x: Any, low: Any, high: Any) -> Product:
    """The product x^T d of the inputs [low, high) of a layer, without a destination; x is that of the first layer."""
    net, memory, s = t.net, t.memory, t.net.layers[l]
    if l > 0:
        below = net.layers[l - 1]
        a, a_row = memory + below.a, below.row
    else:
        a, a_row = x, net.inputs
    return Product(high - low, s.out_pad, t.rows, a + low, 1, a_row, memory + s.d, s.row, None, s.row)


def tile_gradient(m: Any, t: Batch, add: Any) -> None:
    """Packed gradient of the sum of L over the tile; it replaces the one in memory, or is added to it if `add`."""
    grad, x = t.memory + t.net.grad, rows_of_x(m, t)
    for l, s in enumerate(t.net.layers):
        low, high = partition(m, t.worker, s.inputs)
        p = weight_gradient(m, t, l, x, low, high)
        p.c = p.start = grad + s.wt + low * s.row
        p.start_row, p.start_if = s.row, add
        multiply(m, p)

        def apply(o: Any, db: Any, b: Any = grad + s.b) -> None:
            m.store(b + o, db + m.select(add, m.load(b + o), 0.0))

        bias_gradient(m, s, t, apply, high)


class Block(NamedTuple):
    """`inputs` inputs from i and `columns` outputs from o of a layer."""

    i: Any
    inputs: int
    o: Any
    columns: int


def refresh_strip(m: Any, net: Net, s: LayerLayout, memory: Any, block: Block) -> None:
    """Copy a block of at most `lanes` inputs from wt to w, after the weights have changed."""
    wt = memory + (net.params + s.wt) + block.i * s.row
    w = memory + s.w + block.i

    def square(at: Any) -> None:
        rows = [m.load(wt + r * s.row + at) if r < block.inputs else m.zero() for r in range(m.lanes)]
        for r, row in enumerate(transpose(m, rows)):
            m.store(w + (at + r) * s.w_row, row)

    m.loop(block.o, block.o + block.columns, m.lanes, square)


def refresh_inputs(m: Any, net: Net, s: LayerLayout, memory: Any, block: Block) -> None:
    """The same for any number of inputs."""
    whole = block.inputs // m.lanes * m.lanes

    def strip(i: Any, inputs: int) -> None:
        refresh_strip(m, net, s, memory, block._replace(i=i, inputs=inputs))

    if whole == m.lanes:
        strip(block.i, m.lanes)
    elif whole:
        m.loop(block.i, block.i + whole, m.lanes, lambda i: strip(i, m.lanes))
    if whole < block.inputs:
        strip(block.i + whole, block.inputs - whole)


def over_groups(m: Any, s: LayerLayout, low: Any, high: Any, body: Any) -> None:
    """Call body(i, inputs) for every group of the inputs [low, high) of a layer; low is the first of a group."""
    whole = s.inputs // GROUP * GROUP
    end = high // GROUP * GROUP
    m.loop(low, end, GROUP, lambda i: body(i, GROUP))
    if whole < s.inputs:
        m.when(True if isinstance(high, int) else high == s.inputs, lambda: body(whole, s.inputs - whole))


def refresh(m: Any, net: Net, memory: Any, worker: Worker = ALONE) -> None:
    """Copy wt to w, transposed, for every layer but the first."""
    for s in net.layers[1:]:
        low, high = partition(m, worker, s.inputs)

        def group(i: Any, inputs: int, s: LayerLayout = s) -> None:
            refresh_inputs(m, net, s, memory, Block(i, inputs, 0, s.out_pad))

        over_groups(m, s, low, high, group)


def fused_sgd(m: Any, t: Batch, rate: Any) -> None:
    """Plain SGD: parameters -= rate * gradient of the sum of L over the tile, and w is refreshed."""
    factor, x = m.splat(-m.rounded(rate)), rows_of_x(m, t)
    params = t.memory + t.net.params
    for l, s in enumerate(t.net.layers):
        low, high = partition(m, t.worker, s.inputs)
        if l == 0:
            p = weight_gradient(m, t, l, x, low, high)
            p.c, p.factor = params + s.wt + low * s.row, factor
            multiply(m, p)
        else:
            p = weight_gradient(m, t, l, x, 0, s.inputs)
            p.c, p.factor = params + s.wt, factor
            _fused_sgd_in_pieces(m, t, s, p, low, high)

        def apply(o: Any, db: Any, b: Any = params + s.b) -> None:
            m.store(b + o, factor * db + m.load(b + o))

        bias_gradient(m, s, t, apply, high)


def _fused_sgd_in_pieces(m: Any, t: Batch, s: LayerLayout, p: Product, low: Any, high: Any) -> None:
    def piece(i: Any, inputs: int, o: Any, columns: int) -> None:
        part = Product(inputs, columns, p.k, p.a + i, p.a_row, p.a_column, p.b + o, p.b_row,
                       p.c + i * p.c_row + o, p.c_row, factor=p.factor)  # fmt: skip
        multiply(m, part)
        refresh_inputs(m, t.net, s, t.memory, Block(i, inputs, o, columns))

    def strip(o: Any, columns: int) -> None:
        over_groups(m, s, low, high, lambda i, inputs: piece(i, inputs, o, columns))

    width = COLUMNS * m.lanes
    whole = s.out_pad // width * width
    m.loop(0, whole, width, lambda o: strip(o, width))
    if whole < s.out_pad:
        strip(whole, s.out_pad - whole)


def pack(m: Any, net: Net, theta: Any, to: Any) -> None:
    """to = theta, packed, where theta holds parameters, a gradient or a slot; padding is set to 0"""
    for s in net.layers:
        w, b = theta + s.theta, theta + (s.theta + s.inputs * s.outputs)

        def row(i: Any, s: LayerLayout = s, w: Any = w) -> None:
            line = to + s.wt + i * s.row
            m.loop(0, s.outputs, 1, lambda o: m.store_number(line + o, m.load_number(w + o * s.inputs + i)))
            m.loop(s.outputs, s.row, 1, lambda o: m.store_number(line + o, 0.0))

        m.loop(0, s.inputs, 1, row)
        m.loop(0, s.outputs, 1, lambda o, s=s, b=b: m.store_number(to + s.b + o, m.load_number(b + o)))
        m.loop(s.outputs, s.row, 1, lambda o, s=s: m.store_number(to + s.b + o, 0.0))


def unpack(m: Any, net: Net, source: Any, scale: Any, theta: Any) -> None:
    """theta = scale * source, which is packed"""
    factor = m.rounded(scale)
    for s in net.layers:
        w, b = theta + s.theta, theta + (s.theta + s.inputs * s.outputs)

        def row(o: Any, s: LayerLayout = s, w: Any = w) -> None:
            line = w + o * s.inputs
            m.loop(
                0, s.inputs, 1,
                lambda i: m.store_number(line + i, factor * m.load_number(source + s.wt + i * s.row + o)),
            )  # fmt: skip

        m.loop(0, s.outputs, 1, row)
        m.loop(
            0, s.outputs, 1, lambda o, s=s, b=b: m.store_number(b + o, factor * m.load_number(source + s.b + o))
        )  # fmt: skip
