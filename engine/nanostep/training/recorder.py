"""The record of a run: what is measured and which callbacks run after each epoch, for every kind of run."""

from __future__ import annotations

import math
import time
import warnings
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from nanostep._arrays import Samples
from nanostep.model import Model
from nanostep.schedules.plateau import ReduceLROnPlateau
from nanostep.training.arguments import Monitoring
from nanostep.training.callbacks import EpochEnd, Rate, any_stops
from nanostep.training.metrics import measure
from nanostep.training.optimizer_state import OptimizerState
from nanostep.training.run_state import RunState

if TYPE_CHECKING:
    from nanostep.training.progress import EpochBar


class Recorder:
    """Fills a history; as a context, it takes the time, shows the progress bar, and records why the run ended.

    Parameters
    ----------
    model : Model
    monitoring : Monitoring
    measured, held_out : Samples or None
        Training and validation data for the metrics.
    epochs : int
        Asked for.
    run_state : RunState
        Of the run; its history and what early stopping has come to are filled in.
    """

    def __init__(
        self,
        model: Model,
        monitoring: Monitoring,
        measured: Samples | None,
        held_out: Samples | None,
        epochs: int,
        run_state: RunState,
    ) -> None:
        self._model, self._monitoring, self._measured, self._held_out = model, monitoring, measured, held_out
        self._epochs, self._run_state, self.history = epochs, run_state, run_state.history
        self.rate = Rate(chosen=run_state.chosen_lr)
        self.every_epoch = bool(
            held_out is not None or monitoring.callbacks or monitoring.metrics or monitoring.early_stopping
        )
        self._warned = False

    def __enter__(self) -> Recorder:
        self._started = time.perf_counter() - self.history.seconds
        self._bar_context = progress_bar(self._monitoring.progress, self._epochs)
        self._bar = self._bar_context.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar_context.__exit__(kind, error, trace)
        if kind is not None:
            self.history.stopped = "interrupted" if issubclass(kind, KeyboardInterrupt) else "error"
        self.sync()

    def sync(self) -> None:
        """Bring the state of the run up to date with the time and the rate."""
        self.history.seconds = time.perf_counter() - self._started
        self._run_state.chosen_lr = self.rate.chosen

    def update_progress(self, part: float, steps: int) -> None:
        """Show the state after the epochs recorded, `part` of the next, and `steps` updates."""
        if self._bar is not None:
            self._bar.update(self.history.epochs, part, steps, self.history._describe_losses)

    def end_epochs(self, losses: list[float], rates: list[float]) -> None:
        """Record epochs that have ended: one, if something is done after each; with `rates` for all of them or none."""
        self.history.loss += losses
        self.history.lr += rates
        if losses and not self._warned and not math.isfinite(losses[-1]):
            self._warned = True
            warnings.warn(
                f"the training loss is {losses[-1]} after epoch {self.history.epochs}; "
                "a smaller learning rate may help",
                RuntimeWarning,
                stacklevel=5,
            )
        if losses and self.every_epoch:
            self._measure()

    def _measure(self) -> None:
        model, history = self._model, self.history
        if self._measured is not None:
            for name, value in measure(model, self._monitoring.metrics, self._measured).items():
                history.metrics.setdefault(name, []).append(value)
        if self._held_out is not None:
            history.validation_loss.append(model._engine.loss(model._theta, self._held_out))
            for name, value in measure(model, self._monitoring.metrics, self._held_out).items():
                history.validation_metrics.setdefault(name, []).append(value)

    def step_plateau(self, schedule: ReduceLROnPlateau, mode: str, state: OptimizerState) -> None:
        """Give a schedule of that kind what it monitors, after an epoch."""
        value = self.history.series()[schedule.monitor][-1]
        state.plateau = (schedule, schedule.after(state.plateau_of(schedule), value, mode))

    def on_epoch_end(self) -> None:
        """Call early stopping and the callbacks after an epoch; record why it is the last one, if it is."""
        stopping, history, best = self._monitoring.early_stopping, self.history, self._run_state.best
        if stopping is not None:
            value = np.array(history.series()[stopping.monitor][-1:])
            mode, theta = self._monitoring.stopping_mode, self._model._theta[None]
            ends = best.update(stopping, mode, value, history.epochs, theta)
            history._best_epoch = int(best.epoch[0]) or None
            if ends[0]:
                history.stopped = "early_stopping"
        if self._monitoring.callbacks:
            validation_loss = history.validation_loss[-1] if history.validation_loss else None
            event = EpochEnd(
                self._model, history, history.epochs, self._epochs, history.loss[-1], validation_loss, _rate=self.rate
            )
            if any_stops(self._monitoring.callbacks, event):
                history.stopped = history.stopped or "callback"

    def end(self) -> None:
        """Record that a run which nothing else has ended has made all its epochs."""
        self.history.stopped = self.history.stopped or "epochs"

    def restore_best(self) -> None:
        """Put back the best parameters, if early stopping has kept them."""
        self._run_state.best.restore(self._model._theta[None])


def progress_bar(progress: bool, epochs: int) -> AbstractContextManager[EpochBar | None]:
    """Return a bar for a run of so many epochs, or a context of None if no progress is to be shown."""
    if not progress:
        return nullcontext()
    from nanostep.training.progress import EpochBar

    return EpochBar(epochs)
