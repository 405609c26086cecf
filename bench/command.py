"""The command ``nanostep bench``: checks, measures with a progress bar, prints the table and writes the files."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from nanostep.benchmark import backends, compare
from nanostep.benchmark.measure import measure
from nanostep.benchmark.request import Request
from nanostep.benchmark.results import Results, read
from nanostep.benchmark.table import print_results
from nanostep.errors import NanostepError


def run(request: Request, json_path: Path | None, html_path: Path | None, plot_path: Path | None) -> Results:
    """Measure and print. Progress goes to standard error, the table to standard output.

    Raises
    ------
    OSError, NanostepError
        Before anything is run: a file cannot be written, or a plot was requested without matplotlib.
    NanostepError
        After everything is printed and written: one of our own backends disagrees with the reference.
    """
    check_outputs(json_path, html_path, plot_path)
    progress = Progress(
        TextColumn("{task.description:<34}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        console=Console(stderr=True),
    )  # fmt: skip
    with progress:
        bar = progress.add_task("starting", total=None)
        results = measure(
            request,
            on_progress=lambda what, done, total: progress.update(bar, description=what, completed=done, total=total),
        )
        if request.backends and results.complete:
            try:
                results.backends = backends.inspect(
                    request,
                    on_progress=lambda what, done, total: progress.update(
                        bar, description=what, completed=done, total=total
                    ),
                )
            except KeyboardInterrupt:
                results.complete = False
    console = Console()
    print_results(results, console if console.is_terminal else Console(width=150))
    write(results, json_path, html_path, plot_path)
    wrong = [row for row in results.rows if row.status == "disagrees" and results.contenders[row.contender]["ours"]]
    if wrong:
        reasons = "; ".join(f"{row.contender} on {row.task}: {row.reason}" for row in wrong)
        raise NanostepError(f"our own results differ from the reference: {reasons}")
    return results


def check_outputs(*paths: Path | None) -> None:
    """Raise an error before measuring if a file cannot be written or a plot cannot be made."""
    *_, plot_path = paths
    if plot_path is not None:
        if plot_path.suffix not in (".png", ".svg"):
            raise ValueError(f"--plot={plot_path}: accepted are names that end in .png or .svg")
        if importlib.util.find_spec("matplotlib") is None:
            raise NanostepError("--plot needs matplotlib: pip install 'nanostep[bench]'")
    for path in paths:
        if path is not None:
            new = not path.exists()
            path.open("a", encoding="utf-8").close()
            if new:
                path.unlink()


def write(results: Results, json_path: Path | None, html_path: Path | None, plot_path: Path | None) -> None:
    """Write the requested files; JSON first, because it depends on nothing else."""
    if json_path is not None:
        json_path.write_text(results.to_json(), encoding="utf-8")
    if plot_path is not None:
        from nanostep.benchmark.plots import overview, save

        save(overview(results), plot_path)
    if html_path is not None:
        from nanostep.benchmark.html import make_page

        html_path.write_text(make_page(results), encoding="utf-8")


def run_compare(before: Path, after: Path, contenders: Sequence[str] | None, fail_above: float | None) -> int:
    """Show what changed between two files; return 1 if `fail_above` is given and one of ours is that much slower."""
    old, new = read(before), read(after)
    found = [c for c in compare.changes(old, new) if not contenders or c.after.contender in contenders]
    gone = [row for row in compare.lost(old, new) if not contenders or row.contender in contenders]
    if not found and not gone:
        raise ValueError(f"{before} and {after} have no figures in common")
    console = Console()
    compare.print_changes(found, gone, old, new, console if console.is_terminal else Console(width=130))
    if fail_above is None:
        return 0
    slower = compare.regressions(found, fail_above)
    for c in slower:
        percent = 100 * (c.ratio - 1)
        console.print(
            f"[red]{c.after.contender} on {c.after.task} is {percent:.1f} % slower (p = {c.p:.3f})[/]", highlight=False
        )
    own = [row for row in gone if new.contenders[row.contender]["ours"]]
    return 1 if slower or own else 0
