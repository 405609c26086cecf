"""The workloads: networks, batches and optimisers that the project's speed is judged by, and their data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nanostep.network import Network
from nanostep.optimizers import OPTIMIZERS, Optimizer

ROWS = 4096
"""Samples of a workload that does not say otherwise."""


@dataclass(frozen=True)
class Workload:
    """One training problem: repeated optimiser steps over the same rows, in order.

    Attributes
    ----------
    name : str
    sizes : tuple of int
    activation, output, loss, dtype : str
        As in `nanostep.Network`.
    batch : int
        Samples per step.
    optimizer : str
        Kind: "sgd", "rmsprop", "adam" or "adamw".
    lr : float
        Learning rate, small enough that the loss stays finite however long the run.
    rows : int, default=4096
    """

    name: str
    sizes: tuple[int, ...]
    activation: str
    output: str
    loss: str
    batch: int
    dtype: str
    optimizer: str
    lr: float
    rows: int = ROWS

    @property
    def network(self) -> str:
        """The network in words, such as "2-2-1 sigmoid, sigmoid, half_squared_error"."""
        return f"{'-'.join(map(str, self.sizes))} {self.activation}, {self.output}, {self.loss}"

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.rows // self.batch)

    def make_network(self, backend: str) -> Network:
        """Return the network on `backend`, with the same initial weights on every backend."""
        return Network(self.sizes, self.activation, self.output, self.loss, self.dtype, backend, seed=0)

    def make_optimizer(self) -> Optimizer:
        """Return a new optimiser."""
        return OPTIMIZERS[self.optimizer](lr=self.lr)


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("W1", (2, 2, 1), "sigmoid", "sigmoid", "half_squared_error", 1, "float64", "sgd", 0.5),
        Workload("W2", (4, 16, 3), "tanh", "softmax", "cross_entropy", 1, "float64", "sgd", 0.05),
        Workload("W3", (8, 64, 64, 4), "tanh", "identity", "squared_error", 64, "float32", "adam", 1e-3),
        Workload("W4", (64, 32, 10), "relu", "softmax", "cross_entropy", 32, "float32", "sgd", 0.02),
        Workload("W5", (784, 128, 10), "relu", "softmax", "cross_entropy", 32, "float32", "sgd", 0.002),
        Workload("W6", (784, 512, 512, 10), "relu", "softmax", "cross_entropy", 128, "float32", "sgd", 0.002),
        Workload("D1", (32, 32, 32, 32, 10), "relu", "softmax", "cross_entropy", 32, "float32", "sgd", 0.02),
        Workload("SC", (4, 32, 16, 4), "tanh", "identity", "squared_error", 10_000, "float32", "adam", 1e-3, 10_000),
    )
}
"""All workloads by name."""


def make_data(workload: Workload) -> tuple[np.ndarray, np.ndarray]:
    """Return the workload's samples, the same at every call.

    Inputs are standard normal. Targets come from a random linear teacher: its scores, or their sigmoid where the output
    is one, or for classes the largest of them.

    Returns
    -------
    x : ndarray, shape (rows, inputs)
    y : ndarray, shape (rows, outputs), or (rows,) of int64 class labels
    """
    generator = np.random.default_rng(0)
    x = generator.standard_normal((workload.rows, workload.sizes[0]))
    scores = x @ generator.standard_normal((workload.sizes[0], workload.sizes[-1])) / np.sqrt(workload.sizes[0])
    if workload.loss == "cross_entropy":
        return x.astype(workload.dtype), scores.argmax(axis=1)
    y = 1 / (1 + np.exp(-scores)) if workload.output == "sigmoid" else scores
    return x.astype(workload.dtype), y.astype(workload.dtype)
