"""The dense layer: one product kernel serves the forward pass and both backward passes."""

from __future__ import annotations

import numpy as np
from numba import njit

from nanostep.backends.jit._compile import FASTMATH, OPTIONS

Array = np.ndarray


@njit(fastmath=FASTMATH, **OPTIONS)
def add_product(a, b, c):
    """c (m x n) += a (m x k) b (k x n).

    Two rows of c take four rows of b at a time: 6 loads and 2 stores for 8 multiply-adds, where a plain loop would need
    2 loads and a store for each. The inner loop runs along rows of b and c, which are contiguous.
    """
    m, n, steps = a.shape[0], b.shape[1], a.shape[1]
    whole = steps // 4 * 4
    for i in range(0, m - 1, 2):
        c0, c1 = c[i], c[i + 1]
        for k in range(0, whole, 4):
            p0, p1, p2, p3 = a[i, k], a[i, k + 1], a[i, k + 2], a[i, k + 3]
            q0, q1, q2, q3 = a[i + 1, k], a[i + 1, k + 1], a[i + 1, k + 2], a[i + 1, k + 3]
            b0, b1, b2, b3 = b[k], b[k + 1], b[k + 2], b[k + 3]
            for j in range(n):
                c0[j] += p0 * b0[j] + p1 * b1[j] + p2 * b2[j] + p3 * b3[j]
                c1[j] += q0 * b0[j] + q1 * b1[j] + q2 * b2[j] + q3 * b3[j]
        for k in range(whole, steps):
            p0, q0 = a[i, k], a[i + 1, k]
            b0 = b[k]
            for j in range(n):
                c0[j] += p0 * b0[j]
                c1[j] += q0 * b0[j]
    if m % 2 == 1:
        c0 = c[m - 1]
        for k in range(whole):
            p0 = a[m - 1, k]
            b0 = b[k]
            for j in range(n):
                c0[j] += p0 * b0[j]
        for k in range(whole, steps):
            p0 = a[m - 1, k]
            b0 = b[k]
            for j in range(n):
                c0[j] += p0 * b0[j]


@njit(fastmath=FASTMATH, **OPTIONS)
def forward_rows(x__bi, w__oi, b__o, z__bo):
    """z = x W^T + b, with W as it stands in theta: each entry is a dot product of two contiguous rows."""
    for r in range(x__bi.shape[0]):
        x = x__bi[r]
        for o in range(w__oi.shape[0]):
            w = w__oi[o]
            total = b__o[o]
            for i in range(x.size):
                total += x[i] * w[i]
            z__bo[r, o] = total


@njit(fastmath=FASTMATH, **OPTIONS)
def add_rows(d__bo, db__o):
    """db += sum of the rows of d"""
    for r in range(d__bo.shape[0]):
        d = d__bo[r]
        for o in range(db__o.size):
            db__o[o] += d[o]


@njit(fastmath=FASTMATH, **OPTIONS)
def scale_elements(factor, a):
    """a *= factor"""
    for i in range(a.size):
        a[i] *= factor


def dense_forward(x__bi: Array, w__oi: Array, b__o: Array, z__bo: Array) -> None:
    """z = x W^T + b"""
    forward_rows(x__bi, w__oi, b__o, z__bo)


def dense_backward_input(d__bo: Array, w__oi: Array, dx__bi: Array) -> None:
    """dx = d W"""
    dx__bi[...] = 0
    add_product(d__bo, w__oi, dx__bi)


def dense_backward_weights(d__bo: Array, x__bi: Array, dw__oi: Array, db__o: Array) -> None:
    """dW = d^T x / batch, db = mean of d over the batch"""
    dw__oi[...] = 0
    db__o[...] = 0
    add_product(d__bo.T, x__bi, dw__oi)
    add_rows(d__bo, db__o)
    share = dw__oi.dtype.type(1 / len(d__bo))
    scale_elements(share, dw__oi.reshape(-1))
    scale_elements(share, db__o)
