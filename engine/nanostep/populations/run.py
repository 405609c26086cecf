"""One run of a population: which networks each call of the engine trains, validation, early stopping, Ctrl-C."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from nanostep.backends.population_contract import PopulationTask, PopulationTraining
from nanostep.optimizers import Optimizer
from nanostep.populations.arguments import PopulationTrainConfig
from nanostep.populations.callbacks import PopulationEpochEnd, networks_to_stop
from nanostep.populations.calls import PopulationEngineCall, as_slice, group_by_progress
from nanostep.populations.history import PopulationHistory
from nanostep.populations.model import PopulationModel
from nanostep.populations.optimizer_state import PopulationOptimizerState
from nanostep.populations.rates import PopulationRates
from nanostep.training.early_stopping import BestSoFar
from nanostep.training.engine_call import FIRST_CALL_FLOPS
from nanostep.training.recorder import progress_bar

if TYPE_CHECKING:
    from nanostep.training.progress import EpochBar

CALL_SECONDS = 0.25
"""Aim for the length of a call: each waits once for the slowest of the threads."""

ROWS_ORDERED = 1 << 22
"""Sample orders that a call may keep in memory, in entries: they are drawn once for all networks."""

FEWEST = 256
"""Networks of a call, if there are as many: they fill the lanes of two threads."""


class PopulationRun:
    """A run of `Population.train`: moves on theta and the optimisers' state."""

    def __init__(self, model: PopulationModel, state: PopulationOptimizerState, config: PopulationTrainConfig) -> None:
        size, epochs = len(model), config.epochs
        self._model, self._state, self._config = model, state, config
        self._start = state.epochs.copy()
        self._steps_per_epoch, self._steps = -(-len(config.data) // config.run.batch), 0
        training = PopulationTraining(model._theta, state.slots, config.data, state.optimizer, config.run)
        self._engine_call = engine_call = PopulationEngineCall(model, training)
        # networks times epochs of a call
        self._most = int(
            CALL_SECONDS / engine_call.seconds if engine_call.measured else FIRST_CALL_FLOPS / engine_call.flops
        )
        self._rates = PopulationRates(
            state, config.schedule, config.plateau_mode, self._steps_per_epoch, recorded=bool(config.callbacks)
        )
        validated = epochs if config.validation is not None else 0
        rated = epochs if self._rates.recorded else 0
        self.history = PopulationHistory(
            np.full((size, epochs), np.nan),
            np.full((size, validated), np.nan),
            np.full((size, rated), np.nan),
            np.zeros(size, np.int64),
            np.zeros(size, np.int64),
            backend=model.backend,
        )

    def run(self) -> PopulationHistory:
        """Make all epochs, each of them with all networks that have not stopped."""
        history, started = self.history, time.perf_counter()
        try:
            with progress_bar(self._config.progress, self._config.epochs) as bar:
                self._make(bar)
        except BaseException as error:
            history.stopped = "interrupted" if isinstance(error, KeyboardInterrupt) else "error"
            raise
        finally:
            history.seconds = time.perf_counter() - started
            self._sync()
            history.isa, history.threads = self._model._engine.isa, self._model._engine.threads
        history.stopped = history.stopped or "epochs"
        return history

    def _make(self, bar: EpochBar | None) -> None:
        config, active = self._config, np.arange(len(self._model))
        each = config.validation is not None or config.early_stopping is not None or self._rates.by_epoch
        most = 1 if each else max(1, ROWS_ORDERED // len(config.data))
        stopping, best = config.early_stopping, BestSoFar(len(active))
        done, ended_by = 0, "early_stopping"
        while done < config.epochs and len(active):
            epochs = min(max(1, self._most // len(active)), most, config.epochs - done)
            self._advance(active, done, epochs, bar)
            done += epochs
            if config.validation is not None:
                self._validate(active, done)
            self._update_progress(bar, done, 0.0)
            measured = self.history._after(done)
            self._rates.step_plateau(active, measured)
            if stopping is not None:
                values = measured[stopping.monitor][active]
                ends = best.update(stopping, config.stopping_mode, values, done, self._model._theta, active)
                active = active[~ends]
            if config.callbacks:
                stops = self._call_back(active, done)[active]
                active = active[~stops]
                ended_by = "callback" if stops.any() else ended_by
        if stopping is not None and stopping.restore_best:
            best.restore(self._model._theta)
            self.history.best_epoch = best.epoch
        if not len(active):
            self.history.stopped = ended_by

    def _advance(self, active: np.ndarray, done: int, epochs: int, bar: EpochBar | None) -> None:
        """Train the networks that have not stopped for some epochs."""
        share = 0.0  # of these epochs, as a mean over the networks
        for indices in group_by_progress(active, self._state.epochs, self._state.updates):
            column = done
            for some_epochs, optimizer in self._rates.parts(indices, epochs):
                for made in self._train(indices, column, some_epochs, optimizer):
                    share += made * some_epochs / len(active)
                    self._update_progress(bar, done, share)
                column += some_epochs

    def _train(self, indices: np.ndarray, column: int, epochs: int, optimizer: Optimizer) -> Iterator[int]:
        """Train networks with the same counts, some in each call; yield their number after it."""
        at = 0
        while at < len(indices):
            count = min(max(FEWEST, self._most // epochs), self._rates.most(epochs))
            some = indices[at : at + count]
            self._call(some, column, epochs, optimizer)
            yield len(some)
            at += count

    def _call(self, indices: np.ndarray, column: int, epochs: int, optimizer: Optimizer) -> None:
        state, first = self._state, int(indices[0])
        rates = self._rates.of_updates(indices, epochs)
        task = PopulationTask(indices, int(state.epochs[first]), int(state.updates[first]), epochs, rates)
        columns = slice(column, column + epochs)
        try:
            interrupted = self._engine_call.call(optimizer, task)
        finally:
            done = slice(None) if task.done.all() else task.done
            made = as_slice(indices[done])
            self.history.loss[made, columns] = task.loss[done]
            if self._rates.recorded:
                recorded = np.broadcast_to(self._rates.of_epochs(optimizer, indices, rates), task.loss.shape)
                self.history.lr[made, columns] = recorded[done]
            state.epochs[made] += epochs
            state.updates[made] += epochs * self._steps_per_epoch
            self._steps += int(task.done.sum()) * epochs * self._steps_per_epoch
        if interrupted:
            raise KeyboardInterrupt
        self._most = int(CALL_SECONDS / self._engine_call.seconds)

    def _call_back(self, active: np.ndarray, done: int) -> np.ndarray:
        """Call the callbacks after `done` epochs; return a mask of the networks that they end."""
        self._sync()
        history, training = self.history, np.zeros(len(self._model), bool)
        training[active] = True
        validation_loss = history.validation_loss[:, done - 1].copy() if history.validation_loss.shape[1] else None
        event = PopulationEpochEnd(
            self._model, history, done, self._config.epochs, history.loss[:, done - 1].copy(), validation_loss,
            training, self._rates.chosen,
        )  # fmt: skip
        return networks_to_stop(self._config.callbacks, event)

    def _sync(self) -> None:
        self.history.epochs = self._state.epochs - self._start

    def _update_progress(self, bar: EpochBar | None, done: int, part: float) -> None:
        if bar is not None:
            bar.update(done, part, self._steps, partial(self.history._describe_losses, done))

    def _validate(self, active: np.ndarray, done: int) -> None:
        model, data, loss = self._model, self._config.validation, np.empty(len(active))
        assert data is not None
        model._engine.loss(model._theta, data, loss, active, self._config.run.threads)
        self.history.validation_loss[active, done - 1] = loss
