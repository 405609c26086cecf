"""The worksheet: one SGD step of one sample with every intermediate value, as text, LaTeX, HTML or a dict.

``compute`` works through the step with the network's own backend, ``differences`` checks every gradient entry,
``outline`` puts the values and their formulas in order, and ``text``, ``latex`` and ``html`` render them.
"""

from nanostep.worksheet.compute import make_worksheet
from nanostep.worksheet.sheet import Worksheet
from nanostep.worksheet.values import LayerSheet, StepValues

__all__ = ["LayerSheet", "StepValues", "Worksheet", "make_worksheet"]
