"""The record of a run: what is measured, and who is asked, after each epoch. All kinds of runs share it."""

from __future__ import annotations

import math
import time
import warnings
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import TYPE_CHECKING

from nanostep._arrays import Samples
from nanostep.schedules.plateau import ReduceLROnPlateau
from nanostep.training.arguments import Watch
from nanostep.training.callbacks import EpochEnd, Rate, any_stops
from nanostep.training.checkpoints import Position
from nanostep.training.metrics import measure
from nanostep.training.optimizer_state import OptimizerState

if TYPE_CHECKING:
    from nanostep.network import Network
    from nanostep.training.progress import EpochBar


class Recorder:
    """Fills a history; as a context, it takes the time, shows the progress bar, and notes why the run ended.

    Parameters
    ----------
    net : Network
    watch : Watch
    measured, held_out : Samples or None
        Training and validation data for the metrics.
    epochs : int
        Asked for.
    position : Position
        Of the run; its history and what early stopping has come to are filled in.
    """

    def __init__(
        self,
        net: Network,
        watch: Watch,
        measured: Samples | None,
        held_out: Samples | None,
        epochs: int,
        position: Position,
    ) -> None:
        self._net, self._watch, self._measured, self._held_out = net, watch, measured, held_out
        self._epochs, self._position, self.history = epochs, position, position.history
        self.rate = Rate(chosen=position.chosen_lr)
        self.every_epoch = bool(held_out is not None or watch.callbacks or watch.metrics or watch.early_stopping)
        self._warned = False

    def __enter__(self) -> Recorder:
        self._started = time.perf_counter() - self.history.seconds
        self._bar_context = progress_bar(self._watch.progress, self._epochs)
        self._bar = self._bar_context.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar_context.__exit__(kind, error, trace)
        if kind is not None:
            self.history.stopped = "interrupted" if issubclass(kind, KeyboardInterrupt) else "error"
        self.note()

    def note(self) -> None:
        """Bring the position up to date with the time and the rate."""
        self.history.seconds = time.perf_counter() - self._started
        self._position.chosen_lr = self.rate.chosen

    def show(self, part: float, steps: int) -> None:
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
        net, history = self._net, self.history
        if self._measured is not None:
            for name, value in measure(net, self._watch.metrics, self._measured).items():
                history.metrics.setdefault(name, []).append(value)
        if self._held_out is not None:
            history.validation_loss.append(net._engine.loss(net._theta, self._held_out))
            for name, value in measure(net, self._watch.metrics, self._held_out).items():
                history.validation_metrics.setdefault(name, []).append(value)

    def look_for_plateau(self, schedule: ReduceLROnPlateau, mode: str, state: OptimizerState) -> None:
        """Let a schedule of that kind see the epoch that has ended."""
        value = self.history.series()[schedule.monitor][-1]
        state.plateau = (schedule, schedule.after(state.plateau_of(schedule), value, mode))

    def ask(self) -> None:
        """Ask early stopping and the callbacks about the epoch that has ended; note why it is the last, if it is."""
        stopping, history, best = self._watch.early_stopping, self.history, self._position.best
        if stopping is not None:
            value = history.series()[stopping.monitor][-1]
            enough = best.update(stopping, self._watch.stopping_mode, value, history.epochs, self._net._theta)
            history._best_epoch = best.epoch or None
            if enough:
                history.stopped = "early_stopping"
        if self._watch.callbacks:
            validation_loss = history.validation_loss[-1] if history.validation_loss else None
            event = EpochEnd(
                self._net, history, history.epochs, self._epochs, history.loss[-1], validation_loss, _rate=self.rate
            )
            if any_stops(self._watch.callbacks, event):
                history.stopped = history.stopped or "callback"

    def end(self) -> None:
        """Note that a run which nothing has ended has made all its epochs."""
        self.history.stopped = self.history.stopped or "epochs"

    def restore_best(self) -> None:
        """Put back the parameters that early stopping has kept, if it has."""
        if self._position.best.theta is not None:
            self._net._theta[...] = self._position.best.theta


def progress_bar(progress: bool, epochs: int) -> AbstractContextManager[EpochBar | None]:
    """Return a bar for a run of so many epochs, or a context of None if no progress is to be shown."""
    if not progress:
        return nullcontext()
    from nanostep.training.progress import EpochBar

    return EpochBar(epochs)
