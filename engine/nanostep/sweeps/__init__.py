"""Sweeps over many settings: cross-validated, trained as populations, in this process or, by joblib, on a cluster."""

from nanostep.sweeps.run import sweep
from nanostep.sweeps.spaces import Grid, Halving, Random
from nanostep.sweeps.table import SweepTable

__all__ = ["Grid", "Halving", "Random", "SweepTable", "sweep"]
