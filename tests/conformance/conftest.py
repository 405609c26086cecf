"""Which part of the grids a backend gets that compiles each architecture, about a second each, and the reference, which
is compared with itself in more digits."""

from __future__ import annotations

import os
from collections import Counter

import pytest

COMPILED, REFERENCE = "numba", "numpy"

ROTATION = os.environ.get("NANOSTEP_TEST_ROTATION")
"""A number, which `.ci/run` takes from the commit: the grids begin at the case of that number, so that all cases are
run in the course of some commits."""

EVERY, EVERY_OF_MANY = (1, 1) if os.environ.get("NANOSTEP_TEST_FULL") else (25, 95) if ROTATION is None else (5, 19)
"""Of the cases that each need a compilation, `COMPILED` gets every 5th, of large grids every 19th; `REFERENCE` gets
every fifth of those. Coprime to the numbers of dtypes, batches, activations and losses, so that each of them is met.
Without a rotation a fifth of that; NANOSTEP_TEST_FULL=1 takes all, which `.ci/run --long` does."""

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
            chosen = seen[backend, name] % every == int(ROTATION or 0) % every
            (kept if chosen else left_out).append(item)
            seen[backend, name] += 1
        else:
            kept.append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept
