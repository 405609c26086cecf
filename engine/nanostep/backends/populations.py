"""Whole runs of populations: what every backend's module `populations` provides.

A population is a number of networks of one architecture, each of which does what it would do alone: same initial
weights, order of samples and formulas. Names carry axes as in `nanostep.backends.contract`; m runs over all networks,
k over those that a call is for, r over all rows of the data and n over those that a network uses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from nanostep._arrays import Samples
from nanostep.architecture import Architecture
from nanostep.backends.contract import Plan
from nanostep.optimizers import Optimizer

Array = np.ndarray


@dataclass(frozen=True)
class PopulationSamples:
    """Data of a call.

    Attributes
    ----------
    samples : Samples
        Rows r, without weights.
    rows : ndarray of int64, shape (m, n), or None
        The rows that each network uses, in this order; None: all networks use all rows.
    weight : ndarray, shape (m, n), or None
        What each of them counts to the network, >= 0; None for 1.
    """

    samples: Samples
    rows: Array | None = None
    weight: Array | None = None

    def __len__(self) -> int:
        return len(self.samples) if self.rows is None else self.rows.shape[1]

    def of(self, network: int) -> Samples:
        """Return what one network uses."""
        samples = self.samples if self.rows is None else self.samples.take(self.rows[network])
        return samples if self.weight is None else replace(samples, weight=self.weight[network])


@dataclass(frozen=True)
class PopulationPlan:
    """What stays the same through a run.

    Attributes
    ----------
    batch, shuffle, threads, cancel, own_order, smoothing, scale, batch_mean, lowest_log
        See `nanostep.backends.contract.Plan`; own orders are those of `PopulationCall.order`.
    seeds : ndarray of uint64, shape (m,)
        Of each network's order of samples and dropout.
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
    own_order: bool = False
    alpha: Array | None = None
    scale: float = 1.0
    batch_mean: bool = False
    lowest_log: float = -math.inf

    @property
    def is_simple(self) -> bool:
        """True if updates are made with the gradient of the mean loss, and that loss is what is reported."""
        return self.alpha is None and self.scale == 1 and self.lowest_log == -math.inf

    def of(self, network: int) -> Plan:
        """Return the plan of one network."""
        return Plan(
            self.batch,
            self.shuffle,
            int(self.seeds[network]),
            self.threads,
            self.cancel,
            dropout=() if self.dropout is None else tuple(self.dropout[network].tolist()),
            smoothing=self.smoothing,
            own_order=self.own_order,
            alpha=0.0 if self.alpha is None else float(self.alpha[network]),
            scale=self.scale,
            batch_mean=self.batch_mean,
            lowest_log=self.lowest_log,
        )


@dataclass
class PopulationCall:
    """Which networks a call of `PopulationEngine.train` is for, where they stand, and what comes out.

    Attributes
    ----------
    who : ndarray of int64, shape (k,)
        Their numbers, each once.
    epoch, updates : int
        They stand at the start of this epoch, after so many updates.
    epochs : int
        Whole epochs to make, >= 1.
    rates : ndarray of float64, shape (k, steps) or (1, steps), or None
        Learning rates of all updates of the call, of each network or of all, in place of the optimiser's.
    order : ndarray of int64, shape (epochs, n), or None
        The order of the samples in each epoch, for all networks, of plans with own orders.
    loss, penalty : ndarray of float64, shape (k, epochs)
        Out: the mean loss of each epoch, and the mean penalty.
    done : ndarray of bool, shape (k,)
        Out: True for every network that has made all of them. Where `PopulationPlan.cancel` has ended the call early,
        the others are as they were.
    """

    who: Array
    epoch: int
    updates: int
    epochs: int
    rates: Array | None = None
    order: Array | None = None

    def __post_init__(self) -> None:
        self.loss = np.full((len(self.who), self.epochs), np.nan)
        self.penalty = np.zeros((len(self.who), self.epochs))
        self.done = np.zeros(len(self.who), bool)


class PopulationEngine(Protocol):
    """Class ``Engine(architecture, dtype)`` of a backend's ``populations``; all arguments have passed the gate."""

    def __init__(self, architecture: Architecture, dtype: np.dtype) -> None: ...

    @property
    def isa(self) -> str:
        """Instruction set the last call ran with; "" if the backend does not say."""
        ...

    @property
    def threads(self) -> int:
        """Threads the last call of `train` ran on."""
        ...

    def side_by_side(self, networks: int, optimizer: Optimizer, plan: PopulationPlan) -> bool:
        """Return True if a population of so many networks is faster than they would be one after another."""
        ...

    def predict(
        self,
        theta__mp: Array,
        x: Array,
        a__kno: Array,
        who__k: Array | None = None,
        rows__mn: Array | None = None,
        threads: int | None = None,
    ) -> None:
        """Write the outputs of some networks (None: all) for the rows of x, (n, i) for all or (m, n, i), into a.

        With `rows__mn`, numbers of the rows of x (r, i) that each network uses, for those. Bits depend on the
        population and not on who else is asked.
        """
        ...

    def loss(
        self,
        theta__mp: Array,
        data: PopulationSamples,
        loss__k: Array,
        who__k: Array | None = None,
        threads: int | None = None,
    ) -> None:
        """Write the mean loss of some networks (None: all) over their samples into loss (float64)."""
        ...

    def train(
        self,
        theta__mp: Array,
        slots__msp: Array,
        data: PopulationSamples,
        optimizer: Optimizer,
        plan: PopulationPlan,
        call: PopulationCall,
    ) -> None:
        """Train some networks. What a network gets does not depend, to the bit, on who else the call is for."""
        ...
