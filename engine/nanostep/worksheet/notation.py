"""How symbols and formulas are written: in plain text, in LaTeX and in HTML."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape

from nanostep.worksheet.formulas import Formula

TOKEN = re.compile(r"\[([A-Za-z]\+?T?)\]")


class TextNotation:
    """``z1``, ``W2_new``; d stands for delta."""

    def symbol(self, letter: str, layer: int | None = None, *, new: bool = False, transposed: bool = False) -> str:
        """Return the symbol of a quantity: of layer `layer` (from 1) if given, and after the step if `new`."""
        return f"{letter}{'' if layer is None else layer}{'_new' if new else ''}{'^T' if transposed else ''}"

    def fill(self, formula: Formula, symbols: Mapping[str, str]) -> str:
        """Return `formula` with its symbols filled in."""
        return TOKEN.sub(lambda match: symbols[match[1]], formula.text)

    def entry(self, block: str, index: tuple[int, ...]) -> str:
        """Return the name of an entry of a block, with indices counted from 1."""
        return f"{block}[{','.join(str(i + 1) for i in index)}]"


class LatexNotation:
    r"""``z^{(1)}``, ``W^{(2)}_{\mathrm{new}}``, in mathematics mode."""

    def symbol(self, letter: str, layer: int | None = None, *, new: bool = False, transposed: bool = False) -> str:
        """See `TextNotation.symbol`."""
        upper = ("" if layer is None else f"({layer})") + (r"\mathsf{T}" if transposed else "")
        lower = r"_{\mathrm{new}}" if new else ""
        return (r"\delta" if letter == "d" else letter) + (f"^{{{upper}}}" if upper else "") + lower

    def fill(self, formula: Formula, symbols: Mapping[str, str]) -> str:
        """See `TextNotation.fill`."""
        return TOKEN.sub(lambda match: symbols[match[1]], formula.latex)

    def entry(self, block: str, index: tuple[int, ...]) -> str:
        """See `TextNotation.entry`."""
        return rf"\left[{block}\right]_{{{','.join(str(i + 1) for i in index)}}}"


class HtmlNotation:
    """``z<sup>(1)</sup>``, ``W<sup>(2)</sup><sub>new</sub>``."""

    def symbol(self, letter: str, layer: int | None = None, *, new: bool = False, transposed: bool = False) -> str:
        """See `TextNotation.symbol`."""
        upper = ("" if layer is None else f"({layer})") + ("T" if transposed else "")
        raised = f"<sup>{upper}</sup>" if upper else ""
        return f"<i>{'&delta;' if letter == 'd' else letter}</i>{raised}{'<sub>new</sub>' if new else ''}"

    def fill(self, formula: Formula, symbols: Mapping[str, str]) -> str:
        """See `TextNotation.fill`."""
        text = re.sub(r"\^(\w)", r"<sup>\1</sup>", escape(formula.text, quote=False))
        text = text.replace("dL/", "&part;<i>L</i>/").replace("d[", "&part;[")
        signs = {" * ": " &#8857; ", "sum ": "&sum; ", "-": "&minus;", "&lt;=": "&le;", "lr": "&eta;"}
        signs["f'"] = "<i>f</i>&prime;"
        for plain, sign in signs.items():
            text = text.replace(plain, sign)
        return TOKEN.sub(lambda match: symbols[match[1]], text)

    def entry(self, block: str, index: tuple[int, ...]) -> str:
        """See `TextNotation.entry`."""
        return f"[{block}]<sub>{','.join(str(i + 1) for i in index)}</sub>"


Notation = TextNotation | LatexNotation | HtmlNotation
