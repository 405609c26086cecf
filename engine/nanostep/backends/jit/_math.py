"""exp and its relatives on vectors, by the same methods and coefficients as ``csrc/src/kernels/math.inc``.

Coefficients: ``tools/fit_polynomials.py``. NaN gives NaN; infinities and subnormal results are right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

LOG2_E = float.fromhex("0x1.71547652b82fep0")
SQRT_HALF = float.fromhex("0x1.6a09e667f3bcdp-1")


@dataclass(frozen=True)
class Precision:
    """Constants of one precision.

    Attributes
    ----------
    mantissa, bias : int
        Bits of the mantissa, and the bias of the exponent.
    rounder : float
        Adding it rounds to an integer, which is in the low bits of the sum.
    ln2_high, ln2_low : float
        log 2 in two parts; the first has so few bits that its multiples by an exponent are exact.
    exp_low, exp_high : float
        x e^x is 0 below the first, e^x is infinite above the second.
    smallest_normal : float
    ln2, ln2_rest : float
        log 2 rounded, and the rest of log 2.
    limit : float
        Sigmoid is 0 or 1 beyond.
    big : int
        Exponents as near to the largest as this are halved in two steps.
    exp, log1p, log : tuple of float
        Coefficients of the polynomials.
    """

    mantissa: int
    bias: int
    rounder: float
    ln2_high: float
    ln2_low: float
    exp_low: float
    exp_high: float
    smallest_normal: float
    ln2: float
    ln2_rest: float
    limit: float
    big: int
    exp: tuple[float, ...]
    log1p: tuple[float, ...]
    log: tuple[float, ...]


def _hex(text: str) -> tuple[float, ...]:
    return tuple(float.fromhex(value) for value in text.split())


PRECISIONS = {
    np.dtype(np.float32): Precision(
        23, 127, 1.5 * 2.0**23, float.fromhex("0x1.62e4p-1"), float.fromhex("0x1.7f7d1cp-20"), -110.0, 89.0, 2.0**-126,
        float.fromhex("0x1.62e43p-1"), float.fromhex("-0x1.05c61p-29"), 120.0, 32,
        _hex("0x1p-1 0x1.5554dcp-3 0x1.55551ap-5 0x1.120b6ep-7 0x1.6d110ap-10"),
        _hex("0x1.555556p-1 0x1.9998d4p-2 0x1.24c926p-2 0x1.bc8cf8p-3 0x1.dba26p-3"),
        _hex("0x1.555556p-1 0x1.9999ecp-2 0x1.245c3ep-2 0x1.ddd00cp-3"),
    ),
    np.dtype(np.float64): Precision(
        52, 1023, 1.5 * 2.0**52, float.fromhex("0x1.62e42feep-1"),
        float.fromhex("0x1.a39ef35793c76p-33"), -753.0, 710.0, 2.0**-1022,
        float.fromhex("0x1.62e42fefa39efp-1"), float.fromhex("0x1.abc9e3b39803fp-56"), 760.0, 128,
        _hex("0x1.0000000000001p-1 0x1.5555555555556p-3 0x1.5555555553d63p-5 0x1.11111111109b3p-7"
             " 0x1.6c16c1788bd90p-10 0x1.a01a01a7c41d5p-13 0x1.a019b90d2ae7ap-16 0x1.71de0dae63bb3p-19"
             " 0x1.289185613a3d6p-22 0x1.af38a9b0ec855p-26"),
        _hex("0x1.5555555555555p-1 0x1.999999999999cp-2 0x1.2492492491fe8p-2 0x1.c71c71c77e0f7p-3"
             " 0x1.745d1724e5b21p-3 0x1.3b13b7c41e111p-3 0x1.11103f2bddc9fp-3 0x1.e2046677f3c39p-4"
             " 0x1.ad46f379b316dp-4 0x1.9739afdde0110p-4 0x1.0371f75936f6fp-4 0x1.37efaea22dc4bp-3"),
        _hex("0x1.5555555555558p-1 0x1.99999999952ccp-2 0x1.2492492df3ba9p-2 0x1.c71c62e26208bp-3"
             " 0x1.7462b58e46ebep-3 0x1.39fe42e9740a7p-3 0x1.2b59b713616c9p-3"),
    ),
}  # fmt: skip


def exp_core(m: Any, r: Any, r2: Any) -> Any:
    """q of e^r = 1 + r + r^2 q, |r| <= log(2) / 2, to about 0.1 ulp of e^r; r2 = r^2"""
    c = PRECISIONS[m.dtype].exp
    if len(c) == 5:
        return (c[1] * r + c[0]) + ((c[3] * r + c[2]) + c[4] * r2) * r2
    r4 = r2 * r2
    q03 = (c[1] * r + c[0]) + (c[3] * r + c[2]) * r2
    q47 = (c[5] * r + c[4]) + (c[7] * r + c[6]) * r2
    return q03 + (q47 + (c[9] * r + c[8]) * r4) * r4


def reduce(m: Any, x: Any) -> tuple[Any, Any, Any, Any]:
    """Return n as a number and as an integer, r, and r^2 q, with e^x = 2^n (1 + r + r^2 q) for x within the limits."""
    p = PRECISIONS[m.dtype]
    shifted = x * LOG2_E + p.rounder
    n = m.bits(shifted) - m.bits(m.splat(p.rounder))
    whole = shifted - p.rounder
    r = (x - whole * p.ln2_high) - whole * p.ln2_low
    r2 = r * r
    return whole, n, r, r2 * exp_core(m, r, r2)


def power_of_two(m: Any, n: Any) -> Any:
    """2^n for n in the normal range"""
    p = PRECISIONS[m.dtype]
    return m.reals((n + p.bias) << p.mantissa)


def power_in_halves(m: Any, n: Any) -> tuple[Any, Any]:
    """Two factors of 2^n, where n may leave the normal range by half its width."""
    bias = PRECISIONS[m.dtype].bias
    half = ((n + 2 * bias) >> 1) - bias
    return power_of_two(m, half), power_of_two(m, n - half)


def times_power(m: Any, x: Any, whole: Any, n: Any) -> Any:
    """The product x 2^n, rounded once"""
    if m.scales:
        return m.scale_by_power(x, whole)
    scale, rest = power_in_halves(m, n)
    return x * scale * rest


def vexp(m: Any, x: Any) -> Any:
    """e^x"""
    p = PRECISIONS[m.dtype]
    whole, n, r, square = reduce(m, m.at_most(m.at_least(x, p.exp_low), p.exp_high))
    return times_power(m, 1.0 + (r + square), whole, n)


def magnitude(m: Any, x: Any) -> Any:
    """|x|"""
    return m.reals(m.bits(x) & ~m.bits(m.splat(-0.0)))


def with_sign(m: Any, size: Any, x: Any) -> Any:
    """A number of this size with the sign of x"""
    sign = m.bits(m.splat(-0.0))
    return m.reals((m.bits(size) & ~sign) | (m.bits(x) & sign))


def minus_abs(m: Any, x: Any) -> Any:
    """-|x|, but not below the least argument of exp"""
    return m.at_least(m.reals(m.bits(x) | m.bits(m.splat(-0.0))), PRECISIONS[m.dtype].exp_low)


def exp_minus_abs(m: Any, x: Any) -> Any:
    """e^-|x|"""
    whole, n, r, square = reduce(m, minus_abs(m, x))
    return times_power(m, 1.0 + (r + square), whole, n)


def expm1_negative(m: Any, x: Any) -> Any:
    """e^x - 1 for x <= 0; -1 below -50. The last sum is exact or rounds once: 2^n - 1 is exact where it matters."""
    _, n, r, square = reduce(m, m.at_least(x, -50.0))
    scale = power_of_two(m, n)
    return scale * (r + square) + (scale - 1.0)


def log1p_unit(m: Any, u: Any) -> Any:
    """log(1 + u) for u in [0, 1]: with s = u / (2 + u) it is 2 artanh(s) = u - s (u - s^2 q)."""
    c = PRECISIONS[m.dtype].log1p
    s = u / (2.0 + u)
    w = s * s
    w2 = w * w
    if len(c) == 5:
        q = (c[1] * w + c[0]) + ((c[3] * w + c[2]) + c[4] * w2) * w2
    else:
        w4 = w2 * w2
        q03 = (c[1] * w + c[0]) + (c[3] * w + c[2]) * w2
        q47 = (c[5] * w + c[4]) + (c[7] * w + c[6]) * w2
        q8b = (c[9] * w + c[8]) + (c[11] * w + c[10]) * w2
        q = q03 + (q47 + q8b * w4) * w4
    return u - s * (u - w * q)


def vlog(m: Any, x: Any) -> Any:
    """log x = k log 2 + log(1 + f), 1 + f in [sqrt(1/2), sqrt(2)); log(1 + f) as above."""
    p = PRECISIONS[m.dtype]
    is_small = x < p.smallest_normal
    bits = m.bits(m.select(is_small, x * 2.0 ** (p.mantissa + 1), x))
    biased = (bits - m.bits(m.splat(SQRT_HALF)) + (p.bias << p.mantissa)) >> p.mantissa
    f = m.reals(bits - ((biased - p.bias) << p.mantissa)) - 1.0
    k = m.reals(biased - p.bias + m.bits(m.splat(p.rounder))) - p.rounder
    k = m.select(is_small, k - float(p.mantissa + 1), k)
    s = f / (2.0 + f)
    w = s * s
    c = p.log
    if len(c) == 4:
        q = (c[1] * w + c[0]) + (c[3] * w + c[2]) * (w * w)
    else:
        w2 = w * w
        q03 = (c[1] * w + c[0]) + (c[3] * w + c[2]) * w2
        q46 = (c[5] * w + c[4]) + c[6] * w2
        q = q03 + q46 * (w2 * w2)
    finite = k * p.ln2_high + (f + (k * p.ln2_low - s * (f - w * q)))
    special = m.select(x == 0.0, m.splat(-np.inf), m.select(x < 0.0, m.splat(np.nan), x))
    return m.select((x > 0.0) & (x < np.inf), finite, special)


def sigmoid(m: Any, x: Any) -> Any:
    """1 / (1 + e^-x)"""
    return short_sigmoid(m, x) if m.fuses else sigmoid_by_sign(m, x)


def short_sigmoid(m: Any, x: Any) -> Any:
    """The sigmoid with the lowest latency: a step of a tiny network is little more than two of them in a row.

    n log 2 is one product, exact within the FMA, and the rest of log 2 is added late. The exponent is split between
    numerator and denominator, so that small results are rounded once, also below the normal range. Beyond +-limit,
    where r is not accurate, the result is 0 or 1.
    """
    p = PRECISIONS[m.dtype]
    shifted = p.rounder - x * LOG2_E
    whole = shifted - p.rounder
    r, c = -x - whole * p.ln2, whole * p.ln2_rest
    r2 = r * r
    late = r - c * ((1.0 + r) + 0.5 * r2)
    e = late + r2 * exp_core(m, r, r2)  # e^r - 1
    bounded = m.at_most(m.at_least(shifted, p.rounder + 1 - p.bias), p.rounder + p.bias + p.big)
    n = m.bits(bounded) - m.bits(m.splat(p.rounder))
    is_big = n > p.bias - p.big
    less = m.integer_where(is_big, 2 * p.big)
    scale, share = power_of_two(m, n - less), power_of_two(m, 0 - less)
    one = m.select(is_big, 0.0, 1.0)
    is_far = (x > p.limit) | (x < -p.limit)
    return m.select(is_far, m.select(x > 0.0, 1.0, 0.0), share / ((one + scale) + e * scale))


def fast_sigmoid(m: Any, x: Any) -> Any:
    """The sigmoid with the fewest operations, for loops that hide its latency: a division alone would be a third of a
    step of 2-2-1. The reciprocal is an estimate of 14 bits that Newton's method refines; the error is below three ulp.
    Results below the normal range, or only just within it, are 0."""
    if not m.estimates:
        return sigmoid(m, x)
    lowest = -87.0 if m.dtype == np.float32 else -708.0
    whole, n, r, square = reduce(m, -m.at_most(m.at_least(x, lowest), PRECISIONS[m.dtype].limit))
    d = 1.0 + times_power(m, (1.0 + r) + square, whole, n)
    inverse = m.reciprocal_estimate(d)
    for _ in range(m.dtype.itemsize // 4):
        inverse = inverse + inverse * (1.0 - d * inverse)
    return m.select(x < lowest, 0.0, inverse)


def sigmoid_by_sign(m: Any, x: Any) -> Any:
    """The same as e^x / (1 + e^x) for x < 0, for processors without FMA: neither overflows nor loses small values."""
    _, n, r, square = reduce(m, minus_abs(m, x))
    u = (1.0 + r) + square
    scale, rest = power_in_halves(m, n)
    return m.select(x < 0.0, u * scale * rest, 1.0) / (1.0 + u * (scale * rest))


def tanh(m: Any, x: Any) -> Any:
    """-t / (2 + t) with t = e^(-2|x|) - 1, and the sign of x"""
    t = expm1_negative(m, -2.0 * magnitude(m, x))
    return with_sign(m, t / (-2.0 - t), x)


def softplus(m: Any, x: Any) -> Any:
    """max(x, 0) + log(1 + e^-|x|)"""
    return m.at_least(x, 0.0) + log1p_unit(m, exp_minus_abs(m, x))


def elu(m: Any, x: Any) -> Any:
    """The identity, or e^x - 1 for x < 0"""
    return m.select(x < 0.0, expm1_negative(m, x), x)


def silu(m: Any, x: Any) -> Any:
    """The quotient x / (1 + e^-x), or x e^x / (1 + e^x) for x < 0, where x e^x is rounded once, also below the normal
    range."""
    minus = minus_abs(m, x)
    whole, n, r, square = reduce(m, minus)
    u = 1.0 + (r + square)
    return m.select(x < 0.0, times_power(m, minus * u, whole, n), x) / (1.0 + times_power(m, u, whole, n))
