"""Single plain SGD steps of tiny networks, unrolled: the sizes are constants, every value is a local variable.

A generic kernel spends more time on its loops and calls than on the arithmetic of a 2-2-1 network (W1: 230 ns against
52). The text of the step is written for the architecture, as one would write it by hand, and compiled in a second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from numba import njit

from nanostep._names import LOSSES
from nanostep.architecture import Architecture, Layer
from nanostep.backends.jit._compile import FASTMATH, UNCACHED
from nanostep.backends.jit._math import elu, expm1_negative, sigmoid, softplus, tanh
from nanostep.backends.jit.activations import LEAKY_SLOPE
from nanostep.backends.jit.losses import loss_slope, loss_term, share_of
from nanostep.backends.jit.order import shuffle_kernel

TINY = 48
"""Parameters up to which a step is unrolled."""

ACTIVATE = {
    "identity": "{z}",
    "sigmoid": "sigmoid({z})",
    "tanh": "tanh({z})",
    "relu": "(zero if {z} < zero else {z})",
    "leaky_relu": "({z} if {z} > zero else slope * {z})",
    "elu": "elu({z})",
    "softplus": "softplus({z})",
    "silu": "{z} * sigmoid({z})",
}
DERIVE = {
    "identity": "one",
    "sigmoid": "({a} * (one - {a}))",
    "tanh": "(one - {a} * {a})",
    "relu": "(one if {a} > zero else zero)",
    "leaky_relu": "(one if {a} > zero else slope)",
    "elu": "(one if {a} > zero else {a} + one)",
    "softplus": "-expm1_negative(-{a})",
    "silu": "(sigmoid({z}) * (one + {z} * (one - sigmoid({z}))))",
}


def can_unroll(architecture: Architecture) -> bool:
    """True for networks that `train_unrolled` is made for: tiny, and with an elementwise output."""
    return architecture.parameter_count <= TINY and architecture.output != "softmax"


def _weight(layer: Layer, o: int, i: int) -> str:
    return f"theta[{layer.weights.start + o * layer.inputs + i}]"


def _forward(architecture: Architecture) -> Iterator[str]:
    for i in range(architecture.inputs):
        yield f"a0_{i} = x[x_at + np.uint64({i})]"
    for l, layer in enumerate(architecture.layers, 1):
        for o in range(layer.outputs):
            terms = [f"{_weight(layer, o, i)} * a{l - 1}_{i}" for i in range(layer.inputs)]
            yield f"z{l}_{o} = {' + '.join([f'theta[{layer.biases.start + o}]', *terms])}"
            yield f"a{l}_{o} = {ACTIVATE[layer.activation].format(z=f'z{l}_{o}')}"


def _loss(architecture: Architecture) -> Iterator[str]:
    """Lines for the loss, and for d of the output layer times the rate."""
    last, joined = len(architecture.layers), architecture.loss == "binary_cross_entropy"
    code = LOSSES.index(architecture.loss)
    yield "total = 0.0"
    for o in range(architecture.outputs):
        z, a, y = f"z{last}_{o}", f"a{last}_{o}", f"y_{o}"
        yield f"{y} = y[y_at + np.uint64({o})]"
        if joined:
            yield f"total += {y} * softplus(-{z}) + (one - {y}) * softplus({z})"
            yield f"d{last}_{o} = scale * ({a} - {y})"
        else:
            yield f"total += loss_term({code}, {a}, {y})"
            slope = DERIVE[architecture.output].format(z=z, a=a)
            yield f"d{last}_{o} = (scale * loss_slope({code}, {a}, {y})) * {slope}"


def _backward(architecture: Architecture) -> Iterator[str]:
    """Lines for every delta, all from the old weights, then for the update."""
    for l in range(len(architecture.layers), 1, -1):
        layer = architecture.layers[l - 1]
        for i in range(layer.inputs):
            terms = " + ".join(f"d{l}_{o} * {_weight(layer, o, i)}" for o in range(layer.outputs))
            slope = DERIVE[architecture.activations[l - 2]].format(z=f"z{l - 1}_{i}", a=f"a{l - 1}_{i}")
            yield f"d{l - 1}_{i} = ({terms}) * {slope}"
    for l, layer in enumerate(architecture.layers, 1):
        for o in range(layer.outputs):
            for i in range(layer.inputs):
                yield f"{_weight(layer, o, i)} -= d{l}_{o} * a{l - 1}_{i}"
            yield f"theta[{layer.biases.start + o}] -= d{l}_{o}"


def step_source(architecture: Architecture) -> str:
    """Return the text of ``step(theta, x_at, x, y_at, y, scale)``, which returns the loss before the step."""
    lines = [
        "real = theta.dtype.type",
        f"zero, one, slope = real(0), real(1), real({LEAKY_SLOPE})",
        *_forward(architecture),
        *_loss(architecture),
        *_backward(architecture),
        "return total",
    ]
    return "def step(theta, x_at, x, y_at, y, scale):\n" + "".join(f"    {line}\n" for line in lines)


@lru_cache(maxsize=256)
def train_unrolled(architecture: Architecture) -> Callable[..., int]:
    """Return a compiled run of single steps for `architecture`; see `networks.train_singles`."""
    names: dict[str, Any] = {
        "np": np, "elu": elu, "expm1_negative": expm1_negative, "loss_slope": loss_slope, "loss_term": loss_term,
        "sigmoid": sigmoid, "softplus": softplus, "tanh": tanh,
    }  # fmt: skip
    exec(step_source(architecture), names)
    step = njit(fastmath=FASTMATH, **UNCACHED)(names["step"])
    share = float(share_of(LOSSES.index(architecture.loss), architecture.outputs))
    inputs, outputs = np.uint64(architecture.inputs), np.uint64(architecture.outputs)

    @njit(fastmath=FASTMATH, **UNCACHED)
    def run(lr, seed, steps, theta, n, x__ni, y__no, order__n, place, loss_sum, epoch_loss__e):
        one, zero = np.uint64(1), np.uint64(0)
        epoch, row, total = place[0], place[1], loss_sum[0]
        scale = theta.dtype.type(lr * share)
        ended = 0
        for _ in range(steps):
            if row == zero and order__n.size > 0:
                shuffle_kernel(seed, epoch, order__n)
            index = np.uint64(order__n[row]) if order__n.size > 0 else row
            total += share * step(theta, index * inputs, x__ni, index * outputs, y__no, scale)
            row += one
            if row == n:
                epoch_loss__e[ended] = total / n
                ended += 1
                epoch, row, total = epoch + one, zero, 0.0
        place[0], place[1], place[2], loss_sum[0] = epoch, row, place[2] + np.uint64(steps), total
        return ended

    return run
