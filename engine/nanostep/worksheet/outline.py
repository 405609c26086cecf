"""The contents of a worksheet in order: sections of quantities with their formulas, and the table of checks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from nanostep.backends.reference.losses import JOINED
from nanostep.worksheet import formulas
from nanostep.worksheet.differences import Check
from nanostep.worksheet.notation import Notation
from nanostep.worksheet.values import StepValues

Array = np.ndarray

CHECK_HEAD, CHECK_TAIL, CHECK_FAILURES = 6, 2, 10
"""Rows shown in the table of checks: the first and the last of each block, and some failed ones between them."""


@dataclass(frozen=True)
class Quantity:
    """One line: ``symbol = formula = value``; the formula is empty where the value is given."""

    symbol: str
    formula: str
    value: Array


@dataclass(frozen=True)
class CheckRow:
    """One gradient entry beside its central difference."""

    entry: str
    gradient: float
    difference: float
    ok: bool


@dataclass(frozen=True)
class CheckBlock:
    """The checks of one W or b, shortened with None for rows left out, and their counts."""

    rows: tuple[CheckRow | None, ...]
    entries: int
    taken: int
    failed: int

    @property
    def summary(self) -> str:
        """The verdict on all entries, including those not shown."""
        scope = f"all {self.entries}" if self.taken == self.entries else f"{self.taken} of {self.entries}"
        verdict = "all ok" if self.failed == 0 else f"{self.failed} FAILED"
        return f"{scope} entries checked, {verdict}"


@dataclass(frozen=True)
class Section:
    """A titled group of lines or, for the table of checks, of blocks."""

    title: str
    quantities: tuple[Quantity, ...] = ()
    checks: tuple[CheckBlock, ...] = ()


def header(sheet: StepValues) -> tuple[str, ...]:
    """Return the lines above the sections, as plain text."""
    activations = ", ".join(sheet.architecture.activations)
    return (
        f"Network {sheet.architecture}, activations {activations}, loss {sheet.architecture.criterion}",
        f"One SGD step with learning rate {sheet.lr:.6g}, biases {sheet.biases}; "
        f"{sheet.dtype} on backend {sheet.backend}",
    )


def conclusion(sheet: StepValues) -> str:
    """Return the verdict on the loss, without the numbers."""
    if sheet.loss_new < sheet.loss:
        return "The loss falls"
    return "The loss rises" if sheet.loss_new > sheet.loss else "The loss goes"


def outline(sheet: StepValues, notation: Notation) -> list[Section]:
    """Return all sections, with symbols and formulas in `notation`."""
    writer = _Writer(sheet, notation)
    return [
        Section("Given", tuple(writer.given())),
        Section("Forward pass", tuple(writer.forward(new=False))),
        Section("Deltas, from the output back, all with the old weights", tuple(writer.deltas())),
        Section("Gradients", tuple(writer.gradients())),
        Section("Gradients against central differences of the loss", checks=tuple(writer.checks())),
        Section("Update", tuple(writer.update())),
        Section("Forward pass with the new parameters", tuple(writer.forward(new=True))),
    ]


class _Writer:
    """Writes the lines of one sheet in one notation."""

    def __init__(self, sheet: StepValues, notation: Notation) -> None:
        self.sheet = sheet
        self.notation = notation

    def symbols(self, l: int, *, new: bool = False) -> dict[str, str]:
        """Return the symbols in formulas of layer l (from 0)."""
        symbol = self.notation.symbol
        letters = {letter: symbol(letter, l + 1, new=new) for letter in "zaWbd"}
        entering: tuple[str, int | None] = ("a", l) if l > 0 else ("x", None)
        return {
            **letters,
            "aT": symbol("a", l + 1, transposed=True),
            "x": symbol(*entering, new=new and l > 0),
            "xT": symbol(*entering, transposed=True),
            "W+T": symbol("W", l + 2, transposed=True),
            "d+": symbol("d", l + 2),
            "y": symbol("y"),
            "n": str(self.sheet.architecture.outputs),
        }

    def line(
        self, l: int, left: formulas.Formula, right: formulas.Formula | None, value: Array, *, new: bool = False
    ) -> Quantity:
        """Return the line ``left = right = value`` for layer l."""
        symbols = self.symbols(l, new=new)
        fill = self.notation.fill
        return Quantity(fill(left, symbols), "" if right is None else fill(right, symbols), value)

    def given(self) -> Iterator[Quantity]:
        sheet, symbol = self.sheet, self.notation.symbol
        yield Quantity(symbol("x"), "", sheet.x)
        yield Quantity(symbol("y"), "", sheet.y)
        for l, layer in enumerate(sheet.layers):
            yield Quantity(symbol("W", l + 1), "", layer.w)
            yield Quantity(symbol("b", l + 1), "", layer.b)
        yield Quantity(self.notation.fill(formulas.RATE, {}), "", np.array(sheet.lr))

    def forward(self, *, new: bool) -> Iterator[Quantity]:
        sheet = self.sheet
        for l, layer in enumerate(sheet.layers):
            z, a = (layer.z_new, layer.a_new) if new else (layer.z, layer.a)
            yield self.line(l, formulas.same("[z]"), formulas.PRE_ACTIVATION, z, new=new)
            yield self.line(l, formulas.same("[a]"), formulas.ACTIVATIONS[layer.activation], a, new=new)
        loss = sheet.loss_new if new else sheet.loss
        right = self.notation.fill(
            formulas.loss(sheet.architecture.criterion), self.symbols(len(sheet.layers) - 1, new=new)
        )
        yield Quantity(self.notation.symbol("L", new=new), right, np.array(loss))

    def deltas(self) -> Iterator[Quantity]:
        loss, last = self.sheet.architecture.loss, len(self.sheet.layers) - 1
        for l in range(last, -1, -1):
            layer = self.sheet.layers[l]
            is_softmax = layer.activation == "softmax"
            incoming = formulas.loss_derivative(self.sheet.architecture.criterion) if l == last else formulas.PROPAGATED
            slope = formulas.JACOBIAN if is_softmax else formulas.SLOPE
            if l == last and (loss, layer.activation) in JOINED:
                delta = formulas.JOINED_DELTAS[loss]
            else:
                delta = formulas.JACOBIAN_DELTA if is_softmax else formulas.DELTA
            yield self.line(l, formulas.BY_ACTIVATION, incoming, layer.da)
            yield self.line(l, slope, formulas.DERIVATIVES[layer.activation], layer.df)
            yield self.line(l, formulas.same("[d]"), delta, layer.d)

    def gradients(self) -> Iterator[Quantity]:
        for l, layer in enumerate(self.sheet.layers):
            yield self.line(l, formulas.BY_WEIGHTS, formulas.WEIGHT_GRADIENT, layer.dw)
            yield self.line(l, formulas.BY_BIASES, formulas.BIAS_GRADIENT, layer.db)

    def checks(self) -> Iterator[CheckBlock]:
        for l, layer in enumerate(self.sheet.layers):
            symbols = self.symbols(l)
            for left, grad, check in (
                (formulas.BY_WEIGHTS, layer.dw, layer.dw_check),
                (formulas.BY_BIASES, layer.db, layer.db_check),
            ):
                yield self.check_block(self.notation.fill(left, symbols), grad, check)

    def check_block(self, name: str, grad: Array, check: Check) -> CheckBlock:
        places = np.flatnonzero(check.taken)
        failed = places[~check.ok.ravel()[places]]
        shown = places
        if len(places) > CHECK_HEAD + CHECK_TAIL:
            shown = np.union1d(np.r_[places[:CHECK_HEAD], places[-CHECK_TAIL:]], failed[:CHECK_FAILURES])
        rows: list[CheckRow | None] = []
        for k, place in enumerate(shown):
            if k > 0 and np.searchsorted(places, place) != np.searchsorted(places, shown[k - 1]) + 1:
                rows.append(None)
            index = tuple(int(i) for i in np.unravel_index(place, grad.shape))
            entry = self.notation.entry(name, index)
            rows.append(CheckRow(entry, float(grad[index]), float(check.difference[index]), bool(check.ok[index])))
        return CheckBlock(tuple(rows), grad.size, len(places), len(failed))

    def update(self) -> Iterator[Quantity]:
        symbol = self.notation.symbol
        frozen = self.sheet.biases == "frozen"
        for l, layer in enumerate(self.sheet.layers):
            for letter, formula, value in (
                ("W", formulas.WEIGHT_UPDATE, layer.w_new),
                ("b", formulas.FROZEN if frozen else formulas.BIAS_UPDATE, layer.b_new),
            ):
                right = self.notation.fill(formula, self.symbols(l))
                yield Quantity(symbol(letter, l + 1, new=True), right, value)
