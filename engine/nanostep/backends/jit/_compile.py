"""How every kernel is compiled and cached.

Each kernel states its floating-point flags itself: ``@njit(fastmath=FASTMATH, **OPTIONS)`` or
``@kernel(fastmath=FASTMATH)``; tests/test_jit.py checks that in the sources. No kernel allocates, and none is parallel:
threads belong to the caller.
"""

from __future__ import annotations

import threading
import types
from typing import Any

from numba import njit

from nanostep.backends.jit._cache import DiskCache

FASTMATH: set[str] = set()
"""No flags at all. The kernels themselves say in which order every sum is taken and what is fused, where LLVM would
otherwise decide by the surrounding code; NaN, infinities and signed zeros keep their meaning."""

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
"""The GIL is released, and x / 0 = inf as in NumPy."""

_dispatchers: dict[tuple[Any, str], Any] = {}
_lock = threading.Lock()


def specialised(function: Any, *statics: Any) -> Any:
    """Return the dispatcher of a jitted function for the static ones of its arguments; its code is cached on disk.

    Where Numba is switched off (NUMBA_DISABLE_JIT) the function itself is returned.
    """
    python = getattr(function, "py_func", None)
    if python is None:
        return function
    key = (function, "/".join(static.label for static in statics))
    with _lock:
        if key not in _dispatchers:
            # a copy of the function, so that a dispatcher has the signatures of one architecture only
            copy = types.FunctionType(python.__code__, python.__globals__, python.__name__)
            copy.__module__, copy.__qualname__ = python.__module__, python.__qualname__
            options = {name: value for name, value in function.targetoptions.items() if name != "nopython"}
            dispatcher = njit(**options)(copy)
            dispatcher._cache = DiskCache(python.__name__, options)
            _dispatchers[key] = dispatcher
        return _dispatchers[key]
