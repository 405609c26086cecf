"""Learning rates of a run of a population: the optimiser's, a schedule's, or what a callback has chosen."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from nanostep.optimizers import Hyper, Optimizer
from nanostep.populations.callbacks import ChosenRate
from nanostep.populations.optimizer_state import PopulationOptimizerState
from nanostep.schedules.base import Schedule
from nanostep.schedules.plateau import ReduceLROnPlateau

RATES_TOGETHER = 1 << 22
"""Rates that a call may keep in memory, where networks differ in them at every update."""


class PopulationRates:
    """Gives the calls of a run their rates.

    A rate that lasts for an epoch goes with the optimiser, one for each network. Rates of single updates go with the
    call (`PopulationTask.rates`).
    """

    def __init__(
        self,
        state: PopulationOptimizerState,
        schedule: Schedule | None,
        mode: str,
        steps_per_epoch: int,
        *,
        recorded: bool,
    ) -> None:
        self._state, self._schedule, self._mode, self._length = state, schedule, mode, steps_per_epoch
        self._plateau = schedule if isinstance(schedule, ReduceLROnPlateau) else None
        self.chosen = ChosenRate()
        self.recorded = recorded or schedule is not None
        self.by_epoch = recorded or self._plateau is not None

    def parts(self, indices: np.ndarray, epochs: int) -> Iterator[tuple[int, Optimizer]]:
        """Yield numbers of epochs, `epochs` in all, of networks with the same counts, and the optimiser for each."""
        state, schedule = self._state, self._schedule
        optimizer = state.optimizer
        if self.chosen.value is not None:
            yield epochs, optimizer.at_rate(self.chosen.value)
        elif self._plateau is not None:
            yield epochs, optimizer.at_rate(self._state.plateau_of(self._plateau).lr)
        elif schedule is None or self._differ_by_step:
            yield epochs, optimizer
        else:
            first = state.updates[indices[0]] if schedule.every == "step" else state.epochs[indices[0]]
            rates = np.atleast_2d(schedule.rates(self._base(indices), int(first), epochs, 1))
            changes = np.flatnonzero((rates[:, 1:] != rates[:, :-1]).any(axis=0)) + 1
            for begin, end in pairwise([0, *changes.tolist(), epochs]):
                rate: Hyper = float(rates[0, begin])
                if len(rates) > 1:
                    rate = np.ones(len(state.updates))
                    rate[indices] = rates[:, begin]
                yield end - begin, optimizer.at_rate(rate)

    def of_updates(self, indices: np.ndarray, epochs: int) -> np.ndarray | None:
        """Return `PopulationTask.rates` of a call for these networks, which have the same counts."""
        schedule = self._schedule
        if schedule is None or self.chosen.value is not None or not self._differ_by_step:
            return None
        first, steps = int(self._state.updates[indices[0]]), epochs * self._length
        return np.ascontiguousarray(np.atleast_2d(schedule.rates(self._base(indices), first, steps, self._length)))

    def most(self, epochs: int) -> int:
        """Return the most networks of a call of so many epochs."""
        differ = self._differ_by_step and isinstance(self._state.optimizer.lr, np.ndarray)
        return max(1, RATES_TOGETHER // (epochs * self._length)) if differ else len(self._state.updates)

    def of_epochs(self, optimizer: Optimizer, indices: np.ndarray, rates: np.ndarray | None) -> np.ndarray:
        """Return, for the record, the rates of the last updates of the epochs of a call, (k or 1, epochs or 1)."""
        if rates is not None:
            return rates[:, self._length - 1 :: self._length]
        return np.broadcast_to(optimizer.lr, len(self._state.updates))[indices, None]

    def step_plateau(self, indices: np.ndarray, values: dict[str, np.ndarray]) -> None:
        """Give a `ReduceLROnPlateau` what was measured of some networks at the end of an epoch."""
        if self._plateau is not None:
            states = self._state.plateau_of(self._plateau)
            states.put(
                indices,
                self._plateau.after_each(states.take(indices), values[self._plateau.monitor][indices], self._mode),
            )

    @property
    def _differ_by_step(self) -> bool:
        return self._schedule is not None and self._schedule.every == "step" and self._length > 1

    def _base(self, indices: np.ndarray) -> Hyper:
        lr = self._state.optimizer.lr
        return lr[indices] if isinstance(lr, np.ndarray) else lr


def check_takes_arrays(schedule: Schedule | None, optimizer: Optimizer) -> None:
    """Raise ValueError if a schedule of the user's own does not take an lr that differs from network to network."""
    if schedule is None or not isinstance(optimizer.lr, np.ndarray):
        return
    size = len(optimizer.lr)
    try:
        np.broadcast_to(schedule.rates(optimizer.lr, 0, 2, 2), (size, 2))
    except ValueError as error:
        raise ValueError(
            f"schedule={schedule!r} must take an lr of shape ({size}, 1) in its method `at`, and return rates that "
            f"broadcast to ({size}, periods): {error}"
        ) from None
