"""docs/populations.md: populations beside JAX, and what a second core brings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nanostep.benchmark.results import Results, read
from nanostep.benchmark.table import show
from pages import about, peers, table

COMMAND = "nanostep bench --tasks P --contenders c,numba,jax --json {raw}"
HEAD = ["", "what", "steps of a call", "C", "Numba", "JAX", "JAX / C", "C, of floor", "spread of C"]


def build(raw: Path) -> dict[str, Any]:
    results = read(raw)
    return {**about(results.machine, peers(results.contenders)), "figures": make(results)}


def make(results: Results) -> dict[str, Any]:
    """Return the table of one core, and by how much all cores are faster in C."""
    rows, gains = [], []
    for name, task in results.tasks.items():
        workload = task["workload"]
        c, numba, jax = (results.find(name, contender, 1) for contender in ("c", "numba", "jax"))
        if c is None or not c.timed:
            continue
        rows.append([
            name,
            task["title"].replace("_", " "),
            f"{workload['rows'] // workload['batch']:,}",
            show(c.median),
            show(numba.median) if numba is not None and numba.timed else "-",
            show(jax.median) if jax is not None and jax.timed else "-",
            f"{jax.median / c.median:.2g}" if jax is not None and jax.timed else "-",
            f"{100 * c.of_floor:.0f} %" if c.floor else "-",
            f"{100 * c.spread:.0f} %",
        ])  # fmt: skip
        cores = max(results.cores_of(name))
        more = results.find(name, "c", cores)
        if cores > 1 and more is not None and more.timed:
            gains.append(c.median / more.median)
    figures: dict[str, Any] = {"table": table(HEAD, rows, left=2)}
    if gains:
        figures["second_thread"] = f"{min(gains):.2f} to {max(gains):.2f} times"
    return figures
