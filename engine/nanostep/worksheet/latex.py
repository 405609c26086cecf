"""The worksheet as LaTeX; a fragment needs amsmath."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from nanostep.worksheet.notation import LatexNotation
from nanostep.worksheet.numbers import cells, format_number
from nanostep.worksheet.outline import CheckBlock, Quantity, conclusion, header, outline
from nanostep.worksheet.values import StepValues

PREAMBLE = r"""\documentclass{article}
\usepackage{amsmath}
\usepackage[margin=2cm]{geometry}
\allowdisplaybreaks
\begin{document}
"""


def render(sheet: StepValues, digits: int, *, document: bool) -> str:
    """Return `sheet` as a fragment, or as a complete document; vectors are columns."""
    lines = [rf"\noindent {_escape(line)}\\" for line in header(sheet)[:-1]]
    lines.append(_escape(header(sheet)[-1]))
    for section in outline(sheet, LatexNotation()):
        lines.append(rf"\subsection*{{{_escape(section.title)}}}")
        if section.quantities:
            rows = [_quantity(quantity, digits) for quantity in section.quantities]
            lines += [r"\begin{align*}", " \\\\\n".join(rows), r"\end{align*}"]
        for block in section.checks:
            lines += _check_block(block, digits)
    before, after = number(sheet.loss, digits), number(sheet.loss_new, digits)
    lines += ["", rf"\noindent {conclusion(sheet)} from ${before}$ to ${after}$."]
    body = "\n".join(lines) + "\n"
    return PREAMBLE + body + "\\end{document}\n" if document else body


def number(value: float, digits: int) -> str:
    r"""Return a number for mathematics mode, with ``\times 10^{n}`` for an exponent."""
    return _mathematical(format_number(value, digits))


def _mathematical(text: str) -> str:
    mantissa, exponent, power = text.partition("e")
    if exponent:
        return rf"{mantissa} \times 10^{{{int(power)}}}"
    return {"nan": r"\mathrm{nan}", "inf": r"\infty", "-inf": r"-\infty"}.get(text, text)


def _quantity(quantity: Quantity, digits: int) -> str:
    """Return one row of align*: symbol, formula, value."""
    formula = f"= {quantity.formula} " if quantity.formula else ""
    return f"{quantity.symbol} &{formula}= {_value(quantity.value, digits)}"


def _value(value: np.ndarray, digits: int) -> str:
    grid = cells(value[:, None] if value.ndim == 1 else value, digits)
    if value.ndim == 0:
        return _mathematical(grid[0][0] or "")
    # a row or a column of dots has no numbers
    dotted_rows = [all(cell is None for cell in row) for row in grid]
    rows = []
    for row, dotted in zip(grid, dotted_rows, strict=True):
        shown = []
        for j, cell in enumerate(row):
            column_dotted = all(other[j] is None for other in grid)
            dots = r"\ddots" if dotted and column_dotted else r"\vdots" if dotted else r"\cdots"
            shown.append(dots if cell is None else _mathematical(cell))
        rows.append(" & ".join(shown))
    return r"\begin{bmatrix} " + r" \\ ".join(rows) + r" \end{bmatrix}"


def _check_block(block: CheckBlock, digits: int) -> Iterator[str]:
    """Yield the table of one block; tables are kept short, since tabular does not break across pages."""
    yield r"\begin{center}"
    yield r"\renewcommand{\arraystretch}{1.3}"
    yield r"\begin{tabular}{llll}"
    yield r"entry & gradient & difference & \\ \hline"
    for row in block.rows:
        if row is None:
            yield r"\dots & & & \\"
            continue
        verdict = "ok" if row.ok else r"\textbf{failed}"
        gradient, difference = number(row.gradient, digits), number(row.difference, digits)
        yield rf"${row.entry}$ & ${gradient}$ & ${difference}$ & {verdict} \\"
    yield r"\end{tabular}"
    if None in block.rows or block.failed:
        yield rf"\\ ({_escape(block.summary)})"
    yield r"\end{center}"


def _escape(text: str) -> str:
    return text.replace("_", r"\_")
