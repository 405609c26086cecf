"""docs/scaling.md: local SGD on one and on two worker processes."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from nanostep.benchmark.local_sgd import Curve, Times, convergence_lines, time_lines
from pages import about, table

COMMAND = "nanostep bench local-sgd --json {raw}"
STEPS = 200_000 // 32
"""Of a pass, with a batch of 32."""


def build(raw: Path) -> dict[str, Any]:
    values = json.loads(raw.read_text(encoding="utf-8"))
    times, curves = [Times(**each) for each in values["times"]], [Curve(**each) for each in values["curves"]]
    return {
        **about(values["machine"], {name: version(name) for name in ("dask", "distributed")}),
        "figures": make(times, curves),
    }


def make(times: list[Times], curves: list[Curve]) -> dict[str, Any]:
    """Return both tables, and what the page concludes from them."""
    passes = {
        key: min(
            (curve.passes or 0 for curve in curves if (curve.shards, curve.epochs) == key and curve.passes), default=0
        )
        for key in dict.fromkeys((curve.shards, curve.epochs) for curve in curves)
    }
    rated = {curve.shards: curve.loss[-1] for curve in curves if (curve.epochs, curve.lr) == (1, 0.2)}
    one_pass = next(each for each in times if each.epochs == 1)
    alone, one, two = (statistics.median(seconds) for seconds in (one_pass.alone, one_pass.one, one_pass.two))

    def ratio(a: tuple[int, int], b: tuple[int, int]) -> str:
        return f"{passes[a] / passes[b]:.1f}" if passes[a] and passes[b] else "-"

    return {
        "convergence": _table(convergence_lines(curves)),
        "two_shards": f"{ratio((2, 1), (1, 1))} times",
        "four_shards": f"{ratio((4, 1), (1, 1))} times",
        "loss_at_rate": ", ".join(f"{rated[shards]:.3f}" for shards in (1, 2, 4)),
        "fourth_pass": f"{ratio((2, 4), (2, 1))} times",
        "rounds": _table(time_lines(times)),
        "round_alone": f"{1e3 * (one - alone):.0f} ms",
        "round_steps": f"{STEPS * (one - alone) / alone:,.0f}",
        "goal_alone": f"{passes[1, 1] * alone:.1f} s",
        "goal_two": f"{passes[2, 1] * two:.1f} s",
    }


def _table(lines: Iterable[str]) -> dict[str, Any]:
    head, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return table(head, rows, left=0)
