"""Assertions that results agree with the expected ones; they report the difference."""

from __future__ import annotations

import numpy as np

from cases import DTYPES, HIGH
from nanostep.architecture import Architecture

TOLERANCE = dict(zip(DTYPES, (5e-6, 1e-12), strict=True))
"""Agreement with high precision: norm of the difference over the norm, of each W and b, of outputs, and of losses."""


def assert_blocks(
    architecture: Architecture,
    got: np.ndarray,
    want: np.ndarray,
    tolerance: float,
    what: str,
    before: np.ndarray | None = None,
) -> None:
    """Check each W and each b by the norm of its difference."""
    for l, layer in enumerate(architecture.layers):
        for name, block in (("W", layer.weights), ("b", layer.biases)):
            start = None if before is None else before[block]
            assert_norm(got[block], want[block], tolerance, f"{what}, {name} of layer {l}", start)


def norm(values: np.ndarray) -> float:
    return float(np.sqrt((values * values).sum()))


def assert_norm(
    got: np.ndarray, want: np.ndarray, tolerance: float, what: str, before: np.ndarray | None = None
) -> None:
    """Raise AssertionError unless got is finite and ``|got - want| <= tolerance * |want|`` in the 2-norm, or of the
    value that it was before one step, if that is given and larger: it may have come close to 0."""
    assert np.isfinite(got).all(), f"{what} is not finite, or not written"
    error, size = norm(got.astype(HIGH) - want), norm(want.astype(HIGH))
    size = max(size, norm(before.astype(HIGH))) if before is not None else size
    assert error <= tolerance * size, f"{what} differs by {error:.3g} in {size:.3g}; allowed is {tolerance:.3g} of that"
