"""`plot_sweep`: the scores of a sweep against its settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from nanostep.plots._axes import CATEGORIES, INK, check_axes, make_panels
from nanostep.plots.history import LOGARITHMIC_FROM

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_sweep(
    columns: Mapping[str, np.ndarray],
    varied: Sequence[str],
    *,
    metric: str,
    mode: str,
    x: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the mean scores of a sweep: a point for each setting, and a line through the best at each value.

    Numbers have an axis, logarithmic where they are positive and span a factor of 100 or more; other values are placed
    side by side. Settings whose score is not finite are crosses at the edge.

    Parameters
    ----------
    columns : mapping of str to ndarray, shape (settings,)
        The values of each setting, and "mean_score"; a `nanostep.SweepTable` is such a mapping.
    varied : sequence of str
        Names of the settings.
    metric : str
        Name of the scores.
    mode : {"min", "max"}
        Whether lower or higher scores are better.
    x : str, optional
        A setting to draw the scores against; by default each that was varied has a panel.
    ax : Axes, optional
        Where to draw `x`, or the only setting that was varied. By default on a new pyplot figure.

    Returns
    -------
    Axes
        The first panel; all are ``ax.figure.axes``.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    TypeError, ValueError
        `ax` is of the wrong type, or `x` was not varied.
    """
    if x is not None and x not in varied:
        raise ValueError(f"x={x!r} was not varied; the settings are {', '.join(varied)}")
    if x is None and ax is not None and len(varied) > 1:
        raise ValueError(f"one Axes holds one setting: say by x which of {', '.join(varied)}")
    names = varied if x is None else [x]
    axes = make_panels(len(names)) if ax is None else [check_axes(ax)]
    for panel, name in zip(axes, names, strict=True):
        _panel(panel, name, columns[name], columns["mean_score"], metric, mode)
    return axes[0]


def _panel(ax: Axes, name: str, values: np.ndarray, scores: np.ndarray, metric: str, mode: str) -> None:
    is_number = values.dtype.kind in "if"
    if is_number:
        place = values.astype(float)
        if place.min() > 0 and place.max() >= LOGARITHMIC_FROM * place.min():
            ax.set_xscale("log")
    else:
        shown = list(dict.fromkeys(map(str, values)))
        place = np.array([shown.index(str(value)) for value in values], float)
        ax.set_xticks(range(len(shown)), shown)
    finite = np.isfinite(scores)
    ax.plot(place[finite], scores[finite], "o", color=CATEGORIES[0], alpha=0.35, markersize=4, markeredgewidth=0)
    ax.plot(place[~finite], np.zeros(np.count_nonzero(~finite)), "x", color=CATEGORIES[1], markersize=5,
            transform=ax.get_xaxis_transform(), clip_on=False)  # fmt: skip
    choose = np.min if mode == "min" else np.max
    at = np.unique(place[finite])
    best = [choose(scores[finite & (place == p)]) for p in at]
    ax.plot(at, best, "-" if is_number else "_", color=CATEGORIES[0], linewidth=1.6, markersize=18, label="best")
    positive = scores[finite]
    if mode == "min" and len(positive) and positive.min() > 0 and positive.max() >= LOGARITHMIC_FROM * positive.min():
        ax.set_yscale("log")
    ax.set_xlabel(name, color=INK)
    ax.set_ylabel(f"{metric}, mean of the folds", color=INK)
    ax.grid(alpha=0.25, linewidth=0.6)
    ax.spines[["top", "right"]].set_visible(False)
