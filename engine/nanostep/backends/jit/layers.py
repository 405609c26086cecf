"""The dense layer on arrays in the public layout: for tests, debugging and small calls. Whole runs use `product` on the
packed layout."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from nanostep.backends.jit._compile import FASTMATH, OPTIONS, specialised
from nanostep.backends.jit._kernel import Choice, choice, kernel
from nanostep.backends.jit.activations import over_vectors

Array = np.ndarray


class Matrices(NamedTuple):
    """a (rows, steps), b (steps, n) and c (rows, n); a is read through two strides, so it may be transposed."""

    rows: Any
    steps: Any
    n: Any
    a: Any
    a_row: Any
    a_column: Any
    b: Any
    c: Any


@kernel(fastmath=FASTMATH)
def add_product(m: Any, static: Choice, p: Matrices) -> None:
    """c += a b"""

    def row(i: Any) -> None:
        def columns(j: Any, part: Any) -> None:
            def step(k: Any, total: Any) -> list[Any]:
                factor = m.splat(m.load_number(p.a + i * p.a_row + k * p.a_column))
                return [factor * m.load_part(p.b + k * p.n + j, part) + total]

            (total,) = m.loop(0, p.steps, 1, step, [m.load_part(p.c + i * p.n + j, part)])
            m.store_part(p.c + i * p.n + j, part, total)

        over_vectors(m, p.n, columns)

    m.loop(0, p.rows, 1, row)


@njit(fastmath=FASTMATH, **OPTIONS)
def run_product(static, matrices):
    """See `add_product`"""
    add_product(static, matrices)


def _product(a: Array, b: Array, c: Array) -> None:
    """c += a b for two-dimensional arrays; a may be a transposed view"""
    (rows, steps), n = a.shape, b.shape[1]
    row, column = (stride // a.itemsize for stride in a.strides)
    base = a.reshape(-1) if a.flags.c_contiguous else a.T.reshape(-1)
    static = choice(c.dtype, "product")
    matrices = Matrices(rows, steps, n, base, row, column, b.reshape(-1), c.reshape(-1))
    specialised(run_product, static)(static, matrices)


def dense_forward(x__bi: Array, w__oi: Array, b__o: Array, z__bo: Array) -> None:
    """z = x W^T + b"""
    z__bo[...] = b__o
    _product(x__bi, np.ascontiguousarray(w__oi.T), z__bo)


def dense_backward_input(d__bo: Array, w__oi: Array, dx__bi: Array) -> None:
    """dx = d W"""
    dx__bi[...] = 0
    _product(d__bo, w__oi, dx__bi)


def dense_backward_weights(d__bo: Array, x__bi: Array, dw__oi: Array, db__o: Array) -> None:
    """dW = d^T x / batch, db = mean of d over the batch"""
    dw__oi[...] = 0
    db__o[...] = 0
    _product(d__bo.T, x__bi, dw__oi)
    _product(np.ones((1, len(d__bo)), d__bo.dtype), d__bo, db__o.reshape(1, -1))
    dw__oi /= len(d__bo)
    db__o /= len(d__bo)
