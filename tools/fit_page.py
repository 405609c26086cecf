"""Put the figures of ``nanostep bench fit --json FILE`` into docs/fit.md.

    python tools/fit_page.py FILE

What stands outside of the marks is written by hand and holds no figures.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from nanostep.benchmark.fit import Figures, read, rows

PAGE = Path(__file__).resolve().parent.parent / "docs" / "fit.md"
MARKS = re.compile(r"(<!-- (\w+): begin -->\n).*?(<!-- \2: end -->)", re.DOTALL)
HEAD = ["data", "fit", "ours (ms)", "scikit-learn (ms)", "scikit-learn / ours", "score", "epochs"]


def machine_line(machine: dict[str, Any]) -> str:
    library = machine["c_library"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return f"{machine['cpu']}, {len(machine['usable_cpus'])} cores, {library.get('isa', '')}; {versions}."


def table(measured: list[Figures]) -> str:
    rule = ["---", "---", *["---:"] * (len(HEAD) - 2)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (HEAD, rule, *rows(measured)))


def main() -> None:
    machine, measured = read(Path(sys.argv[1]))
    parts = {"machine": machine_line(machine), "table": table(measured)}
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(MARKS.sub(lambda m: f"{m[1]}{parts[m[2]]}\n{m[3]}", page), encoding="utf-8")


if __name__ == "__main__":
    main()
