"""The interface of `Builder` on NumPy arrays: runs the kernels as Python where Numba is switched off
(NUMBA_DISABLE_JIT).

Slow, and without fused sums; for stepping through a kernel with a debugger, and for line coverage.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

INTEGERS = {np.dtype(np.float32): np.int32, np.dtype(np.float64): np.int64}


class Pointer:
    """Position in a flat array."""

    def __init__(self, array: np.ndarray, at: int = 0) -> None:
        self.array, self.at = array, at

    def __add__(self, count: int) -> Pointer:
        return Pointer(self.array, self.at + int(count))


class Interpreter:
    """See `nanostep.backends.jit._builder.Builder`; vectors are arrays of `lanes` entries, indices are int."""

    scales = fuses = False
    estimates = True

    def __init__(self, dtype: np.dtype, lanes: int) -> None:
        self.dtype, self.lanes = dtype, lanes
        self.integer = INTEGERS[dtype]

    # -- Values ----------------------------------------------------------------------------------------------------

    def splat(self, x: Any) -> Any:
        return np.full(self.lanes, x, self.dtype)

    def number(self, x: float) -> Any:
        return self.dtype.type(x)

    def index(self, i: Any) -> int:
        return int(i)

    def double(self, x: Any) -> float:
        return float(x)

    def double_of(self, i: int) -> float:
        return float(i)

    def rounded(self, x: Any) -> Any:
        return self.dtype.type(x)

    def zero(self) -> Any:
        return self.splat(0.0)

    def first_lanes(self, count: int) -> Any:
        return np.arange(self.lanes) < count

    def lanes_where(self, bit: int) -> Any:
        return (np.arange(self.lanes) & bit) != 0

    def numbers(self, values: list[float]) -> Any:
        return np.array(values, self.dtype)

    def lane_is(self, label: int, first: int) -> Any:
        return np.arange(self.lanes) + first == label

    # -- Operations ------------------------------------------------------------------------------------------------

    def select(self, flags: Any, a: Any, b: Any) -> Any:
        if isinstance(flags, (bool, np.bool_)):
            return a if flags else b
        return np.where(flags, a, b).astype(self.dtype)

    def where(self, flags: Any, a: Any) -> Any:
        return self.select(flags, a, 0.0)

    def integer_where(self, flags: Any, number: int) -> Any:
        return np.where(flags, number, 0).astype(self.integer)

    def any_lane(self, flags: Any) -> bool:
        return bool(flags.any())

    def at_least(self, x: Any, low: float) -> Any:
        return self.select(x < low, low, x)

    def at_most(self, x: Any, high: float) -> Any:
        return self.select(x > high, high, x)

    def larger(self, a: Any, b: Any) -> Any:
        return self.select(a > b, a, b)

    def smaller_index(self, a: int, b: int) -> int:
        return min(a, b)

    def larger_index(self, a: int, b: int) -> int:
        return max(a, b)

    def log(self, x: float) -> float:
        return float(np.log(x))

    def power(self, x: float, n: int) -> float:
        return float(x**n)

    def sqrt(self, x: Any) -> Any:
        return np.sqrt(x)

    def reciprocal_estimate(self, x: Any) -> Any:
        low_bits = {4: 23, 8: 52}[self.dtype.itemsize] - 14
        return self.reals(self.bits(1 / x) >> low_bits << low_bits)

    def bits(self, x: Any) -> Any:
        return x.view(self.integer)

    def reals(self, bits: Any) -> Any:
        return bits.astype(self.integer).view(self.dtype)

    # -- Words -----------------------------------------------------------------------------------------------------

    def word(self, i: int) -> Any:
        return np.uint64(i)

    def low_half(self, word: Any) -> Any:
        return np.uint32(int(word) % 2**32)

    def ramp(self, half: Any, step: int) -> Any:
        return half + np.arange(self.lanes, dtype=np.uint32) * np.uint32(step)

    def is_below(self, a: Any, b: Any) -> Any:
        return a < b

    # -- Lanes -----------------------------------------------------------------------------------------------------

    def exchange(self, v: Any, distance: int) -> Any:
        return v[np.arange(self.lanes) ^ distance]

    def joined(self, a: Any, b: Any, first: int) -> Any:
        return np.concatenate([a, b])[first : first + self.lanes]

    def lane(self, v: Any, i: int) -> Any:
        return v[i]

    # -- Memory ----------------------------------------------------------------------------------------------------

    def load(self, pointer: Pointer) -> Any:
        return pointer.array[pointer.at : pointer.at + self.lanes].copy()

    def store(self, pointer: Pointer, v: Any) -> None:
        pointer.array[pointer.at : pointer.at + self.lanes] = v

    def load_part(self, pointer: Pointer, count: int | None) -> Any:
        result, count = self.zero(), self._whole(count)
        result[:count] = pointer.array[pointer.at : pointer.at + count]
        return result

    def store_part(self, pointer: Pointer, count: int | None, v: Any) -> None:
        count = self._whole(count)
        pointer.array[pointer.at : pointer.at + count] = v[:count]

    def keep_part(self, v: Any, count: int | None) -> Any:
        return self.where(self.first_lanes(self._whole(count)), v)

    def _whole(self, count: int | None) -> int:
        return self.lanes if count is None else min(count, self.lanes)

    def load_number(self, pointer: Pointer) -> Any:
        value = pointer.array[pointer.at]
        return int(value) if pointer.array.dtype.kind == "i" else value

    def store_number(self, pointer: Pointer, x: Any) -> None:
        pointer.array[pointer.at] = x

    def add_doubles(self, pointer: Pointer, v: Any) -> None:
        pointer.array[pointer.at : pointer.at + self.lanes] += v

    def fetch_add(self, pointer: Pointer, count: int) -> int:
        before = int(pointer.array[pointer.at])
        pointer.array[pointer.at] += count
        return before

    def shared_flag(self, pointer: Pointer) -> int:
        return int(pointer.array[pointer.at])

    def choose(self, flag: Any, a: Pointer, b: Pointer) -> Pointer:
        return a if flag else b

    def prefetch(self, pointer: Pointer) -> None:
        """Nothing to do."""

    def flush_subnormals(self) -> int:
        """NumPy has no such mode."""
        return 0

    def restore_mode(self, before: int) -> None:
        """Nothing to do."""

    def reals_on_stack(self, count: int) -> Pointer:
        return Pointer(np.empty(count, self.dtype))

    def call_loss(
        self, address: int, sizes: tuple[int, int], a: Pointer, y: Pointer, loss: Pointer, da: Pointer
    ) -> None:
        real = {4: ctypes.c_float, 8: ctypes.c_double}[self.dtype.itemsize]
        to_reals = ctypes.POINTER(real)
        signature = ctypes.CFUNCTYPE(
            None, to_reals, to_reals, ctypes.c_size_t, ctypes.c_size_t, to_reals, to_reals, ctypes.c_void_p
        )
        from_a, from_y, to_loss, to_da = (
            ctypes.cast(pointer.array[pointer.at :].ctypes.data, to_reals) for pointer in (a, y, loss, da)
        )
        signature(int(address))(from_a, from_y, *sizes, to_loss, to_da, None)

    # -- Control ---------------------------------------------------------------------------------------------------

    def loop(
        self, start: int, stop: int, step: int, body: Callable[..., Any], carried: Sequence[Any] = ()
    ) -> list[Any]:
        results = list(carried)
        for i in range(start, stop, step):
            results = list(body(i, *results) or ())
        return results

    def when(
        self, flag: Any, then: Callable[..., Any], otherwise: Callable[..., Any] | None = None, carried: Any = ()
    ) -> list[Any]:
        branch = then if flag else otherwise
        return list(carried) if branch is None else list(branch(*carried) or ())
