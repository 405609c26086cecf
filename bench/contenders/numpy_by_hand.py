"""A simple hand-written network in NumPy: matrix products, slices of the data, updates in place."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import ClassVar

import numpy as np

from nanostep.benchmark.contenders.base import (
    DISCOUNT,
    Calls,
    Contender,
    Memory,
    Online,
    Run,
    Trainer,
    join,
    split,
    supported,
)
from nanostep.benchmark.workload import Workload

Array = np.ndarray


def sigmoid(z: Array) -> Array:
    return 1 / (1 + np.exp(-z))


def softmax(z: Array) -> Array:
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


# f and f' from a = f(z)
ACTIVATIONS: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    "sigmoid": (sigmoid, lambda a: a * (1 - a)),
    "tanh": (np.tanh, lambda a: 1 - a * a),
    "relu": (lambda z: np.maximum(z, 0), lambda a: a > 0),
}
# the loss of a batch, and dL/dz of the output layer, summed over the batch
OUTPUTS = {"sigmoid": {"half_squared_error"}, "identity": {"squared_error"}, "softmax": {"cross_entropy"}}


class Model:
    """The weights, the forward pass, and the loss and gradients of a batch."""

    def __init__(self, workload: Workload) -> None:
        self.workload = workload
        self.start = workload.initial_theta()
        self.theta = self.start.copy()
        self.layers = split(workload.architecture, self.theta)
        self.f, self.df = ACTIVATIONS[workload.activation]

    def forward(self, x: Array) -> list[Array]:
        activations = [x]
        for w, b in self.layers[:-1]:
            activations.append(self.f(activations[-1] @ w.T + b))
        w, b = self.layers[-1]
        z = activations[-1] @ w.T + b
        output = self.workload.output
        activations.append(softmax(z) if output == "softmax" else sigmoid(z) if output == "sigmoid" else z)
        return activations

    def gradients(self, x: Array, y: Array) -> tuple[float, list[tuple[Array, Array]]]:
        """Return the loss summed over the batch and the gradients of its mean."""
        activations = self.forward(x)
        a = activations[-1]
        if self.workload.loss == "cross_entropy":
            rows = np.arange(len(x))
            loss = float(-np.log(a[rows, y]).sum())
            delta = a.copy()
            delta[rows, y] -= 1
        else:
            error = a - y
            squares = float((error * error).sum())
            if self.workload.loss == "half_squared_error":
                loss, delta = squares / 2, error * a * (1 - a)
            else:
                loss, delta = squares / a.shape[1], error * 2 / a.shape[1]
        return loss, self.pull(activations, delta / len(x))[0]

    def pull(self, activations: list[Array], delta: Array) -> tuple[list[tuple[Array, Array]], Array]:
        """Return the gradients that belong to delta = dL/dz of the output layer, and delta of the first layer."""
        gradients = []
        for layer in range(len(self.layers) - 1, -1, -1):
            gradients.append((delta.T @ activations[layer], delta.sum(axis=0)))
            if layer:
                delta = (delta @ self.layers[layer][0]) * self.df(activations[layer])
        return gradients[::-1], delta


class Sgd:
    def __init__(self, model: Model) -> None:
        self.parameters = [p for layer in model.layers for p in layer]
        self.lr = model.workload.lr

    def update(self, gradients: list[tuple[Array, Array]]) -> None:
        for p, g in zip(self.parameters, (g for pair in gradients for g in pair), strict=True):
            p -= self.lr * g


class Adam(Sgd):
    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.m = [np.zeros_like(p) for p in self.parameters]
        self.v = [np.zeros_like(p) for p in self.parameters]
        self.t = 0

    def update(self, gradients: list[tuple[Array, Array]]) -> None:
        self.t += 1
        rate, root = self.lr / (1 - 0.9**self.t), float(np.sqrt(1 - 0.999**self.t))
        flat = [g for pair in gradients for g in pair]
        for p, g, m, v in zip(self.parameters, flat, self.m, self.v, strict=True):
            m += 0.1 * (g - m)
            v += 0.001 * (g * g - v)
            p -= rate * m / (np.sqrt(v) / root + 1e-8)


RULES = {"sgd": Sgd, "adam": Adam}


class HandTrainer(Trainer):
    def __init__(self, workload: Workload, x: Array, y: Array) -> None:
        self.model, self.x, self.y = Model(workload), x, y

    def run(self, epochs: int) -> Run:
        model, x, y = self.model, self.x, self.y
        model.theta[:] = model.start
        rule, batch, n = RULES[model.workload.optimizer](model), model.workload.batch, len(x)
        total = 0.0
        started = time.perf_counter()
        for _ in range(epochs):
            total = 0.0
            for row in range(0, n, batch):
                loss, gradients = model.gradients(x[row : row + batch], y[row : row + batch])
                rule.update(gradients)
                total += loss
        return Run(time.perf_counter() - started, total / n, model.theta.copy())


class HandOnline(Online):
    def __init__(self, workload: Workload) -> None:
        self.model = Model(workload)
        self.rule = Sgd(self.model)

    def reset(self) -> None:
        self.model.theta[:] = self.model.start

    def step(self, x__i: Array, y__o: Array) -> float:
        loss, gradients = self.model.gradients(x__i[None], y__o[None])
        self.rule.update(gradients)
        return loss

    def predict(self, x__i: Array) -> Array:
        return self.model.forward(x__i[None])[-1][0]

    def theta(self) -> Array:
        return self.model.theta.copy()


class HandCalls(Calls):
    def __init__(self, workload: Workload) -> None:
        self.model, self.target = Model(workload), Model(workload)
        self.reset()

    def reset(self) -> None:
        self.model.theta[:] = self.model.start
        self.rule = RULES[self.model.workload.optimizer](self.model)

    def step(self, x__bi: Array, y__bo: Array) -> float:
        loss, gradients = self.model.gradients(x__bi, y__bo)
        self.rule.update(gradients)
        return loss / len(x__bi)

    def predict(self, x__bi: Array) -> Array:
        return self.model.forward(x__bi)[-1]

    def gradient(self, x__bi: Array, y__bo: Array) -> Array:
        return join(self.model.gradients(x__bi, y__bo)[1])

    def pull(self, x__bi: Array, dout__bo: Array) -> tuple[Array, Array]:
        gradients, delta = self.model.pull(self.model.forward(x__bi), dout__bo)
        return join(gradients), delta @ self.model.layers[0][0]

    def learn(self, memory: Memory, i__b: Array) -> None:
        after, rows = memory.after[i__b], np.arange(len(i__b))
        best = self.predict(after).argmax(axis=1)
        later = self.target.forward(after)[-1][rows, best]
        wanted = memory.rewards[i__b] + DISCOUNT * ~memory.ends[i__b] * later
        activations, actions = self.model.forward(memory.states[i__b]), memory.actions[i__b]
        dout = np.zeros_like(activations[-1])
        dout[rows, actions] = (activations[-1][rows, actions] - wanted) * (2 / len(rows))
        self.rule.update(self.model.pull(activations, dout)[0])

    def theta(self) -> Array:
        return self.model.theta.copy()


class NumPyByHand(Contender):
    name, title = "numpy-by-hand", "NumPy by hand"
    modules: ClassVar[tuple[str, ...]] = ("numpy",)
    distributions: ClassVar[tuple[str, ...]] = ("numpy",)

    def cannot(self, workload: Workload, use: str) -> str:
        return supported(workload, set(ACTIVATIONS), OUTPUTS, set(RULES))

    def trainer(self, workload: Workload, x: Array, y: Array, cores: int) -> Trainer:
        del cores  # the threads of its BLAS are set by the worker's environment
        return HandTrainer(workload, x, y)

    def online(self, workload: Workload) -> Online:
        return HandOnline(workload)

    def calls(self, workload: Workload) -> Calls:
        return HandCalls(workload)
