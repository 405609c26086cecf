"""`OneByOne`: the engine of populations that trains one network after another.

Names carry axes as in `nanostep.backends.population_contract`.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Protocol

import numpy as np

from nanostep.architecture import Architecture
from nanostep.backends.contract import Cursor, Engine, RunConfig
from nanostep.backends.population_contract import (
    PopulationRunConfig,
    PopulationSamples,
    PopulationTask,
    PopulationTraining,
)
from nanostep.optimizers import Optimizer

Array = np.ndarray

THREAD_FLOPS = 5e6
"""Work of a network in a call, 0.1 to 0.3 ms, from which on networks are distributed over Python threads."""


class Optimizers(Protocol):
    """A backend's module `optimizers`."""

    def update(self, optimizer: Optimizer, t: int, theta__p: Array, grad__p: Array, slots__sp: Array) -> None: ...

    def apply(
        self, optimizer: Optimizer, t: int, theta__p: Array, grad__p: Array, slots__sp: Array, scale__p: Array
    ) -> None: ...


class OneByOne:
    """A `PopulationEngine` that passes one network after another to the backend's engine for single networks; with
    threads, one on each thread.

    Parameters
    ----------
    engine : Engine
        With more than one thread, its calls overlap in time.
    architecture : Architecture
    optimizers : module
        The backend's.
    most_threads : callable
        Returns the most threads that can each work on a network of their own.
    """

    def __init__(
        self,
        engine: Engine,
        architecture: Architecture,
        optimizers: Optimizers,
        most_threads: Callable[[], int] = lambda: 1,
    ) -> None:
        self._engine, self._architecture = engine, architecture
        self._optimizers, self._most_threads = optimizers, most_threads
        self._threads = 1

    @property
    def isa(self) -> str:
        return self._engine.isa

    @property
    def threads(self) -> int:
        return max(self._engine.threads, self._threads)

    def trains_in_parallel(self, networks: int, optimizer: Optimizer, config: PopulationRunConfig) -> bool:
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
            x__ni = x[m] if x.ndim == 3 else x if rows__mn is None else x[rows__mn[m]]
            self._engine.predict(theta__mp[m], x__ni, a__kno[k])

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

    def gradient(self, theta__mp: Array, data: PopulationSamples, loss__m: Array, grad__mp: Array) -> None:
        for m, theta__p in enumerate(theta__mp):
            loss__m[m] = self._engine.gradient(theta__p, data.of(m), grad__mp[m])

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
        for m, theta__p in enumerate(theta__mp):
            self._engine.vjp(
                theta__p, x[m] if x.ndim == 3 else x, dout__mno[m], of_z=of_z,
                grad__p=None if grad__mp is None else grad__mp[m], dx__ni=None if dx__mni is None else dx__mni[m],
            )  # fmt: skip

    def apply(
        self,
        optimizer: Optimizer,
        updates__m: Array,
        theta__mp: Array,
        grad__mp: Array,
        slots__msp: Array,
        scale__mp: Array | None,
    ) -> None:
        for m, theta__p in enumerate(theta__mp):
            single = optimizer.of(m)
            rows = optimizer.slot_rows(single)
            slots__sp, t = slots__msp[m][rows], int(updates__m[m]) + 1
            if scale__mp is None:
                self._optimizers.update(single, t, theta__p, grad__mp[m], slots__sp)
            else:
                self._optimizers.apply(single, t, theta__p, grad__mp[m], slots__sp, scale__mp[m])
            slots__msp[m, rows] = slots__sp

    def train(self, training: PopulationTraining, task: PopulationTask) -> None:
        data, config = training.data, training.config
        flops = 6.0 * self._architecture.parameter_count * len(data) * task.epochs
        most = self._most_threads() if flops >= THREAD_FLOPS else 1
        # threads beyond one for each network are left to the engine
        self._threads = threads = min(most, len(task.indices), config.threads or most)

        def train_one(k: int) -> None:
            if config.cancel is None or not config.cancel[0]:
                single = config.of(int(task.indices[k]))
                single = single if threads == 1 else replace(single, threads=1)
                self._train_one(training, single, task, k)

        if threads == 1:
            for k in range(len(task.indices)):
                train_one(k)
            return
        with ThreadPoolExecutor(threads, "nanostep networks") as pool:
            for _ in pool.map(train_one, range(len(task.indices))):
                pass

    def _train_one(self, training: PopulationTraining, config: RunConfig, task: PopulationTask, k: int) -> None:
        """Train network k of the task; a network that is cancelled stays unchanged."""
        theta__mp, slots__msp, data, population_optimizer, _ = training
        # with custom orders the engine makes one epoch per call
        parts, epochs = (1, task.epochs) if task.order is None else (task.epochs, 1)
        steps, m = epochs * -(-len(data) // config.batch), int(task.indices[k])
        optimizer, samples = population_optimizer.of(m), data.of(m)
        slot_rows = population_optimizer.slot_rows(optimizer)
        theta__p, slots__sp = theta__mp[m].copy(), slots__msp[m][slot_rows]
        cursor = Cursor(np.empty(len(data) if config.shuffle else 0, np.int64), task.epoch, 0, task.updates)
        losses, penalties = np.zeros(epochs + 1), np.zeros(epochs + 1)
        for part in range(parts):
            if task.order is not None:
                cursor.order = task.order[part]
            if task.rates is not None:
                rates = task.rates[k if len(task.rates) > 1 else 0]
                config = replace(config, rates=rates[part * steps : (part + 1) * steps])
            self._engine.train(
                theta__p, slots__sp, samples, optimizer, config, cursor, steps, losses, epoch_penalty__e=penalties
            )
            if cursor.updates < task.updates + (part + 1) * steps:
                return
            at = slice(part * epochs, (part + 1) * epochs)
            task.loss[k, at], task.penalty[k, at] = losses[:epochs], penalties[:epochs]
        theta__mp[m], slots__msp[m, slot_rows] = theta__p, slots__sp
        task.done[k] = True
