"""Solvers that see all samples at once: ``solver="lbfgs"``."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning

from nanostep.sklearn._callbacks import FitTask
from nanostep.sklearn._dataset import Dataset
from nanostep.sklearn._objective import FullObjective

STOPPED = 99
"""SciPy's status of a run that its callback has ended."""


def fit_lbfgs(estimator: Any, data: Dataset, task: FitTask) -> None:
    """Minimise the penalised loss over all samples by SciPy's L-BFGS-B, with the options that scikit-learn gives it."""
    network = estimator._network
    objective = FullObjective(network, data, estimator._objective, float(estimator.alpha))
    estimator.n_iter_ = 0

    def on_iteration(intermediate_result: Any) -> None:
        network.theta = intermediate_result.x
        estimator.n_iter_ += 1
        if estimator.verbose:
            print(f"Iteration {estimator.n_iter_}, loss = {intermediate_result.fun:.8f}")
        task.begin_iteration()
        if task.end_iteration():
            raise StopIteration

    result = minimize(
        objective,
        network.theta.astype(np.float64),
        method="L-BFGS-B",
        jac=True,
        callback=on_iteration,
        options={"maxfun": estimator.max_fun, "maxiter": estimator.max_iter, "gtol": estimator.tol},
    )
    estimator.n_iter_ = min(int(result.nit), int(estimator.max_iter))
    objective(result.x)
    estimator.loss_ = objective.reported
    if result.status not in (0, STOPPED):
        warnings.warn(
            f"L-BFGS ended after {result.nit} iterations without converging: {result.message}",
            ConvergenceWarning,
            stacklevel=5,
        )
