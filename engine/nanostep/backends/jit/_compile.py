"""How every kernel is compiled and kept, in one place.

Each kernel states its floating-point flags itself: ``@njit(fastmath=FASTMATH, **OPTIONS)`` or
``@kernel(fastmath=FASTMATH)``; tests/test_jit.py reads the source to see that it does. No kernel allocates, and none is
parallel: threads belong to the caller.
"""

from __future__ import annotations

import threading
import types
from typing import Any

from numba import njit

from nanostep.backends.jit._cache import DiskCache

FASTMATH: set[str] = set()
"""No flag at all. The order of every sum, and what is fused, stand in the text of the kernels, where LLVM would
otherwise choose by what is around; NaN, infinities and signed zeros keep their meaning."""

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
"""Without the GIL, and x / 0 = inf as in NumPy."""

_made: dict[tuple[Any, str], Any] = {}
_making = threading.Lock()


def specialised(function: Any, *statics: Any) -> Any:
    """Return the dispatcher of a jitted function for what is static in its arguments, kept on disk between processes.

    Where Numba is switched off (NUMBA_DISABLE_JIT) the function itself is returned.
    """
    python = getattr(function, "py_func", None)
    if python is None:
        return function
    key = (function, "/".join(static.label for static in statics))
    with _making:
        if key not in _made:
            # a function of its own, so that no dispatcher has to look for its code among that of all architectures
            copy = types.FunctionType(python.__code__, python.__globals__, python.__name__)
            copy.__module__, copy.__qualname__ = python.__module__, python.__qualname__
            options = {name: value for name, value in function.targetoptions.items() if name != "nopython"}
            dispatcher = njit(**options)(copy)
            dispatcher._cache = DiskCache(python.__name__, options)
            _made[key] = dispatcher
        return _made[key]
