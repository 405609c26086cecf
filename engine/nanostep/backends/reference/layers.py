"""The dense layer: forward pass and the two backward products.

Formulas: Rumelhart, Hinton & Williams, 1986; Nielsen, "Neural Networks and Deep Learning", ch. 2, BP2-BP4.
"""

from __future__ import annotations

import numpy as np

Array = np.ndarray


def dense_forward(x__bi: Array, w__oi: Array, b__o: Array, z__bo: Array) -> None:
    """z = x W^T + b"""
    np.matmul(x__bi, w__oi.T, out=z__bo)
    z__bo += b__o


def dense_backward_input(d__bo: Array, w__oi: Array, dx__bi: Array) -> None:
    """dx = d W"""
    np.matmul(d__bo, w__oi, out=dx__bi)


def dense_backward_weights(d__bo: Array, x__bi: Array, dw__oi: Array, db__o: Array) -> None:
    """dW = d^T x / batch, db = mean of d over the batch"""
    np.matmul(d__bo.T, x__bi, out=dw__oi)
    dw__oi /= len(d__bo)
    db__o[...] = d__bo.mean(axis=0)
