"""What a machine loads and stores; see `_arithmetic`."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir

from nanostep.backends.jit._values import Place, Value


class Memory:
    """Part of `nanostep.backends.jit._arithmetic.Machine`."""

    builder: Any
    dtype: np.dtype
    lanes: int
    real: Any

    def value(self, instruction: Any) -> Value:
        raise NotImplementedError

    def splat(self, x: Any) -> Value:
        raise NotImplementedError

    def first_lanes(self, count: Any) -> Value:
        raise NotImplementedError

    def where(self, flags: Value, a: Value) -> Value:
        raise NotImplementedError

    def _external(self, name: str, result: Any, *arguments: Any) -> Value:
        raise NotImplementedError

    def _pointer(self, place: Place, kind: Any) -> Any:
        return place.ir if place.ir.type.is_opaque else self.builder.bitcast(place.ir, kind.as_pointer())

    def load(self, place: Place) -> Value:
        """The vector at a place of any alignment."""
        kind = ir.VectorType(self.real, self.lanes)
        return self.value(self.builder.load(self._pointer(place, kind), align=self.dtype.itemsize, typ=kind))

    def store(self, place: Place, v: Value) -> None:
        v = v if isinstance(v, Value) and v.is_vector else self.splat(v)
        self.builder.store(v.ir, self._pointer(place, v.ir.type), align=self.dtype.itemsize)

    def load_part(self, place: Place, count: int | Value | None) -> Value:
        """The first `count` numbers at a place, and 0 in the other lanes, whose memory is not touched; None for all."""
        if self._is_whole(count):
            return self.load(place)
        kind = ir.VectorType(self.real, self.lanes)
        zero = ir.Constant(kind, [0.0] * self.lanes)
        return self._external(
            f"llvm.masked.load.{suffix(kind)}.p0", kind, self._pointer(place, kind), *self._part(count), zero
        )

    def store_part(self, place: Place, count: int | Value | None, v: Value) -> None:
        if self._is_whole(count):
            self.store(place, v)
            return
        kind, nothing = v.ir.type, ir.VoidType()
        name = f"llvm.masked.store.{suffix(kind)}.p0"
        self._external(name, nothing, v.ir, self._pointer(place, kind), *self._part(count))

    def keep_part(self, v: Value, count: int | Value | None) -> Value:
        """The first `count` lanes, 0 in the others."""
        return v if self._is_whole(count) else self.where(self.first_lanes(count), v)

    def _is_whole(self, count: int | Value | None) -> bool:
        return count is None or (isinstance(count, int) and count >= self.lanes)

    def _part(self, count: Any) -> tuple[Any, Any]:
        """Alignment and mask of a partial load or store."""
        return ir.Constant(ir.IntType(32), self.dtype.itemsize), self.first_lanes(count).ir

    def load_number(self, place: Place) -> Value:
        """The number at a place: of the dtype, or an int64 or float64 where the array holds those."""
        return self.value(self.builder.load(place.ir, typ=place.element))

    def store_number(self, place: Place, x: Any) -> None:
        value = x.ir if isinstance(x, Value) else ir.Constant(place.element, x)
        self.builder.store(value, place.ir)

    def add_doubles(self, place: Place, v: Value) -> None:
        """Add the lanes of a vector to as many float64 numbers at a place."""
        kind = ir.VectorType(ir.DoubleType(), self.lanes)
        wide = v.ir if v.ir.type == kind else self.builder.fpext(v.ir, kind)
        pointer = self._pointer(place, kind)
        total = self.builder.fadd(self.builder.load(pointer, align=8, typ=kind), wide)
        self.builder.store(total, pointer, align=8)

    def choose(self, flag: Value | bool, a: Place, b: Place) -> Place:
        """One of two places in arrays of the same kind."""
        if isinstance(flag, bool):
            return a if flag else b
        return Place(a.m, self.builder.select(flag.ir, a.ir, b.ir), a.element)

    def prefetch(self, place: Place) -> None:
        """Tell the processor that the place will be written to."""
        kinds = [ir.Constant(ir.IntType(32), i) for i in (1, 3, 1)]
        byte = place.ir if place.ir.type.is_opaque else self.builder.bitcast(place.ir, ir.IntType(8).as_pointer())
        self._external("llvm.prefetch.p0", ir.VoidType(), byte, *kinds)


def suffix(kind: Any) -> str:
    """How LLVM names a type in the name of an intrinsic."""
    if isinstance(kind, ir.VectorType):
        return f"v{kind.count}{suffix(kind.element)}"
    return {"float": "f32", "double": "f64"}[str(kind)]
