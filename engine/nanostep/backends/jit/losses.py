"""Losses L of one sample, dL/da, and the output delta dL/dz; see the reference for the formulas."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from nanostep.architecture import SUMMED_OVER_OUTPUTS
from nanostep.backends.jit._compile import FASTMATH, OPTIONS, specialised
from nanostep.backends.jit._kernel import Choice, choice, kernel
from nanostep.backends.jit._math import magnitude, softplus, vexp, vlog
from nanostep.backends.jit.activations import activate_rows, derivative_vector, over_vectors, row_maximum
from nanostep.backends.jit.layout import MAX_TILE
from nanostep.backends.jit.vector import sum_lanes
from nanostep.backends.reference.losses import JOINED, LOG_FLOOR, SLOPE_FLOOR
from nanostep.losses import Loss, Quantile, delta_of, name_of

Array = np.ndarray


@dataclass(frozen=True)
class Weighting:
    """Weights of the rows of a batch, which targets are missing, and the bound on logarithms in their losses.

    Attributes
    ----------
    weight : Pointer, or None
        Loss and delta of each row are multiplied by it; None for 1.
    bound : vector, or None
        Largest value that -log of a probability can add to the loss of a joined pair.
    has_missing : bool
        Targets may be NaN, which add nothing.
    custom : index, or None
        Address of a loss that is a function of the user's.
    """

    weight: Any = None
    bound: Any = None
    has_missing: bool = False
    custom: Any = None

    def from_row(self, b: Any) -> Weighting:
        """For the rows from b on."""
        return self if self.weight is None else replace(self, weight=self.weight + b)

    def weighted(self, m: Any, b: Any, x: Any) -> Any:
        """x times the weight of row b, in every lane"""
        return x if self.weight is None else m.splat(m.load_number(self.weight + b)) * x

    def known(self, m: Any, y: Any, x: Any) -> Any:
        """x where the target y is there, 0 where it is missing"""
        return m.where(y == y, x) if self.has_missing else x

    def bounded(self, m: Any, surprisal: Any) -> Any:
        """-log of a probability, at most the bound"""
        return surprisal if self.bound is None else m.at_most(surprisal, self.bound)


UNWEIGHTED = Weighting()


@dataclass(frozen=True)
class OutputRows:
    """Rows of the output layer: what losses and deltas are computed from, and d, where deltas go.

    Attributes
    ----------
    loss, output : str
        Names of the loss, which may be an object, and of the output's activation.
    width : int
        Outputs; rows of y are so far apart.
    stride : int
        Distance of the rows of z, a and d.
    z, a, y, d : Pointer
        None where a function does not need it.
    weighting : Weighting
    """

    loss: str | Loss
    output: str
    width: Any
    stride: Any
    z: Any = None
    a: Any = None
    y: Any = None
    d: Any = None
    weighting: Weighting = UNWEIGHTED

    @property
    def share(self) -> float:
        return share_of(self.loss, self.width)

    def from_row(self, b: Any) -> OutputRows:
        """The rows from b on."""
        z, a, d = (None if p is None else p + b * self.stride for p in (self.z, self.a, self.d))
        return replace(self, z=z, a=a, y=self.y + b * self.width, d=d, weighting=self.weighting.from_row(b))


class OutputArrays(NamedTuple):
    """Arrays of an operation on the output layer: (rows, outputs), flat; None where it has no such array."""

    z: Any
    a: Any
    y: Any
    result: Any = None


def quantiles_at(m: Any, loss: str | Loss, o: Any, step: int = 1) -> Any:
    """The quantiles of the outputs in the lanes of a vector: that of o in lane 0, each lane `step` further; None for
    other losses."""
    if not isinstance(loss, Quantile):
        return None
    count = len(loss.quantiles)
    vectors = [
        m.numbers([loss.quantiles[(first + step * lane) % count] for lane in range(m.lanes)]) for first in range(count)
    ]
    if isinstance(o, int):
        return vectors[o % count]
    result, first = vectors[0], o - o // count * count
    for k in range(1, count):
        result = m.select(first == k, vectors[k], result)
    return result


def gaussian(m: Any, mean: Any, s: Any, y: Any, weighting: Weighting = UNWEIGHTED) -> tuple[Any, Any, Any]:
    """Derivatives by means and by logarithms of variances, and the terms of targets in L, before the share."""
    e = mean - y
    scaled = e * vexp(m, -s)
    parts = scaled, 0.5 * (1.0 - e * scaled), 0.5 * (s + e * scaled)
    return tuple(weighting.known(m, y, part) for part in parts)


def gaussian_vectors(
    m: Any, width: int, a: list[Any], y: list[Any], weighting: Weighting = UNWEIGHTED
) -> tuple[list[Any], list[Any]]:
    """The same from the vectors of a row: dL/da, and terms, of which only those of the targets count."""
    targets, zero = width // 2, m.zero()

    def from_output(vectors: list[Any], o: int) -> Any:
        """The vector that begins at output o, with 0 before the first and after the last vector."""
        first, second = (
            vectors[v] if 0 <= v < len(vectors) else zero for v in (o // m.lanes, o // m.lanes + 1)
        )  # fmt: skip
        return first if o % m.lanes == 0 else m.joined(first, second, o % m.lanes)

    starts = range(0, targets, m.lanes)
    parts = [gaussian(m, a[v], from_output(a, targets + o), y[v], weighting) for v, o in enumerate(starts)]
    by_mean, by_variance, terms = ([part[k] for part in parts] for k in range(3))
    d = []
    for v in range(len(a)):
        o = v * m.lanes
        other = from_output(by_variance, o - targets)
        d.append(m.select(m.first_lanes(targets - o), by_mean[v], other) if o < targets else other)
    return d, [m.keep_part(term, targets - v * m.lanes) for v, term in enumerate(terms)]


def share_of(loss: str | Loss, width: Any) -> Any:
    """Weight of one output in L."""
    if name_of(loss) == "gaussian_nll":
        return 2.0 / width
    return 1.0 if loss in SUMMED_OVER_OUTPUTS else 1.0 / width


def loss_vector(
    m: Any, loss: str | Loss, output: str, z: Any, a: Any, y: Any, weighting: Weighting = UNWEIGHTED, *, q: Any = None
) -> Any:
    """The term of each output in L, before the share; neither for softmax with cross-entropy nor for normal
    distributions. `q`: see `quantiles_at`."""
    if q is not None:
        below = y - a
        return m.select(below > 0.0, q * below, (q - 1.0) * below)
    e = a - y
    if loss == "half_squared_error":
        return 0.5 * e * e
    if loss == "squared_error":
        return e * e
    if loss == "absolute_error":
        return magnitude(m, e)
    if name_of(loss) == "huber":
        size = magnitude(m, e)
        near = m.at_most(size, delta_of(loss))
        return near * (size - 0.5 * near)
    if loss == "poisson":
        return vexp(m, a) - y * a
    if output == "sigmoid":  # joined: two terms that are >= 0, so that nothing cancels
        return y * weighting.bounded(m, softplus(m, -z)) + (1.0 - y) * weighting.bounded(m, softplus(m, z))
    return -(y * m.at_least(vlog(m, a), LOG_FLOOR) + (1.0 - y) * m.at_least(vlog(m, 1.0 - a), LOG_FLOOR))


def slope_vector(m: Any, loss: str | Loss, a: Any, y: Any, *, q: Any = None) -> Any:
    """dL/da of each output, before the share"""
    e = a - y
    if q is not None:
        return m.select(e > 0.0, 1.0 - q, m.select(e < 0.0, -q, e))  # e: 0, or NaN
    if loss == "squared_error":
        return e + e
    if loss == "absolute_error":
        return m.select(e > 0.0, 1.0, m.select(e < 0.0, -1.0, e))  # e: 0, or NaN
    if name_of(loss) == "huber":
        return m.at_most(m.at_least(e, -delta_of(loss)), delta_of(loss))
    if loss == "binary_cross_entropy":
        return e / m.at_least(a * (1.0 - a), SLOPE_FLOOR)
    if loss == "cross_entropy":
        return m.where(y != 0.0, -y / a)
    if loss == "poisson":
        return vexp(m, a) - y
    return e


def delta_vector(
    m: Any, loss: str | Loss, output: str, z: Any, a: Any, y: Any, scale: Any, *, q: Any = None
) -> Any:  # fmt: skip
    """scale * dL/dz of some outputs of a row, before the share; elementwise activations only. dL/da is scaled while f'
    is computed."""
    if (loss, output) in JOINED:
        return scale * (a - y)
    return (scale * slope_vector(m, loss, a, y, q=q)) * derivative_vector(m, output, z, a)


def cross_entropy_row(m: Any, width: Any, z: Any, y: Any) -> Any:
    """L of one row of softmax, as a vector whose lanes are to be summed.

    -log a_o = (max z - z_o) + log(sum e^(z - max z))
    """
    top = row_maximum(m, width, z)

    def exponential(o: Any, part: Any, total: Any) -> list[Any]:
        return [total + m.keep_part(vexp(m, m.load_part(z + o, part) - top), part)]

    (total,) = over_vectors(m, width, exponential, [m.zero()])
    logarithm = vlog(m, sum_lanes(m, total))

    def term(o: Any, part: Any, total: Any) -> list[Any]:
        target = m.load_part(y + o, part)
        surprisal = (top - m.load_part(z + o, part)) + logarithm
        return [total + m.where(target != 0.0, target * surprisal)]  # not 0 * infinity

    (loss,) = over_vectors(m, width, term, [m.zero()])
    return loss


def sum_losses(m: Any, rows: Any, r: OutputRows) -> Any:
    """The sum over `rows` rows of weight * L before the share, in float64."""
    joined = r.loss == "cross_entropy" and r.output == "softmax"

    def row(b: Any, total: Any) -> list[Any]:
        zb, ab, yb = r.z + b * r.stride, r.a + b * r.stride, r.y + b * r.width

        def term(o: Any, part: Any, sums: Any) -> list[Any]:
            zo, ao, yo = (m.load_part(pointer + o, part) for pointer in (zb, ab, yb))
            q = quantiles_at(m, r.loss, o)
            terms = loss_vector(m, r.loss, r.output, zo, ao, yo, r.weighting, q=q)
            return [sums + m.keep_part(r.weighting.known(m, yo, terms), part)]

        def target(t: Any, part: Any, sums: Any) -> list[Any]:
            mean, s, y = (m.load_part(p + t, part) for p in (ab, ab + half, yb))
            return [sums + m.keep_part(gaussian(m, mean, s, y, r.weighting)[2], part)]

        half = r.width // 2
        if joined:
            terms = cross_entropy_row(m, r.width, zb, yb)
        elif name_of(r.loss) == "gaussian_nll":
            (terms,) = over_vectors(m, half, target, [m.zero()])
        else:
            (terms,) = over_vectors(m, r.width, term, [m.zero()])
        return [total + m.double(m.lane(r.weighting.weighted(m, b, sum_lanes(m, terms)), 0))]

    (total,) = m.loop(0, rows, 1, row, [m.double(0.0)])
    return total


def derive_gaussian(m: Any, rows: Any, share: Any, r: OutputRows) -> None:
    """d = weight * dL/da of normal distributions"""
    half = r.width // 2

    def row(b: Any) -> None:
        scale = r.weighting.weighted(m, b, share)
        ab, yb, db = r.a + b * r.stride, r.y + b * r.width, r.d + b * r.stride

        def target(t: Any, part: Any) -> None:
            mean, s, y = (m.load_part(p + t, part) for p in (ab, ab + half, yb))
            by_mean, by_variance, _ = gaussian(m, mean, s, y, r.weighting)
            m.store_part(db + t, part, scale * by_mean)
            m.store_part(db + half + t, part, scale * by_variance)

        over_vectors(m, half, target)

    m.loop(0, rows, 1, row)


def derive_rows(m: Any, rows: Any, share: Any, r: OutputRows) -> None:
    """d = share * dL/da"""
    if name_of(r.loss) == "gaussian_nll":
        derive_gaussian(m, rows, share, r)
        return

    def slopes(a: Any, y: Any, o: Any, part: Any) -> Any:
        q = quantiles_at(m, r.loss, o)
        return share * slope_vector(m, r.loss, m.load_part(a + o, part), m.load_part(y + o, part), q=q)

    def row(b: Any) -> None:
        ab, yb, db = r.a + b * r.stride, r.y + b * r.width, r.d + b * r.stride
        over_vectors(m, r.width, lambda o, part: m.store_part(db + o, part, slopes(ab, yb, o, part)))

    m.loop(0, rows, 1, row)


def delta_rows(m: Any, rows: Any, share: Any, r: OutputRows) -> None:
    """d = weight * dL/dz; the space between rows of d is not written."""
    if name_of(r.loss) == "gaussian_nll":  # with the identity
        derive_gaussian(m, rows, share, r)
        return

    def row(b: Any) -> None:
        scale = r.weighting.weighted(m, b, share)
        zb, ab, yb, db = r.z + b * r.stride, r.a + b * r.stride, r.y + b * r.width, r.d + b * r.stride

        def direct(o: Any, part: Any) -> None:
            zo, ao, yo = (m.load_part(pointer + o, part) for pointer in (zb, ab, yb))
            delta = delta_vector(m, r.loss, r.output, zo, ao, yo, scale, q=quantiles_at(m, r.loss, o))
            m.store_part(db + o, part, r.weighting.known(m, yo, delta))

        def slope(o: Any, part: Any, total: Any) -> list[Any]:
            ao, yo = m.load_part(ab + o, part), m.load_part(yb + o, part)
            slopes = slope_vector(m, r.loss, ao, yo, q=quantiles_at(m, r.loss, o))
            da = m.keep_part(r.weighting.known(m, yo, scale * slopes), part)
            m.store_part(db + o, part, da)
            return [da * ao + total]

        if r.output != "softmax" or (r.loss, r.output) in JOINED:
            over_vectors(m, r.width, direct)
            return
        # the Jacobian of softmax is diag(a) - a a^T
        (total,) = over_vectors(m, r.width, slope, [m.zero()])
        mean = sum_lanes(m, total)
        over_vectors(
            m, r.width,
            lambda o, part: m.store_part(
                db + o, part, m.load_part(ab + o, part) * (m.load_part(db + o, part) - mean)
            ),
        )  # fmt: skip

    m.loop(0, rows, 1, row)


def custom_rows(m: Any, rows: Any, r: OutputRows, out_pad: int) -> Any:
    """a, and d padded with zeros, by a function of the user's; return the sum of weight * L of at most MAX_TILE rows.

    The function knows no gaps between rows: those of a are moved together, and those of d apart again. z stays.
    """
    starts = range(0, r.width, m.lanes)
    activate_rows(m, r.output, rows, r.width, r.stride, r.z, r.a)

    def together(b: Any) -> None:
        parts = [m.load_part(r.a + b * r.stride + o, r.width - o) for o in starts]
        for o, part in zip(starts, parts, strict=True):
            m.store_part(r.a + b * r.width + o, r.width - o, part)

    m.loop(1, rows, 1, together)
    losses = m.reals_on_stack(MAX_TILE)
    m.call_loss(r.weighting.custom, (rows, r.width), r.a, r.y, losses, r.d)

    def apart(i: Any, total: Any) -> list[Any]:
        b = rows - 1 - i  # the last row first: its place is that of no other row that is still to be moved
        a, da = ([m.load_part(p + b * r.width + o, r.width - o) for o in starts] for p in (r.a, r.d))
        if r.output == "softmax":  # its Jacobian is diag(a) - a a^T
            mean = m.zero()
            for value, slope in zip(a, da, strict=True):
                mean = value * slope + mean
            mean = sum_lanes(m, mean)
            d = [value * (slope - mean) for value, slope in zip(a, da, strict=True)]
        else:
            z = [m.load_part(r.z + b * r.stride + o, r.width - o) for o in starts]
            d = [s * derivative_vector(m, r.output, *pair) for s, *pair in zip(da, z, a, strict=True)]
        for o, value in zip(starts, d, strict=True):
            m.store(r.d + b * r.stride + o, m.keep_part(r.weighting.weighted(m, b, value), r.width - o))
        for o in range(len(starts) * m.lanes, out_pad, m.lanes):
            m.store(r.d + b * r.stride + o, 0.0)
        loss = m.load_number(losses + b)
        weighted = loss if r.weighting.weight is None else m.load_number(r.weighting.weight + b) * loss
        return [total + m.double(weighted)]

    (total,) = m.loop(0, rows, 1, apart, [m.double(0.0)])
    return total


def _rows_of(loss: str | Loss, output: str, width: Any, arrays: OutputArrays) -> OutputRows:
    return OutputRows(loss, output, width, width, arrays.z, arrays.a, arrays.y, arrays.result)


@kernel(fastmath=FASTMATH, returns="double")
def loss_kernel(m: Any, static: Choice, rows: Any, width: Any, arrays: OutputArrays) -> Any:
    """See `loss_value`"""
    loss, output = static.names
    return sum_losses(m, rows, _rows_of(loss, output, width, arrays))


@kernel(fastmath=FASTMATH)
def slope_kernel(m: Any, static: Choice, rows: Any, width: Any, share: Any, arrays: OutputArrays) -> None:
    """See `loss_derivative`"""
    derive_rows(m, rows, m.rounded(share), _rows_of(static.names[0], "", width, arrays))


@kernel(fastmath=FASTMATH)
def delta_kernel(m: Any, static: Choice, rows: Any, width: Any, share: Any, arrays: OutputArrays) -> None:
    """See `output_delta`"""
    loss, output = static.names
    delta_rows(m, rows, m.rounded(share), _rows_of(loss, output, width, arrays))


@njit(fastmath=FASTMATH, **OPTIONS)
def run_loss(static, rows, width, arrays):
    """See `loss_value`"""
    return loss_kernel(static, rows, width, arrays)


@njit(fastmath=FASTMATH, **OPTIONS)
def run_slope(static, rows, width, share, arrays):
    """See `loss_derivative`"""
    slope_kernel(static, rows, width, share, arrays)


@njit(fastmath=FASTMATH, **OPTIONS)
def run_delta(static, rows, width, share, arrays):
    """See `output_delta`"""
    delta_kernel(static, rows, width, share, arrays)


def _arrays(*arrays: Array | None) -> OutputArrays:
    return OutputArrays(*(None if array is None else array.reshape(-1) for array in arrays))


def loss_value(loss: str | Loss, output: str, z__bo: Array, a__bo: Array, y__bo: Array) -> float:
    """Mean over the batch of L"""
    static = choice(z__bo.dtype, loss, output)
    total = specialised(run_loss, static)(static, *z__bo.shape, _arrays(z__bo, a__bo, y__bo))
    return total * share_of(loss, z__bo.shape[1]) / len(z__bo)


def loss_derivative(loss: str | Loss, a__bo: Array, y__bo: Array, da__bo: Array) -> None:
    """da = dL/da of each sample"""
    static = choice(a__bo.dtype, loss)
    arrays = _arrays(None, a__bo, y__bo, da__bo)
    specialised(run_slope, static)(static, *a__bo.shape, share_of(loss, a__bo.shape[1]), arrays)


def output_delta(loss: str | Loss, output: str, z__bo: Array, a__bo: Array, y__bo: Array, d__bo: Array) -> None:
    """d = dL/dz of each sample"""
    static = choice(z__bo.dtype, loss, output)
    arrays = _arrays(z__bo, a__bo, y__bo, d__bo)
    specialised(run_delta, static)(static, *z__bo.shape, share_of(loss, z__bo.shape[1]), arrays)
