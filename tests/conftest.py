"""Fixtures of all tests."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest

from cases import REQUIRED
from nanostep.backends import load


@pytest.fixture(params=REQUIRED)
def backend(request: pytest.FixtureRequest) -> ModuleType:
    """Each required backend's package. One that cannot run fails the tests that use it; nothing is skipped."""
    return load(request.param)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Callable:
    """The benchmark, brief and in this process, on one core and without the floors, which take a second."""
    from nanostep.benchmark.lanes import LocalLane
    from nanostep.benchmark.measure import measure
    from nanostep.benchmark.request import check_request

    monkeypatch.setattr("nanostep.benchmark.floors.unavailable", lambda: "not in this test")

    def run(tasks, contenders, *, repeats=2, quick=False, open_lane=LocalLane, on_progress=lambda *_: None):
        request = check_request(tasks, contenders, ["1"], seconds=1e-4, repeats=repeats, quick=quick)
        return measure(request, open_lane=open_lane, on_progress=on_progress)

    return run
