"""Tables in CSV files, and the encoding of their columns as numbers for a network.

Numeric feature columns are standardised with the mean and standard deviation of the rows they were fitted to; text
columns become one 0/1 input for each value. A numeric target is standardised too (regression); a text target, or one of
few distinct integers, becomes class labels (classification). Missing values are refused, not imputed.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from nanostep._checks import check_choice
from nanostep.errors import FileFormatError

TASKS = ("auto", "regression", "classification")
MOST_CLASSES = 20
"""Most distinct integers in a target that is taken for class numbers."""

MISSING = frozenset({"na", "n/a", "none", "null", "?", "-", "."})
"""Marks of missing numbers in common files, in lower case, besides nan. In a text column they are values."""


@dataclass(frozen=True)
class Table:
    """A CSV file as text: columns by name, in order, all of the same length."""

    name: str
    columns: dict[str, list[str]]

    @property
    def rows(self) -> int:
        return len(next(iter(self.columns.values())))

    def column(self, name: str) -> list[str]:
        """Return a column, or raise ValueError with the names of the columns."""
        if name not in self.columns:
            raise ValueError(f"{self.name} has no column {name!r}; it has: {', '.join(self.columns)}")
        return self.columns[name]

    def numbers(self, name: str) -> np.ndarray:
        """Return a column as float64, or raise ValueError with the row that holds no finite number."""
        return _numbers(self.name, name, self.column(name))

    def take(self, rows: Iterable[int]) -> Table:
        """Return a table of the given rows."""
        chosen = list(rows)
        return Table(self.name, {name: [values[r] for r in chosen] for name, values in self.columns.items()})


def read_table(path: Path) -> Table:
    """Read a CSV file with a header.

    Raises
    ------
    FileNotFoundError
    FileFormatError
        No header or rows, a name that is missing or occurs twice, a row that is too short or too long, an empty cell.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = [row for row in csv.reader(file, strict=True) if row]
    except (csv.Error, UnicodeDecodeError) as error:
        raise FileFormatError(f"{path} is not a CSV file: {error}") from None
    if len(lines) < 2:
        raise FileFormatError(f"{path} needs a header and at least one row; it has {len(lines)} lines")
    header = [name.strip() for name in lines[0]]
    for name in header:
        if not name or header.count(name) > 1:
            problem = f"names column {name!r} twice" if name else "has a column without a name"
            raise FileFormatError(f"{path}: the header {problem}")
    for number, row in enumerate(lines[1:], 1):
        if len(row) != len(header):
            raise FileFormatError(f"{path}: row {number} has {len(row)} cells; the header has {len(header)}")
        for name, cell in zip(header, row, strict=True):
            if not cell.strip():
                raise FileFormatError(f"{path}: row {number} has no value in column {name!r}; fill or drop it first")
    columns = {name: [row[i].strip() for row in lines[1:]] for i, name in enumerate(header)}
    return Table(str(path), columns)


@dataclass(frozen=True)
class Feature:
    """Encoding of one column as inputs: by `levels` for a text column, otherwise by mean and standard deviation."""

    name: str
    mean: float = 0.0
    deviation: float = 1.0
    levels: tuple[str, ...] = ()

    @property
    def inputs(self) -> int:
        return len(self.levels) or 1


@dataclass(frozen=True)
class Encoder:
    """Encoding of a table as inputs and targets of a network, and decoding of its outputs.

    Classes that are numbers are compared by value: 1 and 1.0 are the same.

    Attributes
    ----------
    target : str
        Name of the target column.
    task : {"regression", "classification"}
    reason : str
        Why this task was chosen.
    features : tuple of Feature
    classes : tuple of str
        For classification: the values of the target, by label.
    mean, deviation : float
        For regression: mean and standard deviation of the target.
    """

    target: str
    task: str
    reason: str
    features: tuple[Feature, ...]
    classes: tuple[str, ...] = ()
    mean: float = 0.0
    deviation: float = 1.0

    @classmethod
    def fit(cls, table: Table, target: str, task: str = "auto") -> Encoder:
        """Learn the encoding from a table.

        Raises
        ------
        ValueError
            The target does not exist, is the only column, or has only one class; a column holds numbers except for
            missing or infinite ones.
        """
        check_choice("task", task, TASKS)
        values = table.column(target)
        names = [name for name in table.columns if name != target]
        if not names:
            raise ValueError(f"{table.name} has no column beside the target {target!r}")
        numeric = _holds_numbers(table.name, target, values)
        task, reason = _choose_task(values, target, task, numeric)
        features = tuple(_fit_feature(table.name, name, table.column(name)) for name in names)
        if task == "classification":
            classes = _sorted_classes(values, numeric)
            if len(classes) < 2:
                raise ValueError(f"target {target!r} has only one value, {classes[0]!r}; there is nothing to learn")
            return cls(target, task, reason, features, classes)
        mean, deviation = _moments(table.name, target, values)
        return cls(target, task, reason, features, mean=mean, deviation=deviation)

    def with_moments_of(self, table: Table) -> Encoder:
        """Return this encoder with the means and deviations of another table, such as the rows to train on."""
        features = tuple(
            feature if feature.levels else _fit_feature(table.name, feature.name, table.column(feature.name))
            for feature in self.features
        )
        if self.task == "classification":
            return replace(self, features=features)
        mean, deviation = _moments(table.name, self.target, table.column(self.target))
        return replace(self, features=features, mean=mean, deviation=deviation)

    @property
    def inputs(self) -> int:
        return sum(feature.inputs for feature in self.features)

    @property
    def outputs(self) -> int:
        return len(self.classes) or 1

    def transform_inputs(self, table: Table) -> np.ndarray:
        """Return float64 inputs (rows, inputs). Columns are found by name; those that are not features are ignored."""
        blocks = []
        for feature in self.features:
            cells = table.column(feature.name)
            if feature.levels:
                known = {level: i for i, level in enumerate(feature.levels)}
                for row, cell in enumerate(cells, 1):
                    if cell not in known:
                        seen = ", ".join(feature.levels)
                        raise ValueError(
                            f"{table.name}: row {row} has {cell!r} in column {feature.name!r}; known are: {seen}"
                        )
                blocks.append(np.eye(len(known))[[known[cell] for cell in cells]])
            else:
                numbers = _numbers(table.name, feature.name, cells)
                blocks.append(((numbers - feature.mean) / feature.deviation)[:, None])
        return np.hstack(blocks)

    def transform_target(self, table: Table) -> np.ndarray:
        """Return labels (rows,) of int64, or standardised values (rows, 1) of float64."""
        cells = table.column(self.target)
        if self.task == "regression":
            return ((_numbers(table.name, self.target, cells) - self.mean) / self.deviation)[:, None]
        numeric = all(_is_number(name) for name in self.classes)
        known: dict[str | float, int] = {float(name) if numeric else name: i for i, name in enumerate(self.classes)}
        labels = [known.get(float(cell) if numeric and _is_number(cell) else cell) for cell in cells]
        for row, (cell, label) in enumerate(zip(cells, labels, strict=True), 1):
            if label is None:
                names = ", ".join(self.classes)
                raise ValueError(f"{table.name}: row {row} has target {cell!r}; known classes are: {names}")
        return np.array(labels, np.int64)

    def inverse_target(self, outputs: np.ndarray) -> list[str] | list[float]:
        """Return class names, or numbers in the units of the target, for outputs (rows, outputs)."""
        if self.task == "classification":
            return [self.classes[label] for label in outputs.argmax(axis=1)]
        return (outputs[:, 0].astype(np.float64) * self.deviation + self.mean).tolist()

    def to_json(self) -> dict[str, Any]:
        """Return plain dicts, lists, numbers and strings."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Encoder:
        """Return the encoder that `to_json` described."""
        try:
            features = tuple(Feature(**{**f, "levels": tuple(f["levels"])}) for f in values["features"])
            return cls(**{**values, "features": features, "classes": tuple(values["classes"])})
        except (KeyError, TypeError) as error:
            raise FileFormatError(f"the model does not say how to read tables: {error}") from None


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell)) and "_" not in cell  # Python's 1_000 is not a number in other programs
    except ValueError:
        return False


def _is_missing(cell: str) -> bool:
    """True for a cell that marks a missing or an infinite number: nan, inf, NA and the like."""
    if cell.lower() in MISSING:
        return True
    try:
        return not math.isfinite(float(cell))
    except ValueError:
        return False


def _holds_numbers(table: str, column: str, cells: list[str]) -> bool:
    """True if all cells are numbers; raise ValueError if all others are missing numbers, which would count as text."""
    others = {row: cell for row, cell in enumerate(cells, 1) if not _is_number(cell)}
    if 0 < len(others) < len(cells) and all(_is_missing(cell) for cell in others.values()):
        row, cell = next(iter(others.items()))
        raise ValueError(
            f"{table}: row {row} has {cell!r} in column {column!r}, whose other values are numbers "
            f"({len(others)} of {len(cells)} rows are like it); fill or drop them first"
        )
    return not others


def _numbers(table: str, column: str, cells: list[str]) -> np.ndarray:
    for row, cell in enumerate(cells, 1):
        if not _is_number(cell):
            raise ValueError(f"{table}: row {row} has {cell!r} in column {column!r}, where a finite number is needed")
    return np.array([float(cell) for cell in cells])


def _moments(table: str, column: str, cells: list[str]) -> tuple[float, float]:
    """Return mean and standard deviation; 1 for the latter if all values are equal."""
    numbers = _numbers(table, column, cells)
    with np.errstate(all="ignore"):
        mean, deviation = float(numbers.mean()), float(numbers.std())
    if not math.isfinite(deviation):
        raise ValueError(f"{table}: the numbers in column {column!r} are too large: their squares overflow")
    return mean, deviation if deviation > 0 else 1.0


def _fit_feature(table: str, name: str, cells: list[str]) -> Feature:
    if _holds_numbers(table, name, cells):
        return Feature(name, *_moments(table, name, cells))
    return Feature(name, levels=tuple(sorted(set(cells))))


def _sorted_classes(values: list[str], numeric: bool) -> tuple[str, ...]:
    """Return the distinct values in order; for a number written in several ways, the first one."""
    if not numeric:
        return tuple(sorted(set(values)))
    first: dict[float, str] = {}
    for value in values:
        first.setdefault(float(value), value)
    return tuple(first[number] for number in sorted(first))


def _choose_task(values: list[str], target: str, task: str, numeric: bool) -> tuple[str, str]:
    """Return the task and the reason for it."""
    if task != "auto":
        return task, "as asked for"
    if not numeric:
        return "classification", f"target {target!r} holds text"
    distinct = {float(value) for value in values}
    if all(number.is_integer() for number in distinct) and len(distinct) <= min(MOST_CLASSES, max(2, len(values) // 5)):
        return "classification", f"target {target!r} holds only {len(distinct)} distinct integers"
    return "regression", f"target {target!r} holds numbers, {len(distinct)} of them distinct"
