"""`ReduceLROnPlateau`, the schedule that depends on a measured value, and its state."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, Literal, Self

import numpy as np

from nanostep._checks import check_choice, check_integer, check_real
from nanostep.schedules.base import Schedule


@dataclass(frozen=True)
class PlateauState:
    """State of `ReduceLROnPlateau`, which is part of the state of the network's optimiser.

    Attributes
    ----------
    base_lr : float
        The optimiser's rate at the beginning.
    lr : float
        The current rate.
    best : float or None
        Best value so far; None before the first.
    bad_epochs, cooldown : int
        Epochs without improvement; epochs left in which none are counted.
    """

    base_lr: float
    lr: float
    best: float | None = None
    bad_epochs: int = 0
    cooldown: int = 0


@dataclass
class PlateauStates:
    """The `PlateauState` of many networks: arrays (K,) of float64 and int64, `best` NaN before the first."""

    base_lr: np.ndarray
    lr: np.ndarray
    best: np.ndarray
    bad_epochs: np.ndarray
    cooldown: np.ndarray

    @classmethod
    def fresh(cls, lr: np.ndarray) -> Self:
        """Return the initial states of networks with these rates."""
        none = np.zeros(len(lr), np.int64)
        return cls(lr.copy(), lr.copy(), np.full(len(lr), np.nan), none, none.copy())

    @classmethod
    def of_one(cls, state: PlateauState) -> Self:
        """Return the state of one network as arrays of length 1."""
        best = math.nan if state.best is None else state.best
        return cls(*map(np.atleast_1d, (state.base_lr, state.lr, best, state.bad_epochs, state.cooldown)))

    def __getitem__(self, i: int) -> PlateauState:
        """Return the state of network `i`."""
        base_lr, lr, best, bad_epochs, cooldown = (array[i].item() for array in self.arrays().values())
        return PlateauState(base_lr, lr, None if math.isnan(best) else best, bad_epochs, cooldown)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the fields by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def take(self, indices: np.ndarray) -> PlateauStates:
        """Return a copy of the states at `indices`."""
        return PlateauStates(*(array[indices] for array in self.arrays().values()))

    def put(self, indices: np.ndarray, states: PlateauStates) -> None:
        """Replace the states at `indices` by `states`."""
        for name, array in self.arrays().items():
            array[indices] = getattr(states, name)


@dataclass(frozen=True)
class ReduceLROnPlateau(Schedule):
    """Multiply the rate by `factor` when a measure has not improved for more than `patience` epochs.

    As ``torch.optim.lr_scheduler.ReduceLROnPlateau``, at the end of every epoch. This object has no state: the current
    rate belongs to the state of the network's optimiser. It is kept for the next call of `train` with the same
    optimiser and schedule, and in checkpoints and model files.

    Parameters
    ----------
    mode : {"auto", "min", "max"}, default="auto"
        Whether lower or higher is better; "auto" decides for the losses and the named metrics.
    factor : float, default=0.1
        In (0, 1).
    patience : int, default=10
        >= 0.
    threshold : float, default=1e-4
        Changes of no more than this are no improvement; >= 0.
    threshold_mode : {"rel", "abs"}, default="rel"
        An improvement is better than ``best * (1 - threshold)`` (for "max" ``best * (1 + threshold)``), or than
        ``best - threshold`` (``best + threshold``).
    cooldown : int, default=0
        Epochs after a reduction in which bad epochs are not counted, >= 0.
    min_lr : float, default=0
        >= 0.
    eps : float, default=1e-8
        Reductions by this or less are not made, >= 0.
    monitor : str, default="validation_loss"
        The measured value; see `nanostep.EarlyStopping`.
    """

    mode: Literal["auto", "min", "max"] = "auto"
    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    threshold_mode: Literal["rel", "abs"] = "rel"
    cooldown: int = 0
    min_lr: float = 0.0
    eps: float = 1e-8
    monitor: str = "validation_loss"

    def check(self) -> None:
        check_choice("mode", self.mode, ("auto", "min", "max"))
        check_real("factor", self.factor, 0.0, 1.0, open_low=True, open_high=True)
        check_integer("patience", self.patience, 0)
        check_real("threshold", self.threshold, 0.0)
        check_choice("threshold_mode", self.threshold_mode, ("rel", "abs"))
        check_integer("cooldown", self.cooldown, 0)
        check_real("min_lr", self.min_lr, 0.0)
        check_real("eps", self.eps, 0.0)
        if self.every != "epoch":
            raise ValueError(f"every={self.every!r} is not known here; ReduceLROnPlateau looks at every 'epoch'")
        if not isinstance(self.monitor, str):
            raise TypeError(f"monitor must be a string; got {type(self.monitor).__name__}")

    def at(self, lr: Any, t: np.ndarray, periods_per_epoch: int) -> np.ndarray:
        """Return lr, the rate before anything is measured."""
        return lr + np.zeros(len(t))

    def after(self, state: PlateauState, value: float, mode: str) -> PlateauState:
        """Return the state after an epoch at whose end `value` was measured; mode is "min" or "max"."""
        return self.after_each(PlateauStates.of_one(state), np.array([value]), mode)[0]

    def after_each(self, states: PlateauStates, values: np.ndarray, mode: str) -> PlateauStates:
        """Return the states of several networks after an epoch at whose end `values` were measured."""
        improved = np.isfinite(values) & (np.isnan(states.best) | self._improve(values, states.best, mode))
        best = np.where(improved, values, states.best)
        bad = np.where(improved | (states.cooldown > 0), 0, states.bad_epochs + 1)
        reduced = np.maximum(states.lr * self.factor, self.min_lr)
        due = bad > self.patience
        lr = np.where(due & (states.lr - reduced > self.eps), reduced, states.lr)
        cooldown = np.where(due, self.cooldown, np.maximum(states.cooldown - 1, 0))
        return PlateauStates(states.base_lr, lr, best, np.where(due, 0, bad), cooldown)

    def _improve(self, values: np.ndarray, best: np.ndarray, mode: str) -> np.ndarray:
        margin = self.threshold if mode == "max" else -self.threshold
        with np.errstate(over="ignore"):
            limit = best * (1 + margin) if self.threshold_mode == "rel" else best + margin
        return values > limit if mode == "max" else values < limit
