"""Why c and numba differ on a task, according to the samples: the parts of a step's time, and the code of each part."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from nanostep.benchmark.machine_code import PRODUCT
from nanostep.benchmark.results import Results, Row

PARTS = {
    "products": "the loops of the matrix products",
    "other": "the rest of the kernel",
    "outside": "code outside of the kernel",
}
LOOPS_MATTER = 0.25
"""Least share of the samples in product loops for which these are described."""


@dataclass(frozen=True)
class Part:
    """Time of one part of a step in the task's unit, and its standard error."""

    time: float
    error: float


def fma_words(kinds: dict[str, int]) -> str:
    """Return numbers of instructions by width, such as "16 zmm"; "none" if there are none."""
    return ", ".join(f"{number} {name}" for name, number in kinds.items() if number) or "none"


def show(value: float) -> str:
    """Return a time with three significant digits."""
    if not math.isfinite(value) or value == 0:
        return "-" if value else "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{digits}f}"


def usable(code: dict[str, Any]) -> bool:
    """Return True if there are samples of the machine code."""
    return "places" in code


def cut(time: float, code: dict[str, Any]) -> dict[str, Part]:
    """Return the parts of a step that takes `time`, by the shares of the samples."""
    kernel = code["places"].get("kernel", 0.0)
    products = kernel * code.get("in_products", 0.0)
    shares = {"products": products, "other": kernel - products, "outside": 1 - kernel}
    return {
        name: Part(time * share, time * math.sqrt(max(share * (1 - share), 0.0) / code["samples"]))
        for name, share in shares.items()
    }


def apart(a: Row, b: Row) -> bool:
    """Return True if the repeats of the two rows do not overlap."""
    return max(a.values) < min(b.values) or max(b.values) < min(a.values)


def verdict(c: Row, numba: Row) -> str:
    """Return in words which of the two is faster."""
    if not apart(c, numba):
        return "no difference beyond the spread"
    ratio = numba.median / c.median
    return f"c is {ratio:.3g} times as fast" if ratio > 1 else f"numba is {1 / ratio:.3g} times as fast"


def explain(results: Results, task: str, cores: int) -> str:
    """Return one line about a task: which is faster, in which part the difference arises, and the code of that part."""
    c, numba = results.find(task, "c", cores), results.find(task, "numba", cores)
    if c is None or numba is None or not (c.timed and numba.timed):
        return "not timed on both"
    codes = results.backends["code"].get(task, {})
    if not all(usable(codes.get(name, {})) for name in ("c", "numba")):
        reason = next(
            (code["unavailable"] for code in codes.values() if "unavailable" in code), "no code was looked at"
        )
        return f"{verdict(c, numba)}. Machine code not available: {reason}"
    ours, theirs = cut(c.median, codes["c"]), cut(numba.median, codes["numba"])
    differences = {name: theirs[name].time - ours[name].time for name in PARTS}
    errors = {name: math.hypot(ours[name].error, theirs[name].error) for name in PARTS}
    if not products_matter(codes):
        # the sums of a single sample are interleaved with everything else
        differences["other"] += differences.pop("products")
    largest = max(differences, key=lambda name: abs(differences[name]))
    error = errors[largest]
    digits = max(0, -math.floor(math.log10(error))) if error else 2
    listed = ", ".join(f"{name} {value:+.{digits}f}" for name, value in differences.items())
    sentence = f"{verdict(c, numba)}. numba minus c in {c.unit}: {listed} (sampling error {error:.{digits}f})"
    if not apart(c, numba):
        largest = "products" if "products" in differences else "other"
    elif abs(differences[largest]) > 2 * error:
        sentence += f"; most arises in {PARTS[largest]}"
    return f"{sentence}. {_evidence(largest, codes['c'], codes['numba'])}"


def products_matter(codes: dict[str, Any]) -> bool:
    """Return True if both have at least `LOOPS_MATTER` of their samples in product loops."""
    return min(codes["c"]["in_products"], codes["numba"]["in_products"]) >= LOOPS_MATTER


def _evidence(part: str, c: dict[str, Any], numba: dict[str, Any]) -> str:
    """Return figures of the code in which the largest difference arises."""
    if part == "outside":
        return f"Outside are: {_outside(c)} (c); {_outside(numba)} (numba)."
    if part == "products":
        return f"Busiest product loop: {_loop(c)} (c); {_loop(numba)} (numba)."
    return f"Seen at work: {_work(c)} (c); {_work(numba)} (numba)."


def _outside(code: dict[str, Any]) -> str:
    places = [(name, share) for name, share in code["places"].items() if name != "kernel"][:3]
    return ", ".join(f"{name} {100 * share:.0f} %" for name, share in places) or "nothing"


def product_loop(code: dict[str, Any]) -> dict[str, Any] | None:
    """Return the busiest loop that counts as a product; None if there is none among the busiest loops."""
    loops = [loop for loop in code.get("loops", ()) if PRODUCT * sum(loop["fma"].values()) >= loop["instructions"]]
    return max(loops, key=lambda loop: loop["share"], default=None)


def _loop(code: dict[str, Any]) -> str:
    loop = product_loop(code)
    if loop is None:
        return "none"
    return f"{fma_words(loop['fma'])} FMA in {loop['instructions']} instructions, {loop['memory']} of them with memory"


def _work(code: dict[str, Any]) -> str:
    work = code["at_work"]
    return (
        f"{work['instructions']} instructions, FMA {fma_words(work['fma'])}, other arithmetic "
        f"{fma_words(work['arithmetic'])}, {work['divisions']} divisions, {work['memory']} with memory, "
        f"{work['calls']} calls"
    )
