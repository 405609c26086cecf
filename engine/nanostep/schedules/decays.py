"""Schedules whose rate changes in one direction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nanostep._checks import check_integer, check_real
from nanostep.schedules.base import Schedule, check_milestones


@dataclass(frozen=True)
class ConstantLR(Schedule):
    """``lr * factor`` for the first ``total_iters`` periods, then lr.

    Parameters
    ----------
    factor : float, default=1/3
        In [0, 1].
    total_iters : int, default=5
        >= 0.
    every : {"epoch", "step"}, default="epoch"
    """

    factor: float = 1 / 3
    total_iters: int = 5

    def check(self) -> None:
        check_real("factor", self.factor, 0.0, 1.0)
        check_integer("total_iters", self.total_iters, 0)

    def at(self, lr: Any, t: np.ndarray, periods_per_epoch: int) -> np.ndarray:
        return np.where(t < self.total_iters, lr * self.factor, lr)


@dataclass(frozen=True)
class LinearLR(Schedule):
    """``lr * (start + (end - start) * min(t, total) / total)``: a warm-up by default.

    Parameters
    ----------
    start_factor : float, default=1/3
        In (0, 1].
    end_factor : float, default=1
        In [0, 1].
    total_iters : int, default=5
        Periods until ``end_factor`` is reached, >= 1.
    every : {"epoch", "step"}, default="epoch"
    """

    start_factor: float = 1 / 3
    end_factor: float = 1.0
    total_iters: int = 5

    def check(self) -> None:
        check_real("start_factor", self.start_factor, 0.0, 1.0, open_low=True)
        check_real("end_factor", self.end_factor, 0.0, 1.0)
        check_integer("total_iters", self.total_iters, 1)

    def at(self, lr: Any, t: np.ndarray, periods_per_epoch: int) -> np.ndarray:
        part = np.minimum(t, self.total_iters) / self.total_iters
        return lr * (self.start_factor + (self.end_factor - self.start_factor) * part)


@dataclass(frozen=True)
class StepLR(Schedule):
    """``lr * gamma^floor(t / step_size)``.

    Parameters
    ----------
    step_size : int
        Periods, >= 1.
    gamma : float, default=0.1
        >= 0.
    every : {"epoch", "step"}, default="epoch"
    """

    step_size: int
    gamma: float = 0.1

    def check(self) -> None:
        check_integer("step_size", self.step_size, 1)
        check_real("gamma", self.gamma, 0.0)

    def at(self, lr: Any, t: np.ndarray, periods_per_epoch: int) -> np.ndarray:
        return lr * self.gamma ** (t // self.step_size)


@dataclass(frozen=True)
class MultiStepLR(Schedule):
    """``lr * gamma^(number of milestones <= t)``.

    Parameters
    ----------
    milestones : sequence of int
        Periods, >= 0, in any order.
    gamma : float, default=0.1
        >= 0.
    every : {"epoch", "step"}, default="epoch"
    """

    milestones: tuple[int, ...]
    gamma: float = 0.1

    def check(self) -> None:
        object.__setattr__(self, "milestones", tuple(sorted(check_milestones(self.milestones))))
        check_real("gamma", self.gamma, 0.0)

    def at(self, lr: Any, t: np.ndarray, periods_per_epoch: int) -> np.ndarray:
        return lr * self.gamma ** np.searchsorted(self.milestones, t, side="right").astype(np.float64)


@dataclass(frozen=True)
class ExponentialLR(Schedule):
    """``lr * gamma^t``.

    Parameters
    ----------
    gamma : float
        >= 0.
    every : {"epoch", "step"}, default="epoch"
    """

    gamma: float

    def check(self) -> None:
        check_real("gamma", self.gamma, 0.0)

    def at(self, lr: Any, t: np.ndarray, periods_per_epoch: int) -> np.ndarray:
        return lr * self.gamma**t


@dataclass(frozen=True)
class InverseScaling(Schedule):
    """``lr / (1 + samples * t)^power``.

    With ``samples=len(X)``, every epoch, this is scikit-learn's ``learning_rate="invscaling"``, whose rate after an
    epoch is lr divided by the ``power_t``-th power of one plus all samples seen.

    Parameters
    ----------
    power : float, default=0.5
        >= 0.
    samples : int, default=1
        Samples of a period, >= 1.
    every : {"epoch", "step"}, default="epoch"
    """

    power: float = 0.5
    samples: int = 1

    def check(self) -> None:
        check_real("power", self.power, 0.0)
        check_integer("samples", self.samples, 1)

    def at(self, lr: Any, t: np.ndarray, periods_per_epoch: int) -> np.ndarray:
        return lr / (1 + self.samples * t) ** self.power
