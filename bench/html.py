"""The results as one self-contained HTML page: tables, plots as SVG, reasons, formulas, versions."""

from __future__ import annotations

import importlib.util
import math
from html import escape

from nanostep.benchmark.floors import EXP_LINKS, VECTOR_CYCLES
from nanostep.benchmark.results import EXCUSES, Results, Row
from nanostep.benchmark.table import epochs_lines, excuses, floors_line, lines, percent, show

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 78rem; padding: 0 1rem; color: #1a1a1a; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 0.86rem; }
th, td { padding: 0.25rem 0.6rem; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap; }
th { background: #f4f4f4; position: sticky; top: 0; } th:first-child, td:first-child, td.text { text-align: left; }
td.ours { background: #fdf1e7; } td.best { font-weight: 700; } td.excuse { color: #999; }
.win { color: #1a7f37; font-weight: 600; } .loss { color: #c0392b; font-weight: 600; }
.scroll { overflow-x: auto; } svg { max-width: 100%; height: auto; } .note { color: #555; font-size: 0.88rem; }
.warning { background: #fff3cd; padding: 0.5rem 0.8rem; } code { background: #f4f4f4; padding: 0 0.2rem; }
"""

FORMULAS = f"""
<p>Batches: flop of the three products (forward 2W, weight gradient 2W, input gradient 2 (W &minus; W of the first
layer), times the batch) over the measured peak, plus {VECTOR_CYCLES["float32"]:.0f} cycles for a vector of float32
tanh, sigmoid or exp ({VECTOR_CYCLES["float64"]:.0f} in float64), plus a barrier of the threads if there are several; or
reading the batch from memory, if the data do not fit into the largest cache and that takes longer.</p>
<p>Single samples: the chain of latencies from one update to the next. exp is {EXP_LINKS} dependent multiply-adds, tanh
and sigmoid one division more, softmax that and a sum over the outputs; sums are trees of multiply-adds; the first layer
costs one multiply-add, because the rest of it can be computed ahead.</p>
"""


def make_page(results: Results) -> str:
    """Return the page."""
    settings = results.settings
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>nanostep bench</title><style>{STYLE}</style>",
        "<h1>nanostep bench</h1>",
        f"<p>{escape(results.machine['cpu'])}, {escape(results.machine['time'])}. Median of {settings['repeats']} "
        f"interleaved repeats of {settings['seconds']} s or more; every contender on every number of cores in a pinned "
        "process of its own; losses and parameters checked against the reference before anything is timed and after "
        "every repeat.</p>",
    ]
    if not results.complete:
        parts.append("<p class=warning>The run was interrupted; this is what was measured until then.</p>")
    parts += ["<h2>Ours beside the fastest peer</h2>", _ratios(results)]
    parts += [f"<p>{escape(text)}.</p>" for text in epochs_lines(results)]
    parts += ["<h2>Every contender</h2>", _all_contenders(results), "<h2>Plots</h2>", _plots(results)]
    parts += ["<h2>What the tasks are</h2>", _tasks(results), "<h2>No figures, and why</h2>", _excuses(results)]
    parts += [
        "<h2>The machine's floors</h2>",
        f"<p>{escape(floors_line(results)).replace(chr(10), '<br>')}</p>",
        FORMULAS,
    ]
    parts += ["<h2>All repeats</h2>", _repeats(results), "<h2>Versions</h2>", _versions(results), "</html>"]
    return "\n".join(parts) + "\n"


def _table(header: list[str], rows: list[list[str]]) -> str:
    """Return a table; cells are <td> elements or plain HTML."""
    head = "".join(f"<th>{escape(title)}" for title in header)
    body = "\n".join("<tr>" + "".join(c if c.startswith("<td") else f"<td>{c}" for c in cells) for cells in rows)
    return f"<div class=scroll><table><tr>{head}\n{body}</table></div>"


def _ratios(results: Results) -> str:
    rows = []
    for line in lines(results):
        if line.ours is None and line.peer is None:
            continue
        ratio = (
            "-"
            if math.isnan(line.ratio)
            else f"<span class={'win' if line.ratio >= 1 else 'loss'}>{line.ratio:.2f}</span>"
        )
        rows.append(
            [
                line.task,
                str(line.cores),
                line.rows[0].unit,
                *((show(line.ours.median), line.ours.contender) if line.ours else ("-", "")),
                *((show(line.peer.median), line.peer.contender) if line.peer else ("-", "")),
                ratio,
                show(line.ours.floor) if line.ours and line.ours.floor else "-",
                percent(line.ours.of_floor) if line.ours else "-",
                percent(line.ours.spread) if line.ours else "-",
            ]
        )
    header = ["task", "cores", "unit", "ours", "", "best peer", "", "peer / ours", "floor", "% of floor", "spread"]
    return _table(header, rows)


def _all_contenders(results: Results) -> str:
    rows = []
    for line in lines(results):
        by_name = {row.contender: row for row in line.rows}
        timed = [row.median for row in line.rows if row.timed]
        cells = [_cell(results, by_name.get(name), min(timed, default=math.nan)) for name in results.contenders]
        rows.append([line.task, str(line.cores), line.rows[0].unit, *cells])
    return _table(["task", "cores", "unit", *results.contenders], rows)


def _cell(results: Results, row: Row | None, best: float) -> str:
    if row is None:
        return "<td>"
    if not row.timed:
        return f'<td class=excuse title="{escape(row.reason)}">{escape(row.status)}'
    classes = "ours " * results.contenders[row.contender]["ours"] + "best" * (row.median == best)
    return f'<td class="{classes}" title="spread {percent(row.spread)}; {escape(row.agreement)}">{show(row.median)}'


def _plots(results: Results) -> str:
    if importlib.util.find_spec("matplotlib") is None:
        return "<p class=note>No plots: matplotlib is not installed (pip install 'nanostep[bench]').</p>"
    from nanostep.benchmark import plots

    figures = [plots.overview(results)]
    widest = max(int(n) for n in results.settings["cores"])
    if widest > 1:
        figures.append(plots.overview(results, cores=widest))
    figures += [plots.scaling(results), plots.efficiency(results)]
    return "\n".join(plots.to_svg(figure) for figure in figures if figure is not None)


def _tasks(results: Results) -> str:
    return _table(
        ["task", "what", "steps per epoch", "rows"],
        [
            [
                escape(name),
                f"<td class=text>{escape(values['title'])}",
                f"{values['steps_per_epoch']:,}",
                f"{values['workload']['rows']:,}",
            ]
            for name, values in results.tasks.items()
        ],
    )


def _excuses(results: Results) -> str:
    items = "".join(f"<li>{escape(text)}" for text in excuses(results))
    meanings = "; ".join(f"<b>{name}</b>: {meaning}" for name, meaning in EXCUSES.items())
    return f"<p class=note>{meanings}.</p><ul>{items}</ul>" if items else "<p>All contenders ran all tasks.</p>"


def _repeats(results: Results) -> str:
    rows = [
        [
            row.task,
            row.contender,
            str(row.cores),
            row.unit,
            f"<td class=text>{', '.join(show(v) for v in row.values)}",
            percent(row.spread),
            f"<td class=text>{escape(', '.join(f'{k} {v}' for k, v in row.about.items()))}",
        ]
        for row in results.rows
        if row.timed
    ]
    table = _table(["task", "contender", "cores", "unit", "repeats", "spread", "what ran"], rows)
    return f"<details><summary>{len(rows)} rows</summary>{table}</details>"


def _versions(results: Results) -> str:
    versions = dict(results.machine["versions"])
    for values in results.contenders.values():
        versions.update(values.get("versions", {}))
    library = results.machine["c_library"]
    built = ", ".join(f"{k} {v}" for k, v in library.items())
    text = ", ".join(f"{name} {version}" for name, version in versions.items())
    return f"<p>{escape(text)}.</p><p>C library: {escape(built)}. {escape(results.machine['system'])}.</p>"
