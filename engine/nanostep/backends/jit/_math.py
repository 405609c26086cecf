"""exp and its relatives as short polynomials that LLVM inlines and vectorises, in both precisions.

Method and coefficients are those of ``csrc/src/kernels/math.inc`` (see ``tools/fit_polynomials.py``); a call of libm's
exp would keep a loop from being vectorised. NaN gives NaN; infinities and results below the normal range are right.

Each function is a stub with an overload: Numba calls the overload with the type of the argument and gets the body with
constants of that type, so that float32 stays float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from nanostep.backends.jit._compile import EXACT, OPTIONS

JIT_OPTIONS = {"fastmath": EXACT, **OPTIONS}
REALS = {types.float32: (np.float32, np.int32), types.float64: (np.float64, np.int64)}
INTEGERS = {types.float32: types.int32, types.float64: types.int64}
FLOATS = {integer: real for real, integer in INTEGERS.items()}

LOG2_E = 1.4426950408889634
RANGES = {types.float32: (-104.0, 89.0), types.float64: (-746.0, 710.0)}
"""e^x is 0 below the first and infinite above the second."""


def _hex(*values: str) -> tuple[float, ...]:
    return tuple(float.fromhex(value) for value in values)


LN2 = {
    types.float32: _hex("0x1.62e4p-1", "0x1.7f7d1cp-20"),
    types.float64: _hex("0x1.62e42feep-1", "0x1.a39ef35793c76p-33"),
}
"""log 2 in two parts; the first has so few bits that its multiples by an exponent are exact."""

MANTISSA = {types.float32: (23, 127), types.float64: (52, 1023)}
"""Bits of the mantissa, and the bias of the exponent."""


@intrinsic
def bits_of(typingctx: Any, x: Any) -> Any:
    """The bits of a float as an integer of its width."""
    if x not in INTEGERS:
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(signature.return_type.bitwidth))

    return INTEGERS[x](x), generate


@intrinsic
def float_of(typingctx: Any, bits: Any) -> Any:
    """The float that has these bits."""
    if bits not in FLOATS:
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(signature.return_type))

    return FLOATS[bits](bits), generate


def _stub(name: str, doc: str) -> Any:
    def stub(x):
        raise TypeError(f"{name} is for compiled code")

    stub.__name__, stub.__doc__ = name, doc
    return stub


reduce_range = _stub("reduce_range", "n, r and r^2 q with e^x = 2^n (1 + r + r^2 q), for x within RANGES.")


def power_of_two(n):
    """2^n as a float, for integer n in the normal range."""
    raise TypeError("power_of_two is for compiled code")


exp: Any = _stub("exp", "e^x")
expm1_negative: Any = _stub("expm1_negative", "e^x - 1 for x <= 0; -1 below -50.")
log1p_unit = _stub("log1p_unit", "log(1 + u) for u in [0, 1] = 2 artanh(u / (2 + u)).")
sigmoid = _stub("sigmoid", "1 / (1 + e^-x), or e^x / (1 + e^x) for x < 0: nothing overflows or is lost.")
tanh = _stub("tanh", "-t / (2 + t) with t = e^(-2|x|) - 1, and the sign of x.")
softplus = _stub("softplus", "max(x, 0) + log(1 + e^-|x|)")
elu = _stub("elu", "x, or e^x - 1 for x <= 0")


@overload(reduce_range, jit_options=JIT_OPTIONS)
def _reduce_range(x):
    real, _ = REALS[x]
    high, low = map(real, LN2[x])
    rounder, log2_e = real(1.5 * 2.0 ** MANTISSA[x][0]), real(LOG2_E)
    if x == types.float32:
        c0, c1, c2, c3, c4 = map(
            real, _hex("0x1p-1", "0x1.5554dcp-3", "0x1.55551ap-5", "0x1.120b6ep-7", "0x1.6d110ap-10")
        )

        def body(x):
            shifted = x * log2_e + rounder
            whole = shifted - rounder
            r = (x - whole * high) - whole * low
            r2 = r * r
            q = (c0 + c1 * r) + (c2 + c3 * r) * r2 + c4 * (r2 * r2)
            return bits_of(shifted) - bits_of(rounder), r, r2 * q

        return body
    d = _hex(
        "0x1.0000000000001p-1", "0x1.5555555555556p-3", "0x1.5555555553d63p-5", "0x1.11111111109b3p-7",
        "0x1.6c16c1788bd90p-10", "0x1.a01a01a7c41d5p-13", "0x1.a019b90d2ae7ap-16", "0x1.71de0dae63bb3p-19",
        "0x1.289185613a3d6p-22", "0x1.af38a9b0ec855p-26",
    )  # fmt: skip

    def body64(x):
        shifted = x * log2_e + rounder
        whole = shifted - rounder
        r = (x - whole * high) - whole * low
        r2 = r * r
        r4 = r2 * r2
        q03 = (d[0] + d[1] * r) + (d[2] + d[3] * r) * r2
        q47 = (d[4] + d[5] * r) + (d[6] + d[7] * r) * r2
        q = q03 + (q47 + (d[8] + d[9] * r) * r4) * r4
        return bits_of(shifted) - bits_of(rounder), r, r2 * q

    return body64


@overload(power_of_two, jit_options=JIT_OPTIONS)
def _power_of_two(n):
    _, integer = REALS[FLOATS[n]]
    mantissa, bias = map(integer, MANTISSA[FLOATS[n]])

    def body(n):
        return float_of(integer((n + bias) << mantissa))

    return body


@overload(exp, jit_options=JIT_OPTIONS)
def _exp(x):
    real, integer = REALS[x]
    lowest, highest = map(real, RANGES[x])
    one, shift = real(1), integer(1)

    def body(x):
        x = lowest if x < lowest else x  # NaN stays
        x = highest if x > highest else x
        n, r, square = reduce_range(x)
        half = integer(n >> shift)  # 2^n in two factors, so that it may leave the normal range
        return (one + (r + square)) * power_of_two(half) * power_of_two(integer(n - half))

    return body


@overload(expm1_negative, jit_options=JIT_OPTIONS)
def _expm1_negative(x):
    real, integer = REALS[x]
    lowest, one = real(-50), real(1)

    def body(x):
        n, r, square = reduce_range(lowest if x < lowest else x)
        scale = power_of_two(integer(n))
        return scale * (r + square) + (scale - one)

    return body


@overload(log1p_unit, jit_options=JIT_OPTIONS)
def _log1p_unit(x):
    real, _ = REALS[x]
    two = real(2)
    if x == types.float32:
        c0, c1, c2, c3, c4 = map(
            real, _hex("0x1.555556p-2", "0x1.9998d4p-3", "0x1.24c926p-3", "0x1.bc8cf8p-4", "0x1.dba26p-4")
        )

        def body(x):
            s = x / (two + x)
            w = s * s
            q = (c0 + c1 * w) + (c2 + c3 * w) * (w * w) + c4 * ((w * w) * (w * w))
            return two * s + two * s * w * q

        return body
    d = _hex(
        "0x1.5555555555555p-2", "0x1.999999999999cp-3", "0x1.2492492491fe8p-3", "0x1.c71c71c77e0f7p-4",
        "0x1.745d1724e5b21p-4", "0x1.3b13b7c41e111p-4", "0x1.11103f2bddc9fp-4", "0x1.e2046677f3c39p-5",
        "0x1.ad46f379b316dp-5", "0x1.9739afdde0110p-5", "0x1.0371f75936f6fp-5", "0x1.37efaea22dc4bp-4",
    )  # fmt: skip

    def body64(x):
        s = x / (two + x)
        w = s * s
        w2 = w * w
        w4 = w2 * w2
        q03 = (d[0] + d[1] * w) + (d[2] + d[3] * w) * w2
        q47 = (d[4] + d[5] * w) + (d[6] + d[7] * w) * w2
        q8b = (d[8] + d[9] * w) + (d[10] + d[11] * w) * w2
        return two * s + two * s * w * (q03 + (q47 + q8b * w4) * w4)

    return body64


@overload(sigmoid, jit_options=JIT_OPTIONS)
def _sigmoid(x):
    real, _ = REALS[x]
    zero, one = real(0), real(1)

    def body(x):
        e = exp(-abs(x))
        return (e if x < zero else one) / (one + e)

    return body


@overload(tanh, jit_options=JIT_OPTIONS)
def _tanh(x):
    real, _ = REALS[x]
    zero, two = real(0), real(2)

    def body(x):
        t = expm1_negative(-(two * abs(x)))
        magnitude = -t / (two + t)
        return -magnitude if x < zero else magnitude

    return body


@overload(softplus, jit_options=JIT_OPTIONS)
def _softplus(x):
    real, _ = REALS[x]
    zero = real(0)

    def body(x):
        return (zero if x < zero else x) + log1p_unit(exp(-abs(x)))

    return body


@overload(elu, jit_options=JIT_OPTIONS)
def _elu(x):
    real, _ = REALS[x]
    zero = real(0)

    def body(x):
        return x if x > zero else expm1_negative(x)

    return body
