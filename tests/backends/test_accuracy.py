"""Activations against mpmath, in units in the last place (ulp) of the exact value, for every backend.

The C library is measured far more densely by ``csrc/test/accuracy.c``; here the three backends are tested on the same
few thousand hard points: near zero, where methods change, and where results underflow, overflow or saturate.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import ModuleType

import mpmath as mp
import numpy as np
import pytest

from cases import DTYPES
from nanostep.backends import jit, native

DIGITS = 50
"""Decimal digits of the exact values; 40 suffice for e^-x and 1 + e^-x at 4-ulp limits at every point below."""


def sigmoid(x: mp.mpf) -> mp.mpf:
    """The quotient of small and large terms: nothing cancels."""
    u = mp.exp(-abs(x))
    return (u if x < 0 else 1) / (1 + u)


EXACT: dict[str, Callable[[mp.mpf], mp.mpf]] = {
    "sigmoid": sigmoid,
    "tanh": mp.tanh,
    "softplus": lambda x: max(x, 0) + mp.log1p(mp.exp(-abs(x))),
    "elu": lambda x: x if x > 0 else mp.expm1(x),
    "silu": lambda x: x * sigmoid(x),
    "softmax": sigmoid,  # first of the two outputs for (x, 0)
}

LIMITS = {"sigmoid": 4.0, "tanh": 4.0, "softplus": 3.0, "elu": 2.0, "silu": 4.0, "softmax": 4.0}
"""Largest errors in ulp."""

STRICTER = {"nanostep.backends.native": {"softplus": 2.0}, "nanostep.backends.jit": {"softplus": 2.0}}
"""Limits of backends that promise more."""

FROM_SIGMOID = ("nanostep.backends.reference",)
"""Backends whose silu is x times sigmoid(x): where sigmoid(x) is below the normal range its error of one step of the
subnormal numbers becomes |x| steps. The others round x e^x once."""


def limits(backend: ModuleType, activation: str, dtype: str) -> np.ndarray:
    """The largest error at each hard point, in ulp."""
    x = hard_points(dtype)
    limit = STRICTER.get(backend.__name__, {}).get(activation, LIMITS[activation])
    result = np.full(len(x), limit)
    if activation == "silu" and backend.__name__ in FROM_SIGMOID:
        lost = x < np.log(np.finfo(dtype).smallest_normal)
        result[lost] = np.maximum(limit, np.abs(x[lost]))
    return result


@cache
def hard_points(dtype: str) -> np.ndarray:
    """Return sorted finite points: neighbours of places where a method changes, and random ones of every size."""
    real = np.dtype(dtype).type
    info = np.finfo(real)
    rng = np.random.default_rng(7)
    log2 = float(np.log(2))
    overflow, underflow = float(np.log(float(info.max))), -float(np.log(float(info.smallest_normal)))
    lowest = underflow + info.nmant * log2  # e^-x reaches the smallest subnormal number
    saturation = (info.nmant + 2) * log2  # from here 1 + e^-x is 1, and from half of it tanh is 1
    centres = [0.5, 1, 2, saturation / 2, saturation, 50, underflow, lowest, lowest + 1, overflow]
    centres += [half * log2 / 2 for half in range(1, 40)]
    near = [np.nextafter(real(c), real(side)) for c in centres for side in (0, np.inf)]
    scales = 10.0 ** rng.uniform(np.log10(float(info.smallest_subnormal)), 4, 400)
    pieces = [
        np.array(centres, real), np.array(near, real), scales.astype(real),
        rng.uniform(0, lowest + 5, 500).astype(real), rng.uniform(0, 3, 400).astype(real),
        np.array([info.smallest_subnormal, info.smallest_normal, info.max, info.eps, info.eps / 2], real),
    ]  # fmt: skip
    positive = np.concatenate(pieces)
    return np.unique(np.concatenate([positive, -positive, [real(0)]]))


def ulp(value: mp.mpf, info: np.finfo) -> mp.mpf:
    """Return the distance between neighbouring numbers at `value`."""
    exponent = int(mp.floor(mp.log(abs(value), 2))) if value != 0 else info.minexp
    return mp.ldexp(1, max(exponent, info.minexp) - info.nmant)


@cache
def exact_values(activation: str, dtype: str) -> list[mp.mpf]:
    """Return f at the hard points."""
    with mp.workdps(DIGITS):
        return [EXACT[activation](mp.mpf(float(x))) for x in hard_points(dtype)]


def errors(activation: str, dtype: str, a: np.ndarray) -> np.ndarray:
    """Return the distance of `a` from f at each hard point in ulp, with 2^(largest exponent + 1) for infinity."""
    info = np.finfo(dtype)
    with mp.workdps(DIGITS):
        bound = mp.ldexp(1, info.maxexp)
        distances = []
        for result, exact in zip(a, exact_values(activation, dtype), strict=True):
            value = bound if result == np.inf else mp.mpf(float(result))
            distances.append(float(abs(value - exact) / ulp(exact, info)))
    return np.array(distances)


def activate(backend: ModuleType, activation: str, dtype: str) -> np.ndarray:
    """Return f at the hard points, computed by `backend`."""
    x = hard_points(dtype)
    z = np.column_stack([x, np.zeros_like(x)]) if activation == "softmax" else x[None]
    a = np.empty_like(z)
    backend.activations.activate(activation, z, a)
    return a[:, 0] if activation == "softmax" else a[0]


EVERY = pytest.mark.parametrize(("activation", "dtype"), [(name, dtype) for name in EXACT for dtype in DTYPES])


def check(backend: ModuleType, activation: str, dtype: str, a: np.ndarray) -> None:
    excess = errors(activation, dtype, a) - limits(backend, activation, dtype)
    worst = int(np.argmax(np.where(np.isnan(excess), np.inf, excess)))
    assert excess[worst] <= 0, f"at {hard_points(dtype)[worst]!r}: {excess[worst]:.3g} ulp beyond the limit"


@EVERY
def test_errors_are_within_the_limits(backend: ModuleType, activation: str, dtype: str) -> None:
    check(backend, activation, dtype, activate(backend, activation, dtype))


@pytest.mark.parametrize("isa", native.available_isas())
@EVERY
def test_every_instruction_set_is_within_the_limits(activation: str, dtype: str, isa: str) -> None:
    before = native.isa_in_use()
    native.select_isa(isa)
    try:
        check(native, activation, dtype, activate(native, activation, dtype))
    finally:
        native.select_isa(before)


@EVERY
def test_check_notices_errors_of_a_few_ulp(activation: str, dtype: str) -> None:
    a = activate(native, activation, dtype)
    with np.errstate(over="ignore"):
        for _ in range(5):
            a = np.nextafter(a, a.dtype.type(np.inf))
    with pytest.raises(AssertionError, match="beyond the limit"):
        check(native, activation, dtype, a)


@pytest.mark.parametrize("activation", ["tanh", "elu", "silu"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("compiled", [native, jit], ids=["c", "numba"])
def test_zero_keeps_its_sign(compiled: ModuleType, activation: str, dtype: str) -> None:
    z = np.array([[-0.0, 0.0]], dtype)
    a = np.full_like(z, np.nan)
    compiled.activations.activate(activation, z, a)
    assert a.tolist() == [[0, 0]]
    assert np.signbit(a).tolist() == [[True, False]]
