"""Layers of networks in lanes: products, and the output from z and y to delta and loss.

Rows of a layer are lists of vectors where a step is unrolled, and `Row` where they are in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nanostep.backends.jit._math import fast_sigmoid, vexp, vlog
from nanostep.backends.jit.activations import activate_vector
from nanostep.backends.jit.losses import delta_vector, gaussian, loss_vector, quantiles_at, share_of, slope_vector
from nanostep.backends.jit.row import unroll
from nanostep.losses import Loss, name_of


@dataclass
class LanesProduct:
    """c[m][n] = start + sum over k of a[m][k] b[k][n]. Entries are vectors; those of a are numbers that all lanes share
    if `shared`.

    Distances are in numbers. start is None for 0, and is used only if start_if.
    """

    m: int
    n: int
    k: int
    a: Any
    a_m: int
    a_k: int
    b: Any
    b_k: int
    b_n: int
    c: Any
    c_m: int
    c_n: int
    start: Any = None
    start_m: int = 0
    start_n: int = 0
    start_if: Any = True
    shared: bool = False


def tile(m: Any, p: LanesProduct, row: Any, column: Any, rows: int, columns: int) -> None:
    """A tile of c, kept in registers"""
    a, b = p.a + row * p.a_m, p.b + column * p.b_n
    cells = [(r, c) for r in range(rows) for c in range(columns)]
    if p.start is None or p.start_if is False:
        sums = [m.zero() for _ in cells]
    else:
        start = p.start + row * p.start_m + column * p.start_n
        sums = [m.select(p.start_if, m.load(start + (r * p.start_m + c * p.start_n)), 0.0) for r, c in cells]

    def step(k: Any, *sums: Any) -> list[Any]:
        left, right = a + k * p.a_k, b + k * p.b_k
        rights = [m.load(right + c * p.b_n) for c in range(columns)]
        at = [left + r * p.a_m for r in range(rows)]
        lefts = [m.splat(m.load_number(q)) if p.shared else m.load(q) for q in at]
        return [lefts[r] * rights[c] + total for (r, c), total in zip(cells, sums, strict=True)]

    to = p.c + row * p.c_m + column * p.c_n
    for (r, c), total in zip(cells, unroll(m, 0, p.k, 1, step, sums), strict=True):
        m.store(to + (r * p.c_m + c * p.c_n), total)


def over_parts(m: Any, count: int, most: int, body: Callable[[Any, int], None]) -> None:
    """Call body(first, length) for parts of `count` things, each of `most` except the last."""
    whole = count // most * most
    if whole == most:
        body(0, most)
    else:
        m.loop(0, whole, most, lambda i: body(i, most))
    if whole < count:
        body(whole, count - whole)


def multiply(m: Any, p: LanesProduct) -> None:
    """Compute c."""
    wide = 4 if m.lanes * m.dtype.itemsize == 64 else 2  # 16 registers hold 4 x 2 sums

    def columns(column: Any, count: int) -> None:
        over_parts(m, p.m, 4, lambda row, rows: tile(m, p, row, column, rows, count))

    over_parts(m, p.n, wide, columns)


class Row:
    """Vectors in memory, with the interface of a list of vectors."""

    def __init__(self, m: Any, pointer: Any) -> None:
        self.m, self.pointer = m, pointer

    def __getitem__(self, o: Any) -> Any:
        return self.m.load(self.pointer + o * self.m.lanes)

    def __setitem__(self, o: Any, v: Any) -> None:
        self.m.store(self.pointer + o * self.m.lanes, v)


class Numbers(Row):
    """Numbers in memory that all lanes share."""

    def __getitem__(self, o: Any) -> Any:
        return self.m.splat(self.m.load_number(self.pointer + o))


def over(m: Any, row: Any, width: int, body: Callable[..., Any], carried: Any = ()) -> Any:
    """carried = body(o, *carried) for every vector of a row; unrolled for a list."""
    if not isinstance(row, list):
        return m.loop(0, width, 1, body, carried)
    for o in range(width):
        carried = body(o, *carried) or ()
    return carried


def activate_lanes(m: Any, f: str, z: Any) -> Any:
    """a = f(z) where the latency is hidden by other networks."""
    return fast_sigmoid(m, z) if f == "sigmoid" else activate_vector(m, f, z)


def softmax_row(m: Any, width: int, z: Any, e: Any) -> tuple[Any, Any]:
    """e = e^(z - max z); return max z, and the sum of e."""
    (top,) = over(m, z, width, lambda o, top: [m.larger(z[o], top)], [z[0]])

    def exponential(o: Any, total: Any) -> list[Any]:
        value = vexp(m, z[o] - top)
        e[o] = value
        return [total + value]

    (total,) = over(m, z, width, exponential, [m.zero()])
    return top, total


def output_row(m: Any, loss: str | Loss, f: str, width: int, z: Any, y: Any, d: Any) -> Any:
    """Write d of one row of the last layer, and return L of each network. Softmax overwrites z."""
    share = share_of(loss, width)
    if name_of(loss) == "gaussian_nll":
        half = width // 2

        def target(t: Any, total: Any) -> list[Any]:
            by_mean, by_variance, term = gaussian(m, z[t], z[t + half], y[t])
            d[t], d[t + half] = share * by_mean, share * by_variance
            return [total + term]

        (total,) = over(m, z, half, target, [m.zero()])
        return share * total
    if f != "softmax":

        def single(o: Any, total: Any) -> list[Any]:
            logit, target, q = z[o], y[o], quantiles_at(m, loss, o, 0)
            a = activate_lanes(m, f, logit)
            d[o] = delta_vector(m, loss, f, logit, a, target, share, q=q)
            return [total + loss_vector(m, loss, f, logit, a, target, q=q)]

        (total,) = over(m, z, width, single, [m.zero()])
        return share * total
    if loss == "cross_entropy":
        return cross_entropy_row(m, width, z, y, d)
    _, sums = softmax_row(m, width, z, d)
    inverse = 1.0 / sums

    def slope(o: Any, mean: Any, total: Any) -> list[Any]:
        a, target, q = d[o] * inverse, y[o], quantiles_at(m, loss, o, 0)
        da = share * slope_vector(m, loss, a, target, q=q)
        z[o], d[o] = a, da
        return [da * a + mean, total + loss_vector(m, loss, f, a, a, target, q=q)]

    def delta(o: Any, mean: Any) -> list[Any]:
        d[o] = z[o] * (d[o] - mean)
        return [mean]

    mean, total = over(m, z, width, slope, [m.zero(), m.zero()])
    over(m, z, width, delta, [mean])
    return share * total


def cross_entropy_row(m: Any, width: int, z: Any, y: Any, d: Any) -> Any:
    """Softmax with cross-entropy: -log a_o = (max z - z_o) + log(sum e^(z - max z))"""
    top, sums = softmax_row(m, width, z, d)
    inverse, logarithm = 1.0 / sums, vlog(m, sums)

    def term(o: Any, total: Any) -> list[Any]:
        target = y[o]
        surprisal = (top - z[o]) + logarithm
        d[o] = d[o] * inverse - target
        return [total + m.where(target != 0.0, target * surprisal)]  # not 0 * infinity

    (total,) = over(m, z, width, term, [m.zero()])
    return total
