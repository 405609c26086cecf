"""Activations and their derivatives. Constants are PyTorch's defaults: slope 0.01, alpha = 1, beta = 1."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from nanostep.backends.jit._compile import FASTMATH, OPTIONS, specialised
from nanostep.backends.jit._kernel import Choice, choice, kernel
from nanostep.backends.jit._math import elu, expm1_negative, sigmoid, silu, softplus, tanh, vexp
from nanostep.backends.jit.vector import largest_lane, sum_lanes

Array = np.ndarray

LEAKY_SLOPE = 0.01


def activate_vector(m: Any, f: str, z: Any) -> Any:
    """a = f(z), elementwise f"""
    if f == "sigmoid":
        return sigmoid(m, z)
    if f == "tanh":
        return tanh(m, z)
    if f == "relu":
        return m.at_least(z, 0.0)
    if f == "leaky_relu":
        return m.select(z > 0.0, z, LEAKY_SLOPE * z)
    if f == "elu":
        return elu(m, z)
    if f == "softplus":
        return softplus(m, z)
    if f == "silu":
        return silu(m, z)
    assert f == "identity"
    return z


def derivative_vector(m: Any, f: str, z: Any, a: Any) -> Any:
    """f'(z); a = f(z)"""
    if f == "sigmoid":
        return a * (1.0 - a)
    if f == "tanh":
        return 1.0 - a * a
    if f == "relu":
        return m.select(a > 0.0, 1.0, 0.0)
    if f == "leaky_relu":
        return m.select(a > 0.0, 1.0, LEAKY_SLOPE)
    if f == "elu":
        return m.select(a > 0.0, 1.0, a + 1.0)
    if f == "softplus":
        return -expm1_negative(m, -a)  # sigmoid(z) = 1 - e^-a
    if f == "silu":
        s = sigmoid(m, z)
        return s * (1.0 + z * (1.0 - s))
    assert f == "identity"
    return m.splat(1.0)


def over_vectors(m: Any, count: Any, body: Any, carried: Any = ()) -> Any:
    """carried = body(i, part, *carried) for every vector of `count` entries; part is None, or the number of entries in
    an incomplete last vector."""
    whole = count // m.lanes * m.lanes
    carried = m.loop(0, whole, m.lanes, lambda i, *c: body(i, None, *c), carried)
    rest = count - whole
    if isinstance(rest, int):
        return body(whole, rest, *carried) if rest > 0 else carried
    return m.when(rest > 0, lambda *c: body(whole, rest, *c), None, carried)


def activate_elements(m: Any, f: str, count: Any, z: Any, a: Any) -> None:
    """a = f(z), elementwise f; a may be z"""

    def body(i: Any, part: Any) -> None:
        m.store_part(a + i, part, activate_vector(m, f, m.load_part(z + i, part)))

    over_vectors(m, count, body)


def times_derivative(m: Any, f: str, count: Any, z: Any, a: Any, d: Any) -> None:
    """d *= f'(z), elementwise f"""

    def body(i: Any, part: Any) -> None:
        df = derivative_vector(m, f, m.load_part(z + i, part), m.load_part(a + i, part))
        m.store_part(d + i, part, m.load_part(d + i, part) * df)

    if f != "identity":
        over_vectors(m, count, body)


def row_maximum(m: Any, width: Any, z: Any) -> Any:
    """The largest of `width` numbers, in every lane of a vector; nothing beyond them is read."""
    lowest = m.splat(-np.inf)

    def body(o: Any, part: Any, top: Any) -> list[Any]:
        v = m.load_part(z + o, part)
        return [m.larger(v if part is None else m.select(m.first_lanes(part), v, lowest), top)]

    (top,) = over_vectors(m, width, body, [lowest])
    return largest_lane(m, top)


def softmax_row(m: Any, width: Any, z: Any, a: Any) -> None:
    """A row of softmax: e^(z - max) / sum; a may be z. Nothing beyond `width` is read or written."""
    top = row_maximum(m, width, z)

    def exponential(o: Any, part: Any, total: Any) -> list[Any]:
        e = m.keep_part(vexp(m, m.load_part(z + o, part) - top), part)
        m.store_part(a + o, part, e)
        return [total + e]

    (total,) = over_vectors(m, width, exponential, [m.zero()])
    total = sum_lanes(m, total)
    over_vectors(m, width, lambda o, part: m.store_part(a + o, part, m.load_part(a + o, part) / total))


def activate_rows(m: Any, f: str, rows: Any, width: int, stride: int, z: Any, a: Any) -> None:
    """a = f(z) on rows `stride` apart"""
    if f == "softmax":
        m.loop(0, rows, 1, lambda b: softmax_row(m, width, z + b * stride, a + b * stride))
    else:
        activate_elements(m, f, rows * stride, z, a)


@kernel(fastmath=FASTMATH)
def activate_kernel(m: Any, static: Choice, rows: Any, width: Any, z: Any, a: Any) -> None:
    """See `activate`"""
    activate_rows(m, static.names[0], rows, width, width, z, a)


@kernel(fastmath=FASTMATH)
def derivative_kernel(m: Any, static: Choice, count: Any, z: Any, a: Any, df: Any) -> None:
    """See `activation_derivative`"""
    times_derivative(m, static.names[0], count, z, a, df)


@njit(fastmath=FASTMATH, **OPTIONS)
def run_activate(static, rows, width, z, a):
    """See `activate`"""
    activate_kernel(static, rows, width, z, a)


@njit(fastmath=FASTMATH, **OPTIONS)
def run_derivative(static, count, z, a, df):
    """See `activation_derivative`"""
    derivative_kernel(static, count, z, a, df)


def activate(activation: str, z__bo: Array, a__bo: Array) -> None:
    """a = f(z)"""
    static = choice(z__bo.dtype, activation)
    specialised(run_activate, static)(static, *z__bo.shape, z__bo.reshape(-1), a__bo.reshape(-1))


def activation_derivative(activation: str, z__bo: Array, a__bo: Array, df__bo: Array) -> None:
    """df = f'(z) for an elementwise activation"""
    df__bo[...] = 1
    static = choice(z__bo.dtype, activation)
    flat = (z__bo.reshape(-1), a__bo.reshape(-1), df__bo.reshape(-1))
    specialised(run_derivative, static)(static, z__bo.size, *flat)
