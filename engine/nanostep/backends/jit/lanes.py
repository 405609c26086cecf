"""Many networks of one architecture at once, one in each lane. Each number of a network is a vector here, so nothing is
summed across lanes, and every network gets the sums that it would get alone.

Networks are trained a tile at a time, as in ``csrc/src/kernels/lanes.inc``: their parameters are transposed into memory
that stays in cache, trained through all epochs of the call, and transposed back. Tiles are independent. The parameters
of one that a cancelled call interrupts are not copied back.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from nanostep.architecture import Architecture
from nanostep.backends.jit._kernel import Choice, Static
from nanostep.backends.jit.layout import described

UNROLLED = 64
"""Vectors of parameters of a tile up to which a step on a single sample is unrolled (float32: 3-5-2, 32 parameters,
3.3 ns instead of 5.0; 4-16-3, 131 parameters, 12.7 instead of 10.1)."""

MAX_GROUPS = 4
"""Most vectors of networks of such a tile, as far as their parameters fit: a step depends on the one before, but not on
those of other networks (2-2-1, float: 1 vector 2.7 ns, 2 1.6, 4 1.1, 8 1.3)."""

ROWS = 8
"""Rows of a batch that go through the layers together."""


class LaneLayer(NamedTuple):
    """One layer: widths, activation, and offsets in the memory of a tile: of its parameters, and of z, a and d of all
    rows; z is a unless z is needed after a is known."""

    inputs: int
    outputs: int
    f: str
    w: int
    b: int
    z: int
    a: int
    d: int


@dataclass(frozen=True)
class Lanes(Static):
    """An architecture in one dtype with a network in each lane, and how a tile of networks is kept.

    Attributes
    ----------
    architecture : Architecture
    dtype : numpy.dtype
    lanes : int
    slots : int
        Slots of the optimiser for each parameter.
    rows : int
        Rows that go through the layers together; 0: a step on a single sample is unrolled.
    """

    architecture: Architecture
    dtype: np.dtype
    lanes: int
    slots: int
    rows: int

    @cached_property
    def label(self) -> str:
        return f"{described(self.architecture)} {self.dtype} {self.lanes} {self.slots} {self.rows}"

    def __hash__(self) -> int:
        return hash(self.label)

    @property
    def parameters(self) -> int:
        return self.architecture.parameter_count

    @property
    def groups(self) -> int:
        """Vectors of networks of a tile."""
        return 1 if self.rows > 0 else min(MAX_GROUPS, UNROLLED // self.parameters)

    @property
    def width(self) -> int:
        """Networks of a tile."""
        return self.groups * self.lanes

    @property
    def slot(self) -> int:
        """Offset of the slots in the memory of a tile, after the parameters; both are (group, parameter, lane)."""
        return self.parameters * self.width

    @cached_property
    def layers(self) -> tuple[LaneLayer, ...]:
        return self._lay_out[0]

    @property
    def grad(self) -> int:
        return self._lay_out[1]

    @property
    def rates(self) -> int:
        """Offset of three vectors that an update computes for itself."""
        return self._lay_out[2]

    @property
    def x(self) -> int:
        """Offset of the samples: numbers that all lanes share, or (row, input, group, lane)."""
        return self._lay_out[3]

    @property
    def y(self) -> int:
        return self._lay_out[4]

    @property
    def memory_size(self) -> int:
        return self._lay_out[5]

    @cached_property
    def _lay_out(self) -> tuple[tuple[LaneLayer, ...], int, int, int, int, int]:
        used = self.slot * (1 + self.slots)

        def alloc(vectors: int) -> int:
            nonlocal used
            start, used = used, used + vectors * self.lanes
            return start

        grad = alloc(self.parameters if self.rows > 0 else 0)
        rates = alloc(3)
        layers, last = [], self.architecture.layers[-1]
        for s in self.architecture.layers:
            w, b = s.weights.start * self.lanes, s.biases.start * self.lanes
            a = alloc(self.rows * s.outputs)
            z = alloc(self.rows * s.outputs) if s.activation == "silu" and s is not last else a
            layers.append(LaneLayer(s.inputs, s.outputs, s.activation, w, b, z, a, alloc(self.rows * s.outputs)))
        x, y = (alloc(max(self.rows, 1) * count * self.groups) for count in
                (self.architecture.inputs, self.architecture.outputs))  # fmt: skip
        return tuple(layers), grad, rates, x, y, used


def make_lanes(
    architecture: Architecture, dtype: np.dtype, vector_bytes: int, slots: int, batch: int, single: bool
) -> Lanes:
    """Return the form of tiles of networks for a processor with vectors of that width; single: updates are plain and
    from one sample each."""
    is_unrolled = single and architecture.parameter_count <= UNROLLED
    return Lanes(architecture, dtype, vector_bytes // dtype.itemsize, slots, 0 if is_unrolled else min(batch, ROWS))


class LaneData(NamedTuple):
    """The samples of a call.

    Attributes
    ----------
    n : int
        Samples of each network.
    x : flat array
    y : flat array, or None
    labels : flat array of int64, or None
        In place of y.
    on, off : float
        Entry of a label's row at the label, and elsewhere.
    orders__en : array of int64, (epochs, n), or None
        Samples of every epoch in order; None: as they are stored.
    rows : flat array of int64, (m * n,), or None
        Rows of x that each network uses; None: all of them.
    """

    n: Any
    x: Any
    y: Any
    labels: Any
    on: Any
    off: Any
    orders__en: Any
    rows: Any


@dataclass(frozen=True)
class Tile:
    """The networks that a thread is training, in one epoch.

    Attributes
    ----------
    net : Lanes
    rule : Choice
    indices : Pointer
        Indices of the networks.
    h, corrected : Pointer
        Their hyper-parameters; see `lanes_update.rule_tables`. The second is None but for Adam.
    data : LaneData
    order : Pointer, or None
        Samples of the epoch in order.
    memory : Pointer
    """

    net: Lanes
    rule: Choice
    indices: Any
    h: Any
    corrected: Any
    data: LaneData
    order: Any
    memory: Any

    @property
    def shared(self) -> bool:
        """True if all networks have the same samples: x and y are numbers."""
        return self.data.rows is None


def sample_at(m: Any, t: Tile, position: Any) -> Any:
    """Index of the sample at a position of the order."""
    return position if t.order is None else m.load_number(t.order + position)


def target_of(m: Any, t: Tile, index: Any, o: Any) -> Any:
    """Target o of a row of the data: a number."""
    data = t.data
    if data.labels is None:
        return m.load_number(data.y + (index * t.net.architecture.outputs + o))
    return m.select(m.load_number(data.labels + index) == o, m.rounded(data.on), m.rounded(data.off))


def gather(m: Any, t: Tile, at: Any, row: Any) -> None:
    """Copy sample `at`, of all networks or of each, to row `row` of the samples in memory."""
    net, data, inputs, outputs = t.net, t.data, t.net.architecture.inputs, t.net.architecture.outputs
    entries = 1 if t.shared else net.width
    x, y = t.memory + (row * (inputs * entries) + net.x), t.memory + (row * (outputs * entries) + net.y)

    def copy(index: Any, k: Any) -> None:
        def feature(i: Any) -> None:
            m.store_number(x + (i * entries + k), m.load_number(data.x + (index * inputs + i)))

        def target(o: Any) -> None:
            m.store_number(y + (o * entries + k), target_of(m, t, index, o))

        m.loop(0, inputs, 1, feature)
        m.loop(0, outputs, 1, target)

    def lane(k: Any) -> None:
        copy(m.load_number(data.rows + (m.load_number(t.indices + k) * data.n + at)), k)

    if t.shared:
        copy(at, m.index(0))
    else:
        m.loop(0, net.width, 1, lane)
