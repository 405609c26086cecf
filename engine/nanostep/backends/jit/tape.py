"""Forward and backward pass on theta as its owner has it, with a tape in the caller's memory: for users' jitted code.

Nothing is kept between calls but the tape, so what `train` packs once for a run would be packed for each call. Instead
the products read theta, and write the gradient, where they are:

    forward          z  (b x o)  = bias + x  (b x i)  wt (i x o)
    weight gradient  gw (o x i) += dT (o x b)  a  (b x i)
    input gradient   dx (b x i)  =      d  (b x o)  W  (o x i)

Only wt, W transposed, is made for a call, and the gradient of a layer with few inputs, such as a first one, is computed
as (i x o) and transposed at the end. A last layer of up to `NARROW` outputs has dots of rows in place of the first
product, and its z, a and d are (outputs x rows): padded to whole vectors of outputs it would take up to 16 times as
long.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from numba import njit

from nanostep.backends.jit._compile import FASTMATH, OPTIONS
from nanostep.backends.jit._kernel import kernel
from nanostep.backends.jit.activations import (
    activate_rows,
    activate_vector,
    derivative_vector,
    times_derivative,
)
from nanostep.backends.jit.gradient import sum_rows
from nanostep.backends.jit.layout import ALIGN, LayerLayout, Net
from nanostep.backends.jit.passes import over_tiles
from nanostep.backends.jit.product import Product, multiply
from nanostep.backends.jit.vector import fold_rows, sum_lanes, transpose
from nanostep.backends.jit.vjp import times_softmax_jacobian

NARROW = 4
"""Most outputs of a last layer that is computed by dots."""

CHEAP = ("relu", "leaky_relu", "identity")
"""Activations that are computed as sums leave the registers; others would leave too few of these for the sums."""


@dataclass(frozen=True)
class TapeLayer:
    """A layer on the tape: what `LayerLayout` says of it, and offsets.

    Attributes
    ----------
    s : LayerLayout
    is_narrow, is_transposed : bool
        Computed by dots; gradient computed as (inputs x outputs).
    wt, b, gt, d : int
        In memory; wt or gt is -1 if there is none.
    z, a : int
        In the record of a tile; z is a unless z is needed after a is known.
    """

    s: LayerLayout
    is_narrow: bool
    is_transposed: bool
    wt: int
    b: int
    gt: int
    d: int
    z: int
    a: int


@dataclass(frozen=True)
class Tape:
    """Where things are in the memory of a call.

    Attributes
    ----------
    layers : tuple of TapeLayer
    head : int
        Length of what does not depend on the number of rows; the records of the tiles follow.
    row : int
        Length of a record for each row.
    """

    layers: tuple[TapeLayer, ...]
    head: int
    row: int

    def size(self, net: Net, rows: int) -> int:
        """Length of the memory of a call for so many rows."""
        return self.head + -(-rows // net.tile) * net.tile * self.row + net.lanes


class Gradients(NamedTuple):
    """What is pulled back, and where to; flat arrays.

    Attributes
    ----------
    dout : array
        dL/da of the outputs.
    grad, dx : array, or None
        dL/dtheta and dL/dx.
    """

    dout: Any
    grad: Any
    dx: Any


@dataclass(frozen=True)
class Tile:
    """Rows that go through the layers together.

    Attributes
    ----------
    net : Net
    theta : Pointer
    rows : index
    x : Pointer
    memory, record : Pointer
        Memory of the call, and the part of it that is the tile's.
    """

    net: Net
    theta: Any
    rows: Any
    x: Any
    memory: Any
    record: Any


@dataclass(frozen=True)
class Operand:
    """Activations or deltas (rows x width): where, and the distances of rows and columns."""

    at: Any
    row: int
    column: int = 1


@cache
def tape_of(net: Net) -> Tape:
    """Return the layout of a network's tape."""
    used, record, layers = 0, 0, []

    def alloc(count: int) -> int:
        nonlocal used
        whole = ALIGN // net.dtype.itemsize
        start, used = used, used + -(-count // whole) * whole
        return start

    for s in net.layers:
        is_narrow = s is net.layers[-1] and s.outputs <= NARROW and s.f != "softmax"
        vectors = s.in_pad // net.lanes, s.out_pad // net.lanes
        is_transposed = not is_narrow and s.inputs * vectors[1] * 5 < s.outputs * vectors[0] * 4
        row = s.outputs if is_narrow else s.row
        wt = -1 if is_narrow else alloc(s.inputs * s.row)
        b, d = alloc(s.row), alloc(net.tile * row)
        gt = alloc(s.inputs * s.row) if is_transposed else -1
        a, record = record, record + row
        z = a
        if s.f == "silu":
            z, record = record, record + row
        layers.append(TapeLayer(s, is_narrow, is_transposed, wt, b, gt, d, z * net.tile, a * net.tile))
    return Tape(tuple(layers), used, record)


def blocks(m: Any, count: int, body: Any) -> None:
    """Call body(i, part) for every vector of `count`; part is an int."""
    whole = count // m.lanes * m.lanes
    if whole:
        m.loop(0, whole, m.lanes, lambda i: body(i, m.lanes))
    if whole < count:
        body(whole, count - whole)


def transposed(m: Any, rows: int, columns: int, source: Any, source_row: int, to: Any, to_row: int, exact: bool
               ) -> None:  # fmt: skip
    """to (columns x rows) = source (rows x columns), whose rows are read exactly; those of `to` are padded with zeros
    to whole vectors, unless `exact`."""

    def strip(r: Any, height: int) -> None:
        def block(c: Any, width: int) -> None:
            values = [
                m.load_part(source + (r + k) * source_row + c, width) if k < height else m.zero()
                for k in range(m.lanes)
            ]
            for k, value in enumerate(transpose(m, values)[:width]):
                m.store_part(to + (c + k) * to_row + r, height if exact else None, value)

        blocks(m, columns, block)

    blocks(m, rows, strip)


def pack_layer(m: Any, t: TapeLayer, theta: Any, memory: Any) -> None:
    """wt and b of a layer"""
    s = t.s
    b = theta + (s.theta + s.inputs * s.outputs)
    blocks(m, s.outputs, lambda o, part: m.store(memory + t.b + o, m.load_part(b + o, part)))
    if not t.is_narrow:
        transposed(m, s.outputs, s.inputs, theta + s.theta, s.inputs, memory + t.wt, s.row, False)


def narrow_forward(m: Any, p: Tile, t: TapeLayer, a: Operand) -> None:
    """z and a of a narrow layer: W times each row, `lanes` rows at a time."""
    s, tile, record, b = t.s, p.net.tile, p.record, p.memory + t.b
    whole = s.inputs // m.lanes * m.lanes

    def dots(first: Any, count: int, o: int) -> list[Any]:
        """The products of W's row o and `count` rows, summed up for each lane."""
        w, left = p.theta + (s.theta + o * s.inputs), a.at + first * a.row

        def products(i: Any, *sums: Any) -> list[Any]:
            part = m.load(w + i)
            return [m.load(left + i + r * a.row) * part + sums[r] for r in range(count)]

        sums = [m.zero()] * count
        if whole:
            sums = m.loop(0, whole, m.lanes, products, sums)
        if whole < s.inputs:
            rest = s.inputs - whole
            part = m.load_part(w + whole, rest)
            sums = [m.load_part(left + (r * a.row + whole), rest) * part + sums[r] for r in range(count)]
        return sums

    def finish(first: Any, o: int, z: Any, count: int | None) -> None:
        if t.z != t.a:
            m.store_part(record + (t.z + o * tile) + first, count, z)
        m.store_part(record + (t.a + o * tile) + first, count, activate_vector(m, s.f, z))

    def group(first: Any) -> None:
        for o in range(s.outputs):
            total = fold_rows(m, dots(first, m.lanes, o), False)
            finish(first, o, total + m.splat(m.load_number(b + o)), None)

    def row(first: Any) -> None:
        for o in range(s.outputs):
            (total,) = dots(first, 1, o)
            finish(first, o, sum_lanes(m, total) + m.splat(m.load_number(b + o)), 1)

    groups = m.index(p.rows) // m.lanes * m.lanes
    m.loop(0, groups, m.lanes, group)
    m.loop(groups, p.rows, 1, row)


def forward_tile(m: Any, p: Tile) -> None:
    """z and a of every layer"""
    a = Operand(p.x, p.net.inputs)
    for t in tape_of(p.net).layers:
        s, z, to = t.s, p.record + t.z, p.record + t.a
        if t.is_narrow:
            narrow_forward(m, p, t, a)
            continue
        finish = None
        if s.f in CHEAP:
            finish = lambda value, row, column, s=s: activate_vector(m, s.f, value)  # noqa: E731
        multiply(
            m,
            Product(p.rows, s.out_pad, s.inputs, a.at, a.row, 1, p.memory + t.wt, s.row, z, s.row,
                    start=p.memory + t.b, start_row=0, finish=finish),
        )  # fmt: skip
        if finish is None:
            activate_rows(m, s.f, p.rows, s.outputs, s.row, z, to)
        a = Operand(to, s.row)


def copy_output(m: Any, p: Tile, out: Any) -> None:
    """The rows of a of the last layer, without padding."""
    t = tape_of(p.net).layers[-1]
    s, a = t.s, p.record + t.a

    def narrow_row(b: Any) -> None:
        for o in range(s.outputs):
            m.store_number(out + b * s.outputs + o, m.load_number(a + o * p.net.tile + b))

    def row(b: Any) -> None:
        for o in range(0, s.outputs, m.lanes):
            m.store_part(out + b * s.outputs + o, s.outputs - o, m.load(a + b * s.row + o))

    m.loop(0, p.rows, 1, narrow_row if t.is_narrow else row)


def output_deltas(m: Any, p: Tile, dout: Any) -> None:
    """d of the last layer, from the rows of dL/da that belong to the tile."""
    t, tile = tape_of(p.net).layers[-1], p.net.tile
    s, z, a, d = t.s, p.record + t.z, p.record + t.a, p.memory + t.d

    def narrow_row(b: Any) -> None:
        for o in range(s.outputs):
            m.store_number(d + o * tile + b, m.load_number(dout + b * s.outputs + o))

    def row(b: Any) -> None:
        for o in range(0, s.outputs, m.lanes):
            m.store(d + b * s.row + o, m.load_part(dout + b * s.outputs + o, s.outputs - o))

    if t.is_narrow:
        m.loop(0, p.rows, 1, narrow_row)
        for o in range(s.outputs):
            times_derivative(m, s.f, p.rows, z + o * tile, a + o * tile, d + o * tile)
        return
    m.loop(0, p.rows, 1, row)
    if s.f == "softmax":
        times_softmax_jacobian(m, p.rows, s.outputs, s.row, a, d)
    else:
        times_derivative(m, s.f, p.rows * s.row, z, a, d)


def layer_gradient(m: Any, p: Tile, t: TapeLayer, a: Operand, d: Operand, grad: Any, add: Any) -> None:
    """Gradient of a layer, summed over a tile; it replaces the one in memory, or is added to it if `add`."""
    s, rows = t.s, p.rows
    gw, gb = grad + s.theta, grad + (s.theta + s.inputs * s.outputs)
    if t.is_transposed:
        gt = p.memory + t.gt
        multiply(
            m,
            Product(s.inputs, s.out_pad, rows, a.at, a.column, a.row, d.at, d.row, gt, s.row, start=gt,
                    start_row=s.row, start_if=add),
        )  # fmt: skip
    else:
        multiply(
            m,
            Product(s.outputs, s.in_pad, rows, d.at, d.column, d.row, a.at, a.row, gw, s.inputs, start=gw,
                    start_row=s.inputs, start_if=add, columns=s.inputs, exact=True),
        )  # fmt: skip

    def biases(o: Any, part: int) -> None:
        before = m.select(add, m.load_part(gb + o, part), 0.0)
        m.store_part(gb + o, part, sum_rows(m, rows, d.at + o, d.row) + before)

    if t.is_narrow:
        for o in range(s.outputs):
            before = m.select(add, m.load_number(gb + o), m.number(0.0))
            m.store_number(gb + o, sum_numbers(m, rows, d.at + o * d.column) + before)
    else:
        blocks(m, s.outputs, biases)


def sum_numbers(m: Any, count: Any, at: Any) -> Any:
    """The sum of consecutive numbers"""
    count = m.index(count)
    whole = count // m.lanes * m.lanes
    (total,) = m.loop(0, whole, m.lanes, lambda i, total: [total + m.load(at + i)], [m.zero()])
    return m.lane(sum_lanes(m, total + m.load_part(at + whole, count - whole)), 0)


def backward_tile(m: Any, p: Tile, grad: Any, dx: Any, add: Any) -> None:
    """From d of the last layer: gradients of all layers, added to `grad` if `add`, and dx; either may be None."""
    layers = tape_of(p.net).layers
    for l in range(len(layers) - 1, -1, -1):
        t, s = layers[l], layers[l].s
        below = layers[l - 1] if l > 0 else None
        at = p.memory + t.d
        d = Operand(at, 1, p.net.tile) if t.is_narrow else Operand(at, s.row)
        if grad is not None:
            a = Operand(p.x, s.inputs) if below is None else Operand(p.record + below.a, below.s.row)
            layer_gradient(m, p, t, a, d, grad, add)
        if below is not None:
            propagate(m, p, t, below, d)
        elif dx is not None:
            multiply(
                m,
                Product(p.rows, s.in_pad, s.outputs, d.at, d.row, d.column, p.theta + s.theta, s.inputs, dx,
                        s.inputs, columns=s.inputs, exact=True),
            )  # fmt: skip


def propagate(m: Any, p: Tile, t: TapeLayer, below: TapeLayer, d: Operand) -> None:
    """d of the layer below, W^T d * f'(z)"""
    s, f, row, to = t.s, below.s.f, below.s.row, p.memory + below.d
    z, a = p.record + below.z, p.record + below.a
    finish = None
    if f in CHEAP and f != "identity":
        finish = lambda value, r, o: value * derivative_vector(m, f, None, m.load(a + r * row + o))  # noqa: E731
    multiply(
        m,
        Product(p.rows, s.in_pad, s.outputs, d.at, d.row, d.column, p.theta + s.theta, s.inputs, to, row,
                columns=s.inputs, finish=finish),
    )  # fmt: skip
    if finish is None:
        times_derivative(m, f, p.rows * row, z, a, to)


@kernel(fastmath=FASTMATH)
def forward_kernel(m: Any, net: Net, theta: Any, n: Any, x: Any, out: Any, memory: Any) -> None:
    """See `forward_rows`"""
    tape = tape_of(net)
    for t in tape.layers:
        pack_layer(m, t, theta, memory)

    def tile(done: Any, rows: Any) -> None:
        p = Tile(net, theta, rows, x + done * net.inputs, memory, memory + tape.head + done * tape.row)
        forward_tile(m, p)
        copy_output(m, p, out + done * net.outputs)

    over_tiles(m, net, n, tile)


@kernel(fastmath=FASTMATH)
def backward_kernel(m: Any, net: Net, theta: Any, n: Any, x: Any, g: Gradients, memory: Any) -> None:
    """See `backward_rows`"""
    tape = tape_of(net)

    def tile(done: Any, rows: Any) -> None:
        p = Tile(net, theta, rows, x + done * net.inputs, memory, memory + tape.head + done * tape.row)
        output_deltas(m, p, g.dout + done * net.outputs)
        backward_tile(m, p, g.grad, None if g.dx is None else g.dx + done * net.inputs, done > 0)

    over_tiles(m, net, n, tile)
    if g.grad is None:
        return
    for t in tape.layers:
        if t.is_transposed:
            transposed(m, t.s.inputs, t.s.outputs, memory + t.gt, t.s.row, g.grad + t.s.theta, t.s.inputs, True)
    count = net.architecture.parameter_count
    m.when(n == 0, lambda: m.loop(0, count, 1, lambda i: m.store_number(g.grad + i, 0.0)) and None)


@njit(fastmath=FASTMATH, **OPTIONS)
def forward_rows(net, theta, n, x__ni, out__no, memory):
    """out = output of the network for every row; the tape is left in memory"""
    forward_kernel(net, theta, n, x__ni, out__no, memory)


@njit(fastmath=FASTMATH, **OPTIONS)
def backward_rows(net, theta, n, x__ni, gradients, memory):
    """grad = dL/dtheta, the sum over the rows, and dx = dL/dx, from dL/d(out) and the tape; either may be None"""
    backward_kernel(net, theta, n, x__ni, gradients, memory)
