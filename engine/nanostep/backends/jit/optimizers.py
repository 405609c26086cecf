"""One update of the parameters. Formulas, with their sources, stand in `nanostep.optimizers`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from nanostep.backends.jit._compile import FASTMATH, OPTIONS, specialised
from nanostep.backends.jit._kernel import Choice, choice, kernel
from nanostep.backends.jit.activations import over_vectors
from nanostep.optimizers import HYPERPARAMETERS, Optimizer

Array = np.ndarray

(LR, MOMENTUM, DAMPENING, NESTEROV, WEIGHT_DECAY, ALPHA, CENTERED, EPS, BETA1, BETA2, AMSGRAD) = range(
    len(HYPERPARAMETERS)
)


def hyperparameter_array(optimizer: Optimizer) -> Array:
    """Return float64 values in the order of HYPERPARAMETERS, 0 for those the optimiser does not have."""
    given = optimizer.hyperparameters()
    return np.array([given.get(name, 0.0) for name in HYPERPARAMETERS])


def rule_of(optimizer: Optimizer, dtype: np.dtype) -> Choice:
    """Return the Static of the code for a kind of optimiser; its hyper-parameters are known at run time only."""
    return choice(dtype, {"adamw": "adam"}.get(optimizer.kind, optimizer.kind))


@dataclass
class Update:
    """Where one update works: `count` entries of theta and grad, and of slots, which are slot_row apart.

    h holds hyper-parameters by position: a place, or a tuple where they are known; the gradient is scale * grad; t
    counts updates from 1.
    """

    m: Any
    h: Any
    t: Any
    scale: Any
    count: Any
    slot_row: Any
    theta: Any
    grad: Any
    slots: Any

    def given(self, name: int) -> Any:
        """A hyper-parameter, in float64."""
        return self.m.double(self.h[name]) if isinstance(self.h, tuple) else self.m.load_number(self.h + name)

    def over(self, body: Any, *scalars: Any) -> None:
        """Call body(i, part, theta, gradient, *scalars) for every vector, with scalars in every lane."""
        m = self.m
        scale, *lanes = (m.splat(m.rounded(x)) for x in (self.scale, *scalars))

        def vector(i: Any, part: Any) -> None:
            theta, grad = m.load_part(self.theta + i, part), scale * m.load_part(self.grad + i, part)
            m.store_part(self.theta + i, part, body(i, part, theta, grad, *lanes))

        over_vectors(m, self.count, vector)


def sgd(u: Update) -> None:
    """Slot: momentum buffer v = momentum v + (1 - dampening) g, or g at the first update, if there is momentum."""
    m, lr, decay, momentum = u.m, u.given(LR), u.given(WEIGHT_DECAY), u.given(MOMENTUM)
    fresh, nesterov = u.t == 1, u.given(NESTEROV) != 0.0

    def still(i: Any, part: Any, w: Any, g: Any, lr: Any, decay: Any) -> Any:
        return w - lr * (decay * w + g)

    def moving(i: Any, part: Any, w: Any, g: Any, lr: Any, decay: Any, momentum: Any, keep: Any) -> Any:
        g = decay * w + g
        v = m.select(fresh, g, momentum * m.load_part(u.slots + i, part) + keep * g)
        m.store_part(u.slots + i, part, v)
        return w - lr * m.select(nesterov, momentum * v + g, v)

    m.when(
        momentum == 0.0,
        lambda: u.over(still, lr, decay),
        lambda: u.over(moving, lr, decay, momentum, 1.0 - u.given(DAMPENING)),
    )


def rmsprop(u: Update) -> None:
    """Slots: square average, momentum buffer if there is momentum, gradient average if centred."""
    m, momentum, alpha = u.m, u.given(MOMENTUM), u.given(ALPHA)
    velocity, is_centered, is_moving = u.slots + u.slot_row, u.given(CENTERED) != 0.0, momentum != 0.0
    mean = m.choose(is_moving, velocity + u.slot_row, velocity)

    def loop(centered: bool, moving: bool) -> None:
        def body(
            i: Any, part: Any, w: Any, g: Any, lr: Any, decay: Any, momentum: Any, alpha: Any, rest: Any, eps: Any
        ) -> Any:
            g = decay * w + g
            s = alpha * m.load_part(u.slots + i, part) + (rest * g) * g
            m.store_part(u.slots + i, part, s)
            if centered:
                average = alpha * m.load_part(mean + i, part) + rest * g
                m.store_part(mean + i, part, average)
                s = m.at_least(s - average * average, 0.0)  # a variance that rounding made negative
            move = g / (m.sqrt(s) + eps)
            if moving:
                move = momentum * m.load_part(velocity + i, part) + move
                m.store_part(velocity + i, part, move)
            return w - lr * move

        u.over(body, u.given(LR), u.given(WEIGHT_DECAY), momentum, alpha, 1.0 - alpha, u.given(EPS))

    m.when(
        is_centered,
        lambda: m.when(is_moving, lambda: loop(True, True), lambda: loop(True, False)),
        lambda: m.when(is_moving, lambda: loop(False, True), lambda: loop(False, False)),
    )


def adam(u: Update, decoupled: Any) -> None:
    """Slots: first moment, second moment, largest second moment if AMSGrad. decoupled: AdamW"""
    m, lr, decay, beta1, beta2 = u.m, u.given(LR), u.given(WEIGHT_DECAY), u.given(BETA1), u.given(BETA2)
    rate = lr / (1.0 - m.power(beta1, u.t))
    correction = 1.0 / m.sqrt(1.0 - m.power(beta2, u.t))
    penalty, shrink = m.select(decoupled, m.double(0.0), decay), m.select(decoupled, 1.0 - lr * decay, m.double(1.0))
    second = u.slots + u.slot_row
    largest = second + u.slot_row

    def loop(amsgrad: bool) -> None:
        def body(
            i: Any, part: Any, w: Any, g: Any, shrink: Any, penalty: Any, beta1: Any, rest1: Any, beta2: Any,
            rest2: Any, rate: Any, correction: Any, eps: Any,
        ) -> Any:  # fmt: skip
            g = penalty * w + g
            mean = beta1 * m.load_part(u.slots + i, part) + rest1 * g
            square = beta2 * m.load_part(second + i, part) + (rest2 * g) * g
            m.store_part(u.slots + i, part, mean)
            m.store_part(second + i, part, square)
            if amsgrad:
                square = m.larger(m.load_part(largest + i, part), square)
                m.store_part(largest + i, part, square)
            return shrink * w - (rate * mean) / (m.sqrt(square) * correction + eps)

        u.over(body, shrink, penalty, beta1, 1.0 - beta1, beta2, 1.0 - beta2, rate, correction, u.given(EPS))

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
    apply(Update(m, h, t, m.double(1.0), count, count, theta, grad, slots), rule.names[0], decoupled)


@njit(fastmath=FASTMATH, **OPTIONS)
def run_update(rule, h, decoupled, t, count, theta, grad, slots):
    """See `update`"""
    update_kernel(rule, h, decoupled, t, count, theta, grad, slots)


def update(optimizer: Optimizer, t: int, theta__p: Array, grad__p: Array, slots__sp: Array) -> None:
    """theta and slots after update number t with gradient grad"""
    rule, h = rule_of(optimizer, theta__p.dtype), hyperparameter_array(optimizer)
    slots = slots__sp.reshape(-1)
    specialised(run_update, rule)(rule, h, optimizer.kind == "adamw", t, theta__p.size, theta__p, grad__p, slots)
