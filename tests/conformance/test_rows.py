"""The engines' short cuts for one row."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from cases import ALL_PAIRS, DTYPES, draw_architecture
from conformance.rows import check_declined, check_rows
from conformance.runs import RunCase
from nanostep.architecture import make_architecture

ROWS = (
    *(
        RunCase(draw_architecture(np.random.default_rng(100 + k), *pair, layers=k % 4, widest=40), 6)
        for k, pair in enumerate(ALL_PAIRS)
    ),
    RunCase(make_architecture([2, 2, 1], "sigmoid", "sigmoid", "half_squared_error"), 40),
    RunCase(make_architecture([4, 16, 3], "tanh", "softmax", "cross_entropy"), 40),
)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", ROWS, ids=str)
def test_short_cut_equals_the_general_path(backend: ModuleType, case: RunCase, dtype: str) -> None:
    check_rows(backend.networks.Engine, case, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", ROWS, ids=str)
def test_short_cut_declines_what_the_gate_must_see(backend: ModuleType, case: RunCase, dtype: str) -> None:
    check_declined(backend.networks.Engine, case, dtype)
