"""One update of the parameters. Formulas, with their sources, are in `nanostep.optimizers`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from nanostep.backends.jit._compile import FASTMATH, OPTIONS, specialised
from nanostep.backends.jit._kernel import Choice, choice, kernel
from nanostep.backends.jit.activations import over_vectors
from nanostep.backends.jit.arguments import Hyperparameters
from nanostep.backends.jit.vector import sum_lanes
from nanostep.backends.reference.optimizers import CLIP_EPS
from nanostep.optimizers import HYPERPARAMETERS, Optimizer

Array = np.ndarray

(
    LR, MOMENTUM, DAMPENING, NESTEROV, WEIGHT_DECAY, ALPHA, CENTERED, EPS, BETA1, BETA2, AMSGRAD, L1, CLIP_NORM,
    CLIP_VALUE, VELOCITY_WITH_RATE, EPSILON_HAT,
) = range(len(HYPERPARAMETERS))  # fmt: skip

STATIC_FLAGS = ("l1", "clip_norm", "clip_value")
"""Hyper-parameters that have code of their own where they are not 0; others are known at run time only."""


def hyperparameter_array(optimizer: Optimizer) -> Array:
    """Return float64 values in the order of HYPERPARAMETERS, 0 for those the optimiser does not have."""
    given = optimizer.hyperparameters()
    return np.array([given.get(name, 0.0) for name in HYPERPARAMETERS])


def hyperparameters_of(optimizer: Optimizer) -> Hyperparameters:
    """Return the hyper-parameters of an optimiser for compiled code."""
    return Hyperparameters(hyperparameter_array(optimizer), optimizer.kind == "adamw")


def static_flags(hyperparameters: Sequence[float]) -> tuple[str, ...]:
    """Return which of `STATIC_FLAGS` are not 0, from values in the order of HYPERPARAMETERS."""
    return tuple(name for name in STATIC_FLAGS if hyperparameters[HYPERPARAMETERS.index(name)] != 0)


def rule_of(optimizer: Optimizer, dtype: np.dtype) -> Choice:
    """Return the Static of the code for an optimiser: its kind and static flags."""
    kind = {"adamw": "adam"}.get(optimizer.kind, optimizer.kind)
    return choice(dtype, kind, *static_flags(hyperparameter_array(optimizer).tolist()))


@dataclass
class Update:
    """One update of `count` entries of theta, grad and slots; slots are slot_row apart.

    `flags` are the static flags that are set; lr is the learning rate; the gradient is scale * grad; t counts updates
    from 1. `factors`, unless None, are multiplied by the change of theta; where they are 0, theta and slots stay.
    """

    m: Any
    h: Hyperparameters
    flags: Sequence[str]
    lr: Any
    t: Any
    scale: Any
    count: Any
    slot_row: Any
    theta: Any
    grad: Any
    slots: Any
    factors: Any = None

    def hyperparameter(self, position: int) -> Any:
        """A hyper-parameter, in float64."""
        return hyperparameter(self.m, self.h, position)

    def over(self, body: Any, *scalars: Any, l1: Any = None, gain: Any = 1.0) -> None:
        """Call body(i, part, theta, gradient, *scalars) for every vector, with scalars in every lane.

        The gradient is clipped by value, l1 * sign(theta) is added to it (both if flagged), and all is multiplied by
        `gain`.
        """
        m = self.m
        l1 = self.hyperparameter(L1) if l1 is None else l1
        bound = self.hyperparameter(CLIP_VALUE) * gain
        scale, l1, bound, *lanes = (m.splat(m.rounded(x)) for x in (self.scale * gain, l1 * gain, bound, *scalars))

        def vector(i: Any, part: Any) -> None:
            theta, grad = m.load_part(self.theta + i, part), scale * m.load_part(self.grad + i, part)
            if "clip_value" in self.flags:
                grad = m.at_most(m.at_least(grad, -bound), bound)
            if "l1" in self.flags:
                grad = grad + times_sign(m, l1, theta)
            moved = body(i, part, theta, grad, *lanes)
            if self.factors is not None:
                factor = m.load_part(self.factors + i, part)
                moved = m.select(factor == 1.0, moved, factor * (moved - theta) + theta)
                moved = m.select(factor != 0.0, moved, theta)
            m.store_part(self.theta + i, part, moved)

        over_vectors(m, self.count, vector)

    def store_slot(self, slot: Any, i: Any, part: Any, value: Any) -> None:
        """Write a vector of entries from i on of a slot, but for those whose factor is 0."""
        m = self.m
        if self.factors is not None:
            value = m.select(m.load_part(self.factors + i, part) != 0.0, value, m.load_part(slot + i, part))
        m.store_part(slot + i, part, value)


def hyperparameter(m: Any, h: Hyperparameters, position: int) -> Any:
    """A hyper-parameter, in float64."""
    return m.double(h.values[position]) if isinstance(h.values, tuple) else m.load_number(h.values + position)


def times_sign(m: Any, size: Any, x: Any) -> Any:
    """The product size * sign(x), sign(0) = 0"""
    return m.select(x > 0.0, size, m.select(x < 0.0, -size, 0.0))


def clip_factor(m: Any, h: Hyperparameters, squares: Any) -> Any:
    """The factor that clips the norm of a gradient, from its sum of squares."""
    return m.at_most(hyperparameter(m, h, CLIP_NORM) / (m.sqrt(squares) + CLIP_EPS), 1.0)


def gradient_factor(
    m: Any, h: Hyperparameters, flags: Sequence[str], count: Any, grad: Any, factors: Any = None
) -> Any:
    """The same for `count` entries of a gradient, but for those whose factor is 0; 1 where the norm is not clipped."""
    if "clip_norm" not in flags:
        return m.double(1.0)

    def square(i: Any, part: Any, total: Any) -> list[Any]:
        g = m.load_part(grad + i, part)
        if factors is not None:
            g = m.where(m.load_part(factors + i, part) != 0.0, g)
        return [g * g + total]

    (total,) = over_vectors(m, count, square, [m.zero()])
    return clip_factor(m, h, m.double(m.lane(sum_lanes(m, total), 0)))


class MomentumScalars(NamedTuple):
    """What SGD with momentum multiplies by; keep is 1 - dampening."""

    lr: Any
    decay: Any
    momentum: Any
    keep: Any


class RMSpropScalars(NamedTuple):
    """What RMSprop multiplies by, and epsilon; rest is 1 - alpha."""

    lr: Any
    decay: Any
    momentum: Any
    alpha: Any
    rest: Any
    eps: Any


class AdamScalars(NamedTuple):
    """What Adam multiplies by, and epsilon.

    shrink is the factor of decoupled weight decay, penalty that of coupled; rest1 and rest2 are 1 - beta; rate and
    correction include the bias corrections.
    """

    shrink: Any
    penalty: Any
    beta1: Any
    rest1: Any
    beta2: Any
    rest2: Any
    rate: Any
    correction: Any
    eps: Any


def momentum_vector(
    m: Any, w: Any, g: Any, v: Any, is_first: Any, nesterov: Any, r: MomentumScalars
) -> tuple[Any, Any]:
    """SGD with momentum: theta and v after the update."""
    g = r.decay * w + g
    v = m.select(is_first, g, r.momentum * v + r.keep * g)
    return w - r.lr * m.select(nesterov, r.momentum * v + g, v), v


def rmsprop_vector(
    m: Any, w: Any, g: Any, s: Any, v: Any, average: Any, r: RMSpropScalars
) -> tuple[Any, Any, Any, Any]:
    """RMSprop: theta, square average, momentum buffer and gradient average after the update; None for a slot that the
    optimiser does not have."""
    g = r.decay * w + g
    s = spread = r.alpha * s + (r.rest * g) * g
    if average is not None:
        average = r.alpha * average + r.rest * g
        spread = m.at_least(s - average * average, 0.0)  # a variance that rounding made negative
    move = g / (m.sqrt(spread) + r.eps)
    if v is not None:
        v = move = r.momentum * v + move
    return w - r.lr * move, s, v, average


def adam_vector(
    m: Any, w: Any, g: Any, mean: Any, square: Any, largest: Any, r: AdamScalars
) -> tuple[Any, Any, Any, Any]:
    """Adam: theta, first, second and largest second moment after the update; None for the last without AMSGrad."""
    g = r.penalty * w + g
    mean = r.beta1 * mean + r.rest1 * g
    square = root = r.beta2 * square + (r.rest2 * g) * g
    if largest is not None:
        largest = root = m.larger(largest, square)
    return r.shrink * w - (r.rate * mean) / (m.sqrt(root) * r.correction + r.eps), mean, square, largest


def first_correction(m: Any, beta1: Any, t: Any) -> Any:
    """The divisor of Adam's learning rate in update t; float64."""
    return 1.0 - m.power(beta1, t)


def second_correction(m: Any, beta2: Any, t: Any) -> Any:
    """The factor of the root of its second moment; float64."""
    return 1.0 / m.sqrt(1.0 - m.power(beta2, t))


def sgd(u: Update) -> None:
    """Slot: momentum buffer v = momentum v + (1 - dampening) g, or g at the first update, if there is momentum."""
    m, lr, decay, momentum = u.m, u.lr, u.hyperparameter(WEIGHT_DECAY), u.hyperparameter(MOMENTUM)
    is_first, nesterov = u.t == 1, u.hyperparameter(NESTEROV) != 0.0
    with_rate = u.hyperparameter(VELOCITY_WITH_RATE) != 0.0
    gain, rate = m.select(with_rate, lr, 1.0), m.select(with_rate, 1.0, lr)

    def plain(i: Any, part: Any, w: Any, g: Any, lr: Any, decay: Any) -> Any:
        return w - lr * (decay * w + g)

    def with_momentum(i: Any, part: Any, w: Any, g: Any, *scalars: Any) -> Any:
        v = m.load_part(u.slots + i, part)
        w, v = momentum_vector(m, w, g, v, is_first, nesterov, MomentumScalars(*scalars))
        u.store_slot(u.slots, i, part, v)
        return w

    m.when(
        momentum == 0.0,
        lambda: u.over(plain, lr, decay),
        lambda: u.over(with_momentum, rate, decay * gain, momentum, 1.0 - u.hyperparameter(DAMPENING), gain=gain),
    )


def rmsprop(u: Update) -> None:
    """Slots: square average, momentum buffer if there is momentum, gradient average if centred."""
    m, momentum, alpha = u.m, u.hyperparameter(MOMENTUM), u.hyperparameter(ALPHA)
    velocity, is_centered, has_momentum = u.slots + u.slot_row, u.hyperparameter(CENTERED) != 0.0, momentum != 0.0
    mean = m.choose(has_momentum, velocity + u.slot_row, velocity)

    def loop(centered: bool, momentum_buffer: bool) -> None:
        def body(i: Any, part: Any, w: Any, g: Any, *scalars: Any) -> Any:
            s = m.load_part(u.slots + i, part)
            v = m.load_part(velocity + i, part) if momentum_buffer else None
            average = m.load_part(mean + i, part) if centered else None
            w, s, v, average = rmsprop_vector(m, w, g, s, v, average, RMSpropScalars(*scalars))
            u.store_slot(u.slots, i, part, s)
            if centered:
                u.store_slot(mean, i, part, average)
            if momentum_buffer:
                u.store_slot(velocity, i, part, v)
            return w

        u.over(body, u.lr, u.hyperparameter(WEIGHT_DECAY), momentum, alpha, 1.0 - alpha, u.hyperparameter(EPS))

    m.when(
        is_centered,
        lambda: m.when(has_momentum, lambda: loop(True, True), lambda: loop(True, False)),
        lambda: m.when(has_momentum, lambda: loop(False, True), lambda: loop(False, False)),
    )


def adam(u: Update) -> None:
    """Slots: first moment, second moment, largest second moment if AMSGrad."""
    decoupled = u.h.decoupled
    m, lr, eps = u.m, u.lr, u.hyperparameter(EPS)
    decay, l1, beta1, beta2 = (u.hyperparameter(position) for position in (WEIGHT_DECAY, L1, BETA1, BETA2))
    rate, correction = lr / first_correction(m, beta1, u.t), second_correction(m, beta2, u.t)
    eps = m.select(u.hyperparameter(EPSILON_HAT) != 0.0, eps * correction, eps)
    zero, one = m.double(0.0), m.double(1.0)
    penalty, shrink = m.select(decoupled, zero, decay), m.select(decoupled, one - lr * decay, one)
    coupled_l1, step = m.select(decoupled, zero, l1), m.select(decoupled, lr * l1, zero)
    second = u.slots + u.slot_row
    largest = second + u.slot_row

    def loop(amsgrad: bool) -> None:
        def body(i: Any, part: Any, w: Any, g: Any, step: Any, *scalars: Any) -> Any:
            if "l1" in u.flags:
                w = w - times_sign(m, step, w)
            mean, square = m.load_part(u.slots + i, part), m.load_part(second + i, part)
            most = m.load_part(largest + i, part) if amsgrad else None
            w, mean, square, most = adam_vector(m, w, g, mean, square, most, AdamScalars(*scalars))
            u.store_slot(u.slots, i, part, mean)
            u.store_slot(second, i, part, square)
            if amsgrad:
                u.store_slot(largest, i, part, most)
            return w

        scalars = (step, shrink, penalty, beta1, 1.0 - beta1, beta2, 1.0 - beta2, rate, correction, eps)
        u.over(body, *scalars, l1=coupled_l1)

    m.when(u.hyperparameter(AMSGRAD) != 0.0, lambda: loop(True), lambda: loop(False))


def apply_rule(u: Update, kind: str) -> None:
    """theta and slots after the update"""
    if kind == "sgd":
        sgd(u)
    elif kind == "rmsprop":
        rmsprop(u)
    else:
        adam(u)


@kernel(fastmath=FASTMATH)
def update_kernel(m: Any, rule: Choice, h: Hyperparameters, t: Any, count: Any, theta: Any, grad: Any, slots: Any
                  ) -> None:  # fmt: skip
    """See `update`"""
    kind, *flags = rule.names
    factor = gradient_factor(m, h, flags, count, grad)
    apply_rule(Update(m, h, flags, hyperparameter(m, h, LR), t, factor, count, count, theta, grad, slots), kind)


class Scaled(NamedTuple):
    """Arguments of an update whose change of theta is multiplied by `factors`; flat arrays of `count` entries."""

    t: Any
    count: Any
    theta: Any
    grad: Any
    slots: Any
    factors: Any


@kernel(fastmath=FASTMATH)
def apply_kernel(m: Any, rule: Choice, h: Hyperparameters, s: Scaled) -> None:
    """See `apply`"""
    kind, *flags = rule.names
    clip = gradient_factor(m, h, flags, s.count, s.grad, s.factors)
    lr = hyperparameter(m, h, LR)
    apply_rule(Update(m, h, flags, lr, s.t, clip, s.count, s.count, s.theta, s.grad, s.slots, s.factors), kind)


@njit(fastmath=FASTMATH, **OPTIONS)
def run_update(rule, h, t, count, theta, grad, slots):
    """See `update`"""
    update_kernel(rule, h, t, count, theta, grad, slots)


def update(optimizer: Optimizer, t: int, theta__p: Array, grad__p: Array, slots__sp: Array) -> None:
    """theta and slots after update number t with gradient grad"""
    rule, h = rule_of(optimizer, theta__p.dtype), hyperparameters_of(optimizer)
    slots = slots__sp.reshape(-1)
    specialised(run_update, rule)(rule, h, t, theta__p.size, theta__p, grad__p, slots)


@njit(fastmath=FASTMATH, **OPTIONS)
def run_apply(rule, h, scaled):
    """See `apply`"""
    apply_kernel(rule, h, scaled)


def apply(optimizer: Optimizer, t: int, theta__p: Array, grad__p: Array, slots__sp: Array, scale__p: Array) -> None:
    """update, with the change of theta multiplied by scale; entries of scale 0 stay as they are"""
    rule, h = rule_of(optimizer, theta__p.dtype), hyperparameters_of(optimizer)
    scaled = Scaled(t, theta__p.size, theta__p, grad__p, slots__sp.reshape(-1), scale__p)
    specialised(run_apply, rule)(rule, h, scaled)
