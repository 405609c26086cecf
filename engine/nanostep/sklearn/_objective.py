"""The estimators' losses in terms of the engine's: scikit-learn divides some by the outputs, not their gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import xlogy

from nanostep.losses import Loss
from nanostep.network import Network
from nanostep.sklearn._dataset import Dataset


@dataclass(frozen=True)
class Objective:
    """A loss of the estimators in terms of one of the engine's.

    Attributes
    ----------
    loss, output : str
        The engine's loss, which may be an object, and output activation.
    out_activation : str
        scikit-learn's name of the output activation.
    gradient_factor : float
        Factor from the gradient of the engine's loss to the one that is descended, a sum over outputs.
    value_factor : float
        Factor from the engine's loss to the reported loss.
    """

    loss: str | Loss
    output: str
    out_activation: str
    gradient_factor: float = 1.0
    value_factor: float = 1.0

    def constants(self, data: Dataset) -> np.ndarray | None:
        """Return the constants to add to the losses of the samples, float64 (n,), or None for zero.

        The Poisson deviance is 0 for a perfect prediction; the engine omits terms that do not depend on predictions.
        """
        if self.loss != "poisson" or data.y is None:
            return None
        y__no = data.y.astype(np.float64)
        terms__no = xlogy(y__no, y__no) - y__no
        return np.nan_to_num(terms__no).sum(axis=1) if data.has_missing else terms__no.sum(axis=1)


def elementwise_objective(loss: str, output: str, out_activation: str, outputs: int) -> Objective:
    """Return the objective of "squared_error", "absolute_error" or "huber": the mean over outputs is reported."""
    if loss == "squared_error":
        # summed over outputs by the engine
        return Objective("half_squared_error", output, out_activation, 1.0, 1.0 / outputs)
    return Objective(loss, output, out_activation, outputs, 1.0)


class ReportedLoss:
    """The loss of an epoch as scikit-learn defines it: a mean over batches of weighted means over samples.

    Parameters
    ----------
    objective : Objective
    data : Dataset
    batch : int
        Samples of a batch.
    """

    def __init__(self, objective: Objective, data: Dataset, batch: int) -> None:
        self._factor, self._batch = objective.value_factor, batch
        self._constants, self._weight = objective.constants(data), data.weight

    def __call__(self, means: tuple[Any, Any], order: np.ndarray | None) -> Any:
        """Return the loss, given the engine's mean loss and mean penalty (of one network, or arrays of many) and the
        order of the samples."""
        loss, penalty = means
        return loss * self._factor + penalty + self._mean_constant(order)

    def _mean_constant(self, order: np.ndarray | None) -> float:
        constants, weight = self._constants, self._weight
        if constants is None:
            return 0.0
        if weight is None:
            return float(constants.mean())
        rows = slice(None) if order is None else order
        starts = np.arange(0, len(constants), self._batch)
        sums = np.add.reduceat(weight[rows], starts, dtype=np.float64)
        weighted = np.add.reduceat((weight * constants)[rows], starts)
        means = np.divide(weighted, sums, out=np.zeros_like(sums), where=sums > 0)
        return float(np.average(means, weights=np.diff(starts, append=len(constants))))


class FullObjective:
    """The penalised loss over all samples as a function of theta, with its gradient.

    Unlike in scikit-learn, the gradient belongs to this value even with several outputs.

    Attributes
    ----------
    reported : float
        The last value as scikit-learn would report it.
    """

    def __init__(self, network: Network, data: Dataset, objective: Objective, alpha: float) -> None:
        self._network, self._data, self._objective, self._alpha = network, data, objective, alpha
        self._divisor = float(len(data) if data.weight is None else data.weight.sum(dtype=np.float64))
        constants = objective.constants(data)
        self._constant = 0.0 if constants is None else float(np.average(constants, weights=data.weight))
        self.reported = np.inf

    def __call__(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        network, objective = self._network, self._objective
        network.theta = theta
        sums, total = np.zeros(len(theta)), 0.0
        grad__p = np.empty(len(theta), network.dtype)
        for samples in self._data.blocks():
            total += len(samples) * network._engine.gradient(network._theta, samples, grad__p)
            sums += len(samples) * grad__p.astype(np.float64)
        loss = total / self._divisor
        gradient = sums * (objective.gradient_factor / self._divisor)
        penalty = 0.0
        for layer in network.architecture.layers:
            w = theta[layer.weights]
            penalty += self._alpha / 2 * float(w @ w) / self._divisor
            gradient[layer.weights] += self._alpha / self._divisor * w
        self.reported = loss * objective.value_factor + penalty + self._constant
        return loss * objective.gradient_factor + penalty, gradient
