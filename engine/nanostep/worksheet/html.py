"""The worksheet as HTML: one element with its own style, without scripts or outside resources."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

import numpy as np

from nanostep.worksheet.notation import HtmlNotation
from nanostep.worksheet.numbers import align, cells, format_number
from nanostep.worksheet.outline import CheckBlock, Quantity, conclusion, header, outline
from nanostep.worksheet.values import StepValues

# every rule is limited to the element's own class; colours are those of the page, light or dark
STYLE = """<style>
.nanostep-worksheet { font-family: serif; line-height: 1.4; overflow-x: auto; }
.nanostep-worksheet h4 { margin: 1.2em 0 0.4em; }
.nanostep-worksheet table { border-collapse: collapse; margin: 0; border: none; font-size: 1em; }
.nanostep-worksheet tr { background: none !important; }
.nanostep-worksheet td, .nanostep-worksheet th {
  padding: 0.2em 0.5em; border: none; text-align: left; vertical-align: middle; }
.nanostep-worksheet .value { display: inline-table; vertical-align: middle; font-variant-numeric: tabular-nums; }
.nanostep-worksheet .value td { text-align: right; padding: 0.05em 0.4em; }
.nanostep-worksheet .bracketed {
  border-collapse: separate; border-spacing: 0; border-left: 1.5px solid; border-right: 1.5px solid;
  border-radius: 0.7em; }
.nanostep-worksheet .checks th { border-bottom: 1px solid; }
.nanostep-worksheet .failed { font-weight: bold; color: #c00; }
</style>"""


def render(sheet: StepValues, digits: int, *, document: bool) -> str:
    """Return `sheet` as one ``<div>``, or as a complete page; vectors are columns."""
    parts = ['<div class="nanostep-worksheet">', STYLE, "<p>" + "<br>".join(map(escape, header(sheet))) + "</p>"]
    for section in outline(sheet, HtmlNotation()):
        parts.append(f"<h4>{escape(section.title)}</h4>")
        if section.quantities:
            parts += ["<table>", *(_quantity(quantity, digits) for quantity in section.quantities), "</table>"]
        if section.checks:
            parts += ['<table class="checks">', "<tr><th>entry</th><th>gradient</th><th>difference</th><th></th></tr>"]
            for block in section.checks:
                parts += _check_block(block, digits)
            parts.append("</table>")
    before, after = number(format_number(sheet.loss, digits)), number(format_number(sheet.loss_new, digits))
    parts += [f"<p>{conclusion(sheet)} from {before} to {after}.</p>", "</div>"]
    body = "\n".join(parts) + "\n"
    if not document:
        return body
    head = (
        f'<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{sheet.architecture}</title></head>\n'
    )
    return f"{head}<body>\n{body}</body>\n</html>\n"


def number(text: str) -> str:
    """Return a formatted number with a raised exponent and a true minus sign."""
    mantissa, exponent, power = text.partition("e")
    raised = f"&times;10<sup>{int(power)}</sup>" if exponent else ""
    return (mantissa + raised).replace("-", "&minus;").replace(" ", "&numsp;")


def _quantity(quantity: Quantity, digits: int) -> str:
    formula = f"= {quantity.formula}" if quantity.formula else ""
    value = _value(quantity.value, digits)
    return f"<tr><td>{quantity.symbol}</td><td>{formula}</td><td>=</td><td>{value}</td></tr>"


def _value(value: np.ndarray, digits: int) -> str:
    grid = cells(value[:, None] if value.ndim == 1 else value, digits)
    columns = [_column(list(column)) for column in zip(*grid, strict=True)]
    rows = ("".join(row) for row in zip(*columns, strict=True))
    kind = "value bracketed" if value.ndim else "value"
    return f'<table class="{kind}">' + "".join(f"<tr>{row}</tr>" for row in rows) + "</table>"


def _column(column: list[str | None]) -> list[str]:
    """Return the cells of one column, with aligned decimal points unless a number has an exponent."""
    texts = [cell for cell in column if cell is not None]
    if not any("e" in text for text in texts):
        texts = align(texts)
    numbers = iter(texts)
    return [f"<td>{'&hellip;' if cell is None else number(next(numbers))}</td>" for cell in column]


def _check_block(block: CheckBlock, digits: int) -> Iterator[str]:
    for row in block.rows:
        if row is None:
            yield '<tr><td colspan="4">&hellip;</td></tr>'
            continue
        gradient, difference = (number(format_number(value, digits)) for value in (row.gradient, row.difference))
        verdict = "<td>ok</td>" if row.ok else '<td class="failed">failed</td>'
        yield f"<tr><td>{row.entry}</td><td>{gradient}</td><td>{difference}</td>{verdict}</tr>"
    if None in block.rows or block.failed:
        yield f'<tr><td colspan="4">({escape(block.summary)})</td></tr>'
