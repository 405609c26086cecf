"""Forward and backward pass of one tile of rows."""

from __future__ import annotations

from typing import Any

from nanostep.backends.jit.activations import activate_elements, activate_rows, times_derivative
from nanostep.backends.jit.arguments import PLAIN, Data, Extras
from nanostep.backends.jit.dropout import Dropout, drop, times_derivative_of_kept
from nanostep.backends.jit.layout import Net
from nanostep.backends.jit.losses import Counting, share_of, sum_losses
from nanostep.backends.jit.output import output_rows
from nanostep.backends.jit.product import Product, multiply


def rows_of_x(m: Any, net: Net, memory: Any, x: Any, place: Any, gathered: Any) -> Any:
    """Where the rows of a tile begin: in place, or gathered in memory."""
    return m.choose(gathered, memory + net.x, x + place * net.inputs)


def rows_of_y(m: Any, net: Net, memory: Any, y: Any, place: Any, gathered: Any) -> Any:
    return m.choose(gathered, memory + net.y, y + place * net.outputs)


def index_of(m: Any, data: Data, place: Any) -> Any:
    """Which sample stands at a place of the order."""
    (index,) = m.when(data.ordered, lambda i: [m.load_number(data.order + i)], None, [place])
    return index


def counting_of(m: Any, net: Net, memory: Any, data: Data, extras: Extras = PLAIN) -> Counting:
    """How the rows of a tile count that have been gathered."""
    weight = None if data.weight is None else memory + net.weight
    most = None if extras.log_clip_min is None else m.splat(m.rounded(-extras.log_clip_min))
    return Counting(weight, most)


def forward(
    m: Any, net: Net, memory: Any, rows: Any, x: Any, place: Any, gathered: Any, first: Any = 0,
    dropout: Dropout | None = None,
) -> None:  # fmt: skip
    """z of all layers, and a of all but the last, for `rows` rows of a tile from `first` on; the tile's x begin at
    `place`, or have been gathered."""
    params = memory + net.params
    a, a_row = rows_of_x(m, net, memory, x, place, gathered) + first * net.inputs, net.inputs
    for l, s in enumerate(net.layers):
        to_z, to_a = memory + s.z + first * s.row, memory + s.a + first * s.row
        multiply(
            m,
            Product(rows, s.out_pad, s.inputs, a, a_row, 1, params + s.wt, s.row,
                    to_z, s.row, start=params + s.b, start_row=0),
        )  # fmt: skip
        if s is not net.layers[-1] and s.f != "identity":
            activate_elements(m, s.f, rows * s.row, to_z, to_a)
        if s is not net.layers[-1] and dropout is not None:
            drop(m, dropout, l, s, rows, first, to_a)
        a, a_row = to_a, s.row


def activate_output(m: Any, net: Net, memory: Any, rows: Any, a_no: Any) -> None:
    """The network's output for the rows of the last forward, without gaps."""
    s = net.layers[-1]
    z, a = memory + s.z, memory + s.a
    activate_rows(m, s.f, rows, s.outputs, s.row, z, a)

    def row(b: Any) -> None:
        for o in range(0, s.outputs, m.lanes):
            m.store_part(a_no + b * s.outputs + o, s.outputs - o, m.load(a + b * s.row + o))

    m.loop(0, rows, 1, row)


def tile_loss(m: Any, net: Net, memory: Any, rows: Any, place: Any, data: Data) -> Any:
    """The sum of weight * L over the rows of the last forward, whose samples begin at `place`, in order."""
    s = net.layers[-1]
    z, a = memory + s.z, memory + s.a
    if s.f != "softmax" or net.loss != "cross_entropy":
        activate_rows(m, s.f, rows, s.outputs, s.row, z, a)
    target = rows_of_y(m, net, memory, data.y, place, data.labelled)
    total = sum_losses(m, net.loss, s.f, rows, s.outputs, s.row, z, a, target, counting_of(m, net, memory, data))
    return total * share_of(net.loss, s.outputs)


def backward(
    m: Any, net: Net, memory: Any, rows: Any, place: Any, data: Data, first: Any = 0, losses: Any = None,
    extras: Extras = PLAIN, dropout: Dropout | None = None,
) -> Any:  # fmt: skip
    """Write d of all layers for `rows` rows of a tile from `first` on; return the sum of weight * L, and write that of
    each group to `losses`. Every delta is computed before any weight changes."""
    target = rows_of_y(m, net, memory, data.y, place, data.ordered | data.labelled) + first * net.outputs
    counting = counting_of(m, net, memory, data, extras).from_row(first)
    total = output_rows(m, net, memory, rows, target, first, losses, counting)
    for l in range(len(net.layers) - 1, 0, -1):
        s, below = net.layers[l], net.layers[l - 1]
        multiply(
            m,
            Product(rows, s.in_pad, s.outputs, memory + s.d + first * s.row, s.row, 1, memory + s.w, s.w_row,
                    memory + below.d + first * below.row, below.row),
        )  # fmt: skip
        z, a, d = (memory + at + first * below.row for at in (below.z, below.a, below.d))
        if dropout is None:
            times_derivative(m, below.f, rows * below.row, z, a, d)
        else:
            times_derivative_of_kept(m, dropout, l - 1, below, rows, first, z, a, d)
    return total


def gather(
    m: Any, net: Net, memory: Any, place: Any, rows: Any, data: Data, first: Any = 0, extras: Extras = PLAIN
) -> None:  # fmt: skip
    """Rows of x and y of `rows` samples of a tile from its row `first` on, into memory: of x if they are ordered, of y
    if they are ordered or labelled; and their weights. The tile begins at `place` of the order.

    Labels become one-hot rows, smoothed.
    """
    low: Any = 0.0
    high: Any = 1.0
    if extras.smoothing is not None:
        low = m.rounded(extras.smoothing / float(net.outputs))
        high = low + m.rounded(1.0 - extras.smoothing)

    def copy(to: Any, source: Any, width: int) -> None:
        whole = width // m.lanes * m.lanes
        m.loop(0, whole, m.lanes, lambda i: m.store(to + i, m.load(source + i)))
        if whole < width:
            m.store_part(to + whole, width - whole, m.load_part(source + whole, width - whole))

    def one_hot(to: Any, index: Any) -> None:
        m.loop(0, net.outputs, 1, lambda o: m.store_number(to + o, low))
        m.store_number(to + m.load_number(data.labels + index), high)

    def row(r: Any) -> None:
        index = index_of(m, data, place + r)
        to = memory + net.y + r * net.outputs
        m.when(data.ordered, lambda: copy(memory + net.x + r * net.inputs, data.x + index * net.inputs, net.inputs))
        m.when(data.labelled, lambda: one_hot(to, index), lambda: copy(to, data.y + index * net.outputs, net.outputs))

    def weigh(r: Any) -> None:
        m.store_number(memory + net.weight + r, m.load_number(data.weight + index_of(m, data, place + r)))

    m.when(data.ordered | data.labelled, lambda: m.loop(first, first + rows, 1, row))
    if data.weight is not None:
        m.loop(first, first + rows, 1, weigh)
