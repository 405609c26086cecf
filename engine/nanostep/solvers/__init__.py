"""Solvers: methods that use all samples in every iteration. Give one to ``Network.train(optimizer=...)``.

An epoch is an iteration, and ``History.loss`` is the loss after it. A solver keeps no state between two calls of
`train`, does not change the state of the network's optimiser, and continues from its own copy of theta if a callback
changes theta.
"""

from nanostep.solvers.base import Solver
from nanostep.solvers.lbfgs import LBFGS
from nanostep.solvers.levenberg_marquardt import LevenbergMarquardt

__all__ = ["LBFGS", "LevenbergMarquardt", "Solver"]
