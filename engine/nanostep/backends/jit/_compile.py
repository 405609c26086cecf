"""How every kernel is compiled, in one place.

Each kernel states its floating-point flags itself: ``@njit(fastmath=FASTMATH, **OPTIONS)``; tests/test_jit.py reads the
source to see that it does. No kernel allocates, and none is parallel: threads belong to the caller.
"""

from __future__ import annotations

from typing import Any

FASTMATH = {"reassoc", "contract"}
"""Sums may be reordered (so that they vectorise) and fused; NaN, infinities and signed zeros keep their meaning."""

EXACT = {"contract"}
"""For code whose result depends on the order of its operations: range reduction and rounding."""

OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy"}
"""Without the GIL, kept on disk between processes, and x / 0 = inf as in NumPy."""

UNCACHED: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
"""For kernels made for one architecture while the program runs, which have no source file to be cached beside."""
