"""Plots of the results with matplotlib: bars on a logarithmic scale for each task, and the curves of G1."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

from nanostep.benchmark.results import Results, Row

COLOURS = {
    "c": "#d55e00",
    "numba": "#e69f00",
    "numpy": "#f0c987",
    "jax": "#0072b2",
    "torch": "#009e73",
    "torch-compile": "#56b4e9",
    "sklearn": "#cc79a7",
    "numpy-by-hand": "#7f7f7f",
    "fann": "#8c6d31",
}
"""Warm colours for ours, cool ones for peers."""

COLUMNS = 3


def overview(results: Results, tasks: list[str] | None = None, cores: int | None = None) -> Any:
    """Return a figure with a panel for each task: every contender's median, and the floor as a line.

    Parameters
    ----------
    results : Results
    tasks : list of str, optional
        By default all that are timed in microseconds per step, without series.
    cores : int, optional
        By default the smallest number that was measured.
    """
    from matplotlib.figure import Figure

    names = tasks or [name for name, values in results.tasks.items() if values["unit"] == "us/step" and "=" not in name]
    panels = [(name, _timed(results, name, _cores(results, name, cores))) for name in names]
    panels = [(name, rows) for name, rows in panels if rows]
    height = max(1, math.ceil(len(panels) / COLUMNS))
    most = max((len(rows) for _, rows in panels), default=1)
    figure = Figure(figsize=(4 * COLUMNS, height * (0.7 + 0.24 * most)), layout="constrained")
    grid = figure.subplots(height, COLUMNS, squeeze=False)
    for axes, (name, rows) in zip(grid.flat, panels, strict=False):
        _bars(axes, results, name, rows)
    for axes in list(grid.flat)[len(panels) :]:
        axes.axis("off")
    figure.suptitle("Microseconds per training step on a logarithmic scale; dashed: the machine's floor", fontsize=11)
    return figure


def scaling(results: Results) -> Any | None:
    """Return a figure with a panel for each series of G1, or None if none was measured."""
    from matplotlib.figure import Figure

    series: dict[str, list[str]] = {}
    for name, values in results.tasks.items():
        if "=" in name and any(row.timed for row in results.rows if row.task == name):
            series.setdefault(values["series"], []).append(name)
    if not series:
        return None
    figure = Figure(figsize=(4.6 * len(series), 4.4), layout="constrained")
    panels = figure.subplots(1, len(series), squeeze=False)[0]
    for axes, (title, names) in zip(panels, series.items(), strict=True):
        _curves(axes, results, names)
        axes.set_title(title.removeprefix("G1/"), fontsize=10)
        axes.set_xlabel(title.removeprefix("G1/"))
        axes.set_ylabel(results.tasks[names[0]]["unit"])
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6, fontsize=8, frameon=False)
    return figure


def efficiency(results: Results) -> Any | None:
    """Return a figure of the flop rate over width and batch as a share of the measured peak, or None."""
    from matplotlib.figure import Figure

    from nanostep.benchmark.floors import flops_per_step
    from nanostep.benchmark.tasks import TASKS

    timed = {row.task for row in results.rows if row.timed}
    names = [name for name in TASKS if name in timed and name.startswith(("G1/width=", "G1/batch="))]
    if not names or "unavailable" in results.floors:
        return None
    figure = Figure(figsize=(9.2, 3.6), layout="constrained")
    for axes, axis in zip(figure.subplots(1, 2), ("width", "batch"), strict=True):
        for contender in results.contenders:
            for cores in map(int, results.floors):
                points = []
                for name in names:
                    row = results.find(name, contender, cores) if name.startswith(f"G1/{axis}=") else None
                    if row is not None and row.timed:
                        peak = results.floors[str(cores)]["flops"][TASKS[name].workload.dtype]
                        rate = flops_per_step(TASKS[name].workload) / (1e-6 * row.median)
                        points.append((_value(name), 100 * rate / peak))
                _line(axes, points, contender, cores, cores == min(map(int, results.floors)))
        axes.set_xscale("log", base=2)
        axes.set_ylim(0, 100)
        axes.set_xlabel(axis)
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("% of the peak of as many cores")
    figure.suptitle("Flop of the three products per second", fontsize=10)
    return figure


def save(figure: Any, path: Path) -> None:
    figure.savefig(path, dpi=130, facecolor="white")


def to_svg(figure: Any) -> str:
    """Return the figure as an <svg> element."""
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "nanostep"}):
        figure.savefig(buffer, format="svg", facecolor="white", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def _cores(results: Results, task: str, cores: int | None) -> int:
    measured = results.cores_of(task)
    return cores if cores in measured else measured[0]


def _timed(results: Results, task: str, cores: int) -> list[Row]:
    rows = [row for row in results.rows if (row.task, row.cores) == (task, cores) and row.timed]
    return sorted(rows, key=lambda row: row.median, reverse=True)


def _bars(axes: Any, results: Results, task: str, rows: list[Row]) -> None:
    values = [row.median for row in rows]
    floor = next((row.floor for row in rows if row.floor), None)
    lowest = min([*values, floor or min(values)])
    axes.barh(
        range(len(rows)),
        values,
        color=[COLOURS.get(row.contender, "#999999") for row in rows],
        xerr=[[row.median - min(row.values) for row in rows], [max(row.values) - row.median for row in rows]],
        error_kw={"elinewidth": 0.8, "ecolor": "#333333"},
    )
    axes.set_xscale("log")
    axes.set_xlim(lowest / 1.6, max(max(row.values) for row in rows) * 6)
    for place, row in enumerate(rows):
        axes.text(max(row.values) * 1.12, place, _show(row.median), va="center", fontsize=8)
    if floor:
        axes.axvline(floor, color="black", linestyle="--", linewidth=0.8)
    axes.set_yticks(range(len(rows)), [row.contender for row in rows], fontsize=8)
    for label, row in zip(axes.get_yticklabels(), rows, strict=True):
        label.set_fontweight("bold" if results.contenders[row.contender]["ours"] else "normal")
    axes.tick_params(axis="x", which="both", labelsize=7)
    axes.xaxis.set_minor_formatter("")
    axes.spines[["top", "right"]].set_visible(False)
    title = results.tasks[task]["title"].split(";")
    cores = rows[0].cores
    axes.set_title(
        f"{task}: {title[0].split(',')[0]},{title[1] if len(title) > 1 else ''}{f', {cores} cores' * (cores > 1)}",
        fontsize=9, loc="left",
    )  # fmt: skip


def _curves(axes: Any, results: Results, names: list[str]) -> None:
    least = min(min(results.cores_of(name)) for name in names)
    for contender in results.contenders:
        for cores in sorted({c for name in names for c in results.cores_of(name)}):
            found = [(name, results.find(name, contender, cores)) for name in names]
            points = [(_value(name), row.median) for name, row in found if row is not None and row.timed]
            _line(axes, points, contender, cores, cores == least)
    floors = [
        (_value(row.task), row.floor) for row in results.rows if row.task in names and row.floor and row.cores == least
    ]
    if floors:
        axes.plot(*zip(*sorted(set(floors)), strict=True), color="black", linewidth=0.8, linestyle=":", label="floor")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.grid(alpha=0.3)


def _line(axes: Any, points: list[tuple[float, float]], contender: str, cores: int, solid: bool) -> None:
    if points:
        axes.plot(
            *zip(*sorted(points), strict=True),
            color=COLOURS.get(contender, "#999999"),
            linestyle="-" if solid else "--",
            marker="o" if solid else None,
            markersize=3,
            linewidth=1.4,
            label=f"{contender}, {cores} core{'s' * (cores > 1)}",
        )


def _value(task: str) -> float:
    return float(task.partition("=")[2])


def _show(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
