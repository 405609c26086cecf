"""Fixtures of all tests."""

from __future__ import annotations

from types import ModuleType

import pytest

from cases import REQUIRED
from nanostep.backends import load


@pytest.fixture(params=REQUIRED)
def backend(request: pytest.FixtureRequest) -> ModuleType:
    """Each required backend's package. One that cannot run fails the tests that use it; nothing is skipped."""
    return load(request.param)
