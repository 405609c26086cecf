"""The size of the terms of which a result is the sum: the measure of rounding error of each operation.

Each function takes the arguments of an operation, in high precision, and returns a scale for each result: the formula
of the operation with every term taken by absolute value. A result may differ from its exact value by
``Operation.ulps * eps * scale``, times the length of the sum where the operation is a reduction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from nanostep.backends.reference import optimizers
from nanostep.backends.reference.activations import DERIVATIVES, FUNCTIONS, sigmoid
from nanostep.backends.reference.losses import JOINED, loss_slopes, loss_terms, share_of
from nanostep.losses import GaussianNLL, Loss, Quantile
from nanostep.optimizers import SGD, Adam, AdamW, Optimizer, RMSprop

Array = np.ndarray
Scales = Mapping[str, Any]


def _activate(activation: str, z__bo: Array, a__bo: Array) -> Scales:
    a = np.abs(FUNCTIONS[activation](z__bo))
    if activation == "softmax":  # rounding the exponent z - max z is an error of e^(z - max z) relative to its size
        a = a * (1 + np.abs(z__bo - z__bo.max(axis=1, keepdims=True)))
    return {"a__bo": a}


def _derivative_scale(activation: str, z: Array, a: Array) -> Array:
    if activation == "tanh":
        return 1 + a * a
    if activation == "elu":
        return np.where(a > 0, 1, np.abs(a) + 1)
    if activation == "silu":
        return sigmoid(z) * (1 + np.abs(z))
    return np.abs(DERIVATIVES[activation](z, a))


def _activation_derivative(activation: str, z__bo: Array, a__bo: Array, df__bo: Array) -> Scales:
    return {"df__bo": _derivative_scale(activation, z__bo, a__bo)}


def _dense_forward(x__bi: Array, w__oi: Array, b__o: Array, z__bo: Array) -> Scales:
    return {"z__bo": np.abs(x__bi) @ np.abs(w__oi).T + np.abs(b__o)}


def _dense_backward_input(d__bo: Array, w__oi: Array, dx__bi: Array) -> Scales:
    return {"dx__bi": np.abs(d__bo) @ np.abs(w__oi)}


def _dense_backward_weights(d__bo: Array, x__bi: Array, dw__oi: Array, db__o: Array) -> Scales:
    d = np.abs(d__bo)
    return {"dw__oi": d.T @ np.abs(x__bi) / len(d), "db__o": d.mean(axis=0)}


def _loss_value(loss: str | Loss, output: str, z__bo: Array, a__bo: Array, y__bo: Array) -> Scales:
    if (loss, output) == ("cross_entropy", "softmax"):
        shifted = z__bo - z__bo.max(axis=1, keepdims=True)
        terms = y__bo * (1 + np.abs(shifted) + np.log(np.exp(shifted).sum(axis=1, keepdims=True)))
    elif (loss, output) == ("binary_cross_entropy", "sigmoid"):
        softplus = FUNCTIONS["softplus"]
        terms = y__bo * softplus(-z__bo) + (1 - y__bo) * softplus(z__bo)
    elif loss == "binary_cross_entropy":
        terms = loss_terms(loss, a__bo, y__bo) + 1  # 1 - a is rounded before its logarithm is taken
    elif loss == "poisson":
        terms = np.exp(a__bo) + np.abs(y__bo * a__bo)
    elif isinstance(loss, Quantile):
        terms = np.abs(a__bo) + np.abs(y__bo)
    elif isinstance(loss, GaussianNLL):
        mean, s = np.split(np.abs(a__bo), 2, axis=1)
        exact = np.split(a__bo, 2, axis=1)[1]
        terms = s + (np.split(np.abs(y__bo), 2, axis=1)[0] + mean) ** 2 * np.exp(-exact) * (1 + s)
    else:
        terms = loss_terms(loss, np.abs(a__bo), -np.abs(y__bo))
    return {"return": terms.sum(axis=1).mean() * share_of(loss, a__bo.shape[1])}


def _loss_derivative_scale(loss: str | Loss, a: Array, y: Array) -> Array:
    if loss in ("absolute_error", "cross_entropy"):
        terms = np.abs(loss_slopes(loss, a, y))
    elif loss == "binary_cross_entropy":
        terms = (a + y) / (a * (1 - a))
    elif loss == "poisson":
        terms = np.exp(a) + y
    elif isinstance(loss, Quantile):
        terms = np.ones_like(a)
    elif isinstance(loss, GaussianNLL):
        mean, s = np.split(a, 2, axis=1)
        size = np.abs(mean) + np.split(np.abs(y), 2, axis=1)[0]
        scaled = size * np.exp(-s) * (1 + np.abs(s))
        terms = np.concatenate([scaled, 1 + size * scaled], axis=1)
    else:
        terms = np.abs(loss_slopes(loss, np.abs(a), -np.abs(y)))
    return terms * share_of(loss, a.shape[1])


def _loss_derivative(loss: str | Loss, a__bo: Array, y__bo: Array, da__bo: Array) -> Scales:
    return {"da__bo": _loss_derivative_scale(loss, a__bo, y__bo)}


def _output_delta(loss: str | Loss, output: str, z__bo: Array, a__bo: Array, y__bo: Array, d__bo: Array) -> Scales:
    if (loss, output) in JOINED:
        return {"d__bo": (a__bo + y__bo) * share_of(loss, a__bo.shape[1])}
    da = _loss_derivative_scale(loss, a__bo, y__bo)
    if output == "softmax":
        return {"d__bo": a__bo * (da + (da * a__bo).sum(axis=1, keepdims=True))}
    return {"d__bo": da * _derivative_scale(output, z__bo, a__bo)}


def _update(optimizer: Optimizer, t: int, theta__p: Array, grad__p: Array, slots__sp: Array) -> Scales:
    updated = slots__sp.copy()
    optimizers.update(optimizer, t, theta__p.copy(), grad__p, updated)
    exact = dict(zip(optimizer.slots, updated, strict=True))
    slots = dict(zip(optimizer.slots, np.abs(slots__sp), strict=True))
    theta, g = np.abs(theta__p), np.abs(optimizers.clipped(optimizer, grad__p))
    if isinstance(optimizer, AdamW):
        theta = theta + optimizer.lr * optimizer.l1
    else:
        g = g + optimizer.weight_decay * theta + optimizer.l1  # type: ignore[attr-defined]
    step = RULES[type(optimizer)](optimizer, t, g, slots, exact)
    return {"theta__p": theta + step, "slots__sp": np.array(list(slots.values())).reshape(slots__sp.shape)}


def _apply(optimizer: Optimizer, t: int, theta__p: Array, grad__p: Array, slots__sp: Array, scale__p: Array) -> Scales:
    scales = _update(optimizer, t, theta__p, np.where(scale__p == 0, 0, grad__p), slots__sp)
    return {**scales, "theta__p": np.abs(theta__p) + scale__p * scales["theta__p"]}


# Each rule updates `slots` as its optimiser does, with absolute values throughout, and returns the scale of the step.
# A square root in a denominator keeps its exact value; the effect of rounding on it is a factor of its own: the terms
# of its sum, by absolute value, over the sum itself.


def _sgd(o: SGD, t: int, g: Array, slots: dict[str, Array], exact: dict[str, Array]) -> Array:
    lr = o.lr
    if o.velocity_with_rate:
        g, lr = o.lr * g, 1.0
    if not o.momentum:
        return lr * g
    v = slots["momentum_buffer"] = g if t == 1 else o.momentum * slots["momentum_buffer"] + abs(1 - o.dampening) * g
    return lr * (g + o.momentum * v if o.nesterov else v)


def _rmsprop(o: RMSprop, t: int, g: Array, slots: dict[str, Array], exact: dict[str, Array]) -> Array:
    terms = slots["square_avg"] = o.alpha * slots["square_avg"] + (1 - o.alpha) * g * g
    square = exact["square_avg"]
    if o.centered:
        m = slots["grad_avg"] = o.alpha * slots["grad_avg"] + (1 - o.alpha) * g
        terms, square = terms + m * m, square - exact["grad_avg"] ** 2
    move = g / (np.sqrt(square) + o.eps) * terms / square
    if o.momentum:
        move = slots["momentum_buffer"] = o.momentum * slots["momentum_buffer"] + move
    return o.lr * move


def _adam(o: Adam, t: int, g: Array, slots: dict[str, Array], exact: dict[str, Array]) -> Array:
    beta1, beta2 = o.betas
    m = slots["exp_avg"] = beta1 * slots["exp_avg"] + (1 - beta1) * g
    terms = slots["exp_avg_sq"] = beta2 * slots["exp_avg_sq"] + (1 - beta2) * g * g
    square = exact["exp_avg_sq"]
    if o.amsgrad:
        terms = slots["max_exp_avg_sq"] = np.maximum(slots["max_exp_avg_sq"], terms)
        square = exact["max_exp_avg_sq"]
    root = np.sqrt(1 - beta2**t)
    eps = o.eps / root if o.epsilon_hat else o.eps
    return o.lr / (1 - beta1**t) * m / (np.sqrt(square) / root + eps) * terms / square


RULES: dict[type[Optimizer], Callable[..., Array]] = {SGD: _sgd, RMSprop: _rmsprop, Adam: _adam, AdamW: _adam}

SCALES: dict[str, Callable[..., Scales]] = {
    "activate": _activate,
    "activation_derivative": _activation_derivative,
    "dense_forward": _dense_forward,
    "dense_backward_input": _dense_backward_input,
    "dense_backward_weights": _dense_backward_weights,
    "loss_value": _loss_value,
    "loss_derivative": _loss_derivative,
    "output_delta": _output_delta,
    "update": _update,
    "apply": _apply,
    "shuffle": lambda seed, epoch, order__n: {"order__n": np.zeros(len(order__n))},
}
