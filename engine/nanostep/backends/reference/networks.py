"""Whole networks: predict, loss, gradient and training runs, composed of the operations."""

from __future__ import annotations

import numpy as np

from nanostep._arrays import Samples
from nanostep.architecture import Architecture
from nanostep.backends.contract import Cursor, Plan
from nanostep.backends.reference.activations import activate, activation_derivative
from nanostep.backends.reference.layers import dense_backward_input, dense_backward_weights, dense_forward
from nanostep.backends.reference.losses import loss_value, output_delta
from nanostep.backends.reference.optimizers import update
from nanostep.backends.reference.order import shuffle
from nanostep.optimizers import Optimizer

Array = np.ndarray

BLOCK = 4096
"""Rows that `Engine.predict` and `Engine.loss` work on at a time, so that memory does not grow with the data."""


def targets(samples: Samples, rows: slice | Array, outputs: int) -> Array:
    """Return the target rows y__bo of the given samples, labels as one-hot rows."""
    if samples.labels is None:
        assert samples.y is not None
        return samples.y[rows]
    labels = samples.labels[rows]
    y__bo = np.zeros((len(labels), outputs), samples.x.dtype)
    y__bo[np.arange(len(labels)), labels] = 1
    return y__bo


class Engine:
    """See `nanostep.backends.contract.Engine`. Overflow is silent, as in compiled code."""

    isa = ""
    threads = 1

    def __init__(self, architecture: Architecture, dtype: np.dtype) -> None:
        self.architecture = architecture
        self.dtype = dtype

    def forward(self, theta__p: Array, x__bi: Array) -> tuple[list[Array], list[Array]]:
        """Return z and a of every layer; a begins with the input: a[l + 1] = f(z[l])."""
        weights, biases = self.architecture.views(theta__p)
        z, a = [], [x__bi]
        for layer, w__oi, b__o in zip(self.architecture.layers, weights, biases, strict=True):
            z.append(np.empty((len(x__bi), layer.outputs), self.dtype))
            dense_forward(a[-1], w__oi, b__o, z[-1])
            a.append(np.empty_like(z[-1]))
            activate(layer.activation, z[-1], a[-1])
        return z, a

    def backward(self, theta__p: Array, z: list[Array], a: list[Array], y__bo: Array, grad__p: Array) -> None:
        """Write the gradient of the mean loss; every delta comes from the old weights."""
        weights, _ = self.architecture.views(theta__p)
        grad_weights, grad_biases = self.architecture.views(grad__p)
        d__bo = np.empty_like(z[-1])
        output_delta(self.architecture.loss, self.architecture.output, z[-1], a[-1], y__bo, d__bo)
        for l in reversed(range(len(weights))):
            dense_backward_weights(d__bo, a[l], grad_weights[l], grad_biases[l])
            if l > 0:
                dx__bi, df__bi = np.empty_like(a[l]), np.empty_like(a[l])
                dense_backward_input(d__bo, weights[l], dx__bi)
                activation_derivative(self.architecture.activations[l - 1], z[l - 1], a[l], df__bi)
                d__bo = dx__bi * df__bi

    def predict_row(self, theta__p: Array, x: object) -> None:
        return None

    def step_row(self, theta__p: Array, x: object, y: object, lr: object) -> None:
        return None

    def useful_threads(self, optimizer: Optimizer, plan: Plan, n: int) -> int:
        return 1

    @np.errstate(all="ignore")
    def predict(self, theta__p: Array, x__ni: Array, a__no: Array) -> None:
        for start in range(0, len(x__ni), BLOCK):
            rows = slice(start, start + BLOCK)
            a__no[rows] = self.forward(theta__p, x__ni[rows])[1][-1]

    @np.errstate(all="ignore")
    def loss(self, theta__p: Array, samples: Samples) -> float:
        total = 0.0
        for start in range(0, len(samples), BLOCK):
            rows = slice(start, start + BLOCK)
            z, a = self.forward(theta__p, samples.x[rows])
            y__bo = targets(samples, rows, self.architecture.outputs)
            total += len(y__bo) * loss_value(self.architecture.loss, self.architecture.output, z[-1], a[-1], y__bo)
        return total / len(samples)

    @np.errstate(all="ignore")
    def gradient(self, theta__p: Array, samples: Samples, grad__p: Array) -> float:
        z, a = self.forward(theta__p, samples.x)
        y__bo = targets(samples, slice(None), self.architecture.outputs)
        self.backward(theta__p, z, a, y__bo, grad__p)
        return loss_value(self.architecture.loss, self.architecture.output, z[-1], a[-1], y__bo)

    @np.errstate(all="ignore")
    def train(
        self,
        theta__p: Array,
        slots__sp: Array,
        samples: Samples,
        optimizer: Optimizer,
        plan: Plan,
        cursor: Cursor,
        steps: int,
        epoch_loss__e: Array,
    ) -> int:
        n = len(samples)
        grad__p = np.empty_like(theta__p)
        done = 0
        for _ in range(steps):
            if cursor.row == 0 and plan.shuffle:
                shuffle(plan.seed, cursor.epoch, cursor.order)
            end = min(cursor.row + plan.batch, n)
            rows = cursor.order[cursor.row : end] if plan.shuffle else slice(cursor.row, end)
            batch = Samples(samples.x[rows], targets(samples, rows, self.architecture.outputs), None)
            cursor.loss_sum += len(batch) * self.gradient(theta__p, batch, grad__p)
            cursor.updates += 1
            update(optimizer, cursor.updates, theta__p, grad__p, slots__sp)
            cursor.row = end
            if end == n:
                epoch_loss__e[done] = cursor.loss_sum / n
                done += 1
                cursor.epoch += 1
                cursor.row, cursor.loss_sum = 0, 0.0
        return done
