"""docs/fit.md: ``fit`` beside scikit-learn's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nanostep.benchmark.fit import read, rows
from pages import about, table

COMMAND = "nanostep bench fit --json {raw}"
HEAD = ["data", "fit", "ours (ms)", "scikit-learn (ms)", "scikit-learn / ours", "score", "epochs"]


def build(raw: Path) -> dict[str, Any]:
    machine, measured = read(raw)
    return {**about(machine), "figures": {"table": table(HEAD, rows(measured), left=2)}}
