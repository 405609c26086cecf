"""The C library as seen from Python: the extension module, its errors, and the only place where pointers are made."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from nanostep.errors import HOW_TO_GET_C, BackendUnavailable

__all__ = [
    "C_ARRAYS",
    "EXCEPTIONS",
    "Calls",
    "Row",
    "available_isas",
    "build_info",
    "check_status",
    "ffi",
    "function",
    "identifier",
    "isa_in_use",
    "isa_name",
    "lib",
    "open_calls",
    "open_row",
    "pointer",
    "select_isa",
]

try:
    from nanostep.backends.native._native import ffi, lib
    from nanostep.backends.native._row import Calls, Row
except ImportError as error:
    raise BackendUnavailable(
        f"backend 'c' cannot run: its extension module is missing or broken ({error}). {HOW_TO_GET_C}"
    ) from None

C_ARRAYS = {
    np.dtype(name): ffi.typeof(f"{c_type}[]")
    for name, c_type in (
        ("float32", "float"),
        ("float64", "double"),
        ("int32", "int32_t"),
        ("int64", "int64_t"),
        ("bool", "uint8_t"),
    )
}
"""C type of an array's memory, by dtype."""

CALLED = (
    "prepared_update", "prepared_store", "prepared_predict", "prepared_loss", "prepared_gradient", "prepared_vjp",
    "step_row", "update",
)  # fmt: skip
"""Functions that prepared calls use, in the order of ``bindings/calls.c``."""

PREFIXES = {np.dtype(np.float32): "nst_f32_", np.dtype(np.float64): "nst_f64_"}

EXCEPTIONS: dict[int, type[Exception]] = {
    lib.NST_E_OVERFLOW: MemoryError,
    lib.NST_E_ISA: BackendUnavailable,
    lib.NST_E_CURSOR: RuntimeError,
    lib.NST_E_WORKSPACE: RuntimeError,
    lib.NST_E_THREADS: RuntimeError,
}
"""Exception by status; all others give ValueError."""


def check_status(status: int) -> None:
    """Raise the exception for a status other than NST_OK."""
    if status != lib.NST_OK:
        message = ffi.string(lib.nst_status_message(status)).decode()
        raise EXCEPTIONS.get(status, ValueError)(f"C library: {message}")


@cache
def identifier(group: str, name: str) -> int:
    """Return the value of an enumerator, such as ``NST_ACTIVATION_TANH`` for ("activation", "tanh")."""
    return int(getattr(lib, f"NST_{group}_{name}".upper()))


def function(dtype: np.dtype, name: str) -> Callable[..., int]:
    """Return the C function `name` for a dtype, as a cffi callable."""
    try:
        return getattr(lib, PREFIXES[dtype] + name)
    except KeyError:
        raise TypeError(f"the C library works on float32 and float64; got {dtype}") from None


def open_row(net: Any, theta__p: np.ndarray, inputs: int, outputs: int) -> Row:
    """Return the fast path for one row: `predict(x)` and `step(x, y, lr)`, which return None unless input is plain."""
    memory, row = _new_row(net, theta__p.dtype)
    calls = _addresses(theta__p.dtype, "predict_row", "step_row")
    return Row(theta__p, memory, row, *calls, inputs, outputs)


def open_calls(
    net: Any,
    theta__p: np.ndarray,
    inputs: int,
    outputs: int,
    most_rows: int,
    fill: Callable[[Any, int], int | None],
    isa: Any,
) -> Calls:
    """Return the prepared calls of a network for at most `most_rows` rows, 0 for none; see ``bindings/calls.c``.

    ``fill(optimizer, address)`` writes an nst_optimizer and returns its number of slots, or None if it cannot be kept;
    `isa` is an int32_t that gets the instruction set of each step.
    """
    dtype, prepared, memory = theta__p.dtype, ffi.new("nst_prepared **"), None
    row_memory, row = _new_row(net, dtype)
    if most_rows > 0:
        size = ffi.new("size_t *")
        check_status(function(dtype, "prepared_size")(net, size))
        memory = ffi.from_buffer("char[]", np.empty(size[0], np.uint8), require_writable=True)
        check_status(function(dtype, "prepared_open")(net, memory, size[0], prepared))
    at_prepared, at_isa = (int(ffi.cast("uintptr_t", each)) for each in (prepared[0], isa))
    functions = tuple(_addresses(dtype, *CALLED))
    kept = (net, row_memory, memory, isa)
    return Calls(theta__p, kept, fill, inputs, outputs, net.loss, most_rows, row, at_prepared, at_isa, functions)


def _new_row(net: Any, dtype: np.dtype) -> tuple[Any, int]:
    """Return the memory of a new nst_row, and the address of the row in it."""
    size, row = ffi.new("size_t *"), ffi.new("nst_row **")
    check_status(function(dtype, "row_size")(net, size))
    memory = ffi.new("char[]", size[0])
    check_status(function(dtype, "row_open")(net, memory, size[0], row))
    return memory, int(ffi.cast("uintptr_t", row[0]))


def _addresses(dtype: np.dtype, *names: str) -> list[int]:
    """Return the addresses of C functions."""
    return [int(ffi.cast("uintptr_t", ffi.addressof(lib, PREFIXES[dtype] + name))) for name in names]


def pointer(array: np.ndarray, shape: tuple[int, ...], dtype: np.dtype, *, writable: bool = False) -> Any:
    """Return a C pointer that keeps `array` alive, after checking its dtype, shape, order and writability.

    ``ffi.from_buffer`` alone would accept an array of any dtype and length.
    """
    flags = array.flags
    if array.dtype != dtype or array.shape != shape or not flags.c_contiguous or not flags.aligned:
        raise ValueError(
            f"expected a C-contiguous {dtype} array of shape {shape}; "
            f"got {array.dtype}, shape {array.shape}, strides {array.strides}"
        )
    return ffi.from_buffer(C_ARRAYS[dtype], array, require_writable=writable)


def isa_in_use() -> str:
    """Return the name of the instruction set that the next call will use."""
    isa = ffi.new("nst_isa *")
    check_status(lib.nst_isa_current(isa))
    return isa_name(isa[0])


@cache
def isa_name(isa: int) -> str:
    """Return the name of an nst_isa."""
    return ffi.string(lib.nst_isa_name(isa)).decode()


def available_isas() -> tuple[str, ...]:
    """Return the instruction sets that are compiled in and that this machine supports, narrowest first."""
    return tuple(isa_name(isa) for isa in range(lib.NST_ISA_COUNT) if lib.nst_isa_available(isa))


def select_isa(name: str) -> None:
    """Use instruction set `name` from now on, in the whole process."""
    names = available_isas()
    if name not in names:
        raise ValueError(f"instruction set {name!r} is not available here; choose one of: {', '.join(names)}")
    check_status(lib.nst_isa_select(identifier("isa", name)))


def build_info() -> dict[str, str]:
    """Return the C library's version and compiler, the instruction set in use and those available."""
    return {
        "version": ffi.string(lib.nst_version()).decode(),
        "compiler": ffi.string(lib.nst_compiler()).decode(),
        "isa": isa_in_use(),
        "available_isas": ", ".join(available_isas()),
    }
