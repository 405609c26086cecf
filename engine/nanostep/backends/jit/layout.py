"""The private form of a network for the length of a call: where each part is in one array of memory.

Packed parameters: for each layer wt (in x out, so that one vector holds the weights from one input to several neurons),
then b, rows padded with zeros to whole vectors. Gradients and slots have the same form. Layers but the first also keep
w (out x in), which the backward pass reads. Activations and deltas are those of one tile of rows.

All offsets are plain integers, known when a kernel is compiled.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from nanostep.architecture import Architecture
from nanostep.backends.jit._kernel import Static
from nanostep.losses import Loss

ALIGN = 64
"""Bytes: long rows of packed matrices begin at multiples of this."""

GROUP = 16
"""Rows of a batch, or inputs of a layer, that are worked on together."""

COLUMNS = 4
"""Vectors of neurons that are worked on together."""

MAX_TILE = 128
SMALL = 16384
"""Most parameters of a small network, whose activations of a tile should stay in L1 or L2; see nst_tile_rows in C."""


def described(architecture: Architecture) -> str:
    """Return a short text that is different for every architecture."""
    a = architecture
    shown = f"{a} {'/'.join(a.activations)} {a.criterion}"
    return shown if len(shown) <= 80 else f"{len(a.sizes)} sizes {hashlib.sha256(shown.encode()).hexdigest()}"


@dataclass(frozen=True)
class LayerLayout:
    """One layer: widths, padded widths, distances of rows, and offsets of its parts.

    Attributes
    ----------
    inputs, outputs : int
    in_pad, out_pad : int
        Widths in whole vectors.
    w_row, row : int
        Distance of the rows of w, and of wt, z, a and d.
    f : str
        Activation.
    theta : int
        Where W begins in theta.
    wt, b : int
        In packed parameters.
    w, z, a, d : int
        In memory; w is -1 for the first layer; z is a unless z is needed after a is known.
    """

    inputs: int
    outputs: int
    in_pad: int
    out_pad: int
    w_row: int
    row: int
    f: str
    theta: int
    wt: int
    b: int
    w: int
    z: int
    a: int
    d: int

    @property
    def groups(self) -> int:
        """Groups of inputs, and one for the biases."""
        return -(-self.inputs // GROUP) + 1


@dataclass(frozen=True)
class Net(Static):
    """An architecture in one dtype, for vectors of `lanes` numbers.

    The memory of a call holds, in this order: packed parameters, packed gradient, packed slots (their number is known
    at run time, so they come last), and before those w of every layer, the tile, and rows gathered into x, y and
    weight.
    """

    architecture: Architecture
    dtype: np.dtype
    lanes: int

    @cached_property
    def label(self) -> str:
        return f"{described(self.architecture)} {self.dtype} {self.lanes}"

    def __hash__(self) -> int:
        return hash(self.label)

    def padded(self, count: int) -> int:
        return -(-count // self.lanes) * self.lanes

    def row_distance(self, columns: int) -> int:
        """Distance of rows of so many columns. From 1 KiB it is an odd number of cache lines: at a power of two, the
        entries of a column would all fall into the same few sets of the cache."""
        lines = self.padded(columns) * self.dtype.itemsize // ALIGN
        return self.padded(columns) + (ALIGN // self.dtype.itemsize if lines >= 16 and lines % 2 == 0 else 0)

    @property
    def loss(self) -> str | Loss:
        return self.architecture.criterion

    @property
    def inputs(self) -> int:
        return self.architecture.inputs

    @property
    def outputs(self) -> int:
        return self.architecture.outputs

    @cached_property
    def is_small(self) -> bool:
        return self.architecture.parameter_count <= SMALL

    @cached_property
    def tile(self) -> int:
        """Most rows of a tile."""
        return MAX_TILE // 2 if self.is_small else MAX_TILE

    @cached_property
    def packed(self) -> int:
        """Length of packed parameters."""
        sizes = self.architecture.sizes
        return sum((fan_in + 1) * self.row_distance(out) for fan_in, out in pairwise(sizes))

    @cached_property
    def layers(self) -> tuple[LayerLayout, ...]:
        return self._lay_out[0]

    @cached_property
    def x(self) -> int:
        return self._lay_out[1]

    @cached_property
    def y(self) -> int:
        return self._lay_out[2]

    @cached_property
    def weight(self) -> int:
        return self._lay_out[3]

    @cached_property
    def params(self) -> int:
        """Where packed parameters begin; the gradient follows, then the slots."""
        return self._lay_out[4]

    @cached_property
    def groups(self) -> int:
        """Groups of inputs of all layers, their biases counted as one more each."""
        return sum(s.groups for s in self.layers)

    @property
    def grad(self) -> int:
        return self.params + self._stride

    @property
    def slots(self) -> int:
        return self.grad + self._stride

    @property
    def _stride(self) -> int:
        whole = ALIGN // self.dtype.itemsize
        return -(-self.packed // whole) * whole

    def memory_size(self, slot_count: int) -> int:
        """Length of the memory that a call needs."""
        return self.slots + slot_count * self.packed + self.lanes

    def by_layer(self, values: Sequence[float]) -> np.ndarray:
        """Return an array packed as parameters are with one of the `values` for each layer."""
        return np.repeat(values, [(s.inputs + 1) * s.row for s in self.layers])

    @cached_property
    def _lay_out(self) -> tuple[tuple[LayerLayout, ...], int, int, int, int]:
        used, whole = 0, ALIGN // self.dtype.itemsize

        def alloc(count: int) -> int:
            nonlocal used
            start, used = used, used + -(-count // whole) * whole
            return start

        layers, packed = [], 0
        x = alloc(self.tile * self.inputs + self.lanes)
        y = alloc(self.tile * self.outputs + self.lanes)
        weight = alloc(self.tile)
        last = len(self.architecture.layers) - 1
        for l, layer in enumerate(self.architecture.layers):
            in_pad, out_pad = self.padded(layer.inputs), self.padded(layer.outputs)
            w_row, row = self.row_distance(layer.inputs), self.row_distance(layer.outputs)
            w = alloc(out_pad * w_row) if l > 0 else -1
            a = alloc(self.tile * row)
            z = alloc(self.tile * row) if l == last or layer.activation == "silu" else a
            d = alloc(self.tile * row)
            wt, b = packed, packed + layer.inputs * row
            packed = b + row
            layers.append(
                LayerLayout(layer.inputs, layer.outputs, in_pad, out_pad, w_row, row, layer.activation,
                          layer.weights.start, wt, b, w, z, a, d)
            )  # fmt: skip
        return tuple(layers), x, y, weight, used


def make_net(architecture: Architecture, dtype: np.dtype, vector_bytes: int) -> Net:
    """Return the form of a network for a processor with vectors of that width.

    Networks whose layers all fit into 32 bytes take vectors of 32: they have nothing for wider ones to do.
    """
    if max(architecture.sizes) * dtype.itemsize <= 32:
        vector_bytes = min(vector_bytes, 32)
    return Net(architecture, dtype, vector_bytes // dtype.itemsize)
