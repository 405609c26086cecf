"""`plot_history`: learning curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from nanostep.plots._axes import CATEGORIES, INK, check_axes, make_panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOGARITHMIC_FROM = 100.0
"""Largest over smallest value from which a positive series has a logarithmic axis."""


def plot_history(series: Mapping[str, Sequence[float]], ax: Axes | None = None) -> Axes:
    """Draw the values per epoch of a `nanostep.History`.

    The first panel shows the training and validation losses, with the least validation loss marked. Each metric, and
    the learning rate if it changes, has a panel of its own. An axis is logarithmic where the values are positive and
    span a factor of 100 or more; values that are not finite leave gaps.

    Parameters
    ----------
    series : mapping of str to sequence of float
        What `nanostep.History.series` returns, of at least one epoch: "loss" and "validation_loss", each metric and
        ``validation_`` with its name ("loss_after_epoch" for the metric "loss"), and "lr".
    ax : Axes, optional
        Where to draw the losses, and nothing else. By default all panels are drawn on a new pyplot figure.

    Returns
    -------
    Axes
        Panel of the losses; all panels are ``ax.figure.axes``.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    TypeError, ValueError
        An argument is of the wrong type, or no epoch has been completed.
    """
    if not isinstance(series, Mapping):
        raise TypeError(f"series must be what History.series() returns; got {type(series).__name__}")
    loss, validation_loss, lr = (series.get(name, ()) for name in ("loss", "validation_loss", "lr"))
    if len(loss) == 0:
        raise ValueError("the history holds no epoch: there is nothing to draw")
    panels = [("loss", loss, validation_loss)]
    if ax is None:
        for name in dict.fromkeys(name.removeprefix("validation_") for name in series if name not in ("lr", "loss")):
            if name == "loss_after_epoch":
                panels.append(("loss after the epoch", series[name], validation_loss))
            elif name != "loss":
                panels.append((name, series.get(name, ()), series.get(f"validation_{name}", ())))
        if len(set(lr)) > 1:
            panels.append(("learning rate", lr, ()))
    axes = make_panels(len(panels)) if ax is None else [check_axes(ax)]
    for panel, (name, training, validation) in zip(axes, panels, strict=True):
        _curves(panel, name, training, validation)
    if len(validation_loss):
        _mark_least(axes[0], validation_loss)
    axes[0].legend(frameon=False)
    return axes[0]


def _curves(ax: Axes, name: str, training: Sequence[float], validation: Sequence[float]) -> None:
    """Draw one quantity over the epochs, counted from 1."""
    from matplotlib.ticker import MaxNLocator

    for label, values, colour in (("training", training, CATEGORIES[0]), ("validation", validation, CATEGORIES[1])):
        if len(values):
            y = np.where(np.isfinite(values), values, np.nan)
            ax.plot(np.arange(1, len(y) + 1), y, color=colour, label=label, linewidth=1.6,
                    marker="o" if len(y) == 1 else None)  # fmt: skip
    finite = [value for value in (*training, *validation) if np.isfinite(value)]
    if finite and min(finite) > 0 and max(finite) >= LOGARITHMIC_FROM * min(finite):
        ax.set_yscale("log")
    ax.set_xlabel("epoch", color=INK)
    ax.set_ylabel(name, color=INK)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.grid(alpha=0.25, linewidth=0.6)
    ax.spines[["top", "right"]].set_visible(False)


def _mark_least(ax: Axes, values: Sequence[float]) -> None:
    if np.isfinite(values).any():
        best = int(np.nanargmin(np.where(np.isfinite(values), values, np.nan)))
        label = f"least validation: {values[best]:.3g} (epoch {best + 1})"
        ax.plot(best + 1, values[best], "o", color=CATEGORIES[1], markeredgecolor="white", markersize=6.5, label=label)
