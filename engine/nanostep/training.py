"""A run of training by an optimiser: calls of the engine, and what is done between them.

`nanostep.calls` makes the steps, `nanostep.recording` sees to what happens after each epoch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nanostep._arrays import Samples
from nanostep.backends.contract import Cursor, Plan
from nanostep.callbacks import StepEnd, any_stops
from nanostep.calls import Caller
from nanostep.history import History
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
    """One run: moves theta and the optimiser's state on and fills the history as it goes."""

    def __init__(self, net: Network, state: OptimizerState, data: Data, request: Request, history: History) -> None:
        self._net, self._state, self._samples, self._request = net, state, data.samples, request
        plan = request.plan
        order = np.empty(len(data.samples) if plan.shuffle else 0, np.int64)
        self._cursor = Cursor(order, epoch=state.epochs, updates=state.updates)
        self._first_update = state.updates
        self._steps_per_epoch = -(-len(data.samples) // plan.batch)
        self._history = history
        self._recorder = Recorder(net, request.watch, data.measured, data.held_out, request.epochs, history)
        self._caller = Caller(net, state.slots, data.samples, state.optimizer, plan, self._cursor, self._rates)
        self._plateau = request.schedule if isinstance(request.schedule, ReduceLROnPlateau) else None
        self._one_epoch_a_call = self._recorder.every_epoch or self._plateau is not None

    @property
    def _steps(self) -> int:
        return self._cursor.updates - self._first_update

    def execute(self) -> None:
        history, request = self._history, self._request
        try:
            with self._recorder:
                while history.epochs < request.epochs and not history.stopped:
                    self._call()
                self._recorder.finish()
        finally:
            cursor = self._cursor
            history.steps = self._steps
            history.samples = history.epochs * len(self._samples) + cursor.row
            history.isa, history.threads = self._net._engine.isa, self._caller.threads
            self._state.updates = cursor.updates
            self._state.epochs = cursor.epoch + (cursor.row > 0)

    def _call(self) -> None:
        """Make one call of the engine and do what is due after it."""
        recorder, left = self._recorder, self._request.epochs - self._history.epochs
        losses = self._caller.call(1 if self._one_epoch_a_call else left, self._steps_until_callbacks())
        recorder.rate.now = self._caller.rate
        recorder.end_epochs(losses, self._caller.epoch_rates)
        if self._caller.interrupted:
            raise KeyboardInterrupt
        recorder.show(self._cursor.row / len(self._samples))
        if self._request.every_n_steps:
            self._end_steps(bool(losses))
        if losses and self._one_epoch_a_call:
            if self._plateau is not None:
                self._look_for_plateau(self._plateau)
            recorder.stops()

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

    def _look_for_plateau(self, schedule: ReduceLROnPlateau) -> None:
        value = self._history.series()[schedule.monitor][-1]
        state = schedule.after(self._state.plateau_of(schedule), value, self._request.plateau_mode)
        self._state.plateau = (schedule, state)

    def _steps_until_callbacks(self) -> int | None:
        due = [each.n - self._steps % each.n for each in self._request.every_n_steps]
        return min(due) if due else None

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
