"""`Schedule`: the base class of the learning-rate schedules."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nanostep._checks import check_choice, check_integer, check_reals


@dataclass(frozen=True)
class Schedule:
    """Base class of the learning-rate schedules.

    A schedule of your own is a frozen dataclass that derives from this class and has a method `at`.

    Parameters
    ----------
    every : {"epoch", "step"}, default="epoch"
        Length of a period: an epoch, or an update.
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
        """True if the rates depend on the number of updates of an epoch, which is not known for a stream."""
        return False

    def at(self, lr: Any, t: np.ndarray, periods_per_epoch: int) -> np.ndarray:
        """Return the rates at the periods t.

        Parameters
        ----------
        lr : float
            The optimiser's rate; for a population whose networks have different ones, an array (K, 1).
        t : ndarray of float64, shape (n,)
            Whole numbers >= 0, ascending.
        periods_per_epoch : int
            1, or the updates of an epoch with ``every="step"``.

        Returns
        -------
        ndarray of float64, shape (n,), or (K, n)
        """
        raise NotImplementedError

    def rates(self, lr: float | np.ndarray, first_update: int, count: int, steps_per_epoch: int) -> np.ndarray:
        """Return the rates of `count` updates, a pure function of the arguments.

        Parameters
        ----------
        lr : float, or ndarray, shape (K,)
            The optimiser's rate, > 0.
        first_update : int
            Updates made before the first of these, >= 0.
        count : int
            Number of rates, >= 0.
        steps_per_epoch : int
            Updates of an epoch, >= 1.

        Returns
        -------
        ndarray of float64, shape (count,), or (K, count) for an array of lr if the schedule uses lr
        """
        check_reals("lr", lr, 0.0, open_low=True)
        base = lr[:, None] if isinstance(lr, np.ndarray) else lr
        first = check_integer("first_update", first_update, 0)
        length = check_integer("steps_per_epoch", steps_per_epoch, 1)
        end = first + check_integer("count", count, 0)
        if self.every == "step":
            return self.at(base, np.arange(first, end, dtype=np.float64), length)
        epochs = np.arange(first // length, -(-end // length))
        updates = np.minimum((epochs + 1) * length, end) - np.maximum(epochs * length, first)
        return np.repeat(self.at(base, epochs.astype(np.float64), 1), updates, axis=-1)


def check_milestones(values: object) -> tuple[int, ...]:
    """Return `values` as a tuple of integers >= 0."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise TypeError(f"milestones must be a sequence of integers; got {type(values).__name__}")
    return tuple(check_integer(f"milestones[{i}]", value, 0) for i, value in enumerate(values))
