"""`Solver`: the base class of the solvers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from nanostep.architecture import Architecture
from nanostep.solvers.problem import Problem


@dataclass(frozen=True)
class Solver:
    """Base class of the solvers."""

    takes_missing_targets: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self.check()

    def check(self) -> None:
        """Raise TypeError or ValueError if an argument is not acceptable."""
        raise TypeError(f"{type(self).__name__} is not a solver; use LBFGS or LevenbergMarquardt")

    def check_architecture(self, architecture: Architecture) -> None:
        """Raise ValueError, MemoryError or ImportError if the solver cannot work on such a network here."""

    def minimize(self, problem: Problem, iterations: int, end_iteration: Callable[[float], bool]) -> str:
        """Minimise the loss.

        Parameters
        ----------
        problem : Problem
            `Problem.accept` is called with the parameters after every iteration.
        iterations : int
            Most iterations, >= 1.
        end_iteration : callable
            Called with the loss after every iteration; True ends the run.

        Returns
        -------
        str
            "converged", "stalled" if no better point was found, or "".
        """
        raise NotImplementedError
