"""Many networks of one architecture at once: a lane is a network. What is a number in one network is a vector here, so
nothing is summed across lanes, and every network gets the sums it would get alone.

Networks are taken a tile at a time, as in ``csrc/src/kernels/lanes.inc``: their parameters are transposed into memory
that stays in cache, trained through all epochs of the call, and put back. Tiles need nothing of each other, and one
that is cut short by a cancelled call is not put back.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from nanostep.architecture import Architecture
from nanostep.backends.jit._kernel import Choice, Static
from nanostep.backends.jit.layout import described

WRITTEN_OUT = 64
"""Vectors of parameters of a tile up to which a step on a single sample is written out (float32: 3-5-2, 32 parameters,
3.3 ns instead of 5.0; 4-16-3, 131 parameters, 12.7 instead of 10.1)."""

MOST_GROUPS = 4
"""Vectors of networks of such a tile, as far as their parameters fit: each step waits for the one before, but not for
those of other networks (2-2-1, float: 1 vector 2.7 ns, 2 1.6, 4 1.1, 8 1.3)."""

ROWS = 8
"""Rows of a batch that go through the layers together."""


class LaneLayer(NamedTuple):
    """One layer: widths, activation, and where it stands in the memory of a tile: its parameters, and z, a and d of all
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
        Arrays that the optimiser keeps for each parameter.
    rows : int
        Rows that go through the layers together; 0: a step on a single sample is written out.
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
        return 1 if self.rows > 0 else min(MOST_GROUPS, WRITTEN_OUT // self.parameters)

    @property
    def width(self) -> int:
        """Networks of a tile."""
        return self.groups * self.lanes

    @property
    def slot(self) -> int:
        """Where slots begin in the memory of a tile, after the parameters; both are (group, parameter, lane)."""
        return self.parameters * self.width

    @cached_property
    def layers(self) -> tuple[LaneLayer, ...]:
        return self._lay_out[0]

    @property
    def grad(self) -> int:
        return self._lay_out[1]

    @property
    def rates(self) -> int:
        """Where three vectors begin that an update makes for itself."""
        return self._lay_out[2]

    @property
    def x(self) -> int:
        """Where samples begin: numbers that all lanes share, or (row, input, group, lane)."""
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

        def take(vectors: int) -> int:
            nonlocal used
            place, used = used, used + vectors * self.lanes
            return place

        grad = take(self.parameters if self.rows > 0 else 0)
        rates = take(3)
        layers, last = [], self.architecture.layers[-1]
        for s in self.architecture.layers:
            w, b = s.weights.start * self.lanes, s.biases.start * self.lanes
            a = take(self.rows * s.outputs)
            z = take(self.rows * s.outputs) if s.activation == "silu" and s is not last else a
            layers.append(LaneLayer(s.inputs, s.outputs, s.activation, w, b, z, a, take(self.rows * s.outputs)))
        x, y = (take(max(self.rows, 1) * count * self.groups) for count in
                (self.architecture.inputs, self.architecture.outputs))  # fmt: skip
        return tuple(layers), grad, rates, x, y, used


def make_lanes(
    architecture: Architecture, dtype: np.dtype, vector_bytes: int, slots: int, batch: int, single: bool
) -> Lanes:
    """Return the form of tiles of networks for a processor with vectors of that width; single: updates are plain and
    from one sample each."""
    is_written_out = single and architecture.parameter_count <= WRITTEN_OUT
    return Lanes(architecture, dtype, vector_bytes // dtype.itemsize, slots, 0 if is_written_out else min(batch, ROWS))


class LaneData(NamedTuple):
    """The samples of a call.

    Attributes
    ----------
    n : int
        Samples of each network.
    x : flat array
    y : flat array, or None
    labels : flat array of int64, or None
        They stand for y.
    on, off : float
        What the row of a label holds in its place, and elsewhere.
    orders__en : array of int64, (epochs, n), or None
        Samples of every epoch in order; None: as they stand.
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
    """The networks that a member has taken, in one epoch.

    Attributes
    ----------
    net : Lanes
    rule : Choice
    who : Place
        Their numbers.
    h, corrected : Place
        Their hyper-parameters; see `lanes_update.rule_tables`. The second is None but for Adam.
    data : LaneData
    order : Place, or None
        Samples of the epoch in order.
    memory : Place
    """

    net: Lanes
    rule: Choice
    who: Any
    h: Any
    corrected: Any
    data: LaneData
    order: Any
    memory: Any

    @property
    def shared(self) -> bool:
        """True if all networks have the same samples: x and y are numbers."""
        return self.data.rows is None


def sample_at(m: Any, t: Tile, place: Any) -> Any:
    """Which sample of a network stands at a place of the order."""
    return place if t.order is None else m.load_number(t.order + place)


def target_of(m: Any, t: Tile, index: Any, o: Any) -> Any:
    """Target o of a row of the data: a number."""
    data = t.data
    if data.labels is None:
        return m.load_number(data.y + (index * t.net.architecture.outputs + o))
    return m.select(m.load_number(data.labels + index) == o, m.rounded(data.on), m.rounded(data.off))


def gather(m: Any, t: Tile, at: Any, row: Any) -> None:
    """Row `row` of the samples in memory: sample `at`, of all networks or of each."""
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
        copy(m.load_number(data.rows + (m.load_number(t.who + k) * data.n + at)), k)

    if t.shared:
        copy(at, m.index(0))
    else:
        m.loop(0, net.width, 1, lane)
