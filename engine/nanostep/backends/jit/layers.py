"""The dense layer: one product kernel serves the forward pass and both backward passes."""

from __future__ import annotations

import numpy as np
from numba import njit

from nanostep.backends.jit._compile import FASTMATH, OPTIONS
from nanostep.backends.jit.activations import ZERO

Array = np.ndarray


@njit(fastmath=FASTMATH, **OPTIONS)
def add_product(m, n, steps, a, a_at, a_row, a_column, b, b_at, c, c_at):
    """c (m x n) += a (m x steps) b (steps x n) on flat arrays, from the places given.

    Rows of b and c are n apart; a is read through two strides, so it may stand transposed. Two rows of c take four rows
    of b at a time: 6 loads and 2 stores for 8 multiply-adds, where a plain loop needs 16 loads and 8 stores.
    """
    one, two, three, four = np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(4)
    i = np.uint64(0)
    while i + two <= m:
        p = a_at + i * a_row
        q = p + a_row
        c0 = c_at + i * n
        c1 = c0 + n
        k, at = np.uint64(0), b_at
        while k + four <= steps:
            p0, p1, p2, p3 = a[p], a[p + a_column], a[p + two * a_column], a[p + three * a_column]
            q0, q1, q2, q3 = a[q], a[q + a_column], a[q + two * a_column], a[q + three * a_column]
            for j in range(n):
                b0, b1, b2, b3 = b[at + j], b[at + n + j], b[at + two * n + j], b[at + three * n + j]
                c[c0 + j] += p0 * b0 + p1 * b1 + p2 * b2 + p3 * b3
                c[c1 + j] += q0 * b0 + q1 * b1 + q2 * b2 + q3 * b3
            k, at, p, q = k + four, at + four * n, p + four * a_column, q + four * a_column
        while k < steps:
            p0, q0 = a[p], a[q]
            for j in range(n):
                b0 = b[at + j]
                c[c0 + j] += p0 * b0
                c[c1 + j] += q0 * b0
            k, at, p, q = k + one, at + n, p + a_column, q + a_column
        i += two
    if i < m:
        p, c0, at = a_at + i * a_row, c_at + i * n, b_at
        for _ in range(steps):
            p0 = a[p]
            for j in range(n):
                c[c0 + j] += p0 * b[at + j]
            at, p = at + n, p + a_column


@njit(fastmath=FASTMATH, **OPTIONS)
def forward_row(inputs, outputs, x, x_at, theta, w_at, z, z_at):
    """z = W x + b for one row, with W and b as they stand in theta: dot products of contiguous rows."""
    b_at = w_at + inputs * outputs
    for o in range(outputs):
        row = w_at + o * inputs
        total = theta[b_at + o]
        for i in range(inputs):
            total += x[x_at + i] * theta[row + i]
        z[z_at + o] = total


@njit(fastmath=FASTMATH, **OPTIONS)
def add_rows(rows, width, d, d_at, db, db_at):
    """db += sum of the rows of d"""
    for _ in range(rows):
        for o in range(width):
            db[db_at + o] += d[d_at + o]
        d_at += width


@njit(fastmath=FASTMATH, **OPTIONS)
def repeat_row(rows, width, b, b_at, z, z_at):
    """every row of z = b"""
    for _ in range(rows):
        for o in range(width):
            z[z_at + o] = b[b_at + o]
        z_at += width


@njit(fastmath=FASTMATH, **OPTIONS)
def fill(value, start, stop, a):
    """a = value from `start` to `stop`"""
    for i in range(start, stop):
        a[i] = value


def _product(a: Array, b: Array, c: Array) -> None:
    """c += a b for two-dimensional arrays; a may be a transposed view"""
    (m, steps), n = a.shape, b.shape[1]
    row, column = (stride // a.itemsize for stride in a.strides)
    base = a.reshape(-1) if a.flags.c_contiguous else a.T.reshape(-1)
    sizes = (np.uint64(size) for size in (m, n, steps))
    strides = (np.uint64(row), np.uint64(column))
    add_product(*sizes, base, ZERO, *strides, b.reshape(-1), ZERO, c.reshape(-1), ZERO)


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
    rows, width = (np.uint64(size) for size in d__bo.shape)
    dw__oi[...] = 0
    db__o[...] = 0
    _product(d__bo.T, x__bi, dw__oi)
    add_rows(rows, width, d__bo.reshape(-1), ZERO, db__o, ZERO)
    dw__oi /= len(d__bo)
    db__o /= len(d__bo)
