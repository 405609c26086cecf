"""`Solver`, the base class of the solvers, and `Problem`, the loss that they minimise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nanostep._arrays import Samples
from nanostep.architecture import Architecture
from nanostep.model import Model


@dataclass(frozen=True)
class Solver:
    """Base class of the solvers."""

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


class Problem:
    """The loss of a network on its samples as a function of parameters in float64.

    Evaluations move the network's parameters; `restore` sets them to those that were accepted last.
    """

    def __init__(self, model: Model, samples: Samples) -> None:
        self.model, self.samples = model, samples
        self.start: np.ndarray = model._theta.astype(np.float64)
        self._accepted = model._theta.copy()
        self._gradient = np.empty_like(model._theta)

    def move(self, theta: np.ndarray) -> None:
        """Set the network's parameters, rounded to its dtype."""
        self.model._theta[...] = theta

    def accept(self, theta: np.ndarray) -> None:
        """Make `theta` the parameters after an iteration."""
        self.move(theta)
        self._accepted[...] = theta

    def restore(self) -> None:
        self.model._theta[...] = self._accepted

    def loss_and_gradient(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the loss and its gradient, in float64, at `theta`."""
        self.move(theta)
        loss = self.model._engine.gradient(self.model._theta, self.samples, self._gradient)
        return loss, self._gradient.astype(np.float64)
