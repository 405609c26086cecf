"""One update of the parameters. Formulas, with their sources, stand in `nanostep.optimizers`."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from nanostep.backends.jit._compile import FASTMATH, OPTIONS
from nanostep.optimizers import HYPERPARAMETERS, OPTIMIZERS, Optimizer

Array = np.ndarray

SGD, RMSPROP, ADAM, ADAMW = range(len(OPTIMIZERS))
KINDS = tuple(OPTIMIZERS)
(LR, MOMENTUM, DAMPENING, NESTEROV, WEIGHT_DECAY, ALPHA, CENTERED, EPS, BETA1, BETA2, AMSGRAD) = range(
    len(HYPERPARAMETERS)
)


def hyperparameter_array(optimizer: Optimizer) -> Array:
    """Return float64 values in the order of HYPERPARAMETERS, 0 for those the optimiser does not have."""
    given = optimizer.hyperparameters()
    return np.array([given.get(name, 0.0) for name in HYPERPARAMETERS])


@njit(fastmath=FASTMATH, **OPTIONS)
def update_sgd(h, t, scale, theta, grad, slots):
    """Gradient scale * grad; slots: momentum buffer, if there is momentum."""
    real = theta.dtype.type
    lr, decay, momentum = real(h[LR]), real(h[WEIGHT_DECAY]), real(h[MOMENTUM])
    if h[MOMENTUM] == 0:
        for i in range(theta.size):
            theta[i] -= lr * (scale * grad[i] + decay * theta[i])
        return
    keep, nesterov = real(1 - h[DAMPENING]), h[NESTEROV] != 0
    velocity = slots[0]
    for i in range(theta.size):
        g = scale * grad[i] + decay * theta[i]
        v = g if t == 1 else momentum * velocity[i] + keep * g
        velocity[i] = v
        theta[i] -= lr * (g + momentum * v if nesterov else v)


@njit(fastmath=FASTMATH, **OPTIONS)
def update_rmsprop(h, scale, theta, grad, slots):
    """Slots: square average, momentum buffer if there is momentum, gradient average if centred."""
    real = theta.dtype.type
    lr, decay, momentum = real(h[LR]), real(h[WEIGHT_DECAY]), real(h[MOMENTUM])
    alpha, rest, eps, zero = real(h[ALPHA]), real(1 - h[ALPHA]), real(h[EPS]), real(0)
    moving, centered = h[MOMENTUM] != 0, h[CENTERED] != 0
    square, velocity, mean = slots[0], slots[1 if moving else 0], slots[slots.shape[0] - 1]
    for i in range(theta.size):
        g = scale * grad[i] + decay * theta[i]
        s = alpha * square[i] + rest * g * g
        square[i] = s
        if centered:
            m = alpha * mean[i] + rest * g
            mean[i] = m
            s = max(s - m * m, zero)  # a variance that rounding made negative
        move = g / (math.sqrt(s) + eps)
        if moving:
            move += momentum * velocity[i]
            velocity[i] = move
        theta[i] -= lr * move


@njit(fastmath=FASTMATH, **OPTIONS)
def update_adam(h, decoupled, t, scale, theta, grad, slots):
    """Slots: first moment, second moment, largest second moment if AMSGrad."""
    real = theta.dtype.type
    beta1, rest1, beta2, rest2 = real(h[BETA1]), real(1 - h[BETA1]), real(h[BETA2]), real(1 - h[BETA2])
    rate, eps = real(h[LR] / (1 - h[BETA1] ** t)), real(h[EPS])
    correction = real(1 / math.sqrt(1 - h[BETA2] ** t))
    penalty = real(0 if decoupled else h[WEIGHT_DECAY])
    shrink = real(1 - h[LR] * h[WEIGHT_DECAY] if decoupled else 1)
    amsgrad = h[AMSGRAD] != 0
    first, second, largest = slots[0], slots[1], slots[slots.shape[0] - 1]
    for i in range(theta.size):
        g = scale * grad[i] + penalty * theta[i]
        m = beta1 * first[i] + rest1 * g
        v = beta2 * second[i] + rest2 * g * g
        first[i] = m
        second[i] = v
        if amsgrad:
            v = max(v, largest[i])
            largest[i] = v
        theta[i] = shrink * theta[i] - rate * m / (math.sqrt(v) * correction + eps)


@njit(fastmath=FASTMATH, **OPTIONS)
def update_scaled(kind, h, t, scale, theta, grad, slots):
    """theta and slots after update t with gradient scale * grad"""
    if kind == SGD:
        update_sgd(h, t, scale, theta, grad, slots)
    elif kind == RMSPROP:
        update_rmsprop(h, scale, theta, grad, slots)
    else:
        update_adam(h, kind == ADAMW, t, scale, theta, grad, slots)


def update(optimizer: Optimizer, t: int, theta__p: Array, grad__p: Array, slots__sp: Array) -> None:
    """theta and slots after update number t with gradient grad"""
    scale = theta__p.dtype.type(1)
    update_scaled(KINDS.index(optimizer.kind), hyperparameter_array(optimizer), t, scale, theta__p, grad__p, slots__sp)
