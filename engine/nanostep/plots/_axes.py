"""Access to matplotlib for all plots: reports its absence, checks an Axes argument, and makes panels."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING

from nanostep._optional import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CATEGORIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#8c6d31", "#7f7f7f")
"""Colours of classes and series, which colour-blind readers can tell apart too; the ninth is the first again."""

INK = "#333333"


COLUMNS = 3
"""Most panels side by side."""


def check_axes(ax: object, figsize: tuple[float, float] = (5.0, 3.4)) -> Axes:
    """Return `ax`, or the Axes of a new figure of `figsize` inches if it is None.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    TypeError
        `ax` is something else.
    """
    if ax is None:
        return make_panels(1, figsize)[0]
    _pyplot()
    from matplotlib.axes import Axes

    if not isinstance(ax, Axes):
        raise TypeError(f"ax must be a matplotlib Axes or None; got {type(ax).__name__}")
    return ax


def make_panels(count: int, figsize: tuple[float, float] = (5.0, 3.4)) -> list[Axes]:
    """Return the Axes of a new pyplot figure with `count` panels of `figsize` inches, row by row."""
    rows = -(-count // COLUMNS)
    columns = -(-count // rows)
    figure = _pyplot().figure(figsize=(columns * figsize[0], rows * figsize[1]), layout="constrained")
    return [figure.add_subplot(rows, columns, k + 1) for k in range(count)]


def _pyplot() -> ModuleType:
    return require("a picture", "matplotlib", "matplotlib.pyplot", "plot")
