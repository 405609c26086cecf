"""A run of training by an optimiser: calls of the engine, and what is done between them.

`nanostep.calls` makes the steps, `nanostep.recording` sees to what happens after each epoch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nanostep import checkpoints
from nanostep._arrays import Samples
from nanostep.backends import load
from nanostep.backends.contract import Cursor, Plan
from nanostep.callbacks import StepEnd, any_stops
from nanostep.calls import Caller
from nanostep.checkpoints import Checkpoint, Position
from nanostep.optimizer_state import OptimizerState
from nanostep.plateau import ReduceLROnPlateau
from nanostep.recording import Recorder
from nanostep.requests import Data, Request

if TYPE_CHECKING:
    from nanostep.network import Network


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


class Run:
    """One run: moves theta, the optimiser's state and `position` on."""

    def __init__(self, net: Network, state: OptimizerState, data: Data, request: Request, position: Position) -> None:
        self._net, self._state, self._samples, self._request = net, state, data.samples, request
        self._position, self._history = position, position.history
        self._steps_per_epoch = -(-len(data.samples) // request.plan.batch)
        self._cursor = self._make_cursor()
        self._recorder = Recorder(net, request.watch, data.measured, data.held_out, request.epochs, position)
        self._caller = Caller(net, state.slots, data.samples, state.optimizer, request.plan, self._cursor, self._rates)
        self._plateau = request.schedule if isinstance(request.schedule, ReduceLROnPlateau) else None
        self._one_epoch_a_call = self._recorder.every_epoch or self._plateau is not None

    def _make_cursor(self) -> Cursor:
        position, plan = self._position, self._request.plan
        order = np.empty(len(self._samples) if plan.shuffle else 0, np.int64)
        if position.row > 0 and plan.shuffle:
            load(self._net.backend).order.shuffle(plan.seed, position.epoch, order)
        return Cursor(order, position.epoch, position.row, self._state.updates, position.loss_sum)

    @property
    def _steps(self) -> int:
        return self._cursor.updates - self._position.first_update

    def execute(self) -> None:
        history, recorder = self._history, self._recorder
        already_ended = bool(history.stopped)
        try:
            with recorder:
                while history.epochs < self._request.epochs and not history.stopped:
                    self._call()
                recorder.end()
                if not already_ended:
                    self._save()
                recorder.restore_best()
        finally:
            self._note_position()
            history.steps = self._steps
            history.samples = history.epochs * len(self._samples) + self._cursor.row
            history.isa, history.threads = self._net._engine.isa, self._caller.threads

    def _call(self) -> None:
        """Make one call of the engine and do what is due after it."""
        recorder = self._recorder
        losses = self._caller.call(self._epochs_of_call(), self._most_steps_of_call())
        recorder.rate.now = self._caller.rate
        recorder.end_epochs(losses, self._caller.epoch_rates)
        if self._caller.interrupted:
            raise KeyboardInterrupt
        recorder.show(self._cursor.row / len(self._samples), self._steps)
        if self._request.every_n_steps:
            self._end_steps(bool(losses))
        if losses and self._one_epoch_a_call:
            if self._plateau is not None:
                recorder.look_for_plateau(self._plateau, self._request.plateau_mode, self._state)
            recorder.ask()
        if self._request.checkpoint is not None and not self._history.stopped:
            self._save_if_due(self._request.checkpoint, bool(losses))

    def _epochs_of_call(self) -> int:
        epochs = self._request.epochs - self._history.epochs
        if self._one_epoch_a_call:
            return 1
        if self._request.checkpoint is not None:
            every = self._request.checkpoint.every
            return min(epochs, every - self._history.epochs % every)
        return epochs

    def _most_steps_of_call(self) -> int | None:
        """Return the number of steps until the next callback or checkpoint; None if there are none at steps."""
        grains = [each.n for each in self._request.every_n_steps]
        if self._request.checkpoint is not None and self._request.checkpoint.every_steps is not None:
            grains.append(self._request.checkpoint.every_steps)
        return min((n - self._steps % n for n in grains), default=None)

    def _rates(self, steps: int) -> np.ndarray | None:
        """Return the learning rates of the next `steps` updates; None for the optimiser's."""
        schedule, cursor = self._request.schedule, self._cursor
        if self._recorder.rate.chosen is not None:
            return np.full(steps, self._recorder.rate.chosen)
        if schedule is None:
            return None
        if self._plateau is not None:
            return np.full(steps, self._state.plateau_of(self._plateau).lr)
        first = cursor.updates
        if schedule.every == "epoch":
            # whole epochs before this one, whatever batches they were made in
            first = cursor.epoch * self._steps_per_epoch + cursor.row // self._request.plan.batch
        return schedule.rates(self._state.optimizer.lr, first, steps, self._steps_per_epoch)

    def _end_steps(self, ended: bool) -> None:
        """Call the callbacks of steps that are due; `ended` says that the last step ended an epoch."""
        due = [each.callback for each in self._request.every_n_steps if self._steps % each.n == 0]
        if not due:
            return
        cursor, history = self._cursor, self._history
        loss = history.loss[-1] if ended else cursor.loss_sum / cursor.row
        before = self._net._theta.copy()
        event = StepEnd(self._net, history, self._steps, history.epochs + (not ended), loss, _rate=self._recorder.rate)
        if any_stops(due, event):
            history.stopped = "callback"
        if not np.array_equal(before, self._net._theta, equal_nan=True):
            cursor.carry = None  # what the backend has prepared from the parameters before

    def _save_if_due(self, checkpoint: Checkpoint, ended: bool) -> None:
        by_steps = checkpoint.every_steps is not None and self._steps % checkpoint.every_steps == 0
        if by_steps or (ended and self._history.epochs % checkpoint.every == 0):
            self._save()
            # a run that goes on from the file has nothing prepared: nor must this one, to end with the same bits
            self._cursor.carry = None

    def _save(self) -> None:
        if self._request.checkpoint is not None:
            self._note_position()
            checkpoints.write(self._request.checkpoint, self._net, self._state, self._position)

    def _note_position(self) -> None:
        position, cursor = self._position, self._cursor
        position.epoch, position.row, position.loss_sum = cursor.epoch, cursor.row, cursor.loss_sum
        self._state.updates = cursor.updates
        self._state.epochs = cursor.epoch + (cursor.row > 0)
        self._recorder.note()
