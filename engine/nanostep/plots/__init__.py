"""Pictures, drawn by matplotlib, which is imported when the first one is drawn: ``pip install "nanostep[plot]"``.

Each function draws on the Axes it is given, or on a new figure of pyplot's, and returns the Axes; none shows or saves.
"""

from nanostep.plots.decision_boundary import plot_decision_boundary
from nanostep.plots.history import plot_history
from nanostep.plots.network import plot_network
from nanostep.plots.sweep import plot_sweep

__all__ = ["plot_decision_boundary", "plot_history", "plot_network", "plot_sweep"]
