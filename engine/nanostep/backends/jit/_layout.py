"""How kernels know a network: an array of uint64 with a row for each layer, so that a new architecture needs no new
compilation."""

from __future__ import annotations

import numpy as np

from nanostep._names import ACTIVATIONS
from nanostep.architecture import Architecture

IN, OUT, ACTIVATION, THETA, TILE_AT, WT_AT = range(6)
"""Columns: widths, activation, where the layer's parameters stand in theta (and in the packed parameters, which take as
much room), where its tile begins in the tile arrays, and wt in the array of those."""

TILE = 64
"""Rows that go through all layers together, as in the C library."""


def make_layout(architecture: Architecture) -> np.ndarray:
    """Return the layout, uint64 of shape (layers, 6)."""
    rows = []
    tile = wt = 0
    for l, layer in enumerate(architecture.layers):
        code = ACTIVATIONS.index(layer.activation)
        rows.append((layer.inputs, layer.outputs, code, layer.weights.start, tile * TILE, wt))
        tile += layer.outputs
        wt += layer.inputs * layer.outputs if l > 0 else 0  # the first layer is transposed where it stands
    return np.array(rows, np.uint64)
