"""Whole runs of populations: what every backend's module `populations` provides, and how a backend does it one by one.

A population is a number of networks of one architecture, each of which does what it would do alone: same initial
weights, order of samples and formulas. Names carry axes as in `nanostep.backends.contract`; m runs over all networks,
k over those that a call is for, r over all rows of the data and n over those that a network uses.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
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

THREAD_FLOPS = 5e6
"""Work of a network in a call, some 0.1 to 0.3 ms, from which networks are shared out among Python's threads."""

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
    """A `PopulationEngine` that takes one network after another through the backend's engine for single ones, or as
    many at a time as there are threads.

    Parameters
    ----------
    engine : Engine
        Whose calls may overlap in time if there are threads.
    architecture : Architecture
    most_threads : callable
        Returns how many threads can work on networks of their own where the plan leaves the number open.
    """

    def __init__(self, engine: Engine, architecture: Architecture, most_threads: Callable[[], int] = lambda: 1) -> None:
        self._engine, self._architecture, self._most_threads = engine, architecture, most_threads
        self._threads = 1

    @property
    def isa(self) -> str:
        return self._engine.isa

    @property
    def threads(self) -> int:
        return max(self._engine.threads, self._threads)

    def side_by_side(self, networks: int, optimizer: Optimizer, plan: PopulationPlan) -> bool:
        return min(networks, plan.threads or self._most_threads(), self._most_threads()) > 1

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
        flops = 6.0 * self._architecture.parameter_count * len(data) * call.epochs
        most = self._most_threads() if flops >= THREAD_FLOPS else 1
        # threads of the plan beyond one for each network are left to the engine
        self._threads = threads = min(most, len(call.who), plan.threads or most)

        def train_one(k: int) -> None:
            if plan.cancel is None or not plan.cancel[0]:
                one = plan.of(int(call.who[k]))
                one = one if threads == 1 else replace(one, threads=1)
                self._train_one(theta__mp, slots__msp, data, optimizer, one, call, k)

        if threads == 1:
            for k in range(len(call.who)):
                train_one(k)
            return
        with ThreadPoolExecutor(threads, "nanostep networks") as pool:
            for _ in pool.map(train_one, range(len(call.who))):
                pass

    def _train_one(
        self,
        theta__mp: Array,
        slots__msp: Array,
        data: PopulationSamples,
        optimizer: Optimizer,
        plan: Plan,
        call: PopulationCall,
        k: int,
    ) -> None:
        """Train network k of the call; one that is cancelled stays as it was."""
        # with orders of the caller's an engine makes one epoch a call
        parts, epochs = (1, call.epochs) if call.order is None else (call.epochs, 1)
        steps, m = epochs * -(-len(data) // plan.batch), int(call.who[k])
        alone, samples = optimizer.of(m), data.of(m)
        kept = optimizer.slot_rows(alone)
        theta__p, slots__sp = theta__mp[m].copy(), slots__msp[m][kept]
        cursor = Cursor(np.empty(len(data) if plan.shuffle else 0, np.int64), call.epoch, 0, call.updates)
        losses, penalties = np.zeros(epochs + 1), np.zeros(epochs + 1)
        for part in range(parts):
            if call.order is not None:
                cursor.order = call.order[part]
            if call.rates is not None:
                its_rates = call.rates[k if len(call.rates) > 1 else 0]
                plan = replace(plan, rates=its_rates[part * steps : (part + 1) * steps])
            self._engine.train(theta__p, slots__sp, samples, alone, plan, cursor, steps, losses, penalties)
            if cursor.updates < call.updates + (part + 1) * steps:
                return
            at = slice(part * epochs, (part + 1) * epochs)
            call.loss[k, at], call.penalty[k, at] = losses[:epochs], penalties[:epochs]
        theta__mp[m], slots__msp[m, kept] = theta__p, slots__sp
        call.done[k] = True


class InLanes(OneByOne):
    """A `PopulationEngine` that trains small networks in the lanes of vectors, as `_train_in_lanes` of a backend does,
    and others one by one."""

    def __init__(
        self, engine: Engine, architecture: Architecture, dtype: np.dtype, most_threads: Callable[[], int]
    ) -> None:
        super().__init__(engine, architecture, most_threads)
        self._dtype = dtype
        self._ran: tuple[str, int] | None = None

    @property
    def isa(self) -> str:
        return self._ran[0] if self._ran is not None else self._engine.isa

    @property
    def threads(self) -> int:
        return self._ran[1] if self._ran is not None else super().threads

    def side_by_side(self, networks: int, optimizer: Optimizer, plan: PopulationPlan) -> bool:
        return self.lanes_pay(networks, optimizer, plan) or super().side_by_side(networks, optimizer, plan)

    def lanes_pay(self, networks: int, optimizer: Optimizer, plan: PopulationPlan) -> bool:
        """Return True if a population of so many networks is trained in lanes: small ones that agree in what lanes
        share, the order of samples, and ask for nothing that lanes do not do, dropout.

        It is asked of the population, not of the networks that a call is for: whichever way gives other bits.
        """
        seeds_agree = not plan.shuffle or bool((plan.seeds == plan.seeds[0]).all())
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
        if self.lanes_pay(len(theta__mp), optimizer, plan) and self._lanes_do(data, call):
            self._ran = self._train_in_lanes(*arguments)
        else:
            self._ran = None
            super().train(*arguments)

    def _lanes_do(self, data: PopulationSamples, call: PopulationCall) -> bool:
        """Return True if lanes can do what the data and the call of a whole run ask for."""
        raise NotImplementedError

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
