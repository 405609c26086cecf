"""One update of the parameters. Formulas, with their sources, stand in `nanostep.optimizers`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from nanostep.backends.jit._compile import FASTMATH, OPTIONS, specialised
from nanostep.backends.jit._kernel import Choice, choice, kernel
from nanostep.backends.jit.activations import over_vectors
from nanostep.backends.jit.vector import sum_lanes
from nanostep.backends.reference.optimizers import CLIP_EPS
from nanostep.optimizers import HYPERPARAMETERS, Optimizer

Array = np.ndarray

(
    LR, MOMENTUM, DAMPENING, NESTEROV, WEIGHT_DECAY, ALPHA, CENTERED, EPS, BETA1, BETA2, AMSGRAD, L1, CLIP_NORM,
    CLIP_VALUE, VELOCITY_WITH_RATE, EPSILON_HAT,
) = range(len(HYPERPARAMETERS))  # fmt: skip

MARKED = ("l1", "clip_norm", "clip_value")
"""Hyper-parameters that make code of their own where they are not 0; others are known at run time only."""


def hyperparameter_array(optimizer: Optimizer) -> Array:
    """Return float64 values in the order of HYPERPARAMETERS, 0 for those the optimiser does not have."""
    given = optimizer.hyperparameters()
    return np.array([given.get(name, 0.0) for name in HYPERPARAMETERS])


def marks_of(hyperparameters: Sequence[float]) -> tuple[str, ...]:
    """Return which of `MARKED` are not 0, from values in the order of HYPERPARAMETERS."""
    return tuple(name for name in MARKED if hyperparameters[HYPERPARAMETERS.index(name)] != 0)


def rule_of(optimizer: Optimizer, dtype: np.dtype) -> Choice:
    """Return the Static of the code for a kind of optimiser: its kind, and what is marked."""
    kind = {"adamw": "adam"}.get(optimizer.kind, optimizer.kind)
    return choice(dtype, kind, *marks_of(hyperparameter_array(optimizer).tolist()))


@dataclass
class Update:
    """Where one update works: `count` entries of theta and grad, and of slots, which are slot_row apart.

    h holds hyper-parameters by position: a place, or a tuple where they are known; marks says which of `MARKED` count;
    lr is the learning rate; the gradient is scale * grad; t counts updates from 1.
    """

    m: Any
    h: Any
    marks: Sequence[str]
    lr: Any
    t: Any
    scale: Any
    count: Any
    slot_row: Any
    theta: Any
    grad: Any
    slots: Any

    def given(self, name: int) -> Any:
        """A hyper-parameter, in float64."""
        return given(self.m, self.h, name)

    def over(self, body: Any, *scalars: Any, l1: Any = None, gain: Any = 1.0) -> None:
        """Call body(i, part, theta, gradient, *scalars) for every vector, with scalars in every lane.

        The gradient has been clipped by value, l1 * sign(theta) added, if l1 is marked, and all multiplied by `gain`.
        """
        m = self.m
        l1 = self.given(L1) if l1 is None else l1
        scale, l1, bound, *lanes = (
            m.splat(m.rounded(x)) for x in (self.scale * gain, l1 * gain, self.given(CLIP_VALUE) * gain, *scalars)
        )

        def vector(i: Any, part: Any) -> None:
            theta, grad = m.load_part(self.theta + i, part), scale * m.load_part(self.grad + i, part)
            if "clip_value" in self.marks:
                grad = m.at_most(m.at_least(grad, -bound), bound)
            if "l1" in self.marks:
                grad = grad + times_sign(m, l1, theta)
            m.store_part(self.theta + i, part, body(i, part, theta, grad, *lanes))

        over_vectors(m, self.count, vector)


def given(m: Any, h: Any, name: int) -> Any:
    """A hyper-parameter, in float64."""
    return m.double(h[name]) if isinstance(h, tuple) else m.load_number(h + name)


def times_sign(m: Any, size: Any, x: Any) -> Any:
    """The product size * sign(x), sign(0) = 0"""
    return m.select(x > 0.0, size, m.select(x < 0.0, -size, 0.0))


def clip_factor(m: Any, h: Any, squares: Any) -> Any:
    """What a gradient whose sum of squares is given is multiplied by, so that its norm is clipped."""
    return m.at_most(given(m, h, CLIP_NORM) / (m.sqrt(squares) + CLIP_EPS), 1.0)


def gradient_factor(m: Any, h: Any, marks: Sequence[str], count: Any, grad: Any) -> Any:
    """The same for `count` entries of a gradient; 1 where the norm is not clipped."""
    if "clip_norm" not in marks:
        return m.double(1.0)

    def square(i: Any, part: Any, total: Any) -> list[Any]:
        g = m.load_part(grad + i, part)
        return [g * g + total]

    (total,) = over_vectors(m, count, square, [m.zero()])
    return clip_factor(m, h, m.double(m.lane(sum_lanes(m, total), 0)))


def moving_vector(
    m: Any, w: Any, g: Any, v: Any, fresh: Any, nesterov: Any, lr: Any, decay: Any, momentum: Any, keep: Any
) -> tuple[Any, Any]:
    """SGD with momentum: theta and v after the update. fresh: it is the first."""
    g = decay * w + g
    v = m.select(fresh, g, momentum * v + keep * g)
    return w - lr * m.select(nesterov, momentum * v + g, v), v


def rmsprop_vector(
    m: Any, w: Any, g: Any, s: Any, v: Any, average: Any, lr: Any, decay: Any, momentum: Any, alpha: Any, rest: Any,
    eps: Any,
) -> tuple[Any, Any, Any, Any]:  # fmt: skip
    """RMSprop: theta, square average, momentum buffer and gradient average after the update; None for those that it
    does not have."""
    g = decay * w + g
    s = spread = alpha * s + (rest * g) * g
    if average is not None:
        average = alpha * average + rest * g
        spread = m.at_least(s - average * average, 0.0)  # a variance that rounding made negative
    move = g / (m.sqrt(spread) + eps)
    if v is not None:
        v = move = momentum * v + move
    return w - lr * move, s, v, average


def adam_vector(
    m: Any, w: Any, g: Any, mean: Any, square: Any, largest: Any, shrink: Any, penalty: Any, beta1: Any, rest1: Any,
    beta2: Any, rest2: Any, rate: Any, correction: Any, eps: Any,
) -> tuple[Any, Any, Any, Any]:  # fmt: skip
    """Adam: theta, first, second and largest second moment after the update; None without AMSGrad."""
    g = penalty * w + g
    mean = beta1 * mean + rest1 * g
    square = root = beta2 * square + (rest2 * g) * g
    if largest is not None:
        largest = root = m.larger(largest, square)
    return shrink * w - (rate * mean) / (m.sqrt(root) * correction + eps), mean, square, largest


def first_correction(m: Any, beta1: Any, t: Any) -> Any:
    """What update t of Adam divides the learning rate by; float64."""
    return 1.0 - m.power(beta1, t)


def second_correction(m: Any, beta2: Any, t: Any) -> Any:
    """What it multiplies the root of the second moment by; float64."""
    return 1.0 / m.sqrt(1.0 - m.power(beta2, t))


def sgd(u: Update) -> None:
    """Slot: momentum buffer v = momentum v + (1 - dampening) g, or g at the first update, if there is momentum."""
    m, lr, decay, momentum = u.m, u.lr, u.given(WEIGHT_DECAY), u.given(MOMENTUM)
    fresh, nesterov, with_rate = u.t == 1, u.given(NESTEROV) != 0.0, u.given(VELOCITY_WITH_RATE) != 0.0
    gain, rate = m.select(with_rate, lr, 1.0), m.select(with_rate, 1.0, lr)

    def still(i: Any, part: Any, w: Any, g: Any, lr: Any, decay: Any) -> Any:
        return w - lr * (decay * w + g)

    def moving(i: Any, part: Any, w: Any, g: Any, *scalars: Any) -> Any:
        w, v = moving_vector(m, w, g, m.load_part(u.slots + i, part), fresh, nesterov, *scalars)
        m.store_part(u.slots + i, part, v)
        return w

    m.when(
        momentum == 0.0,
        lambda: u.over(still, lr, decay),
        lambda: u.over(moving, rate, decay * gain, momentum, 1.0 - u.given(DAMPENING), gain=gain),
    )


def rmsprop(u: Update) -> None:
    """Slots: square average, momentum buffer if there is momentum, gradient average if centred."""
    m, momentum, alpha = u.m, u.given(MOMENTUM), u.given(ALPHA)
    velocity, is_centered, is_moving = u.slots + u.slot_row, u.given(CENTERED) != 0.0, momentum != 0.0
    mean = m.choose(is_moving, velocity + u.slot_row, velocity)

    def loop(centered: bool, moving: bool) -> None:
        def body(i: Any, part: Any, w: Any, g: Any, *scalars: Any) -> Any:
            s = m.load_part(u.slots + i, part)
            v = m.load_part(velocity + i, part) if moving else None
            average = m.load_part(mean + i, part) if centered else None
            w, s, v, average = rmsprop_vector(m, w, g, s, v, average, *scalars)
            m.store_part(u.slots + i, part, s)
            if centered:
                m.store_part(mean + i, part, average)
            if moving:
                m.store_part(velocity + i, part, v)
            return w

        u.over(body, u.lr, u.given(WEIGHT_DECAY), momentum, alpha, 1.0 - alpha, u.given(EPS))

    m.when(
        is_centered,
        lambda: m.when(is_moving, lambda: loop(True, True), lambda: loop(True, False)),
        lambda: m.when(is_moving, lambda: loop(False, True), lambda: loop(False, False)),
    )


def adam(u: Update, decoupled: Any) -> None:
    """Slots: first moment, second moment, largest second moment if AMSGrad. decoupled: AdamW"""
    m, lr, decay, l1, beta1, beta2 = u.m, u.lr, u.given(WEIGHT_DECAY), u.given(L1), u.given(BETA1), u.given(BETA2)
    rate, correction, eps = lr / first_correction(m, beta1, u.t), second_correction(m, beta2, u.t), u.given(EPS)
    eps = m.select(u.given(EPSILON_HAT) != 0.0, eps * correction, eps)
    zero, one = m.double(0.0), m.double(1.0)
    penalty, shrink = m.select(decoupled, zero, decay), m.select(decoupled, one - lr * decay, one)
    coupled_l1, step = m.select(decoupled, zero, l1), m.select(decoupled, lr * l1, zero)
    second = u.slots + u.slot_row
    largest = second + u.slot_row

    def loop(amsgrad: bool) -> None:
        def body(i: Any, part: Any, w: Any, g: Any, step: Any, *scalars: Any) -> Any:
            if "l1" in u.marks:
                w = w - times_sign(m, step, w)
            mean, square = m.load_part(u.slots + i, part), m.load_part(second + i, part)
            most = m.load_part(largest + i, part) if amsgrad else None
            w, mean, square, most = adam_vector(m, w, g, mean, square, most, *scalars)
            m.store_part(u.slots + i, part, mean)
            m.store_part(second + i, part, square)
            if amsgrad:
                m.store_part(largest + i, part, most)
            return w

        scalars = (step, shrink, penalty, beta1, 1.0 - beta1, beta2, 1.0 - beta2, rate, correction, eps)
        u.over(body, *scalars, l1=coupled_l1)

    m.when(u.given(AMSGRAD) != 0.0, lambda: loop(True), lambda: loop(False))


def apply(u: Update, kind: str, decoupled: Any) -> None:
    """theta and slots after the update"""
    if kind == "sgd":
        sgd(u)
    elif kind == "rmsprop":
        rmsprop(u)
    else:
        adam(u, decoupled)


@kernel(fastmath=FASTMATH)
def update_kernel(m: Any, rule: Choice, h: Any, decoupled: Any, t: Any, count: Any, theta: Any, grad: Any,
                  slots: Any) -> None:  # fmt: skip
    """See `update`"""
    kind, *marks = rule.names
    factor = gradient_factor(m, h, marks, count, grad)
    apply(Update(m, h, marks, given(m, h, LR), t, factor, count, count, theta, grad, slots), kind, decoupled)


@njit(fastmath=FASTMATH, **OPTIONS)
def run_update(rule, h, decoupled, t, count, theta, grad, slots):
    """See `update`"""
    update_kernel(rule, h, decoupled, t, count, theta, grad, slots)


def update(optimizer: Optimizer, t: int, theta__p: Array, grad__p: Array, slots__sp: Array) -> None:
    """theta and slots after update number t with gradient grad"""
    rule, h = rule_of(optimizer, theta__p.dtype), hyperparameter_array(optimizer)
    slots = slots__sp.reshape(-1)
    specialised(run_update, rule)(rule, h, optimizer.kind == "adamw", t, theta__p.size, theta__p, grad__p, slots)
