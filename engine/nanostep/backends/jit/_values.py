"""The values that a kernel computes with, and the places where they stand; see `_arithmetic`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llvmlite import ir

if TYPE_CHECKING:
    from nanostep.backends.jit._arithmetic import Machine

INDEX = ir.IntType(64)


class Value:
    """A vector or a number that compiled code will have: reals, integers, or the flags of a comparison."""

    __slots__ = ("factors", "ir", "m")

    def __init__(self, m: Machine, value: Any, factors: tuple[Value, Value] | None = None) -> None:
        self.m = m
        self.ir = value
        self.factors = factors

    def __add__(self, other: Any) -> Value:
        a, b = self.m.alike(self, other)
        if not a.is_real:
            return self.m.value(self.m.builder.add(a.ir, b.ir))
        if b.factors is not None:
            return self.m.fused(*b.factors, a)
        if a.factors is not None:
            return self.m.fused(*a.factors, b)
        return self.m.real_operation("fadd", a, b)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Value:
        a, b = self.m.alike(self, other)
        if not a.is_real:
            return self.m.value(self.m.builder.sub(a.ir, b.ir))
        if b.factors is not None:
            x, y = b.factors
            return self.m.fused(-x, y, a)
        if a.factors is not None:
            return self.m.fused(*a.factors, -b)
        return self.m.real_operation("fsub", a, b)

    def __rsub__(self, other: Any) -> Value:
        a, b = self.m.alike(other, self)
        return a - b

    def __mul__(self, other: Any) -> Value:
        a, b = self.m.alike(self, other)
        if not a.is_real:
            return self.m.value(self.m.builder.mul(a.ir, b.ir))
        result = self.m.real_operation("fmul", a, b)
        result.factors = (a, b)
        return result

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Value:
        return self.m.real_operation("fdiv", *self.m.alike(self, other))

    def __rtruediv__(self, other: Any) -> Value:
        return self.m.real_operation("fdiv", *self.m.alike(other, self))

    def __neg__(self) -> Value:
        return self.m.value(self.m.builder.fneg(self.ir, flags=self.m.flags))

    def __floordiv__(self, other: int) -> Value:
        a, b = self.m.alike(self, other)
        return self.m.value(self.m.builder.udiv(a.ir, b.ir))

    def __and__(self, other: Any) -> Value:
        a, b = self.m.alike(self, other)
        return self.m.value(self.m.builder.and_(a.ir, b.ir))

    __rand__ = __and__

    def __or__(self, other: Any) -> Value:
        a, b = self.m.alike(self, other)
        return self.m.value(self.m.builder.or_(a.ir, b.ir))

    __ror__ = __or__

    def __xor__(self, other: Any) -> Value:
        a, b = self.m.alike(self, other)
        return self.m.value(self.m.builder.xor(a.ir, b.ir))

    def __invert__(self) -> Value:
        return self.m.value(self.m.builder.not_(self.ir))

    def __lshift__(self, count: int) -> Value:
        a, b = self.m.alike(self, count)
        return self.m.value(self.m.builder.shl(a.ir, b.ir))

    def __rshift__(self, count: int) -> Value:
        """Zeros come in from the left."""
        a, b = self.m.alike(self, count)
        return self.m.value(self.m.builder.lshr(a.ir, b.ir))

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


class Place:
    """A place in an array: where a vector or a number is loaded from or stored to. ``place + i`` is i entries on."""

    __slots__ = ("element", "ir", "m")

    def __init__(self, m: Machine, pointer: Any, element: Any) -> None:
        self.m, self.ir, self.element = m, pointer, element

    def __add__(self, count: int | Value) -> Place:
        if isinstance(count, int):
            if count == 0:
                return self
            index = ir.Constant(INDEX, count)
        else:
            index = count.ir
        return Place(self.m, self.m.builder.gep(self.ir, [index], source_etype=self.element), self.element)
