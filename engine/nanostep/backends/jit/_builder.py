"""What a machine does besides arithmetic: loops and branches, calls, meetings of threads, the floating-point mode."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

from nanostep.backends.jit._values import INDEX, Place, Value

MODES = {
    "x86_64": ("llvm.x86.sse.stmxcsr", "llvm.x86.sse.ldmxcsr", 0x8040),
    "aarch64": ("llvm.aarch64.get.fpcr", "llvm.aarch64.set.fpcr", 1 << 24),
}
"""By processor: how the mode of the floating-point unit is read and written, and its bits that flush subnormals to
0."""

Body = Callable[..., Sequence[Value] | None]


class Control:
    """Part of `nanostep.backends.jit._arithmetic.Machine`."""

    builder: Any

    def value(self, instruction: Any) -> Value:
        raise NotImplementedError

    def index(self, i: Any) -> Value:
        raise NotImplementedError

    def _external(self, name: str, result: Any, *arguments: Any) -> Value:
        module = self.builder.module
        function = module.globals.get(name)
        if function is None:
            function = ir.Function(module, ir.FunctionType(result, [a.type for a in arguments]), name)
        return self.value(self.builder.call(function, arguments))

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
        return Place(self, slot, ir.DoubleType())  # type: ignore[arg-type]

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

    def take(self, place: Place, count: int) -> Value:
        """The word at a place, to which `count` is added before another thread sees it."""
        return self.value(self.builder.atomic_rmw("add", place.ir, ir.Constant(INDEX, count), "monotonic"))

    def shared_flag(self, place: Place) -> Value:
        """An int32 that another thread may set, as an index; it is read anew each time."""
        flag = self.builder.load_atomic(place.ir, "monotonic", 4, typ=place.element)
        return self.value(self.builder.zext(flag, INDEX))

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
