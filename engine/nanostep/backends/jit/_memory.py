"""Pointers, and what a kernel loads and stores; see `_values`."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from nanostep.backends.jit._arithmetic import ArithmeticBuilder
from nanostep.backends.jit._values import INDEX, Value, suffix


class Pointer:
    """Address of a vector or a number in an array. ``pointer + i`` is i entries further."""

    __slots__ = ("element", "ir", "m")

    def __init__(self, m: MemoryBuilder, pointer: Any, element: Any) -> None:
        self.m, self.ir, self.element = m, pointer, element

    def __add__(self, count: int | Value) -> Pointer:
        if isinstance(count, int):
            if count == 0:
                return self
            index = ir.Constant(INDEX, count)
        else:
            index = count.ir
        return Pointer(self.m, self.m.llvm.gep(self.ir, [index], source_etype=self.element), self.element)


class MemoryBuilder(ArithmeticBuilder):
    """Adds loads and stores."""

    def _pointer(self, pointer: Pointer, kind: Any) -> Any:
        return pointer.ir if pointer.ir.type.is_opaque else self.llvm.bitcast(pointer.ir, kind.as_pointer())

    def load(self, pointer: Pointer) -> Value:
        """The vector at a pointer, which need not be aligned."""
        kind = ir.VectorType(self.real, self.lanes)
        return self.value(self.llvm.load(self._pointer(pointer, kind), align=self.dtype.itemsize, typ=kind))

    def store(self, pointer: Pointer, v: Value) -> None:
        v = v if isinstance(v, Value) and v.is_vector else self.splat(v)
        self.llvm.store(v.ir, self._pointer(pointer, v.ir.type), align=self.dtype.itemsize)

    def load_part(self, pointer: Pointer, count: int | Value | None) -> Value:
        """The first `count` numbers at a pointer (None: all); other lanes are 0, and their memory is not touched."""
        if self._is_whole(count):
            return self.load(pointer)
        kind = ir.VectorType(self.real, self.lanes)
        zero = ir.Constant(kind, [0.0] * self.lanes)
        return self._external(
            f"llvm.masked.load.{suffix(kind)}.p0", kind, self._pointer(pointer, kind), *self._part(count), zero
        )

    def store_part(self, pointer: Pointer, count: int | Value | None, v: Value) -> None:
        if self._is_whole(count):
            self.store(pointer, v)
            return
        kind, nothing = v.ir.type, ir.VoidType()
        name = f"llvm.masked.store.{suffix(kind)}.p0"
        self._external(name, nothing, v.ir, self._pointer(pointer, kind), *self._part(count))

    def keep_part(self, v: Value, count: int | Value | None) -> Value:
        """The first `count` lanes, 0 in the others."""
        return v if self._is_whole(count) else self.where(self.first_lanes(count), v)

    def _is_whole(self, count: int | Value | None) -> bool:
        return count is None or (isinstance(count, int) and count >= self.lanes)

    def _part(self, count: Any) -> tuple[Any, Any]:
        """Alignment and mask of a masked load or store."""
        return ir.Constant(ir.IntType(32), self.dtype.itemsize), self.first_lanes(count).ir

    def load_number(self, pointer: Pointer) -> Value:
        """The number at a pointer, of the array's type: the dtype, int64 or float64."""
        return self.value(self.llvm.load(pointer.ir, typ=pointer.element))

    def store_number(self, pointer: Pointer, x: Any) -> None:
        value = x.ir if isinstance(x, Value) else ir.Constant(pointer.element, x)
        self.llvm.store(value, pointer.ir)

    def add_doubles(self, pointer: Pointer, v: Value) -> None:
        """Add the lanes of a vector to as many consecutive float64 numbers."""
        kind = ir.VectorType(ir.DoubleType(), self.lanes)
        wide = v.ir if v.ir.type == kind else self.llvm.fpext(v.ir, kind)
        pointer = self._pointer(pointer, kind)
        total = self.llvm.fadd(self.llvm.load(pointer, align=8, typ=kind), wide)
        self.llvm.store(total, pointer, align=8)

    def choose(self, flag: Value | bool, a: Pointer, b: Pointer) -> Pointer:
        """One of two pointers to numbers of the same type."""
        if isinstance(flag, bool):
            return a if flag else b
        return Pointer(a.m, self.llvm.select(flag.ir, a.ir, b.ir), a.element)

    def prefetch(self, pointer: Pointer) -> None:
        """Prefetch a cache line for writing."""
        kinds = [ir.Constant(ir.IntType(32), i) for i in (1, 3, 1)]
        byte = pointer.ir if pointer.ir.type.is_opaque else self.llvm.bitcast(pointer.ir, ir.IntType(8).as_pointer())
        self._external("llvm.prefetch.p0", ir.VoidType(), byte, *kinds)
