"""The weight gradients of a tile and what becomes of them: kept, added to, or for plain SGD applied at once.

Plain SGD adds the product to the weights as it leaves the registers, in pieces of GROUP inputs by COLUMNS vectors of
neurons, and while a piece is in L1 brings its copy in w up to date: the gradient never travels through memory.
"""

from __future__ import annotations

from typing import Any

from nanostep.backends.jit.batch import rows_of_x
from nanostep.backends.jit.layout import COLUMNS, GROUP, LayerPlan, Net
from nanostep.backends.jit.product import Product, multiply
from nanostep.backends.jit.team import Member, part
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


def bias_gradient(m: Any, s: LayerPlan, memory: Any, rows: Any, apply: Any, end: Any) -> None:
    """Call apply(o, gradient of b) for every vector of neurons, if the inputs that one works on end with the last."""
    d = memory + s.d

    def all_vectors() -> None:
        m.loop(0, s.out_pad, m.lanes, lambda o: apply(o, sum_rows(m, rows, d + o, s.row)))

    m.when(True if isinstance(end, int) else end == s.inputs, all_vectors)


def weight_gradient(m: Any, net: Net, l: int, memory: Any, rows: Any, x: Any, low: Any, high: Any) -> Product:
    """The product x^T d of the inputs [low, high) of a layer, into nothing yet."""
    s = net.layers[l]
    if l > 0:
        below = net.layers[l - 1]
        a, a_row = memory + below.a, below.row
    else:
        a, a_row = x, net.inputs
    return Product(high - low, s.out_pad, rows, a + low, 1, a_row, memory + s.d, s.row, None, s.row)


def tile_gradient(
    m: Any, net: Net, memory: Any, add: Any, rows: Any, x: Any, place: Any, gathered: Any, me: Member | None = None
) -> None:  # fmt: skip
    """Packed gradient of the sum of L over the tile: set, or added to what is there."""
    grad, first = memory + net.grad, rows_of_x(m, net, memory, x, place, gathered)
    for l, s in enumerate(net.layers):
        low, high = part(m, me, s.inputs)
        p = weight_gradient(m, net, l, memory, rows, first, low, high)
        p.c = p.start = grad + s.wt + low * s.row
        p.start_row, p.start_if = s.row, add
        multiply(m, p)

        def apply(o: Any, db: Any, b: Any = grad + s.b) -> None:
            m.store(b + o, db + m.select(add, m.load(b + o), 0.0))

        bias_gradient(m, s, memory, rows, apply, high)


def refresh_strip(m: Any, net: Net, s: LayerPlan, memory: Any, i: Any, inputs: int, o: Any, columns: int) -> None:
    """Bring w up to date from wt for `inputs` <= lanes inputs from i and `columns` outputs from o, after the weights
    have changed."""
    wt = memory + (net.params + s.wt) + i * s.row
    w = memory + s.w + i

    def block(at: Any) -> None:
        rows = [m.load(wt + r * s.row + at) if r < inputs else m.zero() for r in range(m.lanes)]
        for r, row in enumerate(transpose(m, rows)):
            m.store(w + (at + r) * s.w_row, row)

    m.loop(o, o + columns, m.lanes, block)


def refresh_inputs(m: Any, net: Net, s: LayerPlan, memory: Any, i: Any, inputs: int, o: Any, columns: int) -> None:
    """The same for any number of inputs."""
    whole = inputs // m.lanes * m.lanes
    if whole == m.lanes:
        refresh_strip(m, net, s, memory, i, m.lanes, o, columns)
    elif whole:
        m.loop(i, i + whole, m.lanes, lambda at: refresh_strip(m, net, s, memory, at, m.lanes, o, columns))
    if whole < inputs:
        refresh_strip(m, net, s, memory, i + whole, inputs - whole, o, columns)


def over_groups(m: Any, s: LayerPlan, low: Any, high: Any, body: Any) -> None:
    """Call body(i, inputs) for every group of the inputs [low, high) of a layer, which begin with a group."""
    whole = s.inputs // GROUP * GROUP
    end = high // GROUP * GROUP
    m.loop(low, end, GROUP, lambda i: body(i, GROUP))
    if whole < s.inputs:
        m.when(True if isinstance(high, int) else high == s.inputs, lambda: body(whole, s.inputs - whole))


def refresh(m: Any, net: Net, memory: Any, me: Member | None = None) -> None:
    """The copy w of every layer but the first from its wt."""
    for s in net.layers[1:]:
        low, high = part(m, me, s.inputs)

        def group(i: Any, inputs: int, s: LayerPlan = s) -> None:
            refresh_inputs(m, net, s, memory, i, inputs, 0, s.out_pad)

        over_groups(m, s, low, high, group)


def descend(
    m: Any, net: Net, memory: Any, rows: Any, x: Any, place: Any, gathered: Any, rate: Any, me: Member | None = None
) -> None:  # fmt: skip
    """Plain SGD: parameters -= rate * gradient of the sum of L over the tile; w follows."""
    factor, first = m.splat(-m.rounded(rate)), rows_of_x(m, net, memory, x, place, gathered)
    params = memory + net.params
    for l, s in enumerate(net.layers):
        low, high = part(m, me, s.inputs)
        if l == 0:
            p = weight_gradient(m, net, l, memory, rows, first, low, high)
            p.c, p.factor = params + s.wt + low * s.row, factor
            multiply(m, p)
        else:
            p = weight_gradient(m, net, l, memory, rows, first, 0, s.inputs)
            p.c, p.factor = params + s.wt, factor
            _descend_in_pieces(m, net, s, memory, p, low, high)

        def apply(o: Any, db: Any, b: Any = params + s.b) -> None:
            m.store(b + o, factor * db + m.load(b + o))

        bias_gradient(m, s, memory, rows, apply, high)


def _descend_in_pieces(m: Any, net: Net, s: LayerPlan, memory: Any, p: Product, low: Any, high: Any) -> None:
    def piece(i: Any, inputs: int, o: Any, columns: int) -> None:
        part = Product(inputs, columns, p.k, p.a + i, p.a_row, p.a_column, p.b + o, p.b_row,
                       p.c + i * p.c_row + o, p.c_row, factor=p.factor)  # fmt: skip
        multiply(m, part)
        refresh_inputs(m, net, s, memory, i, inputs, o, columns)

    def strip(o: Any, columns: int) -> None:
        over_groups(m, s, low, high, lambda i, inputs: piece(i, inputs, o, columns))

    width = COLUMNS * m.lanes
    whole = s.out_pad // width * width
    m.loop(0, whole, width, lambda o: strip(o, width))
    if whole < s.out_pad:
        strip(whole, s.out_pad - whole)


def pack(m: Any, net: Net, theta: Any, to: Any) -> None:
    """to = theta, packed, in any of the roles parameters, gradient, slot; padding is set to 0"""
    for s in net.layers:
        w, b = theta + s.theta, theta + (s.theta + s.inputs * s.outputs)

        def row(i: Any, s: LayerPlan = s, w: Any = w) -> None:
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

        def row(o: Any, s: LayerPlan = s, w: Any = w) -> None:
            line = w + o * s.inputs
            m.loop(
                0, s.inputs, 1,
                lambda i: m.store_number(line + i, factor * m.load_number(source + s.wt + i * s.row + o)),
            )  # fmt: skip

        m.loop(0, s.outputs, 1, row)
        m.loop(
            0, s.outputs, 1, lambda o, s=s, b=b: m.store_number(b + o, factor * m.load_number(source + s.b + o))
        )  # fmt: skip
