"""A run of training by an optimiser: calls of the engine, and what is done between them.

`nanostep.training.engine_call` makes the steps, `nanostep.training.recorder` sees to what happens after each epoch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from nanostep._arrays import Samples
from nanostep.backends import load
from nanostep.backends.contract import Cursor, Plan
from nanostep.schedules.plateau import ReduceLROnPlateau
from nanostep.training import checkpoints
from nanostep.training.arguments import Data, Request
from nanostep.training.callbacks import StepEnd, any_stops
from nanostep.training.checkpoints import Position
from nanostep.training.engine_call import Caller
from nanostep.training.optimizer_state import OptimizerState
from nanostep.training.recorder import Recorder
from nanostep.training.sample_weights import smoothed

if TYPE_CHECKING:
    from nanostep.network import Network

CHUNK_SEED = 0x9E3779B97F4A7C15
"""What the seeds of two chunks that follow each other differ by."""

LONGEST_EPOCH = 2**31
"""Stands for the updates of an epoch of a stream, which nobody knows."""


def step(net: Network, state: OptimizerState, samples: Samples) -> float:
    """Make one update from all samples and return the loss before it."""
    cursor = Cursor(np.empty(0, np.int64), updates=state.updates)
    plan = Plan(batch=len(samples), shuffle=False, seed=0)
    caller = Caller(net, state.slots, samples, state.optimizer, plan, cursor)
    losses = caller.call(1)
    state.updates = cursor.updates
    if caller.interrupted:
        raise KeyboardInterrupt
    return losses[0]


class Run(ABC):
    """A run by an optimiser: moves theta, the optimiser's state and `position` on."""

    _cursor: Cursor
    _caller: Caller

    def __init__(self, net: Network, state: OptimizerState, data: Data, request: Request, position: Position) -> None:
        self._net, self._state, self._request = net, state, request
        self._position, self._history = position, position.history
        self._recorder = Recorder(net, request.watch, data.measured, data.held_out, request.epochs, position)
        self._plateau = request.schedule if isinstance(request.schedule, ReduceLROnPlateau) else None

    def execute(self) -> None:
        history, recorder = self._history, self._recorder
        already_ended = bool(history.stopped)
        try:
            with recorder:
                while history.epochs < self._request.epochs and not history.stopped:
                    self._advance()
                recorder.end()
                if not already_ended:
                    self._save()
                recorder.restore_best()
        finally:
            self._note_position()
            history.isa = self._net._engine.isa

    @abstractmethod
    def _advance(self) -> None:
        """Make part of the run, at most to the end of an epoch if something is done after each."""

    @abstractmethod
    def _note_position(self) -> None:
        """Bring the position, the state of the optimiser and the history up to date."""

    @abstractmethod
    def _periods(self) -> tuple[int, int]:
        """Return the number of the next update, had all epochs been as long as this one, and that length."""

    @property
    def _steps(self) -> int:
        return self._cursor.updates - self._position.first_update

    def _most_steps_of_call(self) -> int | None:
        """Return the number of steps until the next callback or checkpoint; None if there are none at steps."""
        grains = [each.n for each in self._request.every_n_steps]
        if self._request.checkpoint is not None and self._request.checkpoint.every_steps is not None:
            grains.append(self._request.checkpoint.every_steps)
        return min((n - self._steps % n for n in grains), default=None)

    def _rates(self, steps: int) -> np.ndarray | None:
        """Return the learning rates of the next `steps` updates; None for the optimiser's."""
        schedule = self._request.schedule
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
        due = [each.callback for each in self._request.every_n_steps if self._steps % each.n == 0]
        if not due:
            return
        before = self._net._theta.copy()
        if any_stops(due, StepEnd(self._net, self._history, self._steps, epoch, loss, _rate=self._recorder.rate)):
            self._history.stopped = "callback"
        if not np.array_equal(before, self._net._theta, equal_nan=True):
            self._cursor.carry = None  # what the backend has prepared from the parameters before

    def _end_epoch(self) -> None:
        if self._plateau is not None:
            self._recorder.look_for_plateau(self._plateau, self._request.plateau_mode, self._state)
        self._recorder.ask()

    def _save_if_due(self, *, ended: bool) -> None:
        checkpoint = self._request.checkpoint
        if checkpoint is None or self._history.stopped:
            return
        by_steps = checkpoint.every_steps is not None and self._steps % checkpoint.every_steps == 0
        if by_steps or (ended and self._history.epochs % checkpoint.every == 0):
            self._save()
            # a run that goes on from the file has nothing prepared: nor must this one, to end with the same bits
            self._cursor.carry = None

    def _save(self) -> None:
        if self._request.checkpoint is not None:
            self._note_position()
            checkpoints.write(self._request.checkpoint, self._net, self._state, self._position)


class ArrayRun(Run):
    """A run over samples that are all there."""

    def __init__(self, net: Network, state: OptimizerState, data: Data, request: Request, position: Position) -> None:
        super().__init__(net, state, data, request, position)
        assert data.samples is not None
        samples, plan = data.samples, request.plan
        self._n, self._steps_per_epoch = len(samples), -(-len(samples) // plan.batch)
        order = np.empty(len(samples) if plan.shuffle else 0, np.int64)
        if position.row > 0 and plan.shuffle:
            load(net.backend).order.shuffle(plan.seed, position.epoch, order)
        self._cursor = Cursor(order, position.epoch, position.row, state.updates, position.loss_sum)
        self._caller = Caller(net, state.slots, samples, state.optimizer, plan, self._cursor)
        self._one_epoch_a_call = self._recorder.every_epoch or self._plateau is not None

    def _advance(self) -> None:
        recorder, cursor, history = self._recorder, self._cursor, self._history
        losses = self._caller.call(self._epochs_of_call(), self._most_steps_of_call(), self._rates)
        recorder.rate.now = self._caller.rate
        recorder.end_epochs(losses, self._caller.epoch_rates)
        if self._caller.interrupted:
            raise KeyboardInterrupt
        recorder.show(cursor.row / self._n, self._steps)
        if self._request.every_n_steps:
            if losses:
                self._end_steps(history.epochs, history.loss[-1])
            else:
                self._end_steps(history.epochs + 1, cursor.loss_sum / cursor.row)
        if losses and self._one_epoch_a_call:
            self._end_epoch()
        self._save_if_due(ended=bool(losses))

    def _epochs_of_call(self) -> int:
        epochs = self._request.epochs - self._history.epochs
        if self._one_epoch_a_call:
            return 1
        if self._request.checkpoint is not None:
            every = self._request.checkpoint.every
            return min(epochs, every - self._history.epochs % every)
        return epochs

    def _periods(self) -> tuple[int, int]:
        # whole epochs before this one, whatever batches they were made in
        cursor, length = self._cursor, self._steps_per_epoch
        return cursor.epoch * length + cursor.row // self._request.plan.batch, length

    def _note_position(self) -> None:
        position, cursor = self._position, self._cursor
        position.epoch, position.row, position.loss_sum = cursor.epoch, cursor.row, cursor.loss_sum
        self._state.updates, self._state.epochs = cursor.updates, cursor.epoch + (cursor.row > 0)
        self._history.steps = self._steps
        self._history.samples = self._history.epochs * self._n + cursor.row
        self._history.threads = self._caller.threads
        self._recorder.note()


class StreamRun(Run):
    """A run over the chunks of a stream. Chunk number k has the seed of the run plus k times an odd constant."""

    def __init__(self, net: Network, state: OptimizerState, data: Data, request: Request, position: Position) -> None:
        super().__init__(net, state, data, request, position)
        assert data.stream is not None
        self._stream, self._earlier_samples = data.stream, position.history.samples
        self._cursor = Cursor(np.empty(0, np.int64), position.epoch, updates=state.updates)
        self._rows, self._loss_sum = 0, 0.0  # of this epoch, in the chunks before the present one

    def _advance(self) -> None:
        recorder, history = self._recorder, self._history
        self._rows, self._loss_sum = 0, 0.0
        for k, samples in enumerate(self._stream.samples(self._net)):
            self._learn(k, samples)
            recorder.show(0.0, self._steps)
            if history.stopped:
                return
        if self._rows == 0:
            raise ValueError("the stream has no chunks" + (", the second time it is read" if history.epochs else ""))
        self._position.epoch += 1
        recorder.end_epochs([self._loss_sum / self._rows], [self._caller.rate])
        self._earlier_samples += self._rows
        self._rows = 0
        self._end_epoch()
        self._save_if_due(ended=True)

    def _learn(self, k: int, samples: Samples) -> None:
        """Make the updates of chunk number k."""
        plan = self._request.plan
        if plan.smoothing > 0:
            samples = smoothed(samples, plan.smoothing)
        plan = replace(plan, batch=min(plan.batch, len(samples)), seed=(plan.seed + k * CHUNK_SEED) % 2**64)
        order = np.empty(len(samples) if plan.shuffle else 0, np.int64)
        self._cursor = cursor = Cursor(order, self._position.epoch, updates=self._cursor.updates)
        self._caller = Caller(self._net, self._state.slots, samples, self._state.optimizer, plan, cursor)
        while cursor.epoch == self._position.epoch and not self._history.stopped:
            losses = self._caller.call(1, self._most_steps_of_call(), self._rates)
            self._recorder.rate.now = self._caller.rate
            if losses:
                self._loss_sum += losses[0] * len(samples)
                self._rows += len(samples)
            if self._caller.interrupted:
                raise KeyboardInterrupt
            mean = (self._loss_sum + cursor.loss_sum) / (self._rows + cursor.row)
            self._end_steps(self._history.epochs + 1, mean)
        self._history.threads = self._caller.threads

    def _periods(self) -> tuple[int, int]:
        return self._position.epoch * LONGEST_EPOCH, LONGEST_EPOCH

    def _note_position(self) -> None:
        used = self._rows + self._cursor.row
        self._state.updates, self._state.epochs = self._cursor.updates, self._position.epoch + (used > 0)
        self._history.steps = self._steps
        self._history.samples = self._earlier_samples + used
        self._recorder.note()
