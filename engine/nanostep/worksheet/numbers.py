"""Numbers as strings, and which entries of a long vector or matrix are shown."""

from __future__ import annotations

import numpy as np

Array = np.ndarray

MAX_ROWS = 8
LINE = 66
"""Characters for the numbers of one row."""


def format_number(value: float, digits: int) -> str:
    """Return `value` to `digits` significant digits, without trailing zeros."""
    # adding zero removes the sign of a negative zero
    return f"{value + 0.0:.{digits}g}"


def max_columns(digits: int) -> int:
    """Return how many numbers of `digits` significant digits fit into a row, with a few more characters for 0.00-."""
    return max(3, min(MAX_ROWS, LINE // (digits + 5)))


def shown(length: int, limit: int) -> list[int | None]:
    """Return the indices to show of `length` entries: at most `limit`, with None for those left out in between."""
    if length <= limit:
        return list(range(length))
    tail = max(1, limit // 4)
    return [*range(limit - tail - 1), None, *range(length - tail, length)]


def cells(value: Array, digits: int) -> list[list[str | None]]:
    """Return the numbers of a scalar or a matrix by row, shortened; None stands for entries left out.

    The caller lays out a vector as a row or a column.
    """
    matrix = np.atleast_2d(value)
    rows, columns = shown(matrix.shape[0], MAX_ROWS), shown(matrix.shape[1], max_columns(digits))
    return [[None if i is None or j is None else format_number(matrix[i, j], digits) for j in columns] for i in rows]


def align(numbers: list[str]) -> list[str]:
    """Return `numbers` padded to one width, with aligned decimal points."""
    split = [number.partition(".") for number in numbers]
    # an integer with an exponent, such as 1e-07, has no point: it ends at the points of the others
    before = max((len(head) for head, _, _ in split), default=0)
    after = max((len(point + tail) for _, point, tail in split), default=0)
    return [head.rjust(before) + (point + tail).ljust(after) for head, point, tail in split]
