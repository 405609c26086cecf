"""`LBFGS`: L-BFGS by SciPy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nanostep._checks import check_integer, check_real
from nanostep._optional import require
from nanostep.architecture import Architecture
from nanostep.solvers.base import Solver
from nanostep.solvers.problem import Problem


@dataclass(frozen=True, kw_only=True)
class LBFGS(Solver):
    """Limited-memory BFGS on all samples: ``scipy.optimize.minimize(method="L-BFGS-B")`` (extra ``[scipy]``).

    Suits small data sets and smooth losses. Iterations work in float64; a float32 network evaluates the loss in its own
    precision, so progress ends earlier.

    Parameters
    ----------
    history_size : int, default=10
        Pairs of steps and gradient changes that are kept, >= 1.
    tol : float, default=1e-7
        The run has converged when no entry of the gradient is larger in absolute value; >= 0.
    tolerance_change : float, default=1e-9
        The run has also converged when an iteration lowers the loss by no more than this, relative to the larger of the
        losses and 1; >= 0.
    max_line_search : int, default=20
        Most evaluations of the loss in an iteration, >= 1.

    Source: Liu & Nocedal, 1989, Mathematical Programming 45; Zhu, Byrd, Lu & Nocedal, 1997, algorithm 778.
    """

    history_size: int = 10
    tol: float = 1e-7
    tolerance_change: float = 1e-9
    max_line_search: int = 20

    def check(self) -> None:
        check_integer("history_size", self.history_size, 1, 10**6)
        check_real("tol", self.tol, 0.0)
        check_real("tolerance_change", self.tolerance_change, 0.0)
        check_integer("max_line_search", self.max_line_search, 1, 10**6)

    def check_architecture(self, architecture: Architecture) -> None:
        require("LBFGS", "SciPy", "scipy.optimize", "scipy")

    def minimize(self, problem: Problem, iterations: int, end_iteration: Callable[[float], bool]) -> str:
        from scipy.optimize import minimize

        def callback(intermediate_result: Any) -> None:
            problem.accept(intermediate_result.x)
            if end_iteration(float(intermediate_result.fun)):
                raise StopIteration

        result = minimize(
            problem.loss_and_gradient,
            problem.start,
            method="L-BFGS-B",
            jac=True,
            callback=callback,
            options={
                "maxcor": self.history_size,
                "gtol": self.tol,
                "ftol": self.tolerance_change,
                "maxls": self.max_line_search,
                "maxiter": iterations,
                "maxfun": iterations * (self.max_line_search + 1) + 1,
            },
        )
        return {0: "converged", 2: "stalled"}.get(result.status, "")
