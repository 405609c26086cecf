"""Forward and backward pass of one tile of rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from nanostep.backends.jit.activations import activate_elements, activate_rows, times_derivative
from nanostep.backends.jit.arguments import ALONE, PLAIN, Data, Extras, Worker
from nanostep.backends.jit.dropout import Dropout, LayerMask, drop, times_derivative_of_dropped
from nanostep.backends.jit.layout import Net
from nanostep.backends.jit.losses import OutputRows, Weighting, custom_rows, share_of, sum_losses
from nanostep.backends.jit.output import output_rows
from nanostep.backends.jit.product import Product, multiply


@dataclass(frozen=True)
class Batch:
    """Samples that go through the layers together: a batch, or a tile of it.

    Attributes
    ----------
    net : Net
    memory : Pointer
    data : Data
    position : index
        Where it begins in the order of the samples.
    rows : index
        Number of samples.
    extras : Extras
    dropout : Dropout, or None
    worker : Worker
    """

    net: Net
    memory: Any
    data: Data
    position: Any
    rows: Any
    extras: Extras = PLAIN
    dropout: Dropout | None = None
    worker: Worker = ALONE

    def tile(self, done: Any, count: Any) -> Batch:
        """The `count` samples from sample `done` on."""
        dropout = None if self.dropout is None else self.dropout.at(done)
        return replace(self, position=self.position + done, rows=count, dropout=dropout)


def rows_of_x(m: Any, t: Batch) -> Any:
    """Pointer to the x of a tile: in the data, or gathered in memory."""
    return m.choose(t.data.ordered, t.memory + t.net.x, t.data.x + t.position * t.net.inputs)


def rows_of_y(m: Any, t: Batch, gathered: Any) -> Any:
    """Pointer to the y of a tile."""
    return m.choose(gathered, t.memory + t.net.y, t.data.y + t.position * t.net.outputs)


def index_of(m: Any, data: Data, position: Any) -> Any:
    """Index of the sample at a position of the order."""
    (index,) = m.when(data.ordered, lambda i: [m.load_number(data.order + i)], None, [position])
    return index


def weighting_of(m: Any, t: Batch, extras: Extras) -> Weighting:
    """Weights of the rows of a tile that have been gathered."""
    weight = None if t.data.weight is None else t.memory + t.net.weight
    bound = None if extras.log_clip_min is None else m.splat(m.rounded(-extras.log_clip_min))
    return Weighting(weight, bound, t.data.has_missing is not None, t.data.custom)


def forward(m: Any, t: Batch, first: Any = 0, rows: Any = None) -> None:
    """z of all layers, and a of all but the last, for `rows` rows of a tile (all of them if None) from `first` on."""
    net, memory, rows = t.net, t.memory, t.rows if rows is None else rows
    params = memory + net.params
    a, a_row = rows_of_x(m, t) + first * net.inputs, net.inputs
    for l, s in enumerate(net.layers):
        to_z, to_a = memory + s.z + first * s.row, memory + s.a + first * s.row
        multiply(
            m,
            Product(rows, s.out_pad, s.inputs, a, a_row, 1, params + s.wt, s.row,
                    to_z, s.row, start=params + s.b, start_row=0),
        )  # fmt: skip
        if s is not net.layers[-1] and s.f != "identity":
            activate_elements(m, s.f, rows * s.row, to_z, to_a)
        if s is not net.layers[-1] and t.dropout is not None:
            drop(m, LayerMask(t.dropout, l, s, rows, first), to_a)
        a, a_row = to_a, s.row


def activate_output(m: Any, net: Net, memory: Any, rows: Any, a_no: Any) -> None:
    """The network's output for the rows of the last forward pass, without padding between rows."""
    s = net.layers[-1]
    z, a = memory + s.z, memory + s.a
    activate_rows(m, s.f, rows, s.outputs, s.row, z, a)

    def row(b: Any) -> None:
        for o in range(0, s.outputs, m.lanes):
            m.store_part(a_no + b * s.outputs + o, s.outputs - o, m.load(a + b * s.row + o))

    m.loop(0, rows, 1, row)


def tile_loss(m: Any, t: Batch) -> Any:
    """The sum of weight * L over the rows of the last forward pass, whose samples are not reordered."""
    net, s = t.net, t.net.layers[-1]
    z, a = t.memory + s.z, t.memory + s.a
    if s.f != "softmax" or net.loss != "cross_entropy":
        activate_rows(m, s.f, t.rows, s.outputs, s.row, z, a)
    target = rows_of_y(m, t, t.data.labelled)
    rows = OutputRows(net.loss, s.f, s.outputs, s.row, z, a, target, weighting=weighting_of(m, t, PLAIN))
    if rows.weighting.custom is not None:
        return custom_rows(m, t.rows, replace(rows, d=t.memory + s.d), s.out_pad)
    return sum_losses(m, t.rows, rows) * share_of(net.loss, s.outputs)


def backward(m: Any, t: Batch, first: Any = 0, rows: Any = None) -> Any:
    """Write d of all layers for `rows` rows of a tile (all of them if None) from `first` on; return the sum of
    weight * L, and write that of each group to the worker's `losses`. Every delta is computed before any weight
    changes."""
    net, memory, rows = t.net, t.memory, t.rows if rows is None else rows
    target = rows_of_y(m, t, t.data.ordered | t.data.labelled) + first * net.outputs
    weighting = weighting_of(m, t, t.extras).from_row(first)
    total = output_rows(m, net, memory, rows, target, first, t.worker.losses, weighting)
    propagate(m, t, first, rows)
    return total


def propagate(m: Any, t: Batch, first: Any, rows: Any) -> None:
    """Write d of all layers but the last, from that of the last, for `rows` rows of a tile from `first` on."""
    net, memory = t.net, t.memory
    for l in range(len(net.layers) - 1, 0, -1):
        s, below = net.layers[l], net.layers[l - 1]
        multiply(
            m,
            Product(rows, s.in_pad, s.outputs, memory + s.d + first * s.row, s.row, 1, memory + s.w, s.w_row,
                    memory + below.d + first * below.row, below.row),
        )  # fmt: skip
        z, a, d = (memory + at + first * below.row for at in (below.z, below.a, below.d))
        if t.dropout is None:
            times_derivative(m, below.f, rows * below.row, z, a, d)
        else:
            times_derivative_of_dropped(m, LayerMask(t.dropout, l - 1, below, rows, first), z, a, d)


def gather(m: Any, t: Batch, first: Any = 0, rows: Any = None) -> None:
    """Copy `rows` samples of a tile (all of them if None) from its row `first` on into memory: x if the samples are
    ordered, y if they are ordered or labelled, and their weights.

    Labels become one-hot rows, smoothed.
    """
    net, memory, data, rows = t.net, t.memory, t.data, t.rows if rows is None else rows
    low: Any = 0.0
    high: Any = 1.0
    if t.extras.smoothing is not None:
        low = m.rounded(t.extras.smoothing / float(net.outputs))
        high = low + m.rounded(1.0 - t.extras.smoothing)

    def copy(to: Any, source: Any, width: int) -> None:
        whole = width // m.lanes * m.lanes
        m.loop(0, whole, m.lanes, lambda i: m.store(to + i, m.load(source + i)))
        if whole < width:
            m.store_part(to + whole, width - whole, m.load_part(source + whole, width - whole))

    def one_hot(to: Any, index: Any) -> None:
        m.loop(0, net.outputs, 1, lambda o: m.store_number(to + o, low))
        m.store_number(to + m.load_number(data.labels + index), high)

    def row(r: Any) -> None:
        index = index_of(m, data, t.position + r)
        to = memory + net.y + r * net.outputs
        m.when(data.ordered, lambda: copy(memory + net.x + r * net.inputs, data.x + index * net.inputs, net.inputs))
        m.when(data.labelled, lambda: one_hot(to, index), lambda: copy(to, data.y + index * net.outputs, net.outputs))

    def weight(r: Any) -> None:
        m.store_number(memory + net.weight + r, m.load_number(data.weight + index_of(m, data, t.position + r)))

    m.when(data.ordered | data.labelled, lambda: m.loop(first, first + rows, 1, row))
    if data.weight is not None:
        m.loop(first, first + rows, 1, weight)
