"""Events of callbacks of `Population.train`, and what the values that callbacks return mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from nanostep._arrays import rectangular
from nanostep._checks import check_reals
from nanostep.errors import StopTraining
from nanostep.populations.history import PopulationHistory
from nanostep.populations.model import PopulationModel
from nanostep.training.callbacks import EveryNSteps, check_callbacks, is_stop

P = TypeVar("P", bound=PopulationModel)
"""What is trained: `nanostep.Population`."""


@dataclass
class PopulationEpochEnd(Generic[P]):
    """State of a run of a population after an epoch, passed to each callback.

    Attributes
    ----------
    population : Population
        Its theta is exact: it may be read, copied or changed.
    history : PopulationHistory
        The record so far.
    epoch : int
        Epochs completed in this call, from 1, by the networks that have not stopped.
    epochs : int
        Epochs asked for.
    loss : ndarray, shape (K,)
        Training losses of this epoch; NaN for networks that stopped before it.
    validation_loss : ndarray, shape (K,), or None
    training : ndarray of bool, shape (K,)
        The networks that go on.
    """

    population: P
    history: PopulationHistory
    epoch: int
    epochs: int
    loss: np.ndarray
    validation_loss: np.ndarray | None
    training: np.ndarray
    _rate: ChosenRate = field(repr=False)

    @property
    def lr(self) -> np.ndarray:
        """Learning rates of the last updates, shape (K,); NaN for networks that stopped before this epoch.

        Set it to a number >= 0, or K of them, for the updates from here to the end of the run, in place of the
        optimiser's and the schedule's, or to None to go back to those.
        """
        if self._rate.value is not None:
            return np.full(len(self.loss), self._rate.value)
        return self.history.lr[:, self.epoch - 1].copy()

    @lr.setter
    def lr(self, value: float | ArrayLike | None) -> None:
        self._rate.value = None if value is None else check_rates(value, len(self.loss))


@dataclass
class ChosenRate:
    """What a callback has set in place of the optimiser's rates and the schedule's: a number, K of them, or None."""

    value: float | np.ndarray | None = None


PopulationCallback = Callable[[PopulationEpochEnd], object]
"""Called after every epoch; returning True, or raising `StopTraining`, ends the run cleanly; returning an array of K
bools ends it for the networks where it is True."""


def check_rates(value: Any, size: int) -> float | np.ndarray:
    """Return a learning rate >= 0, or a copy of an array of them, one for each of `size` networks."""
    if np.ndim(rectangular("lr", value)) == 0:
        check_reals("lr", value, 0.0)
        return float(value)
    rates = np.array(value)
    check_reals("lr", rates, 0.0)
    if len(rates) != size:
        raise ValueError(f"lr has {len(rates)} entries for {size} networks; give one for each, or a number")
    return rates.astype(float)


def check_population_callbacks(value: object) -> tuple[PopulationCallback, ...]:
    """Return the callbacks in `value`, a callable or a sequence of them."""
    by_epoch, by_steps = check_callbacks(value)
    if by_steps:
        raise TypeError(f"callbacks of a population are called after epochs; {EveryNSteps.__name__} is for a Network")
    return by_epoch  # type: ignore[return-value]


def networks_to_stop(callbacks: Iterable[PopulationCallback], event: PopulationEpochEnd) -> np.ndarray:
    """Call the callbacks; return a mask (K,) of the networks that they end."""
    stops = np.zeros(len(event.loss), bool)
    try:
        for callback in callbacks:
            value = callback(event)
            if isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim > 0):
                value = rectangular("what a callback returned", value)
                if value.dtype != bool or value.shape != stops.shape:
                    raise ValueError(
                        f"a callback may return True or an array of bools of shape {stops.shape}; "
                        f"got one of shape {value.shape} and dtype {value.dtype}"
                    )
                stops |= value
            else:
                stops |= is_stop(value)
    except StopTraining:
        stops[:] = True
    return stops
