"""What all learning-rate schedules are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from nanostep._checks import check_integer, check_real
from nanostep._names import check_choice


@dataclass(frozen=True)
class Schedule:
    """Base class of the learning-rate schedules.

    To write one: a frozen dataclass with a method `at`.

    Parameters
    ----------
    every : {"epoch", "step"}, default="epoch"
        What a period is: an epoch, or an update.
    """

    every: str = field(default="epoch", kw_only=True)

    def __post_init__(self) -> None:
        if type(self) is Schedule:
            raise TypeError("Schedule is not a schedule itself; use one of nanostep.schedules")
        check_choice("every", self.every, ("epoch", "step"))
        self.check()

    def check(self) -> None:
        """Raise TypeError or ValueError if an argument is not acceptable."""

    @property
    def needs_length_of_epoch(self) -> bool:
        """True if the rates depend on the number of updates of an epoch, which nobody knows of a stream."""
        return False

    def at(self, lr: float, t: np.ndarray, periods_per_epoch: int) -> np.ndarray:
        """Return the rates at the periods t.

        Parameters
        ----------
        lr : float
            The optimiser's.
        t : ndarray of float64, shape (n,)
            Whole numbers >= 0, ascending.
        periods_per_epoch : int
            1, or the updates of an epoch with ``every="step"``.

        Returns
        -------
        ndarray of float64, shape (n,)
        """
        raise NotImplementedError

    def rates(self, lr: float, first_update: int, count: int, steps_per_epoch: int) -> np.ndarray:
        """Return the rates of `count` updates, a pure function of the arguments.

        Parameters
        ----------
        lr : float
            The optimiser's, > 0.
        first_update : int
            Updates made before these, >= 0.
        count : int
            >= 0.
        steps_per_epoch : int
            Updates of an epoch, >= 1.

        Returns
        -------
        ndarray of float64, shape (count,)
        """
        check_real("lr", lr, 0.0, open_low=True)
        first = check_integer("first_update", first_update, 0)
        length = check_integer("steps_per_epoch", steps_per_epoch, 1)
        end = first + check_integer("count", count, 0)
        if self.every == "step":
            return self.at(lr, np.arange(first, end, dtype=np.float64), length)
        epochs = np.arange(first // length, -(-end // length))
        updates = np.minimum((epochs + 1) * length, end) - np.maximum(epochs * length, first)
        return np.repeat(self.at(lr, epochs.astype(np.float64), 1), updates)


def check_milestones(values: object) -> tuple[int, ...]:
    """Return `values` as a tuple of integers >= 0."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise TypeError(f"milestones must be a sequence of integers; got {type(values).__name__}")
    return tuple(check_integer(f"milestones[{i}]", value, 0) for i, value in enumerate(values))
