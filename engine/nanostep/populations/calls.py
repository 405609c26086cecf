"""The calls of the engine that runs and steps of a population are made of: for whom, and how one is interrupted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from nanostep.backends.populations import PopulationCall, PopulationPlan, PopulationSamples
from nanostep.optimizers import Optimizer
from nanostep.training.engine_call import LONG_CALL_SECONDS, SLOWEST_FLOPS_PER_SECOND, interruptible

if TYPE_CHECKING:
    from nanostep.population import Population

SHORT_CALL_SECONDS = 1e-3
"""A call that took less says more about Python than about the engine: the next run does not go by it."""


def alike(who: np.ndarray, *counts: np.ndarray) -> Iterator[np.ndarray]:
    """Yield groups of the networks `who`, ascending, with the same counts: they share orders and bias corrections."""
    standing = [count if len(who) == len(count) else count[who] for count in counts]
    if all((count == count[0]).all() for count in standing):
        yield who
        return
    _, group = np.unique(np.stack(standing), axis=1, return_inverse=True)
    for number in range(int(group.max()) + 1):
        yield who[group.ravel() == number]


def span(who: np.ndarray) -> slice | np.ndarray:
    """Return what selects the networks `who`, ascending: a slice where they follow each other, which copies faster."""
    if len(who) and who[-1] - who[0] == len(who) - 1:
        return slice(int(who[0]), int(who[-1]) + 1)
    return who


class PopulationCaller:
    """Calls the engine to train networks of `population` on `data`.

    Attributes
    ----------
    flops : float
        Work of a network and epoch.
    seconds : float
        What that takes: measured in the last call, of this population or else guessed.
    measured : bool
        It was measured.
    """

    def __init__(self, population: Population, data: PopulationSamples, slots: np.ndarray) -> None:
        self._population, self._data, self._slots = population, data, slots
        self.flops = 6.0 * population.architecture.parameter_count * len(data)
        pace = population._seconds_per_flop
        self.measured = pace is not None
        self.seconds = self.flops * (pace or 1 / SLOWEST_FLOPS_PER_SECOND)

    def call(self, optimizer: Optimizer, plan: PopulationPlan, task: PopulationCall) -> bool:
        """Make `task`; return True if Ctrl-C has ended it early, in which case what it made counts."""
        population = self._population
        state = (population._theta, self._slots, self._data, optimizer)

        def make(plan: PopulationPlan) -> int:
            population._engine.train(*state, plan, task)
            return 0

        started, work = time.perf_counter(), len(task.who) * task.epochs
        if self.seconds * work < LONG_CALL_SECONDS:
            make(plan)
            interrupted = False
        else:
            cancel = np.zeros(1, np.int32)
            _, interrupted = interruptible(lambda: make(replace(plan, cancel=cancel)), cancel)
        took = time.perf_counter() - started
        if not interrupted:
            self.seconds = took / work
            if took > SHORT_CALL_SECONDS:
                population._seconds_per_flop = self.seconds / self.flops
        return interrupted


def step(
    population: Population, data: PopulationSamples, optimizer: Optimizer, slots: np.ndarray, updates: np.ndarray
) -> np.ndarray:
    """Make one update of every network from all of its samples, count it, and return the losses before."""
    size = len(population)
    plan = PopulationPlan(batch=len(data), shuffle=False, seeds=np.zeros(size, np.uint64))
    caller, losses = PopulationCaller(population, data, slots), np.empty(size)
    for who in alike(np.arange(size), updates):
        task = PopulationCall(who, 0, int(updates[who[0]]), 1)
        try:
            interrupted = caller.call(optimizer, plan, task)
        finally:
            updates[who[task.done]] += 1
        if interrupted:
            raise KeyboardInterrupt
        losses[who] = task.loss[:, 0]
    return losses
