"""Engines of populations: one network after another, and networks in lanes where that pays.

Names carry axes as in `nanostep.backends.population_contract`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from nanostep.architecture import Architecture
from nanostep.backends.contract import Cursor, Engine, RunConfig
from nanostep.backends.population_contract import (
    PopulationRunConfig,
    PopulationSamples,
    PopulationTask,
    PopulationTraining,
)
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
        Returns how many threads can work on networks of their own where `PopulationRunConfig.threads` is None.
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

    def side_by_side(self, networks: int, optimizer: Optimizer, config: PopulationRunConfig) -> bool:
        return min(networks, config.threads or self._most_threads(), self._most_threads()) > 1

    def predict(
        self,
        theta__mp: Array,
        x: Array,
        a__kno: Array,
        index__k: Array | None = None,
        rows__mn: Array | None = None,
        threads: int | None = None,
    ) -> None:
        for k, m in enumerate(range(len(theta__mp)) if index__k is None else index__k.tolist()):
            its = x[m] if x.ndim == 3 else x if rows__mn is None else x[rows__mn[m]]
            self._engine.predict(theta__mp[m], its, a__kno[k])

    def loss(
        self,
        theta__mp: Array,
        data: PopulationSamples,
        loss__k: Array,
        index__k: Array | None = None,
        threads: int | None = None,
    ) -> None:
        for k, m in enumerate(range(len(theta__mp)) if index__k is None else index__k.tolist()):
            loss__k[k] = self._engine.loss(theta__mp[m], data.of(m))

    def train(self, training: PopulationTraining, task: PopulationTask) -> None:
        data, config = training.data, training.config
        flops = 6.0 * self._architecture.parameter_count * len(data) * task.epochs
        most = self._most_threads() if flops >= THREAD_FLOPS else 1
        # threads beyond one for each network are left to the engine
        self._threads = threads = min(most, len(task.indices), config.threads or most)

        def train_one(k: int) -> None:
            if config.cancel is None or not config.cancel[0]:
                one = config.of(int(task.indices[k]))
                one = one if threads == 1 else replace(one, threads=1)
                self._train_one(training, one, task, k)

        if threads == 1:
            for k in range(len(task.indices)):
                train_one(k)
            return
        with ThreadPoolExecutor(threads, "nanostep networks") as pool:
            for _ in pool.map(train_one, range(len(task.indices))):
                pass

    def _train_one(self, training: PopulationTraining, config: RunConfig, task: PopulationTask, k: int) -> None:
        """Train network k of the task; one that is cancelled stays as it was."""
        theta__mp, slots__msp, data, optimizer, _ = training
        # with orders of the caller's an engine makes one epoch a call
        parts, epochs = (1, task.epochs) if task.order is None else (task.epochs, 1)
        steps, m = epochs * -(-len(data) // config.batch), int(task.indices[k])
        alone, samples = optimizer.of(m), data.of(m)
        kept = optimizer.slot_rows(alone)
        theta__p, slots__sp = theta__mp[m].copy(), slots__msp[m][kept]
        cursor = Cursor(np.empty(len(data) if config.shuffle else 0, np.int64), task.epoch, 0, task.updates)
        losses, penalties = np.zeros(epochs + 1), np.zeros(epochs + 1)
        for part in range(parts):
            if task.order is not None:
                cursor.order = task.order[part]
            if task.rates is not None:
                its_rates = task.rates[k if len(task.rates) > 1 else 0]
                config = replace(config, rates=its_rates[part * steps : (part + 1) * steps])
            self._engine.train(theta__p, slots__sp, samples, alone, config, cursor, steps, losses, penalties)
            if cursor.updates < task.updates + (part + 1) * steps:
                return
            at = slice(part * epochs, (part + 1) * epochs)
            task.loss[k, at], task.penalty[k, at] = losses[:epochs], penalties[:epochs]
        theta__mp[m], slots__msp[m, kept] = theta__p, slots__sp
        task.done[k] = True


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

    def side_by_side(self, networks: int, optimizer: Optimizer, config: PopulationRunConfig) -> bool:
        return self.use_lanes(networks, optimizer, config) or super().side_by_side(networks, optimizer, config)

    def use_lanes(self, networks: int, optimizer: Optimizer, config: PopulationRunConfig) -> bool:
        """Return True if a population of so many networks is trained in lanes: small ones with one order of samples, as
        lanes share it, and without dropout, which lanes do not have.

        The decision is one for the population and not for the networks of a call: the two ways round differently.
        """
        seeds_agree = not config.shuffle or bool((config.seeds == config.seeds[0]).all())
        single = config.batch == 1 and config.is_simple and isinstance(optimizer, SGD) and optimizer.is_plain
        fit = self._lanes_fit(networks, len(optimizer.slots), vectors=2 if single else 1)
        return config.dropout is None and seeds_agree and fit

    def _lanes_fit(self, networks: int, slots: int = 0, vectors: int = 1) -> bool:
        """Return True if networks, of which so many vectors are taken at least, are faster in lanes."""
        parameters, size = self._architecture.parameter_count, self._dtype.itemsize
        fits = (2 + slots) * parameters * LANE_BYTES <= CACHE_BYTES and max(self._architecture.sizes) <= WIDEST
        lanes = LANE_BYTES // size * vectors
        used = networks / (-(-networks // lanes) * lanes)
        return fits and networks > 1 and used * min(MOST_GAIN, 1 + FULL_GAIN / (parameters * size)) > 1

    def train(self, training: PopulationTraining, task: PopulationTask) -> None:
        lanes = self.use_lanes(len(training.theta__mp), training.optimizer, training.config)
        if lanes and self._lanes_support(training.data, task):
            self._ran = self._train_in_lanes(training, task)
        else:
            self._ran = None
            super().train(training, task)

    @abstractmethod
    def _lanes_support(self, data: PopulationSamples, task: PopulationTask) -> bool:
        """Return True if lanes can do what the data and the tasks of a whole run need."""

    @abstractmethod
    def _train_in_lanes(self, training: PopulationTraining, task: PopulationTask) -> tuple[str, int]:
        """See `train`; return the instruction set and the threads that it ran with."""
