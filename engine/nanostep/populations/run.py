"""One run of a population: which networks each call of the engine trains, validation, early stopping, Ctrl-C."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from nanostep.backends.populations import PopulationCall, PopulationPlan, PopulationSamples
from nanostep.optimizers import Optimizer
from nanostep.populations.callbacks import PopulationCallback, PopulationEpochEnd, who_stops
from nanostep.populations.calls import PopulationCaller, alike, span
from nanostep.populations.history import PopulationHistory
from nanostep.populations.rates import PopulationRates
from nanostep.schedules.base import Schedule
from nanostep.training.early_stopping import EarlyStopping
from nanostep.training.engine_call import FIRST_CALL_FLOPS
from nanostep.training.recorder import progress_bar

if TYPE_CHECKING:
    from nanostep.population import Population
    from nanostep.training.progress import EpochBar

CALL_SECONDS = 0.25
"""Aim for the length of a call: each waits once for the slowest of the threads."""

ROWS_ORDERED = 1 << 22
"""Sample orders that a call may keep in memory, in entries: they are drawn once for all networks."""

FEWEST = 256
"""Networks of a call, if there are as many: they fill the lanes of two threads."""


@dataclass(frozen=True)
class PopulationRequest:
    """Checked arguments of `Population.train`."""

    data: PopulationSamples
    validation: PopulationSamples | None
    plan: PopulationPlan
    epochs: int
    stopping: EarlyStopping | None
    callbacks: tuple[PopulationCallback, ...]
    schedule: Schedule | None
    plateau_mode: str
    progress: bool


class PopulationRun:
    """Trains the networks of `population`, whose theta, slots and counts it moves on."""

    def __init__(self, population: Population, request: PopulationRequest) -> None:
        size, epochs = len(population), request.epochs
        self._population, self._request = population, request
        self._start = population._epochs.copy()
        self._steps_per_epoch, self._steps = -(-len(request.data) // request.plan.batch), 0
        self._caller = caller = PopulationCaller(population, request.data, population._slots)
        # networks times epochs of a call
        self._most = int(CALL_SECONDS / caller.seconds if caller.measured else FIRST_CALL_FLOPS / caller.flops)
        self._rates = PopulationRates(
            population, request.schedule, request.plateau_mode, self._steps_per_epoch, recorded=bool(request.callbacks)
        )
        validated = epochs if request.validation is not None else 0
        rated = epochs if self._rates.recorded else 0
        self.history = PopulationHistory(
            np.full((size, epochs), np.nan),
            np.full((size, validated), np.nan),
            np.full((size, rated), np.nan),
            np.zeros(size, np.int64),
            np.zeros(size, np.int64),
            backend=population.backend,
        )

    def run(self) -> PopulationHistory:
        """Make all epochs, each of them with all networks that have not stopped."""
        history, started = self.history, time.perf_counter()
        try:
            with progress_bar(self._request.progress, self._request.epochs) as bar:
                self._make(bar)
        except BaseException as error:
            history.stopped = "interrupted" if isinstance(error, KeyboardInterrupt) else "error"
            raise
        finally:
            history.seconds = time.perf_counter() - started
            self._note_epochs()
            history.isa, history.threads = self._population._engine.isa, self._population._engine.threads
        history.stopped = history.stopped or "epochs"
        return history

    def _make(self, bar: EpochBar | None) -> None:
        request, active = self._request, np.arange(len(self._population))
        each = request.validation is not None or request.stopping is not None or self._rates.by_epoch
        most = 1 if each else max(1, ROWS_ORDERED // len(request.data))
        best = _Best(self._population, request.stopping) if request.stopping is not None else None
        done, ended_by = 0, "early_stopping"
        while done < request.epochs and len(active):
            epochs = min(max(1, self._most // len(active)), most, request.epochs - done)
            self._advance(active, done, epochs, bar)
            done += epochs
            if request.validation is not None:
                self._validate(active, done)
            self._show(bar, done, 0.0)
            measured = self.history._after(done)
            self._rates.look(active, measured)
            if best is not None:
                active = active[~best.update(active, measured[best.monitor][active], done)]
            if request.callbacks:
                stops = self._ask(active, done)[active]
                active = active[~stops]
                ended_by = "callback" if stops.any() else ended_by
        if best is not None:
            self.history.best_epoch = best.restore()
        if not len(active):
            self.history.stopped = ended_by

    def _advance(self, active: np.ndarray, done: int, epochs: int, bar: EpochBar | None) -> None:
        """Train the networks that have not stopped for some epochs."""
        share = 0.0  # of these epochs, as a mean over the networks
        for who in alike(active, self._population._epochs, self._population._updates):
            column = done
            for some_epochs, optimizer in self._rates.parts(who, epochs):
                for made in self._train(who, column, some_epochs, optimizer):
                    share += made * some_epochs / len(active)
                    self._show(bar, done, share)
                column += some_epochs

    def _train(self, who: np.ndarray, column: int, epochs: int, optimizer: Optimizer) -> Iterator[int]:
        """Train alike networks, some in each call; yield their number after it."""
        at = 0
        while at < len(who):
            count = min(max(FEWEST, self._most // epochs), self._rates.most(epochs))
            some = who[at : at + count]
            self._call(some, column, epochs, optimizer)
            yield len(some)
            at += count

    def _call(self, who: np.ndarray, column: int, epochs: int, optimizer: Optimizer) -> None:
        population, request, first = self._population, self._request, int(who[0])
        rates = self._rates.of_updates(who, epochs)
        task = PopulationCall(who, int(population._epochs[first]), int(population._updates[first]), epochs, rates)
        columns = slice(column, column + epochs)
        try:
            interrupted = self._caller.call(optimizer, request.plan, task)
        finally:
            done = slice(None) if task.done.all() else task.done
            made = span(who[done])
            self.history.loss[made, columns] = task.loss[done]
            if self._rates.recorded:
                recorded = np.broadcast_to(self._rates.of_epochs(optimizer, who, rates), task.loss.shape)
                self.history.lr[made, columns] = recorded[done]
            population._epochs[made] += epochs
            population._updates[made] += epochs * self._steps_per_epoch
            self._steps += int(task.done.sum()) * epochs * self._steps_per_epoch
        if interrupted:
            raise KeyboardInterrupt
        self._most = int(CALL_SECONDS / self._caller.seconds)

    def _ask(self, active: np.ndarray, done: int) -> np.ndarray:
        """Call the callbacks after `done` epochs; return a mask of the networks that they end."""
        self._note_epochs()
        history, training = self.history, np.zeros(len(self._population), bool)
        training[active] = True
        validation_loss = history.validation_loss[:, done - 1].copy() if history.validation_loss.shape[1] else None
        event = PopulationEpochEnd(
            self._population, history, done, self._request.epochs, history.loss[:, done - 1].copy(), validation_loss,
            training, self._rates.chosen,
        )  # fmt: skip
        return who_stops(self._request.callbacks, event)

    def _note_epochs(self) -> None:
        self.history.epochs = self._population._epochs - self._start

    def _show(self, bar: EpochBar | None, done: int, part: float) -> None:
        if bar is not None:
            bar.update(done, part, self._steps, partial(self.history._describe_losses, done))

    def _validate(self, active: np.ndarray, done: int) -> None:
        population, data, loss = self._population, self._request.validation, np.empty(len(active))
        assert data is not None
        population._engine.loss(population._theta, data, loss, active, self._request.plan.threads)
        self.history.validation_loss[active, done - 1] = loss


class _Best:
    """What early stopping has come to, for every network."""

    def __init__(self, population: Population, stopping: EarlyStopping) -> None:
        size = len(population)
        self._population, self._stopping = population, stopping
        self.monitor = stopping.monitor
        self._value = np.full(size, np.inf)
        self._epoch = np.zeros(size, np.int64)
        self._theta = population._theta.copy() if stopping.restore_best else None

    def update(self, who: np.ndarray, value: np.ndarray, epoch: int) -> np.ndarray:
        """Take in what was measured of some networks after an epoch; return a mask of those that are to stop."""
        better = self._value[who] - value > self._stopping.min_delta  # False for NaN
        first = np.isinf(self._value[who]) & np.isfinite(value)
        improved = who[better | first]
        self._value[improved] = value[better | first]
        self._epoch[improved] = epoch
        if self._theta is not None:
            self._theta[improved] = self._population._theta[improved]
        waited = epoch - self._epoch[who]
        return (waited >= self._stopping.patience) & ~(better | first)

    def restore(self) -> np.ndarray:
        """Put back the best parameters, where there are any; return their epochs, 0 for none."""
        if self._theta is None:
            return np.zeros_like(self._epoch)
        found = self._epoch > 0
        self._population._theta[found] = self._theta[found]
        return self._epoch
