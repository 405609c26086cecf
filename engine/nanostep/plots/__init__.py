"""Plots by matplotlib, which is imported when the first one is drawn: ``pip install "nanostep[plot]"``.

Each function draws on the given Axes, or on a new pyplot figure, and returns the Axes. None of them shows or saves.
"""

from nanostep.plots.decision_boundary import plot_decision_boundary
from nanostep.plots.history import plot_history
from nanostep.plots.network import plot_network
from nanostep.plots.sweep import plot_sweep

__all__ = ["plot_decision_boundary", "plot_history", "plot_network", "plot_sweep"]
