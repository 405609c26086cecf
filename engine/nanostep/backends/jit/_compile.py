"""How every kernel is compiled, in one place.

Each kernel states its floating-point flags itself: ``@njit(fastmath=FASTMATH, **OPTIONS)``; tests/test_jit.py reads the
source to see that it does. No kernel allocates, and none is parallel: threads belong to the caller.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

FASTMATH = {"reassoc", "contract"}
"""Sums may be reordered (so that they vectorise) and fused; NaN, infinities and signed zeros keep their meaning."""

EXACT = {"contract"}
"""For code whose result depends on the order of its operations: range reduction and rounding."""

OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy"}
"""Without the GIL, kept on disk between processes, and x / 0 = inf as in NumPy."""

UNCACHED: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
"""For kernels made for one architecture while the program runs, which have no source file to be cached beside."""


def fingerprint(sources: Iterable[Path]) -> str:
    """Return a hash of the contents of some files."""
    digest = hashlib.sha256()
    for path in sorted(sources):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def stamp_caches(modules: Iterable[ModuleType], stamp: str) -> int:
    """Make the disk caches of all kernels in `modules` valid for `stamp` only; return the number of kernels.

    Numba compares a cached kernel with the source file of that kernel alone, but what was compiled contains the kernels
    it calls, from other files: after an upgrade it would run the old ones.
    """
    stamped = 0
    for module in modules:
        for value in vars(module).values():
            cache_file = getattr(getattr(value, "_cache", None), "_cache_file", None)
            if cache_file is not None and hasattr(cache_file, "_source_stamp"):
                cache_file._source_stamp = stamp
                stamped += 1
    return stamped
