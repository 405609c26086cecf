"""What kernels are written with: vectors, places in memory and loops, as values that stand for LLVM code.

A kernel is a Python function of a machine ``m`` and values made by it. Run once with a `Machine`, while Numba compiles,
each operation adds an instruction; sizes and names are plain Python, so that what depends on them is decided then and
none of it is left in the code. Run with an `Interpreter` the same text computes with NumPy (see `_interpreter`).

LLVM makes vectors of a scalar loop, but does not keep a tile of sums in registers across a loop: here a Python list of
values is such a tile. A product that goes straight into a sum or difference is fused with it (`fmuladd`), always, so
that results do not depend on what LLVM finds worth fusing around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir

from nanostep.backends.jit._builder import Control
from nanostep.backends.jit._memory import Memory, suffix
from nanostep.backends.jit._values import INDEX, Value

BITS = {np.dtype(np.float32): 32, np.dtype(np.float64): 64}
BOOL = ir.IntType(1)


class Machine(Control, Memory):
    """Emits instructions for one dtype and vector width.

    Attributes
    ----------
    lanes : int
        Numbers in a vector.
    dtype : numpy.dtype
    scales : bool
        The processor multiplies by powers of two in one instruction (AVX-512).
    estimates : bool
        It estimates reciprocals (AVX-512).
    fuses : bool
        It has fused multiply-adds (AVX2, AVX-512).
    """

    def __init__(
        self, builder: Any, dtype: np.dtype, lanes: int, flags: Sequence[str], scales: bool, fuses: bool = True
    ) -> None:
        self.builder = builder
        self.dtype = dtype
        self.lanes = lanes
        self.flags = tuple(sorted(flags))
        self.scales = self.estimates = scales and lanes * dtype.itemsize == 64
        self.fuses = fuses
        self.real = ir.FloatType() if dtype == np.float32 else ir.DoubleType()
        self.integer = ir.IntType(BITS[dtype])

    # -- Values ----------------------------------------------------------------------------------------------------

    def value(self, instruction: Any) -> Value:
        return Value(self, instruction)

    def alike(self, a: Any, b: Any) -> tuple[Value, Value]:
        """Both as values of one type: constants take the type of the other, numbers are repeated in all lanes."""
        if not isinstance(a, Value):
            a = self._constant(b, a)
        elif not isinstance(b, Value):
            b = self._constant(a, b)
        if a.is_vector and not b.is_vector:
            b = self.splat(b)
        elif b.is_vector and not a.is_vector:
            a = self.splat(a)
        return a, b

    def _constant(self, like: Value, number: float) -> Value:
        kind = like.ir.type
        number = float(number) if like.is_real else int(number)
        if like.is_vector:
            return self.value(ir.Constant(kind, [number] * self.lanes))
        return self.value(ir.Constant(kind, number))

    def splat(self, x: Any) -> Value:
        """x in every lane."""
        if not isinstance(x, Value):
            return self.value(ir.Constant(ir.VectorType(self.real, self.lanes), [float(x)] * self.lanes))
        kind = ir.VectorType(x.ir.type, self.lanes)
        if isinstance(x.ir, ir.Constant):
            return self.value(ir.Constant(kind, [x.ir.constant] * self.lanes))
        one = self.builder.insert_element(ir.Constant(kind, ir.Undefined), x.ir, ir.Constant(ir.IntType(32), 0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [0] * self.lanes)
        return self.value(self.builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), zeros))

    def number(self, x: float) -> Value:
        """A real constant, not a vector."""
        return self.value(ir.Constant(self.real, float(x)))

    def index(self, i: Any) -> Value:
        return i if isinstance(i, Value) else self.value(ir.Constant(INDEX, int(i)))

    def double(self, x: Value | float) -> Value:
        """A number in float64."""
        if not isinstance(x, Value):
            return self.value(ir.Constant(ir.DoubleType(), float(x)))
        if isinstance(x.ir.type, ir.DoubleType):
            return x
        return self.value(self.builder.fpext(x.ir, ir.DoubleType()))

    def double_of(self, i: Value) -> Value:
        """An index in float64."""
        return self.value(self.builder.sitofp(i.ir, ir.DoubleType()))

    def rounded(self, x: Value) -> Value:
        """A float64 number in the dtype."""
        return x if x.ir.type == self.real else self.value(self.builder.fptrunc(x.ir, self.real))

    def zero(self) -> Value:
        return self.splat(0.0)

    def lane_numbers(self) -> Value:
        return self.value(ir.Constant(ir.VectorType(self.integer, self.lanes), list(range(self.lanes))))

    def first_lanes(self, count: Any) -> Value:
        """Flags of the first `count` lanes."""
        if isinstance(count, Value):
            narrow = count.ir if self.integer == INDEX else self.builder.trunc(count.ir, self.integer)
            return self.lane_numbers() < self.splat(self.value(narrow))
        return self.value(ir.Constant(ir.VectorType(BOOL, self.lanes), [int(i < count) for i in range(self.lanes)]))

    def lanes_where(self, bit: int) -> Value:
        """Flags of the lanes whose number has `bit`."""
        return self.value(ir.Constant(ir.VectorType(BOOL, self.lanes), [int(i & bit != 0) for i in range(self.lanes)]))

    def lane_is(self, label: Value, first: int) -> Value:
        """Flags of the lane that stands for `label` where lane 0 stands for `first`."""
        narrow = label.ir if self.integer == INDEX else self.builder.trunc(label.ir, self.integer)
        return self.lane_numbers() + first == self.splat(self.value(narrow))

    # -- Operations ------------------------------------------------------------------------------------------------

    def real_operation(self, name: str, a: Value, b: Value) -> Value:
        instruction = ir.instructions.Instruction(self.builder.block, a.ir.type, name, (a.ir, b.ir), "", self.flags)
        self.builder._insert(instruction)
        return self.value(instruction)

    def compare(self, how: str, a: Any, b: Any) -> Value:
        a, b = self.alike(a, b)
        if a.is_real:
            ordered = self.builder.fcmp_unordered if how == "!=" else self.builder.fcmp_ordered
            return self.value(ordered(how, a.ir, b.ir))
        return self.value(self.builder.icmp_signed(how, a.ir, b.ir))

    def fused(self, a: Value, b: Value, c: Value) -> Value:
        """a b + c, rounded once where the processor can."""
        a, b = self.alike(a, b)
        a, c = self.alike(a, c)
        a, b = self.alike(a, b)
        return self._call("fmuladd", a.ir.type, a, b, c)

    def _call(self, name: str, kind: Any, *arguments: Value) -> Value:
        return self._external(f"llvm.{name}.{suffix(kind)}", kind, *(argument.ir for argument in arguments))

    def select(self, flags: Value | bool, a: Any, b: Any) -> Value:
        """For each lane, a if it is flagged, else b."""
        if isinstance(flags, bool):
            return a if flags else b
        if not isinstance(a, Value) and not isinstance(b, Value):
            a = self.splat(a) if flags.is_vector else self.number(a)
        a, b = self.alike(a, b)
        if flags.is_vector and not a.is_vector:
            a, b = self.splat(a), self.splat(b)
        return self.value(self.builder.select(flags.ir, a.ir, b.ir))

    def where(self, flags: Value, a: Value) -> Value:
        """The lanes of a that are flagged, 0 in the others."""
        return self.select(flags, a, 0.0)

    def integer_where(self, flags: Value, number: int) -> Value:
        """An integer in the lanes that are flagged, 0 in the others."""
        kind = ir.VectorType(self.integer, self.lanes)
        yes, no = (ir.Constant(kind, [n] * self.lanes) for n in (number, 0))
        return self.value(self.builder.select(flags.ir, yes, no))

    def any_lane(self, flags: Value) -> Value:
        mask = self.builder.bitcast(flags.ir, ir.IntType(self.lanes))
        return self.value(self.builder.icmp_unsigned("!=", mask, ir.Constant(mask.type, 0)))

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
        return self.value(self.builder.bitcast(x.ir, kind))

    def reals(self, bits: Value) -> Value:
        """The reals that have these bits."""
        kind = ir.VectorType(self.real, self.lanes) if bits.is_vector else self.real
        return self.value(self.builder.bitcast(bits.ir, kind))

    def scale_by_power(self, x: Value, n: Value) -> Value:
        """The product x 2^n for whole n, rounded once; only where `scales`."""
        current = ir.Constant(ir.IntType(32), 4)
        return self._avx512("mask.scalef", x, n.ir, *self._all_lanes(x), current)

    def reciprocal_estimate(self, x: Value) -> Value:
        """1 / x to 14 bits; only where `estimates`."""
        return self._avx512("rcp14", x, *self._all_lanes(x))

    def _all_lanes(self, x: Value) -> tuple[Any, Any]:
        """What lanes that are masked hold, and the mask of none of them."""
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
        return self.value(self.builder.trunc(word.ir, ir.IntType(32)))

    def ramp(self, half: Value, step: int) -> Value:
        """32 bits in each lane: half + step * lane."""
        steps = [step * i % 2**32 for i in range(self.lanes)]
        return self.splat(half) + self.value(ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), steps))

    def is_below(self, a: Value, b: Value) -> Value:
        """Flags of the lanes where a < b, both without sign."""
        return self.value(self.builder.icmp_unsigned("<", a.ir, b.ir))

    # -- Lanes -----------------------------------------------------------------------------------------------------

    def exchange(self, v: Value, distance: int) -> Value:
        """The vector with lanes i and i ^ distance exchanged."""
        return self._shuffle(v, [i ^ distance for i in range(self.lanes)])

    def lane(self, v: Value, i: int | Value) -> Value:
        """Lane i as a number."""
        at = ir.Constant(ir.IntType(32), i) if isinstance(i, int) else i.ir
        return self.value(self.builder.extract_element(v.ir, at))

    def _shuffle(self, v: Value, order: list[int]) -> Value:
        mask = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), order)
        return self.value(self.builder.shuffle_vector(v.ir, ir.Constant(v.ir.type, ir.Undefined), mask))
