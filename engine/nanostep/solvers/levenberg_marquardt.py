"""`LevenbergMarquardt`: damped Gauss-Newton steps for squared errors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from nanostep._checks import check_memory, check_real
from nanostep._optional import require
from nanostep.architecture import Architecture
from nanostep.solvers.base import Solver
from nanostep.solvers.problem import Problem

LOSSES = ("half_squared_error", "squared_error")

BLOCK_BYTES = 2**26
"""Most memory of a block of rows of the Jacobian, unless a single row is larger."""


@dataclass(frozen=True, kw_only=True)
class LevenbergMarquardt(Solver):
    """Damped Gauss-Newton steps on all samples, for squared errors (extra ``[scipy]``).

    With r the residuals, one for each sample and output, and J their derivatives by the parameters, an iteration solves

        ``(J^T J + damping * I) step = -J^T r``

    and takes the step if it lowers the loss. Damping is then divided by `decrease`; otherwise it is multiplied by
    `increase`, and another step is tried. The method suits precise fits of networks with up to some hundred parameters.
    Sums and solution are in float64; J is computed in blocks of rows, so that the memory is that of two square matrices
    for any number of samples.

    Parameters
    ----------
    damping : float, default=1e-3
        Initial damping, > 0.
    increase : float, default=2
    decrease : float, default=10
        > 1.
    max_damping : float, default=1e10
        The run ends as "stalled" when no step with at most this damping lowers the loss; >= damping.
    tol : float, default=1e-7
        The run has converged when no entry of the gradient of the loss is larger in absolute value; >= 0.
    alpha : float, default=0
        L2 penalty, >= 0: alpha / 2 * the sum of the squares of all weights, without biases, is added to the sum of the
        losses of the samples. The losses in the history include it.

    Source: Levenberg, 1944, Quarterly of Applied Mathematics 2; Marquardt, 1963, SIAM Journal on Applied Mathematics
    11; in this form for networks, Hagan & Menhaj, 1994, IEEE Transactions on Neural Networks 5; damping that rises
    slowly and falls fast, Transtrum & Sethna, 2012, arXiv:1201.5885. The diagonal of ``J^T J`` in place of I, as in
    Marquardt and Moré, and factors of 10 suit networks less: in three fits, each from six starts, the median loss after
    100 iterations was 25 to 300 times as large.
    """

    damping: float = 1e-3
    increase: float = 2.0
    decrease: float = 10.0
    max_damping: float = 1e10
    tol: float = 1e-7
    alpha: float = 0.0

    takes_missing_targets: ClassVar[bool] = False

    def check(self) -> None:
        check_real("damping", self.damping, 0.0, open_low=True)
        check_real("increase", self.increase, 1.0, open_low=True)
        check_real("decrease", self.decrease, 1.0, open_low=True)
        check_real("max_damping", self.max_damping, self.damping)
        check_real("tol", self.tol, 0.0)
        check_real("alpha", self.alpha, 0.0)

    def check_architecture(self, architecture: Architecture) -> None:
        if architecture.loss not in LOSSES:
            raise ValueError(
                f"LevenbergMarquardt needs loss={' or '.join(map(repr, LOSSES))}; got {architecture.loss!r}"
            )
        if architecture.output == "softmax":
            raise ValueError("LevenbergMarquardt needs an elementwise output; got output='softmax'")
        count = architecture.parameter_count
        check_memory(
            f"the two matrices of {count} x {count} that LevenbergMarquardt needs, one row and column for each "
            "parameter (LBFGS needs none), take",
            2 * 8 * count**2 + 8 * count * architecture.outputs,
        )
        require("LevenbergMarquardt", "SciPy", "scipy.linalg", "scipy")

    def minimize(self, problem: Problem, iterations: int, end_iteration: Callable[[float], bool]) -> str:
        from scipy.linalg import LinAlgError, cho_factor, cho_solve

        squares, theta = Squares(problem, self.alpha), problem.start
        damping, total = self.damping, squares.total(theta)
        for _ in range(iterations):
            hessian, gradient = squares.normal_equations(theta)
            if squares.factor * np.abs(gradient).max() <= self.tol:
                return "converged"
            while True:
                damped = hessian.copy()
                damped.flat[:: len(theta) + 1] += damping
                try:
                    step = cho_solve(cho_factor(damped, overwrite_a=True, check_finite=False), -gradient)
                except (LinAlgError, ValueError):  # too little damping for the rounding of J^T J
                    step = np.full(len(theta), np.nan)
                lower = squares.total(theta + step) if np.isfinite(step).all() else np.inf
                if lower < total:
                    break
                damping *= self.increase
                if not damping <= self.max_damping:
                    return "stalled"
            # the network's parameters, which are rounded to its dtype
            theta, total = problem.model._theta.astype(np.float64), lower
            damping = max(damping / self.decrease, np.finfo(np.float64).tiny)
            problem.accept(theta)
            if end_iteration(0.5 * squares.factor * total):
                return ""
        return ""


class Squares:
    """The weighted sum of squares of the residuals, and of the weights for the penalty: ``2 / factor`` times the loss.

    Attributes
    ----------
    factor : float
        Factor from the sum to twice the loss.
    """

    def __init__(self, problem: Problem, alpha: float) -> None:
        self._problem, self._model, samples = problem, problem.model, problem.samples
        architecture, dtype = self._model.architecture, self._model.dtype
        assert samples.y is not None
        self._x, self._y = samples.x, samples.y
        self._root = None if samples.weight is None else np.sqrt(samples.weight.astype(np.float64))
        n, outputs = self._y.shape
        self.factor = 1.0 / n if architecture.loss == "half_squared_error" else 2.0 / (n * outputs)
        row_bytes = outputs * architecture.parameter_count * dtype.itemsize
        self._rows = int(np.clip(BLOCK_BYTES // row_bytes, 1, n))
        self._a = np.empty((n, outputs), dtype)
        # coefficient of each squared parameter in the sum
        self._penalty = np.zeros(architecture.parameter_count)
        for layer in architecture.layers:
            self._penalty[layer.weights] = alpha / (n * self.factor)

    def total(self, theta: np.ndarray) -> float:
        """Return the sum at `theta`, which becomes the network's parameters."""
        self._problem.move(theta)
        self._model._engine.predict(self._model._theta, self._x, self._a)
        residual = self._residual(slice(None))
        return float((residual * residual).sum() + self._penalty @ (theta * theta))

    def normal_equations(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return ``J^T J``, shape (parameters, parameters), and ``J^T r``."""
        self._problem.move(theta)
        count, outputs = len(theta), self._y.shape[1]
        hessian, gradient = np.zeros((count, count)), np.zeros(count)
        jacobian = np.empty((self._rows, outputs, count), self._model.dtype)
        for start in range(0, len(self._x), self._rows):
            rows = slice(start, min(start + self._rows, len(self._x)))
            block = jacobian[: rows.stop - start]
            self._model._engine.jacobian(self._model._theta, self._x[rows], self._a[rows], block)
            j = block.astype(np.float64)
            if self._root is not None:
                j *= self._root[rows, None, None]
            j = j.reshape(-1, count)
            hessian += j.T @ j
            gradient += j.T @ self._residual(rows).ravel()
        hessian.flat[:: count + 1] += self._penalty
        gradient += self._penalty * theta
        return hessian, gradient

    def _residual(self, rows: slice) -> np.ndarray:
        residual: np.ndarray = self._a[rows].astype(np.float64) - self._y[rows]
        return residual if self._root is None else residual * self._root[rows, None]
