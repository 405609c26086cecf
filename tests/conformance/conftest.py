"""Which part of the grids a backend gets that compiles each architecture, about a second each."""

from __future__ import annotations

import os
from collections import Counter

import pytest

COMPILED = "numba"

EVERY = 1 if os.environ.get("NANOSTEP_TEST_FULL") else 5
"""Of the cases that each need a compilation, `COMPILED` gets every fifth: coprime to the numbers of dtypes, batches,
activations and losses, so that each of them is met. NANOSTEP_TEST_FULL=1 takes all (ten minutes more)."""

GRIDS = {"test_differences.py", "test_goldens.py", "test_runs.py"}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    seen: Counter[str] = Counter()
    kept, left_out = [], []
    for item in items:
        parameters = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
        if item.path.name in GRIDS and parameters.get("backend") == COMPILED:
            place = seen[item.function.__name__]  # type: ignore[attr-defined]
            seen[item.function.__name__] += 1  # type: ignore[attr-defined]
            (left_out if place % EVERY else kept).append(item)
        else:
            kept.append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept
