"""The worksheet as aligned plain text."""

from __future__ import annotations

from collections.abc import Iterator

from nanostep.worksheet.notation import TextNotation
from nanostep.worksheet.numbers import align, cells, format_number
from nanostep.worksheet.outline import CheckBlock, Quantity, conclusion, header, outline
from nanostep.worksheet.values import StepValues

INDENT = "  "


def render(sheet: StepValues, digits: int) -> str:
    """Return `sheet` as text; vectors are rows."""
    lines = list(header(sheet))
    for number, section in enumerate(outline(sheet, TextNotation()), start=1):
        lines += ["", f"{number}. {section.title}"]
        lines += _quantities(section.quantities, digits)
        lines += _checks(section.checks, digits)
    before, after = format_number(sheet.loss, digits), format_number(sheet.loss_new, digits)
    lines += ["", f"{conclusion(sheet)} from {before} to {after}."]
    return "\n".join(line.rstrip() for line in lines)


def _quantities(quantities: tuple[Quantity, ...], digits: int) -> Iterator[str]:
    """Yield one line per row, numbers aligned over the whole section."""
    lefts = [f"{q.symbol} = {q.formula}" if q.formula else q.symbol for q in quantities]
    width = max(map(len, lefts), default=0)
    grids = [cells(q.value, digits) for q in quantities]
    flat = [cell for grid in grids for row in grid for cell in row if cell is not None]
    aligned = iter(align(flat))
    blank = len(next(iter(align(flat)), ""))
    for quantity, left, grid in zip(quantities, lefts, grids, strict=True):
        for i, row in enumerate(grid):
            padded = ["...".center(blank) if cell is None else next(aligned) for cell in row]
            numbers = INDENT.join(padded)
            opening, closing = ("[ ", " ]") if quantity.value.ndim else ("  ", "")
            start = f"{left:<{width}}  =  " if i == 0 else " " * (width + 5)
            yield f"{INDENT}{start}{opening}{numbers}{closing}"


def _checks(blocks: tuple[CheckBlock, ...], digits: int) -> Iterator[str]:
    """Yield the table of all blocks in common columns."""
    shown = [row for block in blocks for row in block.rows if row is not None]
    if not shown:
        return
    gradients = align([format_number(row.gradient, digits) for row in shown])
    differences = align([format_number(row.difference, digits) for row in shown])
    entry = max(len(row.entry) for row in shown)
    first, second = max(len("gradient"), len(gradients[0])), max(len("difference"), len(differences[0]))
    yield f"{INDENT}{'entry':<{entry}}  {'gradient':<{first}}  {'difference':<{second}}"
    numbers = iter(zip(gradients, differences, strict=True))
    for block in blocks:
        for row in block.rows:
            if row is None:
                yield f"{INDENT}..."
                continue
            gradient, difference = next(numbers)
            verdict = "ok" if row.ok else "FAILED"
            yield f"{INDENT}{row.entry:<{entry}}  {gradient:<{first}}  {difference:<{second}}  {verdict}"
        if None in block.rows or block.failed:
            yield f"{INDENT}({block.summary})"
