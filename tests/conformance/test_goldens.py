"""The gradients and training runs of every backend are those of PyTorch."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from cases import ALL_PAIRS, DTYPES, NOT_IN_PYTORCH, OPTIMIZERS
from conformance.comparisons import TOLERANCE
from conformance.goldens import Golden, check_golden_gradient, check_golden_trajectory, check_golden_vjp, load
from nanostep.architecture import HIDDEN_ACTIVATIONS

EVERY_DTYPE = pytest.mark.parametrize("dtype", DTYPES)


@EVERY_DTYPE
@pytest.mark.parametrize("golden", load("gradients"), ids=str)
def test_gradient(backend: ModuleType, golden: Golden, dtype: str) -> None:
    check_golden_gradient(backend.networks.Engine, golden, dtype)


@EVERY_DTYPE
@pytest.mark.parametrize("golden", load("gradients"), ids=str)
def test_vjp(backend: ModuleType, golden: Golden, dtype: str) -> None:
    check_golden_vjp(backend.networks.Engine, golden, dtype)


@EVERY_DTYPE
@pytest.mark.parametrize("golden", load("optimizers"), ids=str)
def test_twenty_steps_of_every_optimizer(backend: ModuleType, golden: Golden, dtype: str) -> None:
    tolerance = TOLERANCE[dtype] + 20 * float(np.finfo(dtype).eps)
    check_golden_trajectory(backend.networks.Engine, golden, dtype, tolerance)


@pytest.mark.parametrize("golden", load("runs"), ids=str)
def test_a_hundred_steps(backend: ModuleType, golden: Golden) -> None:
    check_golden_trajectory(backend.networks.Engine, golden, "float64", 1e-9)


def test_goldens_cover_every_choice() -> None:
    gradients = [golden.architecture for golden in load("gradients")]
    assert {(a.criterion, a.output) for a in gradients} == set(ALL_PAIRS)
    assert {name for a in gradients for name in a.activations[:-1]} == set(HIDDEN_ACTIVATIONS)
    assert {len(a.layers) for a in gradients} == {1, 2, 3, 4, 5}
    assert {golden.description["optimizer"] for golden in load("optimizers")} == set(OPTIMIZERS) - NOT_IN_PYTORCH
    assert all(golden.arrays["thetas"].shape[0] == 20 for golden in load("optimizers"))
    assert all(golden.arrays["losses"].shape == (100,) for golden in load("runs"))
