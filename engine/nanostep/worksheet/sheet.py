"""`Worksheet`: one worked step as text, LaTeX, HTML or a dict."""

from __future__ import annotations

from dataclasses import dataclass

from nanostep._checks import check_bool
from nanostep.worksheet import html, latex, text
from nanostep.worksheet.values import StepValues, check_digits


@dataclass(frozen=True, repr=False)
class Worksheet(StepValues):
    """One SGD step of one sample, worked through; made by `nanostep.Network.worksheet`.

    ``print(sheet)`` shows it as text, a notebook as HTML. Renderings shorten long vectors and matrices with dots;
    the attributes and `to_dict` are always complete. See `nanostep.worksheet.StepValues` for them.
    """

    def to_text(self, digits: int | None = None) -> str:
        """Return the worksheet as aligned plain text.

        Parameters
        ----------
        digits : int, optional
            Significant digits, 1 to 17; defaults to the sheet's.
        """
        return text.render(self, self._digits(digits))

    def to_latex(self, digits: int | None = None, *, document: bool = False) -> str:
        """Return the worksheet as LaTeX, which needs amsmath.

        Parameters
        ----------
        digits : int, optional
        document : bool, default=False
            Return a complete document that compiles by itself, instead of a fragment to ``\\input``.
        """
        return latex.render(self, self._digits(digits), document=check_bool("document", document))

    def to_html(self, digits: int | None = None, *, document: bool = False) -> str:
        """Return the worksheet as HTML with its own style and no script or outside resource.

        Parameters
        ----------
        digits : int, optional
        document : bool, default=False
            Return a complete page, instead of one element to put into a page.
        """
        return html.render(self, self._digits(digits), document=check_bool("document", document))

    def _digits(self, digits: int | None) -> int:
        return self.digits if digits is None else check_digits(digits)

    def _repr_html_(self) -> str:
        return self.to_html()

    def __str__(self) -> str:
        return self.to_text()

    def __repr__(self) -> str:
        checks = "ok" if self.ok else "failed"
        loss = f"{self.loss:.{self.digits}g} -> {self.loss_new:.{self.digits}g}"
        return f"<Worksheet of {self.architecture}: loss {loss}, gradient checks {checks}>"
