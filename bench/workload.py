"""`Workload`: one training problem, for one network or many, the same for every contender; and its data."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from nanostep.architecture import Architecture
from nanostep.data import load_digits
from nanostep.network import Network
from nanostep.optimizers import OPTIMIZERS, Optimizer
from nanostep.population import Population

ROWS = 4096
"""Default number of samples of a workload."""

CHECKED = 16
"""Networks of a population that are compared with the reference, evenly spread over the population and over the lanes
of vectors; the last one is compared as well."""

SLOWEST = 16
"""Ratio of the last network's rate to the first one's."""


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
        Learning rate, small enough for the loss to stay finite in runs of any length.
    rows : int, default=4096
    data : str, default="normal"
        "normal": standard normal inputs, targets from a random linear teacher. "mild": the same scaled down, so that
        sigmoids do not saturate. "digits": the handwritten digits of the package. "images": synthetic images of MNIST's
        shape and sparseness.
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
    data: str = "normal"

    @property
    def network(self) -> str:
        """The network in words, such as "2-2-1 sigmoid, sigmoid, half_squared_error"."""
        return f"{'-'.join(map(str, self.sizes))} {self.activation}, {self.output}, {self.loss}"

    @property
    def title(self) -> str:
        """The whole workload in words."""
        return f"{self.network}; batch {self.batch}; {self.dtype}, {self.optimizer}"

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.rows // self.batch)

    @cached_property
    def architecture(self) -> Architecture:
        return self.make_network("numpy").architecture

    @property
    def has_labels(self) -> bool:
        """True if targets are class numbers."""
        return self.loss == "cross_entropy"

    def make_network(self, backend: str, seed: int = 0) -> Network:
        """Return the network on `backend`, with the same initial weights on every backend."""
        return Network(
            self.sizes,
            activation=self.activation,
            output=self.output,
            loss=self.loss,
            dtype=self.dtype,
            backend=backend,
            seed=seed,
        )

    def initial_theta(self) -> np.ndarray:
        """Return the initial weights for every contender."""
        return self.make_network("numpy").theta.copy()

    def make_optimizer(self) -> Optimizer:
        """Return a new optimiser."""
        return OPTIMIZERS[self.optimizer](lr=self.lr)


@dataclass(frozen=True)
class PopulationWorkload(Workload):
    """The training problem of `Workload` for each of many networks.

    Attributes
    ----------
    networks : int
        Network i has the initial weights of ``Network(..., seed=i)`` and the rate ``rates()[i]``, at most `lr`.
    """

    networks: int = 1024

    @property
    def title(self) -> str:
        return f"{self.networks:,} networks {super().title}, a rate for each"

    @property
    def checked(self) -> tuple[int, ...]:
        """Indices of the networks that are compared with the reference."""
        odd = self.networks // CHECKED | 1  # so that they are in different lanes
        return tuple(sorted({*range(0, self.networks, odd), self.networks - 1}))

    def rates(self) -> np.ndarray:
        """Return the learning rates, shape (networks,), a geometric sequence from `lr` / `SLOWEST` to `lr`."""
        return np.geomspace(self.lr / SLOWEST, self.lr, self.networks)

    def make_single(self, i: int, backend: str) -> tuple[Network, Optimizer]:
        """Return network `i` as an ordinary network, and its optimiser."""
        return self.make_network(backend, seed=i), OPTIMIZERS[self.optimizer](lr=float(self.rates()[i]))

    def make_population(self, backend: str) -> Population:
        """Return the population on `backend`, with the same initial weights on every backend."""
        return Population(
            self.sizes,
            self.networks,
            activation=self.activation,
            output=self.output,
            loss=self.loss,
            dtype=self.dtype,
            backend=backend,
            seed=0,
        )

    def initial_thetas(self) -> np.ndarray:
        """Return the initial weights for every contender, shape (networks, parameters)."""
        return self.make_population("numpy").theta.copy()

    def make_optimizer(self) -> Optimizer:
        """Return a new optimiser, with a rate for each network."""
        return OPTIMIZERS[self.optimizer](lr=self.rates())


@lru_cache(maxsize=1)
def make_data(workload: Workload) -> tuple[np.ndarray, np.ndarray]:
    """Return the workload's samples, the same at every call and in every process.

    Returns
    -------
    x : ndarray, shape (rows, inputs)
    y : ndarray, shape (rows, outputs), or (rows,) of int64 class labels
    """
    x, y = _MAKERS[workload.data](workload)
    for array in (x, y):
        array.flags.writeable = False
    return x, y


def _normal(workload: Workload) -> tuple[np.ndarray, np.ndarray]:
    """Return standard normal inputs, and a random linear teacher's scores, their sigmoids or the best class."""
    generator = np.random.default_rng(0)
    x = generator.standard_normal((workload.rows, workload.sizes[0]))
    scores = x @ generator.standard_normal((workload.sizes[0], workload.sizes[-1])) / np.sqrt(workload.sizes[0])
    if workload.has_labels:
        return x.astype(workload.dtype), scores.argmax(axis=1)
    y = 1 / (1 + np.exp(-scores)) if workload.output == "sigmoid" else scores
    return x.astype(workload.dtype), y.astype(workload.dtype)


def _digits(workload: Workload) -> tuple[np.ndarray, np.ndarray]:
    x, labels = load_digits()
    return (x[: workload.rows] / 16).astype(workload.dtype), labels[: workload.rows].astype(np.int64)


def _images(workload: Workload) -> tuple[np.ndarray, np.ndarray]:
    """Return noisy images of ten prototypes with a fifth of their pixels set, as in MNIST."""
    generator = np.random.default_rng(0)
    inputs, classes = workload.sizes[0], workload.sizes[-1]
    prototypes = generator.random((classes, inputs), dtype=np.float32)
    prototypes *= generator.random((classes, inputs)) < 0.2
    labels = generator.integers(classes, size=workload.rows)
    x = generator.random((workload.rows, inputs), dtype=np.float32)
    x *= prototypes[labels]
    return x.astype(workload.dtype, copy=False), labels


def _mild(workload: Workload) -> tuple[np.ndarray, np.ndarray]:
    """Return "normal" data with smaller inputs and targets near a half: weights stay small, no neuron saturates."""
    x, y = _normal(workload)
    return x / 2, 0.5 + (y - 0.5) / 4


_MAKERS = {"normal": _normal, "mild": _mild, "digits": _digits, "images": _images}
