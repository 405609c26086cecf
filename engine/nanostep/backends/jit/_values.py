"""The values that a kernel computes with, and what their operators emit.

`ValueBuilder` is the lowest of four classes, each derived from the one before: values (here), arithmetic
(`_arithmetic`), memory (`_memory`), control (`_builder`, which describes how kernels use them).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir

INDEX = ir.IntType(64)
BOOL = ir.IntType(1)
BITS = {np.dtype(np.float32): 32, np.dtype(np.float64): 64}


class Value:
    """A vector or a number in the code under construction: reals, integers, or the flags of a comparison.

    `factors` of a product are its operands, so that a sum can fuse with it.
    """

    __slots__ = ("factors", "ir", "m")

    def __init__(self, m: ValueBuilder, value: Any, factors: tuple[Value, Value] | None = None) -> None:
        self.m = m
        self.ir = value
        self.factors = factors

    def __add__(self, other: Any) -> Value:
        a, b = self.m.broadcast(self, other)
        if not a.is_real:
            return self.m.value(self.m.llvm.add(a.ir, b.ir))
        if b.factors is not None:
            return self.m.fused(*b.factors, a)
        if a.factors is not None:
            return self.m.fused(*a.factors, b)
        return self.m.real_operation("fadd", a, b)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Value:
        a, b = self.m.broadcast(self, other)
        if not a.is_real:
            return self.m.value(self.m.llvm.sub(a.ir, b.ir))
        if b.factors is not None:
            x, y = b.factors
            return self.m.fused(-x, y, a)
        if a.factors is not None:
            return self.m.fused(*a.factors, -b)
        return self.m.real_operation("fsub", a, b)

    def __rsub__(self, other: Any) -> Value:
        a, b = self.m.broadcast(other, self)
        return a - b

    def __mul__(self, other: Any) -> Value:
        a, b = self.m.broadcast(self, other)
        if not a.is_real:
            return self.m.value(self.m.llvm.mul(a.ir, b.ir))
        result = self.m.real_operation("fmul", a, b)
        result.factors = (a, b)
        return result

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Value:
        return self.m.real_operation("fdiv", *self.m.broadcast(self, other))

    def __rtruediv__(self, other: Any) -> Value:
        return self.m.real_operation("fdiv", *self.m.broadcast(other, self))

    def __neg__(self) -> Value:
        return self.m.value(self.m.llvm.fneg(self.ir, flags=self.m.flags))

    def __floordiv__(self, other: int) -> Value:
        a, b = self.m.broadcast(self, other)
        return self.m.value(self.m.llvm.udiv(a.ir, b.ir))

    def __and__(self, other: Any) -> Value:
        a, b = self.m.broadcast(self, other)
        return self.m.value(self.m.llvm.and_(a.ir, b.ir))

    __rand__ = __and__

    def __or__(self, other: Any) -> Value:
        a, b = self.m.broadcast(self, other)
        return self.m.value(self.m.llvm.or_(a.ir, b.ir))

    __ror__ = __or__

    def __xor__(self, other: Any) -> Value:
        a, b = self.m.broadcast(self, other)
        return self.m.value(self.m.llvm.xor(a.ir, b.ir))

    def __invert__(self) -> Value:
        return self.m.value(self.m.llvm.not_(self.ir))

    def __lshift__(self, count: int) -> Value:
        a, b = self.m.broadcast(self, count)
        return self.m.value(self.m.llvm.shl(a.ir, b.ir))

    def __rshift__(self, count: int) -> Value:
        """Logical shift: zeros come in from the left."""
        a, b = self.m.broadcast(self, count)
        return self.m.value(self.m.llvm.lshr(a.ir, b.ir))

    def __lt__(self, other: Any) -> Value:
        return self.m.compare("<", self, other)

    def __le__(self, other: Any) -> Value:
        return self.m.compare("<=", self, other)

    def __gt__(self, other: Any) -> Value:
        return self.m.compare(">", self, other)

    def __ge__(self, other: Any) -> Value:
        return self.m.compare(">=", self, other)

    def __eq__(self, other: Any) -> Value:  # type: ignore[override]
        return self.m.compare("==", self, other)

    def __ne__(self, other: Any) -> Value:  # type: ignore[override]
        return self.m.compare("!=", self, other)

    __hash__ = None  # type: ignore[assignment]

    @property
    def is_vector(self) -> bool:
        return isinstance(self.ir.type, ir.VectorType)

    @property
    def element(self) -> Any:
        """LLVM type of one lane."""
        return self.ir.type.element if self.is_vector else self.ir.type

    @property
    def is_real(self) -> bool:
        return not isinstance(self.element, ir.IntType)


class ValueBuilder:
    """Makes values, constants and the instructions behind their operators, for one dtype and vector width.

    Attributes
    ----------
    llvm : llvmlite.ir.IRBuilder
    lanes : int
        Numbers in a vector.
    dtype : numpy.dtype
    flags : tuple of str
        Floating-point flags of every instruction.
    scales : bool
        The processor multiplies by powers of two in one instruction (AVX-512).
    estimates : bool
        It estimates reciprocals (AVX-512).
    fuses : bool
        It has fused multiply-adds (AVX2, AVX-512).
    """

    def __init__(
        self, llvm: Any, dtype: np.dtype, lanes: int, flags: Sequence[str], scales: bool, fuses: bool = True
    ) -> None:
        self.llvm = llvm
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

    def broadcast(self, a: Any, b: Any) -> tuple[Value, Value]:
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
        one = self.llvm.insert_element(ir.Constant(kind, ir.Undefined), x.ir, ir.Constant(ir.IntType(32), 0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [0] * self.lanes)
        return self.value(self.llvm.shuffle_vector(one, ir.Constant(kind, ir.Undefined), zeros))

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
        return self.value(self.llvm.fpext(x.ir, ir.DoubleType()))

    def double_of(self, i: Value) -> Value:
        """An index in float64."""
        return self.value(self.llvm.sitofp(i.ir, ir.DoubleType()))

    def rounded(self, x: Value) -> Value:
        """A float64 number in the dtype."""
        return x if x.ir.type == self.real else self.value(self.llvm.fptrunc(x.ir, self.real))

    def zero(self) -> Value:
        return self.splat(0.0)

    # -- Operations ------------------------------------------------------------------------------------------------

    def real_operation(self, name: str, a: Value, b: Value) -> Value:
        instruction = ir.instructions.Instruction(self.llvm.block, a.ir.type, name, (a.ir, b.ir), "", self.flags)
        self.llvm._insert(instruction)
        return self.value(instruction)

    def compare(self, how: str, a: Any, b: Any) -> Value:
        a, b = self.broadcast(a, b)
        if a.is_real:
            ordered = self.llvm.fcmp_unordered if how == "!=" else self.llvm.fcmp_ordered
            return self.value(ordered(how, a.ir, b.ir))
        return self.value(self.llvm.icmp_signed(how, a.ir, b.ir))

    def fused(self, a: Value, b: Value, c: Value) -> Value:
        """a b + c, rounded once where the processor can."""
        a, b = self.broadcast(a, b)
        a, c = self.broadcast(a, c)
        a, b = self.broadcast(a, b)
        return self._call("fmuladd", a.ir.type, a, b, c)

    def select(self, flags: Value | bool, a: Any, b: Any) -> Value:
        """a in the flagged lanes, b in the others."""
        if isinstance(flags, bool):
            return a if flags else b
        if not isinstance(a, Value) and not isinstance(b, Value):
            a = self.splat(a) if flags.is_vector else self.number(a)
        a, b = self.broadcast(a, b)
        if flags.is_vector and not a.is_vector:
            a, b = self.splat(a), self.splat(b)
        return self.value(self.llvm.select(flags.ir, a.ir, b.ir))

    def _call(self, name: str, kind: Any, *arguments: Value) -> Value:
        return self._external(f"llvm.{name}.{suffix(kind)}", kind, *(argument.ir for argument in arguments))

    def _external(self, name: str, result: Any, *arguments: Any) -> Value:
        module = self.llvm.module
        function = module.globals.get(name)
        if function is None:
            function = ir.Function(module, ir.FunctionType(result, [a.type for a in arguments]), name)
        return self.value(self.llvm.call(function, arguments))


def suffix(kind: Any) -> str:
    """How LLVM names a type in the name of an intrinsic."""
    if isinstance(kind, ir.VectorType):
        return f"v{kind.count}{suffix(kind.element)}"
    return {"float": "f32", "double": "f64"}[str(kind)]
