"""Whole runs of populations: what every backend's module `populations` provides.

A population is a set of networks of one architecture, each trained exactly as it would be alone: with the same initial
weights, order of samples and formulas. Names carry axes as in `nanostep.backends.contract`; m runs over all networks,
k over those of a call, r over all rows of the data and n over those that a network uses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np

from nanostep._arrays import Samples
from nanostep.architecture import Architecture
from nanostep.backends.contract import RunConfig
from nanostep.optimizers import Optimizer

Array = np.ndarray


@dataclass(frozen=True)
class PopulationSamples:
    """Data of a call.

    Attributes
    ----------
    samples : Samples
        Rows r. Their weights are those of missing labels, 0, and 1.
    rows : ndarray of int64, shape (m, n), or None
        The rows that each network uses, in this order; None: all networks use all rows.
    weight : ndarray, shape (m, n), or None
        Weight of each of these rows, finite; None for 1.
    """

    samples: Samples
    rows: Array | None = None
    weight: Array | None = None

    def __len__(self) -> int:
        return len(self.samples) if self.rows is None else self.rows.shape[1]

    def of(self, network: int) -> Samples:
        """Return the samples of one network."""
        samples = self.samples if self.rows is None else self.samples.take(self.rows[network])
        if self.weight is None:
            return samples
        weight = self.weight[network]
        return replace(samples, weight=weight if samples.weight is None else weight * samples.weight)


@dataclass(frozen=True)
class PopulationRunConfig:
    """Settings of a run.

    Attributes
    ----------
    batch, shuffle, threads, cancel, custom_order, smoothing, scale, batch_mean, log_clip_min, layer_rates
        See `nanostep.backends.contract.RunConfig`; custom orders are those of `PopulationTask.order`.
    seeds : ndarray of uint64, shape (m,)
        Seed of each network's sample orders and dropout.
    dropout : ndarray of float64, shape (m, hidden layers), or None
        For each network and hidden layer the probability that a unit is dropped.
    alpha : ndarray of float64, shape (m,), or None
        L2 penalty of each network.
    """

    batch: int
    shuffle: bool
    seeds: Array
    threads: int | None = None
    cancel: Array | None = None
    dropout: Array | None = None
    smoothing: float = 0.0
    custom_order: bool = False
    alpha: Array | None = None
    scale: float = 1.0
    batch_mean: bool = False
    log_clip_min: float = -math.inf
    layer_rates: tuple[float, ...] = ()

    @property
    def is_simple(self) -> bool:
        """True if updates use the gradient of the mean loss, and that loss is the one reported."""
        return self.alpha is None and self.scale == 1 and self.log_clip_min == -math.inf

    def of(self, network: int) -> RunConfig:
        """Return the settings of one network."""
        return RunConfig(
            self.batch,
            self.shuffle,
            int(self.seeds[network]),
            self.threads,
            self.cancel,
            dropout=() if self.dropout is None else tuple(self.dropout[network].tolist()),
            smoothing=self.smoothing,
            custom_order=self.custom_order,
            alpha=0.0 if self.alpha is None else float(self.alpha[network]),
            scale=self.scale,
            batch_mean=self.batch_mean,
            log_clip_min=self.log_clip_min,
            layer_rates=self.layer_rates,
        )


class PopulationTraining(NamedTuple):
    """Arguments that all calls of a run share.

    Attributes
    ----------
    theta__mp : ndarray
        Parameters of all networks, updated in place.
    slots__msp : ndarray
        Slots of their optimisers, updated in place.
    data : PopulationSamples
    optimizer : Optimizer
        Hyper-parameters are numbers, or arrays (m,).
    config : PopulationRunConfig
    """

    theta__mp: Array
    slots__msp: Array
    data: PopulationSamples
    optimizer: Optimizer
    config: PopulationRunConfig


@dataclass
class PopulationTask:
    """The networks of one call of `PopulationEngine.train`, their position, and the results.

    Attributes
    ----------
    indices : ndarray of int64, shape (k,)
        The networks, each once.
    epoch, updates : int
        Their position: the start of this epoch, after this many updates.
    epochs : int
        Whole epochs to make, >= 1.
    rates : ndarray of float64, shape (k, steps) or (1, steps), or None
        Learning rates of all updates of the call, for each network or for all, in place of the optimiser's.
    order : ndarray of int64, shape (epochs, n), or None
        The order of the samples in each epoch, for all networks, where `PopulationRunConfig.custom_order` is set.
    loss, penalty : ndarray of float64, shape (k, epochs)
        Out: the mean loss of each epoch, and the mean penalty.
    done : ndarray of bool, shape (k,)
        Out: True for every network that has made all epochs. Where `PopulationRunConfig.cancel` has ended the call
        early, the other networks are unchanged.
    """

    indices: Array
    epoch: int
    updates: int
    epochs: int
    rates: Array | None = None
    order: Array | None = None

    def __post_init__(self) -> None:
        self.loss = np.full((len(self.indices), self.epochs), np.nan)
        self.penalty = np.zeros((len(self.indices), self.epochs))
        self.done = np.zeros(len(self.indices), bool)


class PopulationEngine(Protocol):
    """Class ``Engine(architecture, dtype)`` of a backend's ``populations``; all arguments have passed the gate."""

    def __init__(self, architecture: Architecture, dtype: np.dtype) -> None: ...

    @property
    def isa(self) -> str:
        """Instruction set that the last call ran with; "" if the backend reports none."""
        ...

    @property
    def threads(self) -> int:
        """Number of threads that the last call of `train` ran on."""
        ...

    def trains_in_parallel(self, networks: int, optimizer: Optimizer, config: PopulationRunConfig) -> bool:
        """Return True if a population of this many networks trains faster than the networks one after another."""
        ...

    def predict(
        self,
        theta__mp: Array,
        x: Array,
        a__kno: Array,
        index__k: Array | None = None,
        rows__mn: Array | None = None,
        threads: int | None = None,
    ) -> None:
        """Write the outputs of the networks `index__k` (None: all) for the rows of x into a.

        x is (n, i) for all networks, (m, n, i) with rows for each, or (r, i) with `rows__mn`, the indices of the rows
        that each network uses. Bits depend on the population, but not on the other networks of the call.
        """
        ...

    def loss(
        self,
        theta__mp: Array,
        data: PopulationSamples,
        loss__k: Array,
        index__k: Array | None = None,
        threads: int | None = None,
    ) -> None:
        """Write the mean losses of the networks `index__k` (None: all) over their samples into `loss__k` (float64)."""
        ...

    def gradient(self, theta__mp: Array, data: PopulationSamples, loss__m: Array, grad__mp: Array) -> None:
        """Write the mean loss of every network over its samples into `loss__m` (float64), and its gradient."""
        ...

    def vjp(
        self,
        theta__mp: Array,
        x: Array,
        dout__mno: Array,
        *,
        of_z: bool,
        grad__mp: Array | None,
        dx__mni: Array | None,
    ) -> None:
        """Pull dout back through every network; see `nanostep.backends.contract.Engine.vjp`.

        x is (n, i) for all networks, or (m, n, i) with rows for each; n may be 0.
        """
        ...

    def apply(
        self,
        optimizer: Optimizer,
        updates__m: Array,
        theta__mp: Array,
        grad__mp: Array,
        slots__msp: Array,
        scale__mp: Array | None,
    ) -> None:
        """Make the update of every network that follows `updates__m`, from a gradient; `scale__mp`, unless None,
        multiplies the change of theta, and entries of scale 0 stay as they are."""
        ...

    def train(self, training: PopulationTraining, task: PopulationTask) -> None:
        """Train the networks of `task`, updating their theta and slots in place.

        The result of a network does not depend, to the bit, on the other networks of the call.
        """
        ...
