"""README.md: the table of ``nanostep bench``, and the picture docs/bench.png, which needs matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nanostep.benchmark.plots import overview, save
from nanostep.benchmark.results import EXCUSES, Results, Row, read
from nanostep.benchmark.table import Line, epochs_lines, excuses, lines, show
from pages import about, peers, table

COMMAND = "nanostep bench --tasks W,data,K,T --json {raw}"
PICTURE = Path(__file__).resolve().parents[2] / "docs" / "bench.png"
GAPS = ("disagrees", "failed", "missing")
"""Missing figures that are worth a line here; the JSON and the HTML page list all."""

HEAD = ["", "what", "cores", "c", "numba", "fastest peer", "peer / ours", "of floor"]


def build(raw: Path) -> dict[str, Any]:
    results = read(raw)
    save(overview(results), PICTURE)
    return {**about(results.machine, peers(results.contenders)), "figures": make(results)}


def make(results: Results) -> dict[str, Any]:
    """Return a row for each task and number of cores, series left out: ours, the fastest peer, the ratio, the floor."""
    rows = []
    previous = ""
    for line in lines(results):
        if "=" in line.task or line.rows[0].unit in ("KiB", "byte/network") or line.ours is None:
            continue
        rows.append(_row(results, line, line.task != previous))
        previous = line.task
    gaps = [text for text in excuses(results) if any(f" {EXCUSES[status]} (" in text for status in GAPS)]
    return {"table": table(HEAD, rows, left=2), "notes": [f"{text}." for text in (*epochs_lines(results), *gaps)]}


def _row(results: Results, line: Line, first: bool) -> list[str]:
    by_name = {row.contender: row for row in line.rows}
    unit = line.rows[0].unit
    title = results.tasks[line.task]["title"].replace("_", " ") if first else ""
    return [
        line.task if first else "",
        f"{title} ({unit})" if first else "",
        str(line.cores),
        _figure(by_name.get("c")),
        _figure(by_name.get("numba")),
        f"{line.peer.contender} {show(line.peer.median)}" if line.peer else "-",
        f"{line.ratio:.2f}" if line.peer else "-",
        f"{100 * line.ours.of_floor:.0f} %" if line.ours and line.ours.floor else "-",
    ]


def _figure(row: Row | None) -> str:
    return show(row.median) if row is not None and row.timed else "-"
