"""One update of the parameters. The formulas and their sources are in `nanostep.optimizers`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from nanostep.optimizers import SGD, Adam, AdamW, Optimizer, RMSprop

Array = np.ndarray


CLIP_EPS = 1e-6
"""Added to the norm of the gradient, as by ``torch.nn.utils.clip_grad_norm_``."""


def clipped(o: Optimizer, grad: Array) -> Array:
    """Return the gradient, clipped as the optimiser prescribes; NaN stays NaN."""
    if o.clip_norm is not None:
        factor = o.clip_norm / (np.sqrt((grad * grad).sum()) + CLIP_EPS)
        return grad * np.minimum(factor, 1).astype(grad.dtype)
    if o.clip_value is not None:
        return np.clip(grad, -o.clip_value, o.clip_value)
    return grad


def penalised(o: SGD | RMSprop | Adam, theta: Array, grad: Array) -> Array:
    """grad + penalty"""
    return grad + o.weight_decay * theta + o.l1 * np.sign(theta)


def _sgd(o: SGD, t: int, theta: Array, grad: Array, slots: Iterator[Array]) -> None:
    g = penalised(o, theta, grad)
    lr = o.lr
    if o.velocity_with_rate:
        g, lr = o.lr * g, 1.0
    if o.momentum:
        v = next(slots)
        v[...] = g if t == 1 else o.momentum * v + (1 - o.dampening) * g
        g = g + o.momentum * v if o.nesterov else v
    theta -= lr * g


def _rmsprop(o: RMSprop, t: int, theta: Array, grad: Array, slots: Iterator[Array]) -> None:
    g = penalised(o, theta, grad)
    s = next(slots)
    s[...] = o.alpha * s + (1 - o.alpha) * g * g
    v = next(slots) if o.momentum else None
    if o.centered:
        m = next(slots)
        m[...] = o.alpha * m + (1 - o.alpha) * g
        d = np.sqrt(np.maximum(s - m * m, 0)) + o.eps  # rounding can make the variance negative
    else:
        d = np.sqrt(s) + o.eps
    if v is None:
        theta -= o.lr * g / d
    else:
        v[...] = o.momentum * v + g / d
        theta -= o.lr * v


def _adam(o: Adam, t: int, theta: Array, grad: Array, slots: Iterator[Array]) -> None:
    _adam_step(o, t, theta, penalised(o, theta, grad), slots)


def _adamw(o: AdamW, t: int, theta: Array, grad: Array, slots: Iterator[Array]) -> None:
    theta -= o.lr * o.l1 * np.sign(theta)
    theta *= 1 - o.lr * o.weight_decay
    _adam_step(o, t, theta, grad, slots)


def _adam_step(o: Adam, t: int, theta: Array, g: Array, slots: Iterator[Array]) -> None:
    beta1, beta2 = o.betas
    m, v = next(slots), next(slots)
    m[...] = beta1 * m + (1 - beta1) * g
    v[...] = beta2 * v + (1 - beta2) * g * g
    if o.amsgrad:
        largest = next(slots)
        v = np.maximum(largest, v, out=largest)
    rate, root = o.lr / (1 - beta1**t), math.sqrt(1 - beta2**t)
    if o.epsilon_hat:
        theta -= rate * root * m / (np.sqrt(v) + o.eps)
    else:
        theta -= rate * m / (np.sqrt(v) / root + o.eps)


_UPDATES: dict[str, Callable[..., None]] = {"sgd": _sgd, "rmsprop": _rmsprop, "adam": _adam, "adamw": _adamw}


def update(optimizer: Optimizer, t: int, theta__p: Array, grad__p: Array, slots__sp: Array) -> None:
    """theta and slots after update number t with gradient grad"""
    _UPDATES[optimizer.kind](optimizer, t, theta__p, clipped(optimizer, grad__p), iter(slots__sp))


def apply(optimizer: Optimizer, t: int, theta__p: Array, grad__p: Array, slots__sp: Array, scale__p: Array) -> None:
    """update, with the change of theta multiplied by scale; entries of scale 0 stay as they are"""
    moves = scale__p != 0
    moved__p, moved__sp = theta__p.copy(), slots__sp.copy()
    update(optimizer, t, moved__p, np.where(moves, grad__p, 0), moved__sp)
    scaled__p = np.where(scale__p == 1, moved__p, theta__p + scale__p * (moved__p - theta__p))
    theta__p[moves] = scaled__p[moves]
    slots__sp[:, moves] = moved__sp[:, moves]
