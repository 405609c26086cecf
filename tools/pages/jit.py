"""docs/jit.md: what a call costs in jitted code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pages import here, table

COMMAND = "python -m nanostep.benchmark.jit_calls > {raw}"
HEAD = ["network", "`step`, compiled in", "`step`, C", "`forward`, compiled in", "`forward`, C"]


def build(raw: Path) -> dict[str, Any]:
    measured = json.loads(raw.read_text(encoding="utf-8"))
    rows = [[name, *(f"{nanoseconds:.0f}" for nanoseconds in row)] for name, row in measured.items()]
    return {**here(), "figures": {"calls": table(HEAD, rows)}}
