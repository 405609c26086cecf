"""docs/backends.md: our three backends beside each other, with the machine code that was seen at work.

Times of a step are shown in proportion to c's: README.md has them in microseconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nanostep.benchmark.reasons import apart, explain, fma_words, product_loop, show, usable
from nanostep.benchmark.results import Results, Row, read
from pages import about, peers, table

COMMAND = "nanostep bench --backends --json {raw}"
BACKENDS = ("c", "numba", "numpy")
COMPARED = ("us/step", "us/call")


def build(raw: Path) -> dict[str, Any]:
    results = read(raw)
    if not results.backends:
        raise SystemExit(f"{raw} was written without --backends")
    return {**about(results.machine, peers(results.contenders)), "figures": make(results)}


def make(results: Results) -> dict[str, Any]:
    return {section.__name__: section(results) for section in SECTIONS}


def repeats(results: Results) -> str:
    return f"{results.settings['repeats']} repeats of {results.settings['seconds']} s"


def compared(results: Results) -> list[str]:
    return [name for name, task in results.tasks.items() if task["unit"] in COMPARED]


def steady(results: Results) -> dict[str, Any]:
    rows = []
    for name in compared(results):
        for cores in results.cores_of(name):
            c, numba, numpy = (results.find(name, backend, cores) for backend in BACKENDS)
            title = results.tasks[name]["title"].replace("_", " ")
            spreads = ", ".join(_spread(row) for row in (c, numba, numpy))
            rows.append([name, title, str(cores), _ratio(numba, c), _ratio(numpy, c), spreads])
    return table(["", "what", "cores", "numba / c", "numpy / c", "± % of c, numba, numpy"], rows, left=2)


def _ratio(a: Row | None, b: Row | None) -> str:
    return f"{a.median / b.median:.2f}" if a is not None and b is not None and a.timed and b.timed else "-"


def _spread(row: Row | None) -> str:
    """Return half the distance from the fastest repeat to the slowest, in per cent of the median."""
    known = row is not None and len(row.values) > 1 and math.isfinite(row.spread)
    return f"{50 * row.spread:.0f}" if row is not None and known else "-"


def start(results: Results) -> dict[str, Any]:
    rows = [["load the backend, after `import nanostep` (ms)", *(_load(results, name, "ms") for name in BACKENDS)]]
    c = _row(results, "T2", "c")
    rows += [
        [f"{name}: {results.tasks[name]['title'].replace('_', ' ')} (over T2 of c)",
         *(_ratio(_row(results, name, backend), c) for backend in BACKENDS)]
        for name in ("T2", "T2-cold") if name in results.tasks
    ]  # fmt: skip
    return table(["", *BACKENDS], rows)


def memory(results: Results) -> dict[str, Any]:
    rows = [["loading the backend (MiB)", *(_load(results, name, "MiB") for name in BACKENDS)]]
    rows += [
        [f"{name}: {task['title'].replace('_', ' ')} ({task['unit']})",
         *(_figure(_row(results, name, backend)) for backend in BACKENDS)]
        for name, task in results.tasks.items() if task["unit"] in ("KiB", "byte/network")
    ]  # fmt: skip
    return table(["", *BACKENDS], rows)


def _figure(row: Row | None) -> str:
    """Return the median, with the spread where there is more than one repeat."""
    if row is None or not row.timed:
        return "-"
    return show(row.median) + ("" if _spread(row) == "-" else f" ± {_spread(row)} %")


def _load(results: Results, backend: str, unit: str) -> str:
    values = results.backends["load"].get(backend)
    return f"{values[unit]:.1f}" if isinstance(values, dict) else "-"


def _row(results: Results, task: str, backend: str) -> Row | None:
    """Return the row on the smallest number of cores."""
    return results.find(task, backend, min(results.cores_of(task), default=1))


def _median(results: Results, task: str, backend: str) -> float:
    row = _row(results, task, backend)
    return row.median if row is not None else math.nan


def lines(results: Results) -> dict[str, Any]:
    rows = []
    for backend in BACKENDS:
        counted = results.backends["lines"][backend]
        if isinstance(counted, str):
            rows.append([backend, "-", counted])
        else:
            where = ", ".join(f"{directory} {count:,}" for directory, count in counted.items())
            rows.append([backend, f"{sum(counted.values()):,}", where])
    return table(["", "lines", "where"], rows, left=3)


def code(results: Results) -> dict[str, Any]:
    rows = []
    for task, entries in results.backends["code"].items():
        for backend in ("c", "numba"):
            found = entries.get(backend, {"unavailable": "not looked at"})
            cells = _code_cells(found) if usable(found) else [f"not available: {found['unavailable']}", *[""] * 8]
            rows.append([task, backend, *cells])
    head = ["", "", "in kernel", "in product loops", "product loop: FMA", "of instructions", "at work: instructions",
            "FMA", "other arithmetic", "divisions", "calls out"]  # fmt: skip
    return table(head, rows, left=2)


def _code_cells(found: dict[str, Any]) -> list[str]:
    loop, work, kernel = product_loop(found), found["at_work"], found["places"].get("kernel", 0.0)
    calls = ", ".join(f"{name} {count}" for name, count in found["calls_out"].items())
    if not found["functions"]:
        return [f"{100 * kernel:.0f} %", "-", *["-"] * 7]
    return [
        f"{100 * kernel:.0f} %",
        f"{100 * kernel * found['in_products']:.0f} %",
        fma_words(loop["fma"]) if loop else "none",
        str(loop["instructions"]) if loop else "-",
        f"{work['instructions']:,} of {found['instructions']:,}",
        fma_words(work["fma"]),
        fma_words(work["arithmetic"]),
        str(work["divisions"]),
        calls or "none",
    ]


def places(results: Results) -> dict[str, Any]:
    rows = []
    for task, entries in results.backends["code"].items():
        found = entries.get("numpy", {})
        if usable(found):
            rows.append([task, ", ".join(f"{name} {100 * share:.0f} %" for name, share in found["places"].items())])
    return table(["", "where numpy's time goes"], rows, left=2)


def why(results: Results) -> list[str]:
    said = [f"**{name}**: {explain(results, name, min(results.cores_of(name)))}" for name in compared(results)]
    return said + _start_lines(results)


def _start_lines(results: Results) -> list[str]:
    """Return how the tasks T2 and M1-run differ; nothing is sampled there, the figures are enough."""
    c, warm, cold = _median(results, "T2", "c"), _median(results, "T2", "numba"), _median(results, "T2-cold", "numba")
    said = []
    if math.isfinite(warm / c):
        text = f"**T2**: numba takes {show(warm / c)} times as long: c has nothing to load, numba reads code from disk"
        if math.isfinite(cold):
            text += f"; with nothing on disk it compiles for {show(cold - warm)} ms more"
        said.append(f"{text}.")
    c, numba = _median(results, "M1-run", "c"), _median(results, "M1-run", "numba")
    if math.isfinite(c) and math.isfinite(numba):
        mebibytes = _load(results, "numba", "MiB")
        said.append(
            f"**M1-run**: c {c:.0f} KiB, numba {numba:.0f} KiB for a run; what counts is Numba itself with its "
            f"compiler, {mebibytes} MiB once in a process (c: {_load(results, 'c', 'MiB')} MiB)."
        )
    return said


def advice(results: Results) -> list[str]:
    faster: dict[str, list[str]] = {"c": [], "numba": [], "": []}
    for name in compared(results):
        c, numba = (results.find(name, backend, min(results.cores_of(name))) for backend in ("c", "numba"))
        if c is not None and numba is not None and c.timed and numba.timed:
            winner = "" if not apart(c, numba) else "c" if c.median < numba.median else "numba"
            faster[winner].append(f"{name} ({numba.median / c.median:.2f})")
    said = {"c": "c is faster on", "numba": "numba is faster on", "": "no difference beyond the spread on"}
    result = [f"On one core {text} {', '.join(faster[key])}." for key, text in said.items() if faster[key]]
    gain, cold = _break_even(results)
    if cold:
        result.append(f"A first run that has to compile costs {show(cold)} ms more than in c; {gain}.")
    return [*result, "The numbers in brackets are numba / c."]


def _break_even(results: Results) -> tuple[str, float]:
    """Return how many steps pay for compiling where numba gains most, in words, and what compiling costs."""
    cold, warm = _median(results, "T2-cold", "numba"), _median(results, "T2", "c")
    gains = {}
    for name in compared(results):
        c, numba = (results.find(name, backend, min(results.cores_of(name))) for backend in ("c", "numba"))
        if c is not None and numba is not None and c.timed and numba.timed and apart(c, numba):
            gains[name] = c.median - numba.median
    best = max(gains, key=lambda name: gains[name], default="")
    if not (math.isfinite(cold) and math.isfinite(warm)):
        return "", 0.0
    if not best or gains[best] <= 0:
        return "no workload here pays that back", cold - warm
    steps = 1e3 * (cold - warm) / gains[best]
    return f"on {best}, where numba gains most time a step, that is paid back after {steps:,.0f} steps", cold - warm


SECTIONS: tuple[Callable[[Results], Any], ...] = (repeats, advice, steady, why, start, memory, lines, code, places)
"""Each makes the figure of its name."""
