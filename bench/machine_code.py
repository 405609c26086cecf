"""Machine code as printed by ``objdump -d``: functions, loops, and the kinds of instructions in them."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FUNCTION = re.compile(r"^([0-9a-f]+) <(.+)>:$")
INSTRUCTION = re.compile(r"^\s*([0-9a-f]+):\t(?:(?:rex\S*|lock|repz?|repnz|bnd|notrack|data16|cs)\s+)*(\S+)\s*(.*)$")
TARGET = re.compile(r"^\*?([0-9a-f]+)\b(?:\s+<(.+)>)?")
FILE = re.compile(r"^[0-9a-f]+\s.*\bdf \*ABS\*\s+\S+\s+(\S+)$")
SYMBOL = re.compile(r"^([0-9a-f]+)\s.{7}\s\S+\s+[0-9a-f]+\s+(?:\.hidden )?(\S+)$")

FMA = re.compile(r"^vfn?m(?:add|sub|addsub|subadd)(?:132|213|231)([ps])[sdh]$")
ARITHMETIC = re.compile(r"^v?(?:add|sub|mul|min|max)([ps])[sd]$")
DIVISION = re.compile(r"^v?(?:div|sqrt)[ps][sd]$")
MATTERS = 0.01
"""Least share of the samples of a function whose calls are listed."""

PRODUCT = 3
"""Most instructions per FMA in a loop that counts as a matrix product."""

WIDTHS = ("zmm", "ymm", "xmm")


@dataclass(frozen=True)
class Instruction:
    """One instruction in AT&T syntax."""

    address: int
    mnemonic: str
    operands: str

    @property
    def width(self) -> str:
        """The widest vector register among the operands: "zmm", "ymm", "xmm", or ""."""
        return next((name for name in WIDTHS if name in self.operands), "")

    @property
    def target(self) -> int | None:
        """Target address of a direct jump or call."""
        found = TARGET.match(self.operands) if self.mnemonic.startswith(("j", "call")) else None
        return int(found[1], 16) if found and not self.operands.startswith("*") else None


@dataclass
class Function:
    """A function of the listing; `origin` is the source file that the symbol table names, or ""."""

    name: str
    start: int
    origin: str = ""
    code: list[Instruction] = field(default_factory=list)

    @property
    def end(self) -> int:
        """The address of the last instruction."""
        return self.code[-1].address if self.code else self.start

    def loops(self) -> list[tuple[int, int]]:
        """Return (first, last) address of each loop: from the target of a backward jump to the jump."""
        found: dict[int, int] = {}
        for i in self.code:
            target = i.target
            if i.mnemonic.startswith("j") and target is not None and self.start <= target <= i.address:
                found[target] = max(found.get(target, 0), i.address)
        return list(found.items())

    def blocks(self, addresses: Iterable[int]) -> list[Instruction]:
        """Return the instructions of the basic blocks that contain any of the addresses."""
        leaders = {i.target for i in self.code if i.mnemonic.startswith("j")}
        wanted = set(addresses)
        result: list[Instruction] = []
        block: list[Instruction] = []
        for i in self.code:
            if i.address in leaders:
                result += block if any(j.address in wanted for j in block) else []
                block = []
            block.append(i)
            if i.mnemonic.startswith(("j", "ret")):
                result += block if any(j.address in wanted for j in block) else []
                block = []
        return result + (block if any(j.address in wanted for j in block) else [])

    def innermost(self, address: int) -> tuple[int, int] | None:
        """Return the smallest loop around an address."""
        around = [loop for loop in self.loops() if loop[0] <= address <= loop[1]]
        return min(around, key=lambda loop: loop[1] - loop[0], default=None)


def unavailable() -> str:
    """Return why machine code cannot be read here, or ""."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return f"only x86 instructions are known, this is {platform.machine()}"
    return "" if shutil.which("objdump") else "objdump (binutils) is not installed"


def disassemble(path: Path) -> list[Function]:
    """Return the functions of an object file or a shared library.

    Raises
    ------
    OSError, RuntimeError
        objdump is missing, or does not understand the file.
    """
    listing = _objdump("-d", "--no-show-raw-insn", str(path))
    return parse(listing, _objdump("-t", str(path)))


def _objdump(*arguments: str) -> str:
    result = subprocess.run(["objdump", *arguments], capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError((result.stderr.strip() or "objdump failed").splitlines()[-1])
    return result.stdout


def parse(listing: str, symbols: str = "") -> list[Function]:
    """Return the functions of a listing by address; `symbols` (``objdump -t``) distinguishes equal names by file."""
    origins, origin = {}, ""
    for line in symbols.splitlines():
        if found := FILE.match(line):
            origin = found[1]
        elif (found := SYMBOL.match(line)) and " df " not in line:
            origins[int(found[1], 16), found[2]] = origin
    functions: list[Function] = []
    for line in listing.splitlines():
        if found := FUNCTION.match(line):
            start = int(found[1], 16)
            functions.append(Function(found[2], start, origins.get((start, found[2]), "")))
        elif functions and (found := INSTRUCTION.match(line)):
            functions[-1].code.append(Instruction(int(found[1], 16), found[2], found[3].strip()))
    return sorted((f for f in functions if f.code), key=lambda f: f.start)


def find(functions: Sequence[Function], address: int) -> Function | None:
    """Return the function that contains an address, or None."""
    i = bisect_right([f.start for f in functions], address) - 1
    # an instruction has at most 15 bytes
    return functions[i] if i >= 0 and address < functions[i].end + 15 else None


def count(code: Iterable[Instruction]) -> dict[str, Any]:
    """Return the number of instructions of each kind.

    Returns
    -------
    dict
        instructions; fma and arithmetic (add, sub, mul, min, max of floating-point numbers), each by "zmm", "ymm",
        "xmm" or "scalar"; divisions (square roots among them); memory (instructions with an operand in memory); calls.
    """
    numbers: Counter[str] = Counter()
    fma: Counter[str] = Counter()
    arithmetic: Counter[str] = Counter()
    for i in code:
        numbers["instructions"] += 1
        for pattern, kinds in ((FMA, fma), (ARITHMETIC, arithmetic)):
            if found := pattern.match(i.mnemonic):
                kinds[i.width if found[1] == "p" else "scalar"] += 1
        numbers["divisions"] += bool(DIVISION.match(i.mnemonic))
        numbers["memory"] += "(" in i.operands and not i.mnemonic.startswith(("lea", "nop", "prefetch"))
        numbers["calls"] += i.mnemonic.startswith("call")
    names = ("instructions", "divisions", "memory", "calls")
    return {**{name: int(numbers[name]) for name in names}, "fma": dict(fma), "arithmetic": dict(arithmetic)}


def calls_out(functions: Sequence[Function], all_functions: Sequence[Function]) -> dict[str, int]:
    """Return the calls of `functions` to functions outside of `all_functions` of their file, with their numbers.

    Procedure linkage stubs count as outside; a call through a register is listed as "indirect".
    """
    own = {f.start for f in all_functions if not f.name.endswith("@plt")}
    names = {f.name for f in all_functions}
    found: Counter[str] = Counter()
    for i in (i for f in functions for i in f.code if i.mnemonic.startswith("call")):
        if i.operands.startswith("*"):
            found["indirect"] += 1
        elif i.target not in own:
            named = TARGET.match(i.operands)
            name = (named[2] if named and named[2] else "unknown").removesuffix("@plt")
            found[name] += name not in names
    return {name: number for name, number in found.items() if number}


def describe(functions: Sequence[Function], addresses: Sequence[int], most: int = 6) -> dict[str, Any]:
    """Return a description of the functions that contain samples.

    Parameters
    ----------
    functions : sequence of Function
        All functions of the file.
    addresses : sequence of int
        Program counters, one for each sample; those outside of the functions are ignored.
    most : int, default=6
        Most loops that are described, busiest first.

    Returns
    -------
    dict
        The fields of `count` over all functions with a sample; at_work, the same over their basic blocks with a
        sample; in_products, the share of the samples in loops of which at least one instruction in `PRODUCT` is an FMA;
        calls_out, for functions with a share of at least `MATTERS`; origins, the source files; functions: name -> share
        of the samples; loops: the busiest innermost loops, each with share, function and the fields of `count` over
        their basic blocks with a sample, because a loop that serves many cases contains code that a task never
        executes.
    """
    seen: Counter[str] = Counter()
    loops: dict[tuple[int, int, int], list[int]] = {}
    used: dict[int, Function] = {}
    inside = [address for address in addresses if find(functions, address)]
    total = len(inside)
    for address in inside:
        function = find(functions, address)
        assert function is not None
        used[function.start] = function
        seen[function.name] += 1
        if loop := function.innermost(address):
            loops.setdefault((function.start, *loop), []).append(address)
    busiest = []
    for (start, first, last), hits in sorted(loops.items(), key=lambda item: -len(item[1])):
        body = [i for i in used[start].blocks(hits) if first <= i.address <= last]
        busiest.append({"share": len(hits) / total, "function": used[start].name, **count(body)})
    products = [loop["share"] for loop in busiest if PRODUCT * sum(loop["fma"].values()) >= loop["instructions"]]
    return {
        **count(i for f in used.values() for i in f.code),
        "at_work": count(i for f in used.values() for i in f.blocks(inside)),
        "in_products": sum(products),
        "calls_out": calls_out([f for f in used.values() if seen[f.name] >= MATTERS * total], functions),
        "origins": sorted({f.origin for f in used.values() if f.origin}),
        "functions": {name: hits / total for name, hits in seen.most_common()},
        "loops": busiest[:most],
    }
