"""What callbacks of `Network.train` are given."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np

from nanostep._checks import check_integer, check_real
from nanostep.errors import StopTraining
from nanostep.model import Model
from nanostep.training.history import History

M = TypeVar("M", bound=Model)
"""What is trained: `nanostep.Network`."""


@dataclass
class Rate:
    """Learning rate of a run.

    Attributes
    ----------
    now : float or None
        That of the last update; None for a solver, which has none.
    chosen : float or None
        What a callback has set in place of the optimiser's and the schedule's.
    """

    now: float | None = None
    chosen: float | None = None


@dataclass
class Event(Generic[M]):
    """What all events have.

    Attributes
    ----------
    network : Network
        Its theta is exact: it may be read, copied or changed.
    history : History
        The record so far.
    """

    network: M
    history: History
    _rate: Rate = field(default_factory=Rate, repr=False, kw_only=True)

    @property
    def lr(self) -> float | None:
        """The learning rate of the last update; None for a solver.

        Set it to any number >= 0 for the updates from here to the end of the run, in place of the optimiser's and the
        schedule's, or to None to go back to those.
        """
        return self._rate.now if self._rate.chosen is None else self._rate.chosen

    @lr.setter
    def lr(self, value: float | None) -> None:
        if self._rate.now is None:
            raise TypeError("a solver has no learning rate to set")
        self._rate.chosen = None if value is None else check_real("lr", value, 0.0)


@dataclass
class EpochEnd(Event[M]):
    """State of a run after an epoch, passed to each callback; see also `Event`.

    Attributes
    ----------
    epoch : int
        Epochs completed in this call, from 1.
    epochs : int
        Epochs asked for.
    loss : float
        Training loss of this epoch (see `History.loss`).
    validation_loss : float or None
    """

    epoch: int
    epochs: int
    loss: float
    validation_loss: float | None


@dataclass
class StepEnd(Event[M]):
    """State of a run after an update, passed to the callbacks of `EveryNSteps`; see also `Event`.

    Attributes
    ----------
    step : int
        Updates made in this call.
    epoch : int
        The epoch that the update belongs to, from 1.
    loss : float
        Mean training loss over the samples of this epoch used so far.
    """

    step: int
    epoch: int
    loss: float


Callback = Callable[[EpochEnd], object]
"""Called after every epoch; returning True, or raising `StopTraining`, ends the run cleanly. What is neither a bool nor
None is refused."""

StepCallback = Callable[[StepEnd], object]
"""Called by `EveryNSteps`; returning True, or raising `StopTraining`, ends the run cleanly."""


@dataclass(frozen=True)
class EveryNSteps:
    """Calls `callback` with a `StepEnd` after every n updates of a run; give it to ``Network.train(callbacks=...)``.

    Parameters
    ----------
    n : int
        >= 1.
    callback : callable
        Returning True, or raising `StopTraining`, ends the run cleanly. It may change theta and ``event.lr``.
    """

    n: int
    callback: StepCallback

    def __post_init__(self) -> None:
        check_integer("n", self.n, 1)
        if not callable(self.callback):
            raise TypeError(f"callback must be callable; got {type(self.callback).__name__}")


def check_callbacks(value: object) -> tuple[tuple[Callback, ...], tuple[EveryNSteps, ...]]:
    """Return the callbacks of epochs and of steps in `value`, a callable, an `EveryNSteps` or a sequence of them."""
    items = (value,) if callable(value) or isinstance(value, EveryNSteps) else value
    if not isinstance(items, Iterable):
        raise TypeError(f"callbacks must be a callable or a sequence of callables; got {type(value).__name__}")
    checked = tuple(items)
    for i, item in enumerate(checked):
        if not callable(item) and not isinstance(item, EveryNSteps):
            raise TypeError(f"callbacks[{i}] must be callable; got {type(item).__name__}")
    steps = tuple(item for item in checked if isinstance(item, EveryNSteps))
    return tuple(item for item in checked if not isinstance(item, EveryNSteps)), steps


def is_stop(answer: object) -> bool:
    """Return whether a callback that returned `answer` ends the run.

    Raises
    ------
    TypeError
        It is neither a bool, NumPy's included, nor None.
    """
    if answer is None:
        return False
    if isinstance(answer, (bool, np.bool_)) or (
        isinstance(answer, np.ndarray) and answer.shape == () and answer.dtype == bool
    ):
        return bool(answer)
    raise TypeError(
        f"a callback must return True to end the run, or False or None; got {answer!r} of type {type(answer).__name__}"
    )


def any_stops(callbacks: Iterable[Callable], event: Event) -> bool:
    """Call the callbacks; True if one of them ends the run."""
    try:
        # a list, not a generator: one that stops must not keep the next from being called
        answers = [is_stop(callback(event)) for callback in callbacks]
        return any(answers)
    except StopTraining:
        return True
