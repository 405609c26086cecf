"""Solvers: methods that see all samples at every iteration. Give one to ``Network.train(optimizer=...)``.

An epoch is an iteration, and ``History.loss`` the loss after it. A solver keeps nothing between two calls of `train`,
leaves the state of the network's optimiser alone, and goes on from its own copy of theta if a callback changes it.
"""

from nanostep.solvers.lbfgs import LBFGS
from nanostep.solvers.levenberg_marquardt import LevenbergMarquardt
from nanostep.solvers.problem import Solver

__all__ = ["LBFGS", "LevenbergMarquardt", "Solver"]
