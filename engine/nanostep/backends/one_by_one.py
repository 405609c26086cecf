"""Engines of populations: one network after another, and networks in lanes where that pays.

Names carry axes as in `nanostep.backends.populations`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from nanostep.architecture import Architecture
from nanostep.backends.contract import Cursor, Engine, Plan
from nanostep.backends.populations import PopulationCall, PopulationPlan, PopulationSamples
from nanostep.optimizers import SGD, Optimizer

Array = np.ndarray

LANE_BYTES = 64
"""Of the widest vector that there may be."""

CACHE_BYTES = 1 << 20
"""Lanes pay while the parameters, slots and gradient of a vector of networks take no more than this: half of L2."""

THREAD_FLOPS = 5e6
"""Work of a network in a call, some 0.1 to 0.3 ms, from which networks are shared out among Python's threads."""

WIDEST = 64
"""Units of a layer up to which lanes are taken."""

FULL_GAIN = 3600.0
"""Networks that fill their lanes are trained 1 + this / bytes of their parameters times as fast as one by one. In C,
with SGD and batches of 1 and 32, it was 4.6 and 4.2 (8-16-4), 2.1 and 2.6 (16-32-8) and 1.2 and 1.2 (64-64-10) in
float32, and 2.8 and 3.0, 1.5 and 1.6, and 1.1 and 1.2 in float64."""

MOST_GAIN = 16.0
"""And this at most."""


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

    def predict(
        self,
        theta__mp: Array,
        x: Array,
        a__kno: Array,
        who__k: Array | None = None,
        rows__mn: Array | None = None,
        threads: int | None = None,
    ) -> None:
        for k, m in enumerate(range(len(theta__mp)) if who__k is None else who__k.tolist()):
            its = x[m] if x.ndim == 3 else x if rows__mn is None else x[rows__mn[m]]
            self._engine.predict(theta__mp[m], its, a__kno[k])

    def loss(
        self,
        theta__mp: Array,
        data: PopulationSamples,
        loss__k: Array,
        who__k: Array | None = None,
        threads: int | None = None,
    ) -> None:
        for k, m in enumerate(range(len(theta__mp)) if who__k is None else who__k.tolist()):
            loss__k[k] = self._engine.loss(theta__mp[m], data.of(m))

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


class InLanes(OneByOne, ABC):
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
        return self.use_lanes(networks, optimizer, plan) or super().side_by_side(networks, optimizer, plan)

    def use_lanes(self, networks: int, optimizer: Optimizer, plan: PopulationPlan) -> bool:
        """Return True if a population of so many networks is trained in lanes: small ones that agree in what lanes
        share, the order of samples, and ask for nothing that lanes do not do, dropout.

        It is asked of the population, not of the networks that a call is for: whichever way gives other bits.
        """
        seeds_agree = not plan.shuffle or bool((plan.seeds == plan.seeds[0]).all())
        single = plan.batch == 1 and plan.is_simple and isinstance(optimizer, SGD) and optimizer.is_plain
        fit = self._lanes_fit(networks, len(optimizer.slots), vectors=2 if single else 1)
        return plan.dropout is None and seeds_agree and fit

    def _lanes_fit(self, networks: int, slots: int = 0, vectors: int = 1) -> bool:
        """Return True if networks, of which so many vectors are taken at least, are faster in lanes."""
        parameters, size = self._architecture.parameter_count, self._dtype.itemsize
        fits = (2 + slots) * parameters * LANE_BYTES <= CACHE_BYTES and max(self._architecture.sizes) <= WIDEST
        lanes = LANE_BYTES // size * vectors
        used = networks / (-(-networks // lanes) * lanes)
        return fits and networks > 1 and used * min(MOST_GAIN, 1 + FULL_GAIN / (parameters * size)) > 1

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
        if self.use_lanes(len(theta__mp), optimizer, plan) and self._lanes_do(data, call):
            self._ran = self._train_in_lanes(*arguments)
        else:
            self._ran = None
            super().train(*arguments)

    @abstractmethod
    def _lanes_do(self, data: PopulationSamples, call: PopulationCall) -> bool:
        """Return True if lanes can do what the data and the call of a whole run ask for."""

    @abstractmethod
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
