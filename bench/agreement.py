"""The check that a contender's training gives the same result as the reference's. No time is shown without it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from nanostep.benchmark.workload import PopulationWorkload, Workload, make_data
from nanostep.network import Network
from nanostep.optimizers import Optimizer

REFERENCE = "numpy"

STEPS = 16
"""Optimiser steps of the check before timing: enough to use every part of a network, too few for rounding to grow."""

TOLERANCES = {"float64": 1e-12, "float32": 1e-5}
"""Largest deviation accepted after `STEPS` steps, by dtype, relative to the largest magnitude."""

TIMED_LOSS_TOLERANCES = {"float64": 1e-10, "float32": 2e-3}
TIMED_THETA_TOLERANCES = {"float64": 1e-10, "float32": 2e-2}
"""The same after a timed run of some thousand steps. In float32 a rounding error may move a relu's input across zero;
parameters of our own backends have then differed by up to 3e-3 and losses by 1.4e-4. The strict check is the short one;
this one proves that the timed run did all of the work."""


@dataclass(frozen=True)
class Evidence:
    """A contender's report of a run from the initial weights.

    Attributes
    ----------
    rows, epochs : int
        The run: `epochs` times the first `rows` rows, in order.
    loss : float or ndarray, shape (networks,)
        Mean loss of the last epoch, measured during training; for a population, of each network that is checked.
    theta : ndarray, shape (parameters,) or (networks, parameters)
    loss_dtype : str
        Precision of the loss.
    timed : bool
        True for the run that was timed, False for the short run before it.
    """

    rows: int
    epochs: int
    loss: float | np.ndarray
    theta: np.ndarray
    loss_dtype: str
    timed: bool


@dataclass(frozen=True)
class Agreement:
    """Deviation of a contender's loss and parameters from the reference's after the same steps.

    Attributes
    ----------
    loss_deviation, theta_deviation : float
        Largest deviation, relative to the largest magnitude of the reference; NaN if either is not finite.
    loss_tolerance, theta_tolerance : float
    steps : int
        Optimiser steps made.
    """

    loss_deviation: float
    theta_deviation: float
    loss_tolerance: float
    theta_tolerance: float
    steps: int

    @property
    def ok(self) -> bool:
        """True if both deviations are within their tolerance; NaN is not."""
        return self.loss_deviation <= self.loss_tolerance and self.theta_deviation <= self.theta_tolerance

    def __str__(self) -> str:
        return (
            f"after {self.steps} steps the loss deviates by {self.loss_deviation:.1e} and parameters by "
            f"{self.theta_deviation:.1e} of the reference, accepted are {self.loss_tolerance:.0e} and "
            f"{self.theta_tolerance:.0e}"
        )


def short_run(workload: Workload) -> tuple[int, int]:
    """Return (rows, epochs) of the check before timing: at least `STEPS` steps."""
    rows = min(workload.rows, STEPS * workload.batch)
    return rows, -(-STEPS * workload.batch // rows)


def judge(workload: Workload, evidence: Evidence) -> Agreement:
    """Compare a contender's report with the reference's run of the same length."""
    loss, theta = reference_run(workload, evidence.rows, evidence.epochs)
    loss_tolerances, theta_tolerances = TOLERANCES, TOLERANCES
    if evidence.timed:
        loss_tolerances, theta_tolerances = TIMED_LOSS_TOLERANCES, TIMED_THETA_TOLERANCES
    return Agreement(
        deviation(np.atleast_1d(loss), np.atleast_1d(evidence.loss)),
        deviation(theta, evidence.theta),
        loss_tolerances[evidence.loss_dtype],
        theta_tolerances[workload.dtype],
        evidence.epochs * -(-evidence.rows // workload.batch),
    )


@lru_cache(maxsize=16)
def reference_run(workload: Workload, rows: int, epochs: int) -> tuple[float | np.ndarray, np.ndarray]:
    """Return the last epoch's loss and the parameters of the reference.

    For a population, those of each network that is checked, trained as an ordinary network.
    """
    x, y = make_data(workload)

    def train(net: Network, optimizer: Optimizer) -> tuple[float, np.ndarray]:
        history = net.train(
            x[:rows], y[:rows], epochs=epochs, batch_size=workload.batch, optimizer=optimizer, shuffle=False
        )
        return history.loss[-1], net.theta.copy()

    if not isinstance(workload, PopulationWorkload):
        return train(workload.make_network(REFERENCE), workload.make_optimizer())
    runs = [train(*workload.make_single(i, REFERENCE)) for i in workload.checked]
    return np.array([loss for loss, _ in runs]), np.stack([theta for _, theta in runs])


def deviation(reference: np.ndarray, other: np.ndarray) -> float:
    """Return the largest difference over the largest magnitude; infinite if the shapes differ."""
    if other.shape != reference.shape:
        return np.inf
    with np.errstate(invalid="ignore", over="ignore"):
        return float(np.abs(other.astype(np.float64) - reference).max() / np.abs(reference).max())
