"""Put the figures of ``nanostep bench --json FILE`` into the README: the table, and docs/bench.png.

    python tools/readme_table.py FILE

The picture needs matplotlib (``pip install -e ".[bench]"``).
"""

from __future__ import annotations

import sys
from pathlib import Path

from nanostep.benchmark.plots import overview, save
from nanostep.benchmark.results import EXCUSES, Results, Row, read
from nanostep.benchmark.table import Line, epochs_lines, excuses, lines, show

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
PICTURE = ROOT / "docs" / "bench.png"
GAPS = ("disagrees", "failed", "missing")
"""Missing figures that are worth a line here; the JSON and the HTML page list all."""

BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"


def make_table(results: Results) -> str:
    """Return a row for each task and number of cores, series left out: ours, the fastest peer, the ratio, the floor."""
    rows = [
        "| | what | cores | c | numba | fastest peer | peer / ours | of floor |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    previous = ""
    for line in lines(results):
        if "=" in line.task or line.rows[0].unit in ("KiB", "byte/network") or line.ours is None:
            continue
        rows.append(_row(results, line, line.task != previous))
        previous = line.task
    machine, library = results.machine, results.machine["c_library"]
    versions = dict(machine["versions"])
    for values in results.contenders.values():
        versions.update(values.get("versions", {}))
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    note = f"{machine['cpu']}, {library.get('isa', '')}; {library.get('compiler', '')}; {listed}."
    gaps = [text for text in excuses(results) if any(f" {EXCUSES[status]} (" in text for status in GAPS)]
    return "\n".join([*rows, "", *(f"- {text}." for text in (*epochs_lines(results), *gaps)), "", note])


def _row(results: Results, line: Line, first: bool) -> str:
    by_name = {row.contender: row for row in line.rows}
    unit = line.rows[0].unit
    title = results.tasks[line.task]["title"].replace("_", " ") if first else ""
    cells = [
        line.task if first else "",
        f"{title} ({unit})" if first else "",
        str(line.cores),
        _figure(by_name.get("c")),
        _figure(by_name.get("numba")),
        f"{line.peer.contender} {show(line.peer.median)}" if line.peer else "-",
        f"{line.ratio:.2f}" if line.peer else "-",
        f"{100 * line.ours.of_floor:.0f} %" if line.ours and line.ours.floor else "-",
    ]
    return f"| {' | '.join(cells)} |"


def _figure(row: Row | None) -> str:
    return show(row.median) if row is not None and row.timed else "-"


def replace(text: str, table: str) -> str:
    """Return the README's text with another table between the marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    results = read(Path(sys.argv[1]))
    README.write_text(replace(README.read_text(encoding="utf-8"), make_table(results)), encoding="utf-8")
    save(overview(results), PICTURE)


if __name__ == "__main__":
    main()
