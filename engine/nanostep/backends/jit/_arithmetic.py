"""Arithmetic on values beyond their operators: maxima, roots, bits, lanes; see `_values`."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir

from nanostep.backends.jit._values import BOOL, INDEX, Value, ValueBuilder


class ArithmeticBuilder(ValueBuilder):
    """Adds functions of values, and operations on single lanes."""

    # -- Flags of lanes --------------------------------------------------------------------------------------------

    def lane_numbers(self) -> Value:
        return self.value(ir.Constant(ir.VectorType(self.integer, self.lanes), list(range(self.lanes))))

    def first_lanes(self, count: Any) -> Value:
        """Flags of the first `count` lanes."""
        if isinstance(count, Value):
            narrow = count.ir if self.integer == INDEX else self.llvm.trunc(count.ir, self.integer)
            return self.lane_numbers() < self.splat(self.value(narrow))
        return self.value(ir.Constant(ir.VectorType(BOOL, self.lanes), [int(i < count) for i in range(self.lanes)]))

    def lanes_where(self, bit: int) -> Value:
        """Flags of the lanes whose index has this bit set."""
        return self.value(ir.Constant(ir.VectorType(BOOL, self.lanes), [int(i & bit != 0) for i in range(self.lanes)]))

    def numbers(self, values: list[float]) -> Value:
        """A real constant for each lane."""
        return self.value(ir.Constant(ir.VectorType(self.real, self.lanes), values))

    def lane_is(self, label: Value, first: int) -> Value:
        """Flags of the lane of `label`, where lane 0 is that of `first`."""
        narrow = label.ir if self.integer == INDEX else self.llvm.trunc(label.ir, self.integer)
        return self.lane_numbers() + first == self.splat(self.value(narrow))

    def where(self, flags: Value, a: Value) -> Value:
        """a in the flagged lanes, 0 in the others."""
        return self.select(flags, a, 0.0)

    def integer_where(self, flags: Value, number: int) -> Value:
        """An integer in the flagged lanes, 0 in the others."""
        kind = ir.VectorType(self.integer, self.lanes)
        yes, no = (ir.Constant(kind, [n] * self.lanes) for n in (number, 0))
        return self.value(self.llvm.select(flags.ir, yes, no))

    def any_lane(self, flags: Value) -> Value:
        mask = self.llvm.bitcast(flags.ir, ir.IntType(self.lanes))
        return self.value(self.llvm.icmp_unsigned("!=", mask, ir.Constant(mask.type, 0)))

    # -- Operations ------------------------------------------------------------------------------------------------

    def at_least(self, x: Value, low: float) -> Value:
        """max(x, low), NaN where x is"""
        return self.select(x < low, low, x)

    def at_most(self, x: Value, high: float) -> Value:
        """min(x, high), NaN where x is"""
        return self.select(x > high, high, x)

    def larger(self, a: Value, b: Value) -> Value:
        return self.select(a > b, a, b)

    def smaller_index(self, a: Any, b: Any) -> Value:
        return self.select(a < b, a, b)

    def larger_index(self, a: Any, b: Any) -> Value:
        return self.select(a > b, a, b)

    def log(self, x: Value) -> Value:
        """The logarithm of a number in float64."""
        return self._call("log", x.ir.type, x)

    def power(self, x: Value, n: Value) -> Value:
        """x^n in float64"""
        return self._call("pow", x.ir.type, x, self.double_of(n))

    def sqrt(self, x: Value) -> Value:
        return self._call("sqrt", x.ir.type, x)

    def bits(self, x: Value) -> Value:
        """The bits of reals as integers."""
        kind = ir.VectorType(self.integer, self.lanes) if x.is_vector else self.integer
        return self.value(self.llvm.bitcast(x.ir, kind))

    def reals(self, bits: Value) -> Value:
        """The reals that have these bits."""
        kind = ir.VectorType(self.real, self.lanes) if bits.is_vector else self.real
        return self.value(self.llvm.bitcast(bits.ir, kind))

    def scale_by_power(self, x: Value, n: Value) -> Value:
        """The product x 2^n for whole n, rounded once; only where `scales`."""
        current = ir.Constant(ir.IntType(32), 4)
        return self._avx512("mask.scalef", x, n.ir, *self._all_lanes(x), current)

    def reciprocal_estimate(self, x: Value) -> Value:
        """1 / x to 14 bits; only where `estimates`."""
        return self._avx512("rcp14", x, *self._all_lanes(x))

    def _all_lanes(self, x: Value) -> tuple[Any, Any]:
        """The value of masked lanes, and a mask that masks none."""
        return ir.Constant(x.ir.type, None), ir.Constant(ir.IntType(self.lanes), -1)

    def _avx512(self, name: str, x: Value, *arguments: Any) -> Value:
        suffix = "ps" if self.dtype == np.float32 else "pd"
        return self._external(f"llvm.x86.avx512.{name}.{suffix}.512", x.ir.type, x.ir, *arguments)

    # -- Words: unsigned integers of 64 bits, and of 32 bits in vectors --------------------------------------------

    def word(self, i: Value) -> Value:
        """An index as an unsigned integer, whose arithmetic wraps around."""
        return i

    def low_half(self, word: Value) -> Value:
        """The low 32 bits of a word."""
        return self.value(self.llvm.trunc(word.ir, ir.IntType(32)))

    def ramp(self, half: Value, step: int) -> Value:
        """32 bits in each lane: half + step * lane."""
        steps = [step * i % 2**32 for i in range(self.lanes)]
        return self.splat(half) + self.value(ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), steps))

    def is_below(self, a: Value, b: Value) -> Value:
        """Flags of the lanes where a < b, both unsigned."""
        return self.value(self.llvm.icmp_unsigned("<", a.ir, b.ir))

    # -- Lanes -----------------------------------------------------------------------------------------------------

    def exchange(self, v: Value, distance: int) -> Value:
        """The vector with lanes i and i ^ distance exchanged."""
        return self._shuffle(v, [i ^ distance for i in range(self.lanes)])

    def joined(self, a: Value, b: Value, first: int) -> Value:
        """The vector that begins at lane `first` of a and goes on with b."""
        mask = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), list(range(first, first + self.lanes)))
        return self.value(self.llvm.shuffle_vector(a.ir, b.ir, mask))

    def lane(self, v: Value, i: int | Value) -> Value:
        """Lane i as a number."""
        at = ir.Constant(ir.IntType(32), i) if isinstance(i, int) else i.ir
        return self.value(self.llvm.extract_element(v.ir, at))

    def _shuffle(self, v: Value, order: list[int]) -> Value:
        mask = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), order)
        return self.value(self.llvm.shuffle_vector(v.ir, ir.Constant(v.ir.type, ir.Undefined), mask))
