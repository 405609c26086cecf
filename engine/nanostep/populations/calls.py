"""The calls of the engine that runs and steps of a population are made of: for which networks, and Ctrl-C."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from nanostep._arrays import unaliased
from nanostep.backends.population_contract import (
    PopulationRunConfig,
    PopulationSamples,
    PopulationTask,
    PopulationTraining,
)
from nanostep.optimizers import Optimizer
from nanostep.populations.model import PopulationModel
from nanostep.populations.optimizer_state import PopulationOptimizerState
from nanostep.training.engine_call import LONG_CALL_SECONDS, SLOWEST_FLOPS_PER_SECOND
from nanostep.training.interrupt import interruptible

SHORT_CALL_SECONDS = 1e-3
"""A call that took less says more about Python than about the engine: the next run does not go by it."""


def group_by_progress(indices: np.ndarray, *counts: np.ndarray) -> Iterator[np.ndarray]:
    """Yield groups of the networks `indices`, ascending, with the same counts: they share orders and bias corrections.

    Counts are those of all networks, or of these.
    """
    progress = [count if len(indices) == len(count) else count[indices] for count in counts]
    if all((count == count[0]).all() for count in progress):
        yield indices
        return
    _, group = np.unique(np.stack(progress), axis=1, return_inverse=True)
    for number in range(int(group.max()) + 1):
        yield indices[group.ravel() == number]


def as_slice(indices: np.ndarray) -> slice | np.ndarray:
    """Return a slice for ascending indices without a gap, which copies faster; otherwise the indices."""
    if len(indices) and indices[-1] - indices[0] == len(indices) - 1:
        return slice(int(indices[0]), int(indices[-1]) + 1)
    return indices


class PopulationEngineCall:
    """The calls of the engine that train networks of a population.

    Attributes
    ----------
    flops : float
        Work of a network and epoch.
    seconds : float
        What that takes: measured in the last call, of this population or else guessed.
    measured : bool
        It was measured.
    """

    def __init__(self, model: PopulationModel, training: PopulationTraining) -> None:
        self._model, self._training = model, training
        self.flops = 6.0 * model.architecture.parameter_count * len(training.data)
        pace = model._seconds_per_flop
        self.measured = pace is not None
        self.seconds = self.flops * (pace or 1 / SLOWEST_FLOPS_PER_SECOND)

    def call(self, optimizer: Optimizer, task: PopulationTask) -> bool:
        """Make `task`; return True if Ctrl-C has ended it early, in which case what it made counts.

        `optimizer` is that of the run, with the rates of this call.
        """
        training = self._training._replace(optimizer=optimizer)

        def make(training: PopulationTraining) -> int:
            self._model._engine.train(training, task)
            return 0

        started, work = time.perf_counter(), len(task.indices) * task.epochs
        if self.seconds * work < LONG_CALL_SECONDS:
            make(training)
            interrupted = False
        else:
            cancel = np.zeros(1, np.int32)
            cancellable = training._replace(config=replace(training.config, cancel=cancel))
            _, interrupted = interruptible(lambda: make(cancellable), cancel)
        took = time.perf_counter() - started
        if not interrupted:
            self.seconds = took / work
            if took > SHORT_CALL_SECONDS:
                self._model._seconds_per_flop = self.seconds / self.flops
        return interrupted


def apply(model: PopulationModel, state: PopulationOptimizerState, grad: np.ndarray, scale: np.ndarray | None) -> None:
    """Make one update of every network from a gradient laid out as theta, and count it; `scale`, laid out as theta,
    multiplies the change of theta."""
    grad = unaliased(grad, model._theta)
    scales = None if scale is None else unaliased(scale, model._theta)
    with np.errstate(all="ignore"):  # overflow is silent, as in compiled code
        model._engine.apply(state.optimizer, state.updates, model._theta, grad, state.slots, scales)
    state.updates += 1


def step(model: PopulationModel, data: PopulationSamples, state: PopulationOptimizerState) -> np.ndarray:
    """Make one update of every network from all of its samples, count it, and return the losses before."""
    size = len(model)
    config = PopulationRunConfig(batch=len(data), shuffle=False, seeds=np.zeros(size, np.uint64))
    training = PopulationTraining(model._theta, state.slots, data, state.optimizer, config)
    engine_call, losses = PopulationEngineCall(model, training), np.empty(size)
    for indices in group_by_progress(np.arange(size), state.updates):
        task = PopulationTask(indices, 0, int(state.updates[indices[0]]), 1)
        try:
            interrupted = engine_call.call(state.optimizer, task)
        finally:
            state.updates[indices[task.done]] += 1
        if interrupted:
            raise KeyboardInterrupt
        losses[indices] = task.loss[:, 0]
    return losses
