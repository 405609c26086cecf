"""The matrix product behind every layer of a batch: c = start + a b, or c += factor * a b.

A tile of rows x vectors of c stays in registers while k runs; each step loads the vectors of b and multiplies them by
repeated entries of a. a is read through two strides, so it may be transposed, which makes the forward pass and both
backward passes the same kernel:

    forward          z  (b x o)  = bias + x  (b x i)  wt (i x o)
    weight gradient  gt (i x o) += xT (i x b)  d  (b x o)
    input gradient   dx (b x i)  =      d  (b x o)  w  (o x i)

See ``csrc/src/kernels/product.inc`` for why a tile is 4 x 4 vectors (16 registers: 4 x 2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass
class Product:
    """Operands: c is m x n with n a multiple of the lanes; m and k may be known only at run time.

    start (rows start_row apart; 0 repeats one row) may be c, or None for 0; it is used only if start_if, unless that is
    None. `columns`, unless None, is how many entries of a row of b there are: nothing beyond them is read, and with
    `exact` nothing is read or written beyond them in start and c. `finish(value, row, column)`, unless None, is what is
    stored in place of a vector of c.
    """

    m: Any
    n: int
    k: Any
    a: Any
    a_row: int
    a_column: int
    b: Any
    b_row: int
    c: Any
    c_row: int
    start: Any = None
    start_row: int = 0
    start_if: Any = None
    factor: Any = None
    columns: int | None = None
    exact: bool = False
    finish: Any = None

    def part(self, column: int) -> int | None:
        """How many entries of b there are from a column on; None for whole vectors."""
        return None if self.columns is None else self.columns - column

    def part_of_c(self, column: int) -> int | None:
        """The same for c."""
        return self.part(column) if self.exact else None


def tile(m: Any, p: Product, row: Any, column: int, rows: int, vectors: int) -> None:
    """A tile of c"""
    lanes = m.lanes
    c = p.c + row * p.c_row + column
    if p.factor is not None or p.start is None:
        sums = [m.zero()] * (rows * vectors)
    else:
        start = p.start + row * p.start_row + column
        sums = [
            m.load_part(start + r * p.start_row + v * lanes, p.part_of_c(column + v * lanes))
            for r in range(rows) for v in range(vectors)
        ]  # fmt: skip
        if p.start_if is not None:
            sums = [m.select(p.start_if, value, 0.0) for value in sums]
    for r in range(rows):
        for v in range(vectors):
            m.prefetch(c + r * p.c_row + v * lanes)
    a, b = p.a + row * p.a_row, p.b + column

    def step(k: Any, *sums: Any) -> list[Any]:
        left, right = a + k * p.a_column, b + k * p.b_row
        rights = [m.load_part(right + v * lanes, p.part(column + v * lanes)) for v in range(vectors)]
        result = []
        for r in range(rows):
            factor = m.splat(m.load_number(left + r * p.a_row))
            result += [factor * rights[v] + sums[r * vectors + v] for v in range(vectors)]
        return result

    sums = m.loop(0, p.k, 1, step, sums)
    for r in range(rows):
        for v in range(vectors):
            to = c + r * p.c_row + v * lanes
            total = sums[r * vectors + v]
            if p.factor is not None:
                total = p.factor * total + m.load(to)
            if p.finish is not None:
                total = p.finish(total, row + r, column + v * lanes)
            m.store_part(to, p.part_of_c(column + v * lanes), total)


def column_of_tiles(m: Any, p: Product, column: int, vectors: int) -> None:
    """All rows of `vectors` vectors of columns."""
    most = 8 if vectors == 1 else 4
    if isinstance(p.m, int):
        whole = p.m // most * most
        if whole == most:
            tile(m, p, 0, column, most, vectors)
        elif whole:
            m.loop(0, whole, most, lambda row: tile(m, p, row, column, most, vectors))
        if whole < p.m:
            tile(m, p, whole, column, p.m - whole, vectors)
        return
    whole = p.m // most * most
    m.loop(0, whole, most, lambda row: tile(m, p, row, column, most, vectors))
    m.loop(whole, p.m, 1, lambda row: tile(m, p, row, column, 1, vectors))


def multiply(m: Any, p: Product) -> None:
    """Compute c = start + a b, or c += factor * a b if there is a factor."""
    few = isinstance(p.m, int) and p.m <= 2  # more vectors, for as many sums in flight
    wide = 4 if few or m.lanes * m.dtype.itemsize == 64 else 2
    column, whole = 0, wide * m.lanes
    complete = p.n if p.columns is None else min(p.n, p.columns)
    if complete >= 2 * whole:
        column = complete // whole * whole

        def group(at: Any) -> None:
            finish = None if p.finish is None else lambda v, row, column: p.finish(v, row, at + column)
            shifted = Product(
                p.m, whole, p.k, p.a, p.a_row, p.a_column, p.b + at, p.b_row, p.c + at, p.c_row,
                None if p.start is None else p.start + at, p.start_row, p.start_if, p.factor, finish=finish,
            )  # fmt: skip
            column_of_tiles(m, shifted, 0, wide)

        m.loop(0, column, whole, group)
    while column < p.n:
        vectors = min(wide, (p.n - column) // m.lanes)
        if vectors == 3:
            vectors = 2
        column_of_tiles(m, p, column, vectors)
        column += vectors * m.lanes
