"""A run of training by an optimiser: calls of the engine, and what is done between them.

`nanostep.training.engine_call` makes the steps, `nanostep.training.recorder` does what is due after each epoch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace

import numpy as np

from nanostep._arrays import Samples, unaliased
from nanostep.backends import load
from nanostep.backends.contract import Cursor, RunConfig
from nanostep.model import Model
from nanostep.schedules.plateau import ReduceLROnPlateau
from nanostep.training import checkpoints
from nanostep.training.arguments import Data, TrainConfig
from nanostep.training.callbacks import StepEnd, any_stops
from nanostep.training.engine_call import EngineCall
from nanostep.training.optimizer_state import OptimizerState
from nanostep.training.recorder import Recorder
from nanostep.training.run_state import RunState
from nanostep.training.sample_weights import smoothed

CHUNK_SEED = 0x9E3779B97F4A7C15
"""What the seeds of two chunks that follow each other differ by."""

LONGEST_EPOCH = 2**31
"""Stands for the updates of an epoch of a stream, whose number is unknown."""


def step(model: Model, state: OptimizerState, samples: Samples) -> float:
    """Make one update from all samples and return the loss before it."""
    cursor = Cursor(np.empty(0, np.int64), updates=state.updates)
    run = RunConfig(batch=len(samples), shuffle=False, seed=0)
    engine_call = EngineCall(model, state, samples, run, cursor)
    losses = engine_call.call(1)
    state.updates = cursor.updates
    if engine_call.interrupted:
        raise KeyboardInterrupt
    return losses[0]


def apply(model: Model, state: OptimizerState, grad: np.ndarray, scale: np.ndarray | None) -> None:
    """Make one update from a gradient laid out as theta; `scale`, (parameters,), multiplies the change of theta."""
    grad, *scales = (unaliased(array, model._theta) for array in (grad, *(() if scale is None else (scale,))))
    optimizers = load(model.backend).optimizers
    update = optimizers.apply if scales else optimizers.update
    with np.errstate(all="ignore"):  # overflow is silent, as in compiled code
        update(state.optimizer, state.updates + 1, model._theta, grad, state.slots, *scales)
    state.updates += 1


class Run(ABC):
    """A run by an optimiser: moves theta, the optimiser's state and `run_state` on."""

    _cursor: Cursor
    _engine_call: EngineCall

    def __init__(
        self, model: Model, state: OptimizerState, data: Data, config: TrainConfig, run_state: RunState
    ) -> None:
        self._model, self._state, self._config = model, state, config
        self._run_state, self._history = run_state, run_state.history
        self._recorder = Recorder(model, config.monitoring, data.measured, data.held_out, config.epochs, run_state)
        self._plateau = config.schedule if isinstance(config.schedule, ReduceLROnPlateau) else None

    def execute(self) -> None:
        history, recorder = self._history, self._recorder
        already_ended = bool(history.stopped)
        try:
            with recorder:
                while history.epochs < self._config.epochs and not history.stopped:
                    self._advance()
                recorder.end()
                if not already_ended:
                    self._save()
                recorder.restore_best()
        finally:
            self._sync()
            history.isa = self._model._engine.isa

    @abstractmethod
    def _advance(self) -> None:
        """Make part of the run, at most to the end of an epoch if something is done after each."""

    @abstractmethod
    def _sync(self) -> None:
        """Bring the state of the run, that of the optimiser and the history up to date."""

    @abstractmethod
    def _periods(self) -> tuple[int, int]:
        """Return the number of the next update, had all epochs been as long as this one, and that length."""

    @property
    def _steps(self) -> int:
        return self._cursor.updates - self._run_state.first_update

    def _most_steps_of_call(self) -> int | None:
        """Return the number of steps until the next callback or checkpoint; None if there are none at steps."""
        grains = [each.n for each in self._config.every_n_steps]
        if self._config.checkpoint is not None and self._config.checkpoint.every_steps is not None:
            grains.append(self._config.checkpoint.every_steps)
        return min((n - self._steps % n for n in grains), default=None)

    def _rates(self, steps: int) -> np.ndarray | None:
        """Return the learning rates of the next `steps` updates; None for the optimiser's."""
        schedule = self._config.schedule
        if self._recorder.rate.chosen is not None:
            return np.full(steps, self._recorder.rate.chosen)
        if schedule is None:
            return None
        if self._plateau is not None:
            return np.full(steps, self._state.plateau_of(self._plateau).lr)
        first, length = self._periods()
        if schedule.every == "step":
            first = self._cursor.updates
        return schedule.rates(self._state.optimizer.lr, first, steps, length)

    def _end_steps(self, epoch: int, loss: float) -> None:
        """Call the callbacks of steps that are due after a step of `epoch`, whose mean loss so far is `loss`."""
        due = [each.callback for each in self._config.every_n_steps if self._steps % each.n == 0]
        if not due:
            return
        before = self._model._theta.copy()
        if any_stops(due, StepEnd(self._model, self._history, self._steps, epoch, loss, _rate=self._recorder.rate)):
            self._history.stopped = "callback"
        if not np.array_equal(before, self._model._theta, equal_nan=True):
            self._cursor.backend_state = None  # what the backend has prepared from the parameters before

    def _end_epoch(self) -> None:
        if self._plateau is not None:
            self._recorder.step_plateau(self._plateau, self._config.plateau_mode, self._state)
        self._recorder.on_epoch_end()

    def _save_if_due(self, *, ended: bool) -> None:
        checkpoint = self._config.checkpoint
        if checkpoint is None or self._history.stopped:
            return
        by_steps = checkpoint.every_steps is not None and self._steps % checkpoint.every_steps == 0
        if by_steps or (ended and self._history.epochs % checkpoint.every == 0):
            self._save()
            # a run that goes on from the file has nothing prepared: nor must this one, to end with the same bits
            self._cursor.backend_state = None

    def _save(self) -> None:
        if self._config.checkpoint is not None:
            self._sync()
            checkpoints.write(self._config.checkpoint, self._model, self._state, self._run_state)


class ArrayRun(Run):
    """A run over samples that are all there."""

    def __init__(
        self, model: Model, state: OptimizerState, data: Data, config: TrainConfig, run_state: RunState
    ) -> None:
        super().__init__(model, state, data, config, run_state)
        assert data.samples is not None
        samples, run = data.samples, config.run
        self._n, self._steps_per_epoch = len(samples), -(-len(samples) // run.batch)
        order = np.empty(len(samples) if run.shuffle else 0, np.int64)
        if run_state.row > 0 and run.shuffle:
            load(model.backend).order.shuffle(run.seed, run_state.epoch, order)
        self._cursor = Cursor(order, run_state.epoch, run_state.row, state.updates, run_state.loss_sum)
        self._engine_call = EngineCall(model, state, samples, run, self._cursor)
        self._one_epoch_a_call = self._recorder.every_epoch or self._plateau is not None

    def _advance(self) -> None:
        recorder, cursor, history = self._recorder, self._cursor, self._history
        losses = self._engine_call.call(self._epochs_of_call(), self._most_steps_of_call(), self._rates)
        recorder.rate.now = self._engine_call.rate
        recorder.end_epochs(losses, self._engine_call.epoch_rates)
        if self._engine_call.interrupted:
            raise KeyboardInterrupt
        recorder.update_progress(cursor.row / self._n, self._steps)
        if self._config.every_n_steps:
            if losses:
                self._end_steps(history.epochs, history.loss[-1])
            else:
                self._end_steps(history.epochs + 1, cursor.loss_sum / cursor.row)
        if losses and self._one_epoch_a_call:
            self._end_epoch()
        self._save_if_due(ended=bool(losses))

    def _epochs_of_call(self) -> int:
        epochs = self._config.epochs - self._history.epochs
        if self._one_epoch_a_call:
            return 1
        if self._config.checkpoint is not None:
            every = self._config.checkpoint.every
            return min(epochs, every - self._history.epochs % every)
        return epochs

    def _periods(self) -> tuple[int, int]:
        # whole epochs before this one, whatever batches they were made in
        cursor, length = self._cursor, self._steps_per_epoch
        return cursor.epoch * length + cursor.row // self._config.run.batch, length

    def _sync(self) -> None:
        run_state, cursor = self._run_state, self._cursor
        run_state.epoch, run_state.row, run_state.loss_sum = cursor.epoch, cursor.row, cursor.loss_sum
        self._state.updates, self._state.epochs = cursor.updates, cursor.epoch + (cursor.row > 0)
        self._history.steps = self._steps
        self._history.samples = self._history.epochs * self._n + cursor.row
        self._history.threads = self._engine_call.threads
        self._recorder.sync()


class StreamRun(Run):
    """A run over the chunks of a stream. Chunk number k has the seed of the run plus k times an odd constant."""

    def __init__(
        self, model: Model, state: OptimizerState, data: Data, config: TrainConfig, run_state: RunState
    ) -> None:
        super().__init__(model, state, data, config, run_state)
        assert data.stream is not None
        self._stream, self._earlier_samples = data.stream, run_state.history.samples
        self._cursor = Cursor(np.empty(0, np.int64), run_state.epoch, updates=state.updates)
        self._rows, self._loss_sum = 0, 0.0  # of this epoch, in the chunks before the present one

    def _advance(self) -> None:
        recorder, history = self._recorder, self._history
        self._rows, self._loss_sum = 0, 0.0
        for k, samples in enumerate(self._stream.samples(self._model, self._config.nan_targets)):
            self._learn(k, samples)
            recorder.update_progress(0.0, self._steps)
            if history.stopped:
                return
        if self._rows == 0:
            raise ValueError("the stream has no chunks" + (", the second time it is read" if history.epochs else ""))
        self._run_state.epoch += 1
        recorder.end_epochs([self._loss_sum / self._rows], [self._engine_call.rate])
        self._earlier_samples += self._rows
        self._rows = 0
        self._end_epoch()
        self._save_if_due(ended=True)

    def _learn(self, k: int, samples: Samples) -> None:
        """Make the updates of chunk number k."""
        run = self._config.run
        if run.smoothing > 0:
            samples = smoothed(samples, run.smoothing)
        run = replace(run, batch=min(run.batch, len(samples)), seed=(run.seed + k * CHUNK_SEED) % 2**64)
        order = np.empty(len(samples) if run.shuffle else 0, np.int64)
        self._cursor = cursor = Cursor(order, self._run_state.epoch, updates=self._cursor.updates)
        self._engine_call = EngineCall(self._model, self._state, samples, run, cursor)
        while cursor.epoch == self._run_state.epoch and not self._history.stopped:
            losses = self._engine_call.call(1, self._most_steps_of_call(), self._rates)
            self._recorder.rate.now = self._engine_call.rate
            if losses:
                self._loss_sum += losses[0] * len(samples)
                self._rows += len(samples)
            if self._engine_call.interrupted:
                raise KeyboardInterrupt
            mean = (self._loss_sum + cursor.loss_sum) / (self._rows + cursor.row)
            self._end_steps(self._history.epochs + 1, mean)
        self._history.threads = self._engine_call.threads

    def _periods(self) -> tuple[int, int]:
        return self._run_state.epoch * LONGEST_EPOCH, LONGEST_EPOCH

    def _sync(self) -> None:
        used = self._rows + self._cursor.row
        self._state.updates, self._state.epochs = self._cursor.updates, self._run_state.epoch + (used > 0)
        self._history.steps = self._steps
        self._history.samples = self._earlier_samples + used
        self._recorder.sync()
