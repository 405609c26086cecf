"""What the tests run over: the required backends, and grids of architectures with data that suits them."""

from __future__ import annotations

import os

from nanostep.backends import PACKAGES

REQUIRED: tuple[str, ...] = tuple(
    name.strip() for name in os.environ.get("NANOSTEP_TEST_BACKENDS", ",".join(PACKAGES)).split(",")
)
"""Backends that must run here. Set NANOSTEP_TEST_BACKENDS (comma-separated names) to require fewer."""
