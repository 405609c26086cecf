"""`plot_network`: neurons in columns, weights as lines; wide layers are drawn as groups of neurons."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nanostep._checks import check_integer
from nanostep.model import Model
from nanostep.plots._axes import INK, check_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DIVERGING = ("#0b559f", "#6aa6d2", "#c9c9c9", "#ea8f63", "#b0301c")
"""Negative, zero, positive. Zero is grey, so that a wide line whose weights cancel is still visible on white."""

WIDEST_LINE = 3.0
"""Width of the line of the largest weight, in points."""


def plot_network(net: Model, ax: Axes | None = None, *, most: int = 16) -> Axes:
    """Draw the layers of a network with its weights and biases.

    Each line is a weight: its width shows the absolute value, its colour the value. The fill of a neuron shows its
    bias, on the same scale; inputs are white. A layer of more than `most` neurons is divided into `most` groups of
    neighbours, drawn as squares: the width of a line between groups shows the root mean square of its weights, its
    colour their mean, so that weights that cancel each other make a wide grey line.

    Parameters
    ----------
    net : Network
    ax : Axes, optional
        Where to draw; by default on a new pyplot figure.
    most : int, default=16
        Most neurons or groups drawn in a layer, 1 to 64.

    Returns
    -------
    Axes

    Raises
    ------
    ImportError
        matplotlib is not installed.
    TypeError, ValueError
        An argument is of the wrong type or out of range, or a parameter of the network is not finite.
    """
    if not isinstance(net, Model):
        raise TypeError(f"net must be a Network; got {type(net).__name__}")
    check_integer("most", most, 1, 64)
    if not np.isfinite(net.theta).all():
        raise ValueError("the network has parameters that are not finite: there is no scale to draw them on")
    ax = check_axes(ax, (max(4.0, 1.2 + 1.5 * len(net.sizes)), 4.2))

    from matplotlib.collections import LineCollection
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    columns = [_column(width, most) for width in net.sizes]
    parts = [_lines(l, w__oi, columns) for l, w__oi in enumerate(net.weights)]
    ends, mean, strength = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    biases = [
        np.add.reduceat(b__o, column.starts) / column.counts
        for b__o, column in zip(net.biases, columns[1:], strict=True)
    ]
    largest = max(strength.max(), *(np.abs(values).max() for values in biases)) or 1.0
    colours, scale = LinearSegmentedColormap.from_list("nanostep", DIVERGING), Normalize(-largest, largest)

    order = np.argsort(strength)  # the strongest on top
    widths = WIDEST_LINE * strength[order] / largest
    lines = LineCollection(list(ends[order]), linewidths=widths, cmap=colours, norm=scale, capstyle="round", zorder=1)
    lines.set_array(mean[order])
    ax.add_collection(lines)
    area = min(260.0, (150.0 / max(len(column.counts) for column in columns)) ** 2)
    fills = [np.ones((len(columns[0].counts), 4)), *(colours(scale(values)) for values in biases)]
    for l, (column, fill) in enumerate(zip(columns, fills, strict=True)):
        x = np.full(len(fill), l)
        marker = "s" if column.counts.max() > 1 else "o"
        ax.scatter(x, column.heights, s=area, c=fill, marker=marker, edgecolors=INK, linewidths=0.8, zorder=2)
    _label(ax, net, columns)
    bar = ax.figure.colorbar(lines, ax=ax, shrink=0.7, aspect=30, pad=0.02)
    bar.set_label("weight (line), bias (fill)", color=INK)
    bar.outline.set_visible(False)
    return ax


class _Column(NamedTuple):
    """A layer as it is drawn: groups of neighbouring neurons, usually one neuron each."""

    starts: np.ndarray
    """First neuron of each group."""

    counts: np.ndarray
    """Neurons of each group."""

    heights: np.ndarray
    """Vertical position of each group; the first is on top, the middle is 0."""


def _column(width: int, most: int) -> _Column:
    groups = min(width, most)
    ends = np.arange(groups + 1) * width // groups
    # fewer than five neurons do not take the whole height
    heights = np.linspace(1, -1, groups) * min(1.0, (groups - 1) / 4)
    return _Column(ends[:-1], np.diff(ends), heights)


def _lines(l: int, w__oi: np.ndarray, columns: list[_Column]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the lines of a layer's weights: ends (n, 2, 2), and mean and root mean square of the weights of each."""
    below, above = columns[l], columns[l + 1]
    counts = np.outer(above.counts, below.counts)

    def means(values__oi: np.ndarray) -> np.ndarray:
        return np.add.reduceat(np.add.reduceat(values__oi, above.starts, axis=0), below.starts, axis=1) / counts

    w__oi = w__oi.astype(np.float64)
    to, start = np.meshgrid(above.heights, below.heights, indexing="ij")
    ends = np.stack([np.full_like(to, l), start, np.full_like(to, l + 1), to], axis=-1).reshape(-1, 2, 2)
    return ends, means(w__oi).ravel(), np.sqrt(means(np.square(w__oi))).ravel()


def _label(ax: Axes, net: Model, columns: list[_Column]) -> None:
    """Write the width and the activation under each column, and the size of its groups."""
    bottom = min(column.heights[-1] for column in columns)
    lines = 2
    for l, (name, column) in enumerate(zip(["inputs", *net.architecture.activations], columns, strict=True)):
        text = f"{net.sizes[l]}\n{name}"
        if column.counts.max() > 1:
            text += f"\n(groups of {' or '.join(map(str, sorted(set(column.counts.tolist()))))})"
            lines = 3
        ax.text(l, bottom - 0.14, text, ha="center", va="top", fontsize=9, color=INK, linespacing=1.3)
    ax.set_xlim(-0.4, len(columns) - 0.6)
    ax.set_ylim(bottom - 0.14 - 0.15 * lines, 0.12 - bottom)
    ax.axis("off")
