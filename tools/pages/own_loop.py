"""docs/own-loop.md: what the calls of a loop of one's own cost, ours and those of the peers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nanostep.benchmark.results import Results, Row, read
from nanostep.benchmark.table import Line, lines, show
from pages import about, peers, table

COMMAND = "nanostep bench --tasks K --json {raw}"

CALLS = {
    "K3": "`step`, Adam, 32 rows",
    "K4": "`step`, `lr=`, 32 rows",
    "K5": "`gradient`, 32 rows",
    "K5-vjp": "`vjp`, pull-back with dX, 32 rows",
    "K6": "`predict`, 8 rows",
    "K6-32": "`predict`, 32 rows",
    "K8": "a learning step of DQN, 64 rows",
}
"""What the tasks with batches are called on the page."""

PEERS = {"numpy-by-hand": "NumPy by hand", "jax": "JAX, jit", "torch": "PyTorch"}
HEAD = ["call", "network", "in `train`", "c", "numba", *PEERS.values(), "fastest peer / c"]


def build(raw: Path) -> dict[str, Any]:
    results = read(raw)
    return {**about(results.machine, peers(results.contenders)), "figures": {"calls": make(results)}}


def make(results: Results) -> dict[str, Any]:
    """Return a row for each kind of call and network, in microseconds."""
    rows, previous = [], ""
    for line in lines(results):
        kind, _, network = line.task.partition("/")
        if kind in CALLS:
            rows.append(_row(line, "" if kind == previous else CALLS[kind], network))
            previous = kind
    return table(HEAD, rows, left=2)


def _row(line: Line, call: str, network: str) -> list[str]:
    by_name = {row.contender: row for row in line.rows}
    ours = by_name.get("c")
    kernel = ours.about.get("train_us") if ours is not None and ours.timed else None
    ratio = f"{line.peer.median / ours.median:.1f}" if line.peer and ours is not None and ours.timed else "-"
    times = [_figure(by_name.get(name)) for name in ("c", "numba", *PEERS)]
    return [call, network, "-" if kernel is None else show(kernel), *times, ratio]


def _figure(row: Row | None) -> str:
    return show(row.median) if row is not None and row.timed else "-"
