"""Put the figures of ``nanostep bench --json FILE`` into the README's table.

python tools/readme_table.py FILE
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

README = Path(__file__).resolve().parent.parent / "README.md"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"


def describe(workload: dict[str, Any]) -> str:
    sizes = "-".join(map(str, workload["sizes"]))
    return f"{sizes} {workload['activation']}, batch {workload['batch']}, {workload['dtype']}, {workload['optimizer']}"


def show(value: float) -> str:
    """Return three significant digits."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def make_table(figures: dict[str, Any]) -> str:
    """Return the table: a row for each workload, microseconds per step for each backend."""
    rows: dict[str, dict[str, Any]] = {}
    for row in figures["rows"]:
        rows.setdefault(row["workload"]["name"], {})[row["backend"]] = row
    backends = list(next(iter(rows.values())))
    lines = [
        "| | network | " + " | ".join(f"{b}, us/step" for b in backends) + f" | {backends[0]}, samples/s |",
        "|---|---|" + "---:|" * (len(backends) + 1),
    ]
    for name, by_backend in rows.items():
        first = by_backend[backends[0]]
        figures_shown = " | ".join(show(by_backend[b]["us_per_step"]) for b in backends)
        lines.append(f"| {name} | {describe(first['workload'])} | {figures_shown} | {first['samples_per_s']:,.0f} |")
    machine = figures["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    isa = machine["c_library"]["isa"]
    compiler = machine["c_library"]["compiler"]
    return "\n".join([*lines, "", f"{machine['cpu']}, one thread, {isa}; {compiler}; {versions}."])


def main() -> None:
    figures = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    text = README.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    README.write_text(f"{before}{BEGIN}\n{make_table(figures)}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
