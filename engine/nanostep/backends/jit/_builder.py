"""What kernels are written with: vectors, pointers and loops that become LLVM code.

A kernel is a Python function of a builder ``m`` and of values made by it. Run once with a `Builder`, while Numba
compiles, each operation adds an instruction; sizes and names are plain Python, so everything that depends on them is
decided then and leaves nothing in the code. Run with an `Interpreter` the same text computes with NumPy (see
`_interpreter`).

LLVM makes vectors of a scalar loop, but does not keep a tile of sums in registers across a loop: here a Python list of
values is such a tile. A product that goes straight into a sum or difference is always fused with it (`fmuladd`), so
that results do not depend on what LLVM finds worth fusing around it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

from nanostep.backends.jit._memory import MemoryBuilder, Pointer
from nanostep.backends.jit._values import INDEX, Value

MODES = {
    "x86_64": ("llvm.x86.sse.stmxcsr", "llvm.x86.sse.ldmxcsr", 0x8040),
    "aarch64": ("llvm.aarch64.get.fpcr", "llvm.aarch64.set.fpcr", 1 << 24),
}
"""By processor: the intrinsics that read and write the mode of the floating-point unit, and the bits of the mode that
flush subnormals to 0."""

Body = Callable[..., Sequence[Value] | None]


class Builder(MemoryBuilder):
    """All that a kernel is written with: adds loops, branches, calls, barriers and the floating-point mode."""

    # -- Calls -----------------------------------------------------------------------------------------------------

    def call_c(self, name: str, address: Value, *arguments: Value | Pointer) -> Value:
        """Call a function of the C library that takes a pointer, given as a number, and more; return its status."""
        pointer = self.llvm.inttoptr(address.ir, ir.IntType(8).as_pointer())
        return self._external(name, ir.IntType(32), pointer, *(argument.ir for argument in arguments))

    def call_loss(
        self, address: Value, sizes: tuple[Any, Any], a: Pointer, y: Pointer, loss: Pointer, da: Pointer
    ) -> None:
        """Call a loss, given by its address, for (rows, outputs); see nst_f32_loss_function in C."""
        real, nothing = self.real.as_pointer(), ir.IntType(8).as_pointer()
        signature = ir.FunctionType(ir.VoidType(), [real, real, INDEX, INDEX, real, real, nothing])
        function = self.llvm.inttoptr(address.ir, signature.as_pointer())
        from_a, from_y, to_loss, to_da = (self._pointer(pointer, self.real) for pointer in (a, y, loss, da))
        rows, outputs = (self.index(size).ir for size in sizes)
        self.llvm.call(function, [from_a, from_y, rows, outputs, to_loss, to_da, ir.Constant(nothing, None)])

    def reals_on_stack(self, count: int) -> Pointer:
        """Return a pointer to so many numbers of the dtype on the stack, not set."""
        with self.llvm.goto_entry_block():
            slots = self.llvm.alloca(self.real, count)
        return Pointer(self, slots, self.real)

    def number_on_stack(self, x: float) -> Pointer:
        """Return a pointer to a float64 number on the stack."""
        with self.llvm.goto_entry_block():
            slot = self.llvm.alloca(ir.DoubleType())
        self.llvm.store(ir.Constant(ir.DoubleType(), x), slot)
        return Pointer(self, slot, ir.DoubleType())

    # -- Threads ---------------------------------------------------------------------------------------------------

    def barrier(self, team: Pointer, workers: Value) -> None:
        """Wait until all workers of a team have arrived. The first word of the team counts arrivals; the ninth, in the
        next cache line, counts completed barriers. A waiting worker yields the processor now and then."""
        llvm, one = self.llvm, ir.Constant(INDEX, 1)
        arrivals, completed = team.ir, (team + 8).ir
        before = llvm.load_atomic(completed, "acquire", 8, typ=INDEX)
        arrived = llvm.add(llvm.atomic_rmw("add", arrivals, one, "acq_rel"), one)
        here = llvm.block
        last, wait, spin, after = (llvm.append_basic_block(name) for name in ("last", "wait", "spin", "passed"))
        llvm.cbranch(llvm.icmp_signed("==", arrived, workers.ir), last, wait)
        llvm.position_at_end(last)
        llvm.store_atomic(ir.Constant(INDEX, 0), arrivals, "monotonic", 8)
        llvm.store_atomic(llvm.add(before, one), completed, "release", 8)
        llvm.branch(after)
        llvm.position_at_end(wait)
        turns = llvm.phi(INDEX)
        turns.add_incoming(ir.Constant(INDEX, 0), here)
        now = llvm.load_atomic(completed, "acquire", 8, typ=INDEX)
        llvm.cbranch(llvm.icmp_signed("==", now, before), spin, after)
        llvm.position_at_end(spin)
        if self._processor() == "x86_64":
            self._external("llvm.x86.sse2.pause", ir.VoidType())
        turn = llvm.add(turns, one)
        often = llvm.icmp_unsigned("==", llvm.and_(turn, ir.Constant(INDEX, 63)), ir.Constant(INDEX, 0))
        with llvm.if_then(often):
            self._external("sched_yield", ir.IntType(32))
        turns.add_incoming(turn, llvm.block)
        llvm.branch(wait)
        llvm.position_at_end(after)

    def fetch_add(self, pointer: Pointer, count: int) -> Value:
        """Add `count` to an int64 atomically; return its value before."""
        return self.value(self.llvm.atomic_rmw("add", pointer.ir, ir.Constant(INDEX, count), "monotonic"))

    def shared_flag(self, pointer: Pointer) -> Value:
        """An int32 that another thread may set, as an index; an atomic load, so that every call reads memory."""
        flag = self.llvm.load_atomic(pointer.ir, "monotonic", 4, typ=pointer.element)
        return self.value(self.llvm.zext(flag, INDEX))

    # -- Mode ------------------------------------------------------------------------------------------------------

    def flush_subnormals(self) -> Value:
        """Let subnormal numbers count as 0 from here on; return the mode before, for `restore_mode`."""
        before = self._read_mode()
        if before is None:
            return self.index(0)
        flush = ir.Constant(before.type, MODES[self._processor()][2])
        self._write_mode(self.llvm.or_(before, flush))
        return self.value(before if before.type == INDEX else self.llvm.zext(before, INDEX))

    def restore_mode(self, before: Value) -> None:
        """Restore the mode that `flush_subnormals` returned."""
        if self._processor() in MODES:
            kind = ir.IntType(32) if self._processor() == "x86_64" else INDEX
            self._write_mode(before.ir if kind == INDEX else self.llvm.trunc(before.ir, kind))

    def _processor(self) -> str:
        return str(self.llvm.module.triple).partition("-")[0]

    def _stack_slot(self) -> Any:
        """Return a pointer to an int32 on the stack."""
        with self.llvm.goto_entry_block():
            return self.llvm.alloca(ir.IntType(32))

    def _read_mode(self) -> Any:
        read, _, _ = MODES.get(self._processor(), ("", "", 0))
        if self._processor() == "x86_64":
            slot = self._stack_slot()
            self._external(read, ir.VoidType(), slot)
            return self.llvm.load(slot, typ=ir.IntType(32))
        return self._external(read, INDEX).ir if read else None

    def _write_mode(self, mode: Any) -> None:
        _, write, _ = MODES[self._processor()]
        if self._processor() == "x86_64":
            slot = self._stack_slot()
            self.llvm.store(mode, slot)
            self._external(write, ir.VoidType(), slot)
        else:
            self._external(write, ir.VoidType(), mode)

    # -- Control ---------------------------------------------------------------------------------------------------

    def loop(self, start: Any, stop: Any, step: int, body: Body, carried: Sequence[Value] = ()) -> list[Value]:
        """For i in range(start, stop, step): carried = body(i, *carried). Return the last carried values."""
        llvm = self.llvm
        first, end = self.index(start), self.index(stop)
        before = llvm.block
        head, inside, after = (llvm.append_basic_block(name) for name in ("loop", "body", "done"))
        llvm.branch(head)
        llvm.position_at_end(head)
        i = llvm.phi(INDEX)
        i.add_incoming(first.ir, before)
        phis = [llvm.phi(value.ir.type) for value in carried]
        for phi, value in zip(phis, carried, strict=True):
            phi.add_incoming(value.ir, before)
        llvm.cbranch(llvm.icmp_signed("<", i, end.ir), inside, after)
        llvm.position_at_end(inside)
        results = body(self.value(i), *(self.value(phi) for phi in phis)) or ()
        i.add_incoming(llvm.add(i, ir.Constant(INDEX, step)), llvm.block)
        for phi, value in zip(phis, results, strict=True):
            phi.add_incoming(value.ir, llvm.block)
        llvm.branch(head).set_metadata("llvm.loop", self._as_written())
        llvm.position_at_end(after)
        return [self.value(phi) for phi in phis]

    def _as_written(self) -> Any:
        """Return metadata that stops LLVM from unrolling or vectorising a loop: the kernels are written unrolled and
        vectorised, and LLVM's attempts took half of the compilation time."""
        module = self.llvm.module
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
        """Return then(*carried) if the flag is set, otherwise(*carried) or else `carried` unchanged if it is not."""
        if isinstance(flag, bool):
            chosen = then if flag else otherwise
            return list(carried) if chosen is None else list(chosen(*carried) or [])
        llvm = self.llvm
        yes, no, after = (llvm.append_basic_block(name) for name in ("then", "else", "after"))
        llvm.cbranch(flag.ir, yes, no)
        ends = []
        for block, branch in ((yes, then), (no, otherwise)):
            llvm.position_at_end(block)
            results = list(carried) if branch is None else branch(*carried) or []
            ends.append((results, llvm.block))
            llvm.branch(after)
        llvm.position_at_end(after)
        phis = []
        for a, b in zip(ends[0][0], ends[1][0], strict=True):
            phi = llvm.phi(a.ir.type)
            phi.add_incoming(a.ir, ends[0][1])
            phi.add_incoming(b.ir, ends[1][1])
            phis.append(self.value(phi))
        return phis
