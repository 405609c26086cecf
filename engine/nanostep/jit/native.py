"""The C library's functions for one row, callable from jitted code; made by `c_functions`.

Numba calls them by name: no pointer is part of the compiled code, which may therefore be cached.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from llvmlite import binding
from numba.extending import overload_method

from nanostep.backends.jit._compile import FASTMATH
from nanostep.backends.jit._kernel import Static, StaticType, kernel, register_static
from nanostep.backends.native._library import PREFIXES, check_status, ffi, function, lib
from nanostep.backends.native.networks import Engine
from nanostep.network import Network

Array = np.ndarray

for _prefix in PREFIXES.values():
    for _name in ("predict_row", "step_row"):
        _address = ffi.cast("uintptr_t", ffi.addressof(lib, _prefix + _name))
        binding.add_symbol(_prefix + _name, int(_address))


@dataclass(frozen=True)
class CFunctions(Static):
    """`forward` and `step` of the C library for one row, for jitted code; made by `c_functions`.

    They take the arguments of `JittedNetwork.forward` and `JittedNetwork.step` (one row, y an array), and check them as
    `Network.step` does: where that would raise an error, `step` changes nothing and returns NaN, and `forward` does not
    write out. The architecture is known to the workspace only, so none is compiled for.
    """

    dtype: np.dtype
    engine: Engine = field(compare=False, repr=False)
    lanes: int = 1

    @property
    def label(self) -> str:
        return f"{self.dtype}"

    def __reduce__(self) -> Any:
        return CFunctions, (self.dtype, None)

    def workspace(self) -> Array:
        """Return memory for one call at a time. It holds the architecture, and may not be copied or resized."""
        size, row = ffi.new("size_t *"), ffi.new("nst_row **")
        check_status(function(self.dtype, "row_size")(self.engine._net, size))
        work = np.zeros(1 + -(-size[0] // 8), np.int64)
        memory = ffi.from_buffer("char[]", work[1:], require_writable=True)
        check_status(function(self.dtype, "row_open")(self.engine._net, memory, size[0], row))
        work[0] = int(ffi.cast("uintptr_t", row[0]))
        return work


def c_functions(network: Network) -> CFunctions:
    """Return the C library's functions for one row of a network's architecture, for jitted code.

    Raises
    ------
    BackendUnavailable
        The C library cannot run here; the import of this module raises it.
    """
    return CFunctions(network.dtype, Engine(network.architecture, network.dtype))


class CType(StaticType):
    """Numba's type of CFunctions."""


register_static(CFunctions, CType)


@kernel(fastmath=FASTMATH)
def forward_by_c(m: Any, fns: Any, theta: Any, x: Any, out: Any, work: Any) -> None:
    """See `JittedNetwork.forward`"""
    m.call_c(f"{PREFIXES[fns.dtype]}predict_row", m.load_number(work), theta, x, out)


@kernel(fastmath=FASTMATH, returns="double")
def step_by_c(m: Any, fns: Any, theta: Any, x: Any, y: Any, lr: Any, work: Any) -> Any:
    """See `JittedNetwork.step`"""
    value = m.number_on_stack(np.nan)
    status = m.call_c(f"{PREFIXES[fns.dtype]}step_row", m.load_number(work), theta, x, y, lr, value)
    return m.select(status == 0, m.load_number(value), m.double(np.nan))


@overload_method(CType, "forward", inline="always")
def _forward(fns, theta, x, out, work):
    return lambda fns, theta, x, out, work: forward_by_c(fns, theta, x, out, work)


@overload_method(CType, "step", inline="always")
def _step(fns, theta, x, y, lr, work):
    return lambda fns, theta, x, y, lr, work: step_by_c(fns, theta, x, y, float(lr), work)
