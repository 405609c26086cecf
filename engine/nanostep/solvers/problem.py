"""`Problem`: the loss of a network on its samples, which a solver minimises."""

from __future__ import annotations

import numpy as np

from nanostep._arrays import Samples
from nanostep.model import Model


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
