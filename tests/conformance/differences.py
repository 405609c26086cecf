"""The gradient against central differences of the loss: a check that depends on no other implementation."""

from __future__ import annotations

import numpy as np

from cases import KINK_MARGIN, cast
from conformance.runs import EngineType, RunCase, make

STEP = 2.0**-14
"""Step of the parameters. The truncation error is of the order of its square, 4e-9; rounding over it is below 1e-11."""

TOLERANCE = 1e-6
"""Largest norm of the difference over the norm of the gradient."""


def check_differences(engine_type: EngineType, case: RunCase) -> None:
    """Check every entry of the float64 gradient of a case."""
    assert STEP * 4 < KINK_MARGIN, "a step must not reach a kink"
    theta, samples = make(case)
    engine, data = engine_type(case.architecture, np.dtype(np.float64)), cast(samples, np.dtype(np.float64))
    moved = theta.copy()
    gradient, differences = np.full(len(theta), np.nan), np.empty(len(theta))
    engine.gradient(moved, data, gradient)
    for p in range(len(theta)):
        losses = []
        for side in (-STEP, STEP):
            moved[p] = theta[p] + side
            losses.append(engine.loss(moved, data))
        moved[p] = theta[p]
        differences[p] = (losses[1] - losses[0]) / (2 * STEP)
    error, size = np.linalg.norm(gradient - differences), np.linalg.norm(differences)
    assert error <= TOLERANCE * size, f"{case}: gradient differs by {error:.3g} in {size:.3g} from central differences"
