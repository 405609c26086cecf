"""The check that a backend trains to the same result as the reference, made before anything is timed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nanostep.benchmark.workloads import Workload, make_data

REFERENCE = "numpy"

STEPS = 16
"""Optimiser steps of the check: enough for every kernel to take part, too few for rounding to grow into chaos."""

TOLERANCES = {"float64": 1e-12, "float32": 1e-5}
"""Largest deviation accepted, by dtype; losses and parameters alike, relative to the largest magnitude."""


@dataclass(frozen=True)
class Agreement:
    """How far a backend's losses and parameters are from the reference's after the same steps.

    Attributes
    ----------
    loss_deviation, theta_deviation : float
        Largest deviation, relative to the largest magnitude of the reference; NaN if either is not finite.
    tolerance : float
    """

    loss_deviation: float
    theta_deviation: float
    tolerance: float

    @property
    def ok(self) -> bool:
        """True if both deviations are within the tolerance; NaN is not."""
        return self.loss_deviation <= self.tolerance and self.theta_deviation <= self.tolerance

    def __str__(self) -> str:
        return (
            f"losses deviate by {self.loss_deviation:.1e} and parameters by {self.theta_deviation:.1e} "
            f"of the reference, accepted are {self.tolerance:.0e}"
        )


def check_agreement(workload: Workload, backend: str) -> Agreement:
    """Train `workload` for a few steps on `backend` and on the reference, and compare."""
    x, y = make_data(workload)
    rows = min(len(x), STEPS * workload.batch)
    epochs = -(-STEPS * workload.batch // rows)
    losses, theta = _train(workload, REFERENCE, x[:rows], y[:rows], epochs)
    other_losses, other_theta = _train(workload, backend, x[:rows], y[:rows], epochs)
    return Agreement(_deviation(losses, other_losses), _deviation(theta, other_theta), TOLERANCES[workload.dtype])


def _train(
    workload: Workload, backend: str, x: np.ndarray, y: np.ndarray, epochs: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the losses of all epochs and the final one, and the parameters."""
    net = workload.make_network(backend)
    history = net.train(x, y, epochs, workload.batch, workload.make_optimizer(), shuffle=False)
    return np.array([*history.loss, net.loss(x, y)]), net.theta


def _deviation(reference: np.ndarray, other: np.ndarray) -> float:
    with np.errstate(invalid="ignore"):
        return float(np.abs(other.astype(np.float64) - reference).max() / np.abs(reference).max())
