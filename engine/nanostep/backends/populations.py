"""Whole runs of populations: what every backend's module `populations` provides, and how a backend does it one by one.

A population is a number of networks of one architecture, each of which does what it would do alone: same initial
weights, order of samples and formulas. Names carry axes as in `nanostep.backends.contract`; m runs over all networks,
k over those that a call is for, r over all rows of the data and n over those that a network uses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from nanostep._arrays import Samples
from nanostep.architecture import Architecture
from nanostep.backends.contract import Cursor, Engine, Plan
from nanostep.optimizers import Optimizer

Array = np.ndarray

LANE_BYTES = 64
"""Of the widest vector that there may be."""

CACHE_BYTES = 1 << 20
"""Lanes pay while the parameters, slots and gradient of a vector of networks take no more than this: half of L2."""

WIDEST = 64
"""Units of a layer up to which lanes are taken. Against one by one, 64 networks of 8-16-4 were 2 to 11 times as fast in
C, of 64-64-10 0.8 to 2, of 128-64-10 0.6 to 1.6 (float32 and float64, batches 1 and 32, SGD and Adam); with Numba 4 to
10, 1.3 to 3 and 1.1 to 3.4, on another processor."""


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
            theta__p, slots__sp = theta__mp[m].copy(), slots__msp[m][kept]
            cursor = Cursor(np.empty(n if plan.shuffle else 0, np.int64), call.epoch, 0, call.updates)
            losses = np.empty(call.epochs + 1)
            self._engine.train(theta__p, slots__sp, data.of(m), alone, plan.of(m), cursor, steps, losses)
            if cursor.updates < call.updates + steps:
                return  # cancelled: this network stays as it was
            theta__mp[m], slots__msp[m, kept] = theta__p, slots__sp
            call.loss[k], call.done[k] = losses[: call.epochs], True
            if plan.cancel is not None and plan.cancel[0]:
                return


class InLanes(OneByOne):
    """A `PopulationEngine` that trains small networks in the lanes of vectors, as `_train_in_lanes` of a backend does,
    and others one by one."""

    def __init__(self, engine: Engine, architecture: Architecture, dtype: np.dtype) -> None:
        super().__init__(engine)
        self._architecture, self._dtype = architecture, dtype
        self._ran: tuple[str, int] | None = None

    @property
    def isa(self) -> str:
        return self._ran[0] if self._ran is not None else self._engine.isa

    @property
    def threads(self) -> int:
        return self._ran[1] if self._ran is not None else self._engine.threads

    def lanes_pay(self, networks: int, optimizer: Optimizer, plan: PopulationPlan) -> bool:
        """Return True if a population of so many networks is trained in lanes: small ones that agree in what lanes
        share, the order of samples, and ask for nothing that lanes do not do, dropout.

        It is asked of the population, not of the networks that a call is for: whichever way gives other bits.
        """
        seeds_agree = bool((plan.seeds == plan.seeds[0]).all())
        held = (2 + len(optimizer.slots)) * self._architecture.parameter_count * LANE_BYTES
        fits = held <= CACHE_BYTES and max(self._architecture.sizes) <= WIDEST
        enough = networks * self._dtype.itemsize * 4 >= LANE_BYTES
        return plan.dropout is None and seeds_agree and fits and enough

    def train(
        self,
        theta__mp: Array,
        slots__msp: Array,
        data: PopulationSamples,
        optimizer: Optimizer,
        plan: PopulationPlan,
        call: PopulationCall,
    ) -> None:
        arguments = (theta__mp, slots__msp, data, optimizer, plan, call)
        if self.lanes_pay(len(theta__mp), optimizer, plan):
            self._ran = self._train_in_lanes(*arguments)
        else:
            self._ran = None
            super().train(*arguments)

    def _train_in_lanes(
        self,
        theta__mp: Array,
        slots__msp: Array,
        data: PopulationSamples,
        optimizer: Optimizer,
        plan: PopulationPlan,
        call: PopulationCall,
    ) -> tuple[str, int]:
        """See `train`; return the instruction set and the threads that it ran with."""
        raise NotImplementedError
