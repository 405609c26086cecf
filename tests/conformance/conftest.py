"""Which part of the grids a backend gets that compiles each architecture, about a second each, and the reference, which
is compared with itself in more digits."""

from __future__ import annotations

import os
from collections import Counter

import pytest

COMPILED, REFERENCE = "numba", "numpy"

EVERY, EVERY_OF_MANY = (1, 1) if os.environ.get("NANOSTEP_TEST_FULL") else (5, 19)
"""Of the cases that each need a compilation, `COMPILED` gets every fifth, of large grids every nineteenth; `REFERENCE`
gets every fifth of those. Coprime to the numbers of dtypes, batches, activations and losses, so that each of them is
met. NANOSTEP_TEST_FULL=1 takes all (twenty minutes more)."""

LARGE_GRIDS = {"test_gradient_is_the_limit_of_differences", "test_training", "test_training_with_extras"}

GRIDS = {"test_differences.py", "test_goldens.py", "test_rows.py", "test_runs.py"}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    seen: Counter[tuple[str, str]] = Counter()
    kept, left_out = [], []
    for item in items:
        parameters = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
        backend, name = parameters.get("backend"), getattr(getattr(item, "function", None), "__name__", "")
        is_large = name in LARGE_GRIDS
        if item.path.name in GRIDS and (backend == COMPILED or (backend == REFERENCE and is_large)):
            every = EVERY_OF_MANY if backend == COMPILED and is_large else EVERY
            (left_out if seen[backend, name] % every else kept).append(item)
            seen[backend, name] += 1
        else:
            kept.append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept
