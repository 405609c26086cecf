"""``nanostep bench``: the benchmark as a table."""

from __future__ import annotations

from pathlib import Path

import click

from nanostep.benchmark import run_command
from nanostep.cli._options import NEW_FILE, NameList


@click.command("bench")
@click.option("--tasks", type=NameList(), help="Workloads, such as W1,W4.  [default: all]")
@click.option("--backends", type=NameList(), help="Backends, such as c,numba.  [default: all that are available]")
@click.option("--seconds", type=float, default=0.3, show_default=True, help="Length of one of five repeats.")
@click.option("--json", "path", type=NEW_FILE, metavar="FILE", help="Also write all figures to FILE.")
def command(tasks: list[str] | None, backends: list[str] | None, seconds: float, path: Path | None) -> None:
    """Time the backends on the standard workloads, after checking that they agree."""
    run_command(tasks, backends, seconds, path)
