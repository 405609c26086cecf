"""Losses L of one sample, dL/da, and the output delta dL/dz; see the reference for the formulas."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numba import njit

from nanostep.backends.jit._compile import FASTMATH, OPTIONS, specialised
from nanostep.backends.jit._kernel import Choice, choice, kernel
from nanostep.backends.jit._math import magnitude, softplus, vexp, vlog
from nanostep.backends.jit.activations import derivative_vector, over_vectors, row_maximum
from nanostep.backends.jit.vector import sum_lanes
from nanostep.backends.reference.losses import JOINED, LOG_FLOOR, SLOPE_FLOOR

Array = np.ndarray


@dataclass(frozen=True)
class Counting:
    """How the rows of a batch count.

    Attributes
    ----------
    weight : Place, or None
        What loss and delta of each row are multiplied by; None for 1.
    most : vector, or None
        What -log of a probability counts at most in the loss of a joined pair.
    """

    weight: Any = None
    most: Any = None

    def from_row(self, b: Any) -> Counting:
        """For the rows from b on."""
        return self if self.weight is None else replace(self, weight=self.weight + b)

    def weighed(self, m: Any, b: Any, x: Any) -> Any:
        """x times the weight of row b, in every lane"""
        return x if self.weight is None else m.splat(m.load_number(self.weight + b)) * x

    def bounded(self, m: Any, surprise: Any) -> Any:
        """What -log of a probability counts."""
        return surprise if self.most is None else m.at_most(surprise, self.most)


ALIKE = Counting()
"""All rows count the same."""


def share_of(loss: str, width: int) -> float:
    """Weight of one output in L."""
    return 1.0 if loss in ("half_squared_error", "cross_entropy") else 1.0 / width


def loss_vector(m: Any, loss: str, output: str, z: Any, a: Any, y: Any, counting: Counting = ALIKE) -> Any:
    """What each output adds to L, before the share; not for softmax with cross-entropy."""
    e = a - y
    if loss == "half_squared_error":
        return 0.5 * e * e
    if loss == "squared_error":
        return e * e
    if loss == "absolute_error":
        return magnitude(m, e)
    if loss == "huber":
        size = magnitude(m, e)
        near = m.at_most(size, 1.0)
        return near * (size - 0.5 * near)
    if loss == "poisson":
        return vexp(m, a) - y * a
    if output == "sigmoid":  # joined: two terms that are >= 0, so that nothing cancels
        return y * counting.bounded(m, softplus(m, -z)) + (1.0 - y) * counting.bounded(m, softplus(m, z))
    return -(y * m.at_least(vlog(m, a), LOG_FLOOR) + (1.0 - y) * m.at_least(vlog(m, 1.0 - a), LOG_FLOOR))


def slope_vector(m: Any, loss: str, a: Any, y: Any) -> Any:
    """dL/da of each output, before the share"""
    e = a - y
    if loss == "squared_error":
        return e + e
    if loss == "absolute_error":
        return m.select(e > 0.0, 1.0, m.select(e < 0.0, -1.0, e))  # e: 0, or NaN
    if loss == "huber":
        return m.at_most(m.at_least(e, -1.0), 1.0)
    if loss == "binary_cross_entropy":
        return e / m.at_least(a * (1.0 - a), SLOPE_FLOOR)
    if loss == "cross_entropy":
        return m.where(y != 0.0, -y / a)
    if loss == "poisson":
        return vexp(m, a) - y
    return e


def delta_vector(m: Any, loss: str, output: str, z: Any, a: Any, y: Any, scale: Any) -> Any:
    """Scale * dL/dz of some outputs of a row, elementwise output, without the share. dL/da is scaled while f' is
    computed."""
    if (loss, output) in JOINED:
        return scale * (a - y)
    return (scale * slope_vector(m, loss, a, y)) * derivative_vector(m, output, z, a)


def cross_entropy_row(m: Any, width: Any, z: Any, y: Any) -> Any:
    """L of one row of softmax, in lanes that are to be added up: -log a_o = (max z - z_o) + log(sum e^(z - max z))."""
    top = row_maximum(m, width, z)

    def exponential(o: Any, part: Any, total: Any) -> list[Any]:
        return [total + m.keep_part(vexp(m, m.load_part(z + o, part) - top), part)]

    (total,) = over_vectors(m, width, exponential, [m.zero()])
    logarithm = vlog(m, sum_lanes(m, total))

    def term(o: Any, part: Any, total: Any) -> list[Any]:
        target = m.load_part(y + o, part)
        surprise = (top - m.load_part(z + o, part)) + logarithm
        return [total + m.where(target != 0.0, target * surprise)]  # 0 * infinity is not meant

    (loss,) = over_vectors(m, width, term, [m.zero()])
    return loss


def sum_losses(
    m: Any, loss: str, output: str, rows: Any, width: Any, stride: Any, z: Any, a: Any, y: Any,
    counting: Counting = ALIKE,
) -> Any:  # fmt: skip
    """The sum over the rows of weight * L before the share, in float64; rows of z and a are `stride` apart, those of y
    `width`."""
    joined = loss == "cross_entropy" and output == "softmax"

    def row(b: Any, total: Any) -> list[Any]:
        zb, ab, yb = z + b * stride, a + b * stride, y + b * width
        if joined:
            terms = cross_entropy_row(m, width, zb, yb)
        else:

            def term(o: Any, part: Any, sum_: Any) -> list[Any]:
                loads = (m.load_part(place + o, part) for place in (zb, ab, yb))
                return [sum_ + m.keep_part(loss_vector(m, loss, output, *loads), part)]

            (terms,) = over_vectors(m, width, term, [m.zero()])
        return [total + m.double(m.lane(counting.weighed(m, b, sum_lanes(m, terms)), 0))]

    (total,) = m.loop(0, rows, 1, row, [m.double(0.0)])
    return total


def derive_rows(m: Any, loss: str, rows: Any, width: Any, stride: Any, share: Any, a: Any, y: Any, d: Any) -> None:
    """d = share * dL/da"""

    def row(b: Any) -> None:
        ab, yb, db = a + b * stride, y + b * width, d + b * stride
        over_vectors(
            m, width,
            lambda o, part: m.store_part(
                db + o, part, share * slope_vector(m, loss, m.load_part(ab + o, part), m.load_part(yb + o, part))
            ),
        )  # fmt: skip

    m.loop(0, rows, 1, row)


def delta_rows(
    m: Any, loss: str, output: str, rows: Any, width: Any, stride: Any, share: Any, z: Any, a: Any, y: Any, d: Any,
    counting: Counting = ALIKE,
) -> None:  # fmt: skip
    """d = weight * dL/dz; the space between rows of d is left as it is."""

    def row(b: Any) -> None:
        scale = counting.weighed(m, b, share)
        zb, ab, yb, db = z + b * stride, a + b * stride, y + b * width, d + b * stride

        def direct(o: Any, part: Any) -> None:
            zo, ao, yo = (m.load_part(place + o, part) for place in (zb, ab, yb))
            m.store_part(db + o, part, delta_vector(m, loss, output, zo, ao, yo, scale))

        def slope(o: Any, part: Any, total: Any) -> list[Any]:
            ao = m.load_part(ab + o, part)
            da = m.keep_part(scale * slope_vector(m, loss, ao, m.load_part(yb + o, part)), part)
            m.store_part(db + o, part, da)
            return [da * ao + total]

        if output != "softmax" or (loss, output) in JOINED:
            over_vectors(m, width, direct)
            return
        # the Jacobian of softmax is diag(a) - a a^T
        (total,) = over_vectors(m, width, slope, [m.zero()])
        mean = sum_lanes(m, total)
        over_vectors(
            m, width,
            lambda o, part: m.store_part(
                db + o, part, m.load_part(ab + o, part) * (m.load_part(db + o, part) - mean)
            ),
        )  # fmt: skip

    m.loop(0, rows, 1, row)


@kernel(fastmath=FASTMATH, returns="double")
def loss_kernel(m: Any, static: Choice, rows: Any, width: Any, z: Any, a: Any, y: Any) -> Any:
    """See `loss_value`"""
    loss, output = static.names
    return sum_losses(m, loss, output, rows, width, width, z, a, y)


@kernel(fastmath=FASTMATH)
def slope_kernel(m: Any, static: Choice, rows: Any, width: Any, share: Any, a: Any, y: Any, da: Any) -> None:
    """See `loss_derivative`"""
    derive_rows(m, static.names[0], rows, width, width, m.rounded(share), a, y, da)


@kernel(fastmath=FASTMATH)
def delta_kernel(m: Any, static: Choice, rows: Any, width: Any, share: Any, z: Any, a: Any, y: Any, d: Any) -> None:
    """See `output_delta`"""
    loss, output = static.names
    delta_rows(m, loss, output, rows, width, width, m.rounded(share), z, a, y, d)


@njit(fastmath=FASTMATH, **OPTIONS)
def run_loss(static, rows, width, z, a, y):
    """See `loss_value`"""
    return loss_kernel(static, rows, width, z, a, y)


@njit(fastmath=FASTMATH, **OPTIONS)
def run_slope(static, rows, width, share, a, y, da):
    """See `loss_derivative`"""
    slope_kernel(static, rows, width, share, a, y, da)


@njit(fastmath=FASTMATH, **OPTIONS)
def run_delta(static, rows, width, share, z, a, y, d):
    """See `output_delta`"""
    delta_kernel(static, rows, width, share, z, a, y, d)


def loss_value(loss: str, output: str, z__bo: Array, a__bo: Array, y__bo: Array) -> float:
    """Mean over the batch of L"""
    static = choice(z__bo.dtype, loss, output)
    z, a, y = (array.reshape(-1) for array in (z__bo, a__bo, y__bo))
    total = specialised(run_loss, static)(static, *z__bo.shape, z, a, y)
    return total * share_of(loss, z__bo.shape[1]) / len(z__bo)


def loss_derivative(loss: str, a__bo: Array, y__bo: Array, da__bo: Array) -> None:
    """da = dL/da of each sample"""
    static = choice(a__bo.dtype, loss)
    a, y, da = (array.reshape(-1) for array in (a__bo, y__bo, da__bo))
    specialised(run_slope, static)(static, *a__bo.shape, share_of(loss, a__bo.shape[1]), a, y, da)


def output_delta(loss: str, output: str, z__bo: Array, a__bo: Array, y__bo: Array, d__bo: Array) -> None:
    """d = dL/dz of each sample"""
    static = choice(z__bo.dtype, loss, output)
    z, a, y, d = (array.reshape(-1) for array in (z__bo, a__bo, y__bo, d__bo))
    specialised(run_delta, static)(static, *z__bo.shape, share_of(loss, z__bo.shape[1]), z, a, y, d)
