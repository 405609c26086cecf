"""The results as a table: ours beside the fastest peer, their ratio, and the floor over our time."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from nanostep.benchmark.results import EXCUSES, Results, Row


@dataclass(frozen=True)
class Line:
    """A task on some cores: our fastest, the fastest peer, and all rows."""

    task: str
    cores: int
    ours: Row | None
    peer: Row | None
    rows: list[Row]

    @property
    def ratio(self) -> float:
        """The fastest peer's time over ours: above 1 we are faster; NaN if either is missing."""
        return self.peer.median / self.ours.median if self.ours and self.peer and self.ours.median > 0 else math.nan


def lines(results: Results) -> list[Line]:
    """Return a line for each task and number of cores, in the order of the tasks."""
    return [
        Line(
            task,
            cores,
            results.best(task, cores, ours=True),
            results.best(task, cores, ours=False),
            [row for row in results.rows if (row.task, row.cores) == (task, cores)],
        )
        for task in results.tasks
        for cores in results.cores_of(task)
    ]


def show(value: float) -> str:
    """Return three significant digits."""
    if math.isnan(value):
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.0%}"


def make_table(results: Results) -> Table:
    """Return the table of the terminal, with columns for our backends and for the fastest peer."""
    ours = [name for name, values in results.contenders.items() if values["ours"]]
    grid = Table()
    grid.add_column("task", no_wrap=True)
    grid.add_column("cores", justify="right", no_wrap=True)
    grid.add_column("unit", no_wrap=True)
    for name in ours:
        grid.add_column(name, justify="right", no_wrap=True)
    grid.add_column("best peer", justify="right", no_wrap=True)
    grid.add_column("", no_wrap=True)
    for title in ("peer/ours", "of floor", "spread"):
        grid.add_column(title, justify="right", no_wrap=True)
    previous = ""
    for line in lines(results):
        by_name = {row.contender: row for row in line.rows}
        best = line.ours
        grid.add_row(
            line.task if line.task != previous else "",
            str(line.cores),
            by_name[next(iter(by_name))].unit,
            *(_figure(by_name.get(name)) for name in ours),
            _figure(line.peer) if line.peer else "-",
            line.peer.contender if line.peer else "",
            f"{line.ratio:.2f}" if not math.isnan(line.ratio) else "-",
            percent(best.of_floor) if best else "-",
            percent(best.spread) if best else "-",
        )
        previous = line.task
    return grid


def _figure(row: Row | None) -> str:
    if row is None or row.status == "cannot":
        return "-"
    return show(row.median) if row.timed else row.status


def all_figures(results: Results) -> Table:
    """Return every contender's figure: a row for each task and number of cores, a column for each contender."""
    grid = Table(title="all contenders")
    grid.add_column("task", no_wrap=True)
    grid.add_column("cores", justify="right", no_wrap=True)
    for name in results.contenders:
        grid.add_column(name, justify="right")
    for line in lines(results):
        by_name = {row.contender: row for row in line.rows}
        grid.add_row(line.task, str(line.cores), *(_figure(by_name.get(name)) for name in results.contenders))
    return grid


def excuses(results: Results) -> list[str]:
    """Return a line for each contender and reason of missing figures, with the tasks."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for row in results.rows:
        if not row.timed:
            tasks = found.setdefault((row.contender, row.status, row.reason), [])
            name = results.tasks[row.task]["series"]
            if name not in tasks:
                tasks.append(name)
    return [
        f"{contender} {EXCUSES[status]} ({', '.join(tasks)}): {reason}"
        for (contender, status, reason), tasks in found.items()
    ]


def epochs_lines(results: Results) -> list[str]:
    """Return a line of epochs per second for each data set and number of cores, the fastest first."""
    texts = []
    for line in lines(results):
        values = results.tasks[line.task]
        if values["workload"].get("data") not in ("digits", "images") or values["unit"] != "us/step":
            continue
        timed = sorted((row for row in line.rows if row.timed), key=lambda row: row.median)
        rates = [f"{row.contender} {show(1e6 / (row.median * values['steps_per_epoch']))}" for row in timed]
        if rates:
            rows = f"{values['workload']['rows']:,} rows"
            texts.append(
                f"{line.task} ({rows}), epochs/s on {line.cores} core{'s' * (line.cores > 1)}: {', '.join(rates)}"
            )
    return texts


def floors_line(results: Results) -> str:
    """Return the machine's floors in one line for each number of cores."""
    if "unavailable" in results.floors:
        return f"no floors: {results.floors['unavailable']}"
    texts = []
    for cores, f in results.floors.items():
        cycle = f["cycle"]
        texts.append(
            f"{cores} core{'s' * (cores != '1')}: {f['flops']['float32'] / 1e9:.0f} GF/s float32, "
            f"{f['flops']['float64'] / 1e9:.0f} float64 in vectors of {f['vector_bytes']} bytes; "
            f"{1e-9 / cycle:.2f} GHz, multiply-add {f['fma'] / cycle:.1f} and divide {f['divide'] / cycle:.1f} cycles; "
            f"memory {f['bandwidth'] / 1e9:.0f} GB/s"
            + (
                f"; empty job on the pool {1e6 * f['fork_join']:.2f} us, barrier {1e6 * f['barrier']:.2f} us"
                * (cores != "1")
            )
        )
    return "\n".join(texts)


def print_results(results: Results, console: Console) -> None:
    """Print the table, descriptions of the tasks, reasons of missing figures, and the machine."""
    console.print(make_table(results))
    for text in epochs_lines(results):
        console.print(escape(text), highlight=False)
    shown = set()
    for values in results.tasks.values():
        if values["series"] not in shown:
            shown.add(values["series"])
            console.print(f"[bold]{values['series']}[/]  {escape(values['title'])}", highlight=False)
    for text in excuses(results):
        console.print(f"[dim]{escape(text)}[/]", highlight=False)
    console.print(escape(floors_line(results)), highlight=False)
    settings = results.settings
    console.print(
        f"{results.machine['cpu']}; median of {settings['repeats']} interleaved repeats of {settings['seconds']} s "
        "or more, every contender in a pinned process of its own",
        highlight=False,
    )
    if not results.complete:
        console.print("[bold red]interrupted: the table holds what was measured until then[/]")
