"""Put the figures of ``nanostep bench --backends --json FILE`` into docs/backends.md.

    python tools/backends_page.py FILE

What stands outside of the marks is written by hand and holds no figures.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nanostep.benchmark.reasons import apart, explain, fma_words, product_loop, show, usable
from nanostep.benchmark.results import Results, Row, read

PAGE = Path(__file__).resolve().parent.parent / "docs" / "backends.md"
BACKENDS = ("c", "numba", "numpy")
COMPARED = ("us/step", "us/call")
MARKS = re.compile(r"(<!-- (\w+): begin -->\n).*?(<!-- \2: end -->)", re.DOTALL)


def table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Return a table in Markdown; all columns but the first `left` are aligned to the right."""
    rule = ["---" if i < left else "---:" for i in range(len(head))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))


def figure(row: Row | None) -> str:
    """Return the median, with the spread where there is more than one repeat."""
    if row is None or not row.timed:
        return "-"
    spread = f" ± {50 * row.spread:.0f} %" if len(row.values) > 1 and math.isfinite(row.spread) else ""
    return show(row.median) + spread


def compared(results: Results) -> list[str]:
    return [name for name, task in results.tasks.items() if task["unit"] in COMPARED]


def machine(results: Results) -> str:
    library, settings = results.machine["c_library"], results.settings
    versions = dict(results.machine["versions"])
    for values in results.contenders.values():
        versions.update(values.get("versions", {}))
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    return (
        f"{results.machine['cpu']}, {library.get('isa', '')}; {library.get('compiler', '')}; {listed}. "
        f"{settings['repeats']} repeats of {settings['seconds']} s."
    )


def steady(results: Results) -> str:
    rows = []
    for name in compared(results):
        for cores in results.cores_of(name):
            found = {backend: results.find(name, backend, cores) for backend in BACKENDS}
            c, numba, numpy = (found[backend] for backend in BACKENDS)
            title = results.tasks[name]["title"].replace("_", " ")
            rows.append(
                [name, title, str(cores), figure(c), figure(numba), figure(numpy), _ratio(numba, c), _ratio(numpy, c)]
            )
    head = ["", "what", "cores", "c", "numba", "numpy", "numba / c", "numpy / c"]
    return table(head, rows, left=2)


def _ratio(a: Row | None, b: Row | None) -> str:
    return f"{a.median / b.median:.2f}" if a is not None and b is not None and a.timed and b.timed else "-"


def start(results: Results) -> str:
    rows = [["load the backend, after `import nanostep` (ms)", *(_load(results, name, "ms") for name in BACKENDS)]]
    return table(["", *BACKENDS], rows + _task_rows(results, ("ms",)))


def memory(results: Results) -> str:
    rows = [["loading the backend (MiB)", *(_load(results, name, "MiB") for name in BACKENDS)]]
    return table(["", *BACKENDS], rows + _task_rows(results, ("KiB", "byte/network")))


def _load(results: Results, backend: str, unit: str) -> str:
    values = results.backends["load"].get(backend)
    return f"{values[unit]:.1f}" if isinstance(values, dict) else "-"


def _task_rows(results: Results, units: Sequence[str]) -> list[list[str]]:
    return [
        [f"{name}: {task['title'].replace('_', ' ')} ({task['unit']})",
         *(figure(results.find(name, backend, min(results.cores_of(name)))) for backend in BACKENDS)]
        for name, task in results.tasks.items() if task["unit"] in units
    ]  # fmt: skip


def lines(results: Results) -> str:
    rows = []
    for backend in BACKENDS:
        counted = results.backends["lines"][backend]
        if isinstance(counted, str):
            rows.append([backend, "-", counted])
        else:
            where = ", ".join(f"{directory} {count:,}" for directory, count in counted.items())
            rows.append([backend, f"{sum(counted.values()):,}", where])
    return table(["", "lines", "where"], rows, left=3)


def code(results: Results) -> str:
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


def places(results: Results) -> str:
    rows = []
    for task, entries in results.backends["code"].items():
        found = entries.get("numpy", {})
        if usable(found):
            rows.append([task, ", ".join(f"{name} {100 * share:.0f} %" for name, share in found["places"].items())])
    return table(["", "where numpy's time goes"], rows, left=2)


def why(results: Results) -> str:
    said = [f"- **{name}**: {explain(results, name, min(results.cores_of(name)))}" for name in compared(results)]
    return "\n".join(said + _start_lines(results))


def _start_lines(results: Results) -> list[str]:
    """What the tasks T2 and M1-run differ by; nothing is sampled there, the figures are enough."""
    warm, cold = _median(results, "T2", "numba"), _median(results, "T2-cold", "numba")
    said = []
    if math.isfinite(warm):
        c = _median(results, "T2", "c")
        text = f"- **T2**: c {show(c)} ms, numba {show(warm)} ms: c has nothing to load, numba reads code from disk"
        if math.isfinite(cold):
            text += f"; with nothing on disk it compiles for {show(cold - warm)} ms more"
        said.append(f"{text}.")
    c, numba = _median(results, "M1-run", "c"), _median(results, "M1-run", "numba")
    if math.isfinite(c) and math.isfinite(numba):
        mebibytes = _load(results, "numba", "MiB")
        said.append(
            f"- **M1-run**: c {c:.0f} KiB, numba {numba:.0f} KiB for a run; what counts is Numba itself with its "
            f"compiler, {mebibytes} MiB once in a process (c: {_load(results, 'c', 'MiB')} MiB)."
        )
    return said


def _median(results: Results, task: str, backend: str) -> float:
    row = results.find(task, backend, min(results.cores_of(task), default=1))
    return row.median if row is not None else math.nan


def advice(results: Results) -> str:
    faster: dict[str, list[str]] = {"c": [], "numba": [], "": []}
    for name in compared(results):
        c, numba = (results.find(name, backend, min(results.cores_of(name))) for backend in ("c", "numba"))
        if c is not None and numba is not None and c.timed and numba.timed:
            winner = "" if not apart(c, numba) else "c" if c.median < numba.median else "numba"
            faster[winner].append(f"{name} ({numba.median / c.median:.2f})")
    said = {"c": "c is faster on", "numba": "numba is faster on", "": "no difference beyond the spread on"}
    result = [f"- On one core {text} {', '.join(faster[key])}." for key, text in said.items() if faster[key]]
    gain, cold = _break_even(results)
    if cold:
        result.append(f"- A first run that has to compile costs {show(cold)} ms; {gain}.")
    return "\n".join([*result, "- The numbers in brackets are numba / c."])


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


SECTIONS: dict[str, Callable[[Results], str]] = {
    make.__name__: make for make in (machine, advice, steady, why, start, memory, lines, code, places)
}


def fill(text: str, results: Results) -> str:
    """Return the page with new figures between its marks.

    Raises
    ------
    ValueError
        The marks are not those of the sections, each once.
    """
    names = [found[2] for found in MARKS.finditer(text)]
    if sorted(names) != sorted(SECTIONS):
        raise ValueError(f"the page has marks for {sorted(names)}; expected are {sorted(SECTIONS)}")
    return MARKS.sub(lambda found: f"{found[1]}{SECTIONS[found[2]](results)}\n{found[3]}", text)


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    results = read(Path(sys.argv[1]))
    if not results.backends:
        raise SystemExit(f"{sys.argv[1]} was written without --backends")
    PAGE.write_text(fill(PAGE.read_text(encoding="utf-8"), results), encoding="utf-8")


if __name__ == "__main__":
    main()
