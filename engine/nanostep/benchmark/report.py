"""``nanostep bench``: runs the benchmark with a progress bar, prints the table, writes JSON."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from nanostep.benchmark.machine import cpu_model, describe
from nanostep.benchmark.measure import REPEATS, Row, check_request, rows
from nanostep.benchmark.workloads import Workload
from nanostep.errors import NanostepError


def run_command(tasks: list[str] | None, backends: list[str] | None, seconds: float, json_path: Path | None) -> None:
    """Check and time backends on workloads and print the table; progress goes to standard error.

    Parameters
    ----------
    tasks, backends : list of str, optional
        None means all workloads, and all backends that are available.
    seconds : float
        Aim for the length of one repeat; there are five.
    json_path : Path, optional
        Also write machine, versions and every figure to this file.

    Raises
    ------
    TypeError, ValueError, BackendUnavailable, OSError
        Before anything is run: a bad argument, or a file that cannot be written.
    NanostepError
        After the table is printed: a backend disagrees with the reference.
    """
    workloads, names = check_request(tasks, backends, seconds)
    if json_path is not None:
        # a path that cannot be written fails now, not after minutes of measuring
        json_path.open("a", encoding="utf-8").close()
    progress = Progress(
        TextColumn("{task.description:<20}"), BarColumn(), TimeElapsedColumn(), console=Console(stderr=True)
    )
    with progress:
        bar = progress.add_task("", total=len(workloads) * len(names) * (REPEATS + 1))
        results = rows(
            tasks, backends, seconds=seconds, on_progress=lambda what: progress.update(bar, description=what, advance=1)
        )
    console = Console()
    console.print(table(results))
    console.print(legend(workloads), highlight=False)
    console.print(f"{cpu_model()}; median of {REPEATS} interleaved repeats, one process", highlight=False)
    if json_path is not None:
        json_path.write_text(json.dumps(to_dict(results), indent=2) + "\n", encoding="utf-8")
    disagreeing = [row for row in results if not row.agreement.ok]
    if disagreeing:
        reasons = "; ".join(f"{row.backend} on {row.workload.name}: {row.agreement}" for row in disagreeing)
        raise NanostepError(f"not timed, because the results differ from the reference: {reasons}")


def to_dict(results: Sequence[Row]) -> dict[str, Any]:
    """Return the machine and all rows, as JSON can hold them."""
    return {"machine": describe(), "rows": [row.to_dict() for row in results]}


def table(results: Sequence[Row]) -> Table:
    """Return the rows as a rich table, one section per workload."""
    grid = Table()
    for title in ("task", "backend"):
        grid.add_column(title, no_wrap=True)
    for title in ("us/step", "spread", "steps/s", "samples/s"):
        grid.add_column(title, justify="right", no_wrap=True)
    for _, group in itertools.groupby(results, key=lambda row: row.workload):
        members = list(group)
        for row in members:
            backend = f"{row.backend} ({row.isa})" if row.isa else row.backend
            figures = (
                (f"{row.us_per_step:.4g}", f"{row.spread:.0%}", f"{row.steps_per_s:,.0f}", f"{row.samples_per_s:,.0f}")
                if row.seconds
                else ("disagrees",)
            )
            task = row.workload.name if row is members[0] else ""
            grid.add_row(task, backend, *figures, end_section=row is members[-1])
    return grid


def legend(workloads: Sequence[Workload]) -> str:
    """Return one line per workload that says what it is."""
    return "\n".join(
        f"{workload.name}  {workload.network}; batch {workload.batch}; {workload.dtype}, {workload.optimizer}"
        for workload in workloads
    )
