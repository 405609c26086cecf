"""Solvers that use all samples at once: ``solver="lbfgs"`` and ``"lm"``."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning

from nanostep.sklearn._callbacks import FitTask
from nanostep.sklearn._dataset import Dataset
from nanostep.sklearn._objective import FullObjective
from nanostep.solvers import LevenbergMarquardt
from nanostep.solvers.problem import Problem

STOPPED = 99
"""SciPy's status of a run that its callback has ended."""


def fit_lbfgs(estimator: Any, data: Dataset, task: FitTask) -> None:
    """Minimise the penalised loss over all samples by SciPy's L-BFGS-B, with the same options as scikit-learn."""
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
        _warn(f"L-BFGS ended after {result.nit} iterations without converging: {result.message}")


def fit_lm(estimator: Any, data: Dataset, task: FitTask) -> None:
    """Minimise the penalised squared error over all samples by the method of Levenberg and Marquardt.

    Raises
    ------
    MemoryError
        The square matrices of the method, or sparse rows made dense, do not fit into memory.
    """
    network, alpha = estimator._network, float(estimator.alpha)
    samples = data.samples()
    if samples.weight is not None:
        mean = float(samples.weight.mean(dtype=np.float64))
        samples = replace(samples, weight=samples.weight / samples.weight.dtype.type(mean))
        alpha /= mean
    solver = LevenbergMarquardt(tol=float(estimator.tol), alpha=alpha)
    solver.check_architecture(network.architecture)
    problem = Problem(network, samples)
    estimator.n_iter_ = 0
    stopped = False

    def end_iteration(loss: float) -> bool:
        nonlocal stopped
        estimator.n_iter_ += 1
        if estimator.verbose:
            print(f"Iteration {estimator.n_iter_}, loss = {loss:.8f}")
        task.begin_iteration()
        stopped = task.end_iteration()
        return stopped

    try:
        reason = solver.minimize(problem, estimator.max_iter, end_iteration)
    finally:
        problem.restore()
    objective = FullObjective(network, data, estimator._objective, float(estimator.alpha))
    objective(network.theta.astype(np.float64))
    estimator.loss_ = objective.reported
    if not (reason or stopped):
        _warn(f"Levenberg-Marquardt has made max_iter={estimator.max_iter} iterations without converging")


def _warn(message: str) -> None:
    warnings.warn(message, ConvergenceWarning, stacklevel=6)
