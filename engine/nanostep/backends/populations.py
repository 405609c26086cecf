"""Whole runs of populations: what every backend's module `populations` provides, and how a backend does it one by one.

A population is a number of networks of one architecture, each of which does what it would do alone: same initial
weights, order of samples and formulas. Names carry axes as in `nanostep.backends.contract`; m runs over all networks,
k over those that a call is for, r over all rows of the data and n over those that a network uses.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from nanostep._arrays import Samples
from nanostep.architecture import Architecture
from nanostep.backends.contract import Cursor, Engine, Plan
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
    """

    samples: Samples
    rows: Array | None = None

    def __len__(self) -> int:
        return len(self.samples) if self.rows is None else self.rows.shape[1]

    def of(self, network: int) -> Samples:
        """Return what one network uses."""
        return self.samples if self.rows is None else self.samples.take(self.rows[network])


@dataclass(frozen=True)
class PopulationPlan:
    """What stays the same through a run.

    Attributes
    ----------
    batch, shuffle, threads, cancel, smoothing
        See `nanostep.backends.contract.Plan`.
    seeds : ndarray of uint64, shape (m,)
        Of each network's order of samples and dropout.
    dropout : ndarray of float64, shape (m, hidden layers), or None
        For each network and hidden layer the probability that a unit is dropped.
    """

    batch: int
    shuffle: bool
    seeds: Array
    threads: int | None = None
    cancel: Array | None = None
    dropout: Array | None = None
    smoothing: float = 0.0

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
    loss : ndarray of float64, shape (k, epochs)
        Out: the mean loss of each epoch.
    done : ndarray of bool, shape (k,)
        Out: True for every network that has made all of them. Where `PopulationPlan.cancel` has ended the call early,
        the others are as they were.
    """

    who: Array
    epoch: int
    updates: int
    epochs: int
    rates: Array | None = None

    def __post_init__(self) -> None:
        self.loss = np.full((len(self.who), self.epochs), np.nan)
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

    def predict(self, theta__mp: Array, x: Array, a__mno: Array) -> None:
        """Write the outputs of every network for the rows of x, (n, i) for all or (m, n, i), into a."""
        ...

    def loss(self, theta__mp: Array, data: PopulationSamples, loss__m: Array) -> None:
        """Write the mean loss of every network over its samples into loss (float64)."""
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


class OneByOne:
    """A `PopulationEngine` that takes one network after another through the backend's engine for single ones."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def isa(self) -> str:
        return self._engine.isa

    @property
    def threads(self) -> int:
        return self._engine.threads

    def predict(self, theta__mp: Array, x: Array, a__mno: Array) -> None:
        for m, theta__p in enumerate(theta__mp):
            self._engine.predict(theta__p, x if x.ndim == 2 else x[m], a__mno[m])

    def loss(self, theta__mp: Array, data: PopulationSamples, loss__m: Array) -> None:
        for m, theta__p in enumerate(theta__mp):
            loss__m[m] = self._engine.loss(theta__p, data.of(m))

    def train(
        self,
        theta__mp: Array,
        slots__msp: Array,
        data: PopulationSamples,
        optimizer: Optimizer,
        plan: PopulationPlan,
        call: PopulationCall,
    ) -> None:
        n = len(data)
        steps = call.epochs * -(-n // plan.batch)
        for k, m in enumerate(call.who.tolist()):
            alone = optimizer.of(m)
            kept = optimizer.slot_rows(alone)
            one = plan.of(m)
            if call.rates is not None:
                one = replace(one, rates=call.rates[k if len(call.rates) > 1 else 0])
            theta__p, slots__sp = theta__mp[m].copy(), slots__msp[m][kept]
            cursor = Cursor(np.empty(n if plan.shuffle else 0, np.int64), call.epoch, 0, call.updates)
            losses = np.empty(call.epochs + 1)
            self._engine.train(theta__p, slots__sp, data.of(m), alone, one, cursor, steps, losses)
            if cursor.updates < call.updates + steps:
                return  # cancelled: this network stays as it was
            theta__mp[m], slots__msp[m, kept] = theta__p, slots__sp
            call.loss[k], call.done[k] = losses[: call.epochs], True
            if plan.cancel is not None and plan.cancel[0]:
                return
