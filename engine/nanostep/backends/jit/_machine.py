"""What kernels are written with: vectors, places in memory and loops, as values that stand for LLVM code.

A kernel is a Python function of a machine ``m`` and values made by it. Run once with a `Machine`, while Numba compiles,
each operation adds an instruction; sizes and names are plain Python, so that what depends on them is decided then and
none of it is left in the code. Run with an `Interpreter` the same text computes with NumPy (see `_interpreter`).

LLVM makes vectors of a scalar loop, but does not keep a tile of sums in registers across a loop: here a Python list of
values is such a tile. A product that goes straight into a sum or difference is fused with it (`fmuladd`), always, so
that results do not depend on what LLVM finds worth fusing around it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir

BITS = {np.dtype(np.float32): 32, np.dtype(np.float64): 64}
INDEX = ir.IntType(64)
BOOL = ir.IntType(1)

MODES = {
    "x86_64": ("llvm.x86.sse.stmxcsr", "llvm.x86.sse.ldmxcsr", 0x8040),
    "aarch64": ("llvm.aarch64.get.fpcr", "llvm.aarch64.set.fpcr", 1 << 24),
}
"""By processor: how the mode of the floating-point unit is read and written, and its bits that flush subnormals to
0."""

Body = Callable[..., Sequence["Value"] | None]


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


class Machine:
    """Emits instructions for one dtype and vector width.

    Attributes
    ----------
    lanes : int
        Numbers in a vector.
    dtype : numpy.dtype
    scales : bool
        The processor multiplies by powers of two in one instruction (AVX-512).
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
        self.scales = scales and lanes * dtype.itemsize == 64
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
        return self._external(f"llvm.{name}.{_suffix(kind)}", kind, *(argument.ir for argument in arguments))

    def _external(self, name: str, result: Any, *arguments: Any) -> Value:
        module = self.builder.module
        function = module.globals.get(name)
        if function is None:
            function = ir.Function(module, ir.FunctionType(result, [a.type for a in arguments]), name)
        return self.value(self.builder.call(function, arguments))

    def select(self, flags: Value | bool, a: Any, b: Any) -> Value:
        """A ? a : b for each lane."""
        if isinstance(flags, bool):
            return a if flags else b
        if not isinstance(a, Value) and not isinstance(b, Value):
            a = self.splat(a) if flags.is_vector else self.number(a)
        a, b = self.alike(a, b)
        if flags.is_vector and not a.is_vector:
            a, b = self.splat(a), self.splat(b)
        return self.value(self.builder.select(flags.ir, a.ir, b.ir))

    def where(self, flags: Value, a: Value) -> Value:
        """A in the lanes that are flagged, 0 in the others."""
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
        """X 2^n for whole n, rounded once; only where `scales`."""
        name = "llvm.x86.avx512.mask.scalef." + ("ps" if self.dtype == np.float32 else "pd") + ".512"
        mask, current = ir.Constant(ir.IntType(self.lanes), -1), ir.Constant(ir.IntType(32), 4)
        return self._external(name, x.ir.type, x.ir, n.ir, ir.Constant(x.ir.type, None), mask, current)

    # -- Lanes -----------------------------------------------------------------------------------------------------

    def exchange(self, v: Value, distance: int) -> Value:
        """V with lanes i and i ^ distance exchanged."""
        return self._shuffle(v, [i ^ distance for i in range(self.lanes)])

    def lane(self, v: Value, i: int | Value) -> Value:
        """Lane i as a number."""
        at = ir.Constant(ir.IntType(32), i) if isinstance(i, int) else i.ir
        return self.value(self.builder.extract_element(v.ir, at))

    def _shuffle(self, v: Value, order: list[int]) -> Value:
        mask = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), order)
        return self.value(self.builder.shuffle_vector(v.ir, ir.Constant(v.ir.type, ir.Undefined), mask))

    # -- Memory ----------------------------------------------------------------------------------------------------

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
            f"llvm.masked.load.{_suffix(kind)}.p0", kind, self._pointer(place, kind), *self._part(count), zero
        )

    def store_part(self, place: Place, count: int | Value | None, v: Value) -> None:
        if self._is_whole(count):
            self.store(place, v)
            return
        kind, nothing = v.ir.type, ir.VoidType()
        name = f"llvm.masked.store.{_suffix(kind)}.p0"
        self._external(name, nothing, v.ir, self._pointer(place, kind), *self._part(count))

    def keep_part(self, v: Value, count: int | Value | None) -> Value:
        """V in the first `count` lanes, 0 in the others."""
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

    def choose(self, flag: Value | bool, a: Place, b: Place) -> Place:
        """One of two places in arrays of the same kind."""
        if isinstance(flag, bool):
            return a if flag else b
        return Place(self, self.builder.select(flag.ir, a.ir, b.ir), a.element)

    def prefetch(self, place: Place) -> None:
        """Tell the processor that the place will be written to."""
        kinds = [ir.Constant(ir.IntType(32), i) for i in (1, 3, 1)]
        byte = place.ir if place.ir.type.is_opaque else self.builder.bitcast(place.ir, ir.IntType(8).as_pointer())
        self._external("llvm.prefetch.p0", ir.VoidType(), byte, *kinds)

    # -- Calls -----------------------------------------------------------------------------------------------------

    def call_c(self, name: str, address: Value, *arguments: Value | Place) -> Value:
        """Call a function of the C library that takes a pointer, given as a number, and more; return its status."""
        pointer = self.builder.inttoptr(address.ir, ir.IntType(8).as_pointer())
        return self._external(name, ir.IntType(32), pointer, *(argument.ir for argument in arguments))

    def number_on_stack(self, x: float) -> Place:
        """A place of its own for a float64 number."""
        with self.builder.goto_entry_block():
            slot = self.builder.alloca(ir.DoubleType())
        self.builder.store(ir.Constant(ir.DoubleType(), x), slot)
        return Place(self, slot, ir.DoubleType())

    # -- Threads ---------------------------------------------------------------------------------------------------

    def meet(self, team: Place, members: Value) -> None:
        """Wait until all members of a team are here. The first word counts arrivals; the ninth, in the next cache line,
        how often all have met. One who waits lets others run after a while."""
        builder, one = self.builder, ir.Constant(INDEX, 1)
        count, meetings = team.ir, (team + 8).ir
        before = builder.load_atomic(meetings, "acquire", 8, typ=INDEX)
        arrived = builder.add(builder.atomic_rmw("add", count, one, "acq_rel"), one)
        here = builder.block
        last, wait, spin, after = (builder.append_basic_block(name) for name in ("last", "wait", "spin", "met"))
        builder.cbranch(builder.icmp_signed("==", arrived, members.ir), last, wait)
        builder.position_at_end(last)
        builder.store_atomic(ir.Constant(INDEX, 0), count, "monotonic", 8)
        builder.store_atomic(builder.add(before, one), meetings, "release", 8)
        builder.branch(after)
        builder.position_at_end(wait)
        turns = builder.phi(INDEX)
        turns.add_incoming(ir.Constant(INDEX, 0), here)
        now = builder.load_atomic(meetings, "acquire", 8, typ=INDEX)
        builder.cbranch(builder.icmp_signed("==", now, before), spin, after)
        builder.position_at_end(spin)
        if self._processor() == "x86_64":
            self._external("llvm.x86.sse2.pause", ir.VoidType())
        turn = builder.add(turns, one)
        often = builder.icmp_unsigned("==", builder.and_(turn, ir.Constant(INDEX, 63)), ir.Constant(INDEX, 0))
        with builder.if_then(often):
            self._external("sched_yield", ir.IntType(32))
        turns.add_incoming(turn, builder.block)
        builder.branch(wait)
        builder.position_at_end(after)

    # -- Mode ------------------------------------------------------------------------------------------------------

    def flush_subnormals(self) -> Value:
        """From here on subnormal numbers count as 0; return the mode before, for `restore_mode`."""
        before = self._read_mode()
        if before is None:
            return self.index(0)
        flush = ir.Constant(before.type, MODES[self._processor()][2])
        self._write_mode(self.builder.or_(before, flush))
        return self.value(before if before.type == INDEX else self.builder.zext(before, INDEX))

    def restore_mode(self, before: Value) -> None:
        """Put back what `flush_subnormals` returned."""
        if self._processor() in MODES:
            kind = ir.IntType(32) if self._processor() == "x86_64" else INDEX
            self._write_mode(before.ir if kind == INDEX else self.builder.trunc(before.ir, kind))

    def _processor(self) -> str:
        return str(self.builder.module.triple).partition("-")[0]

    def _slot(self) -> Any:
        """Room for a word on the stack."""
        with self.builder.goto_entry_block():
            return self.builder.alloca(ir.IntType(32))

    def _read_mode(self) -> Any:
        read, _, _ = MODES.get(self._processor(), ("", "", 0))
        if self._processor() == "x86_64":
            slot = self._slot()
            self._external(read, ir.VoidType(), slot)
            return self.builder.load(slot, typ=ir.IntType(32))
        return self._external(read, INDEX).ir if read else None

    def _write_mode(self, mode: Any) -> None:
        _, write, _ = MODES[self._processor()]
        if self._processor() == "x86_64":
            slot = self._slot()
            self.builder.store(mode, slot)
            self._external(write, ir.VoidType(), slot)
        else:
            self._external(write, ir.VoidType(), mode)

    # -- Control ---------------------------------------------------------------------------------------------------

    def loop(self, start: Any, stop: Any, step: int, body: Body, carried: Sequence[Value] = ()) -> list[Value]:
        """For i in range(start, stop, step): carried = body(i, *carried). Return what is carried out of the last."""
        builder = self.builder
        first, end = self.index(start), self.index(stop)
        before = builder.block
        head, inside, after = (builder.append_basic_block(name) for name in ("loop", "body", "done"))
        builder.branch(head)
        builder.position_at_end(head)
        i = builder.phi(INDEX)
        i.add_incoming(first.ir, before)
        phis = [builder.phi(value.ir.type) for value in carried]
        for phi, value in zip(phis, carried, strict=True):
            phi.add_incoming(value.ir, before)
        builder.cbranch(builder.icmp_signed("<", i, end.ir), inside, after)
        builder.position_at_end(inside)
        results = body(self.value(i), *(self.value(phi) for phi in phis)) or ()
        i.add_incoming(builder.add(i, ir.Constant(INDEX, step)), builder.block)
        for phi, value in zip(phis, results, strict=True):
            phi.add_incoming(value.ir, builder.block)
        builder.branch(head).set_metadata("llvm.loop", self._as_written())
        builder.position_at_end(after)
        return [self.value(phi) for phi in phis]

    def _as_written(self) -> Any:
        """Metadata of a loop that is neither to be unrolled nor to be vectorised: both are in the text of the kernels,
        and LLVM's attempts cost half of the time of compilation."""
        module = self.builder.module
        known = getattr(module, "nanostep_loop", None)
        if known is None:
            options = [
                module.add_metadata([ir.MetaDataString(module, "llvm.loop.unroll.disable")]),
                module.add_metadata(
                    [ir.MetaDataString(module, "llvm.loop.vectorize.enable"), ir.Constant(ir.IntType(1), 0)]
                ),
            ]
            known = ir.MDValue(module, options, name=str(len(module.metadata)))
            known.operands = (known, *options)  # a loop's node begins with itself
            module.nanostep_loop = known
        return known

    def when(
        self, flag: Value | bool, then: Body, otherwise: Body | None = None, carried: Sequence[Value] = ()
    ) -> list[Value]:
        """Return then(*carried) if the flag is set, else otherwise(*carried), or what is carried."""
        if isinstance(flag, bool):
            chosen = then if flag else otherwise
            return list(carried) if chosen is None else list(chosen(*carried) or [])
        builder = self.builder
        yes, no, after = (builder.append_basic_block(name) for name in ("then", "else", "after"))
        builder.cbranch(flag.ir, yes, no)
        ends = []
        for block, branch in ((yes, then), (no, otherwise)):
            builder.position_at_end(block)
            results = list(carried) if branch is None else branch(*carried) or []
            ends.append((results, builder.block))
            builder.branch(after)
        builder.position_at_end(after)
        phis = []
        for a, b in zip(ends[0][0], ends[1][0], strict=True):
            phi = builder.phi(a.ir.type)
            phi.add_incoming(a.ir, ends[0][1])
            phi.add_incoming(b.ir, ends[1][1])
            phis.append(self.value(phi))
        return phis


def _suffix(kind: Any) -> str:
    """How LLVM names a type in the name of an intrinsic."""
    if isinstance(kind, ir.VectorType):
        return f"v{kind.count}{_suffix(kind.element)}"
    return {"float": "f32", "double": "f64"}[str(kind)]
