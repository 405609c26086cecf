"""Schedules whose rate rises and falls."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nanostep._checks import check_bool, check_choice, check_integer, check_real
from nanostep.schedules.base import Schedule


@dataclass(frozen=True)
class CosineAnnealingLR(Schedule):
    """``eta_min + (lr - eta_min) * (1 + cos(pi * t / T_max)) / 2``, which rises again after ``T_max``.

    Parameters
    ----------
    T_max : int
        Periods from lr down to ``eta_min``, >= 1.
    eta_min : float, default=0
        >= 0.
    every : {"epoch", "step"}, default="epoch"

    Source: Loshchilov & Hutter, 2017, arXiv:1608.03983, without its restarts.
    """

    T_max: int
    eta_min: float = 0.0

    def check(self) -> None:
        check_integer("T_max", self.T_max, 1)
        check_real("eta_min", self.eta_min, 0.0)

    def at(self, lr: Any, t: np.ndarray, periods_per_epoch: int) -> np.ndarray:
        return self.eta_min + (lr - self.eta_min) * (1 + np.cos(np.pi * t / self.T_max)) / 2


@dataclass(frozen=True)
class CosineAnnealingWarmRestarts(Schedule):
    """`CosineAnnealingLR` that starts again at lr: after ``T_0`` periods, then after ``T_mult`` times as many, ...

    Parameters
    ----------
    T_0 : int
        Periods of the first descent, >= 1.
    T_mult : int, default=1
        >= 1.
    eta_min : float, default=0
        >= 0.
    every : {"epoch", "step"}, default="epoch"

    Source: Loshchilov & Hutter, 2017, arXiv:1608.03983.
    """

    T_0: int
    T_mult: int = 1
    eta_min: float = 0.0

    def check(self) -> None:
        check_integer("T_0", self.T_0, 1)
        check_integer("T_mult", self.T_mult, 1)
        check_real("eta_min", self.eta_min, 0.0)

    def at(self, lr: Any, t: np.ndarray, periods_per_epoch: int) -> np.ndarray:
        if self.T_mult == 1:
            since, length = t % self.T_0, np.full(len(t), float(self.T_0))
        else:
            starts = [0]  # of each descent; exact integers, where a logarithm would round
            while starts[-1] <= t.max(initial=0):
                starts.append(starts[-1] + self.T_0 * self.T_mult ** (len(starts) - 1))
            descent = np.searchsorted(starts, t, side="right") - 1
            since, length = t - np.array(starts)[descent], self.T_0 * float(self.T_mult) ** descent
        return self.eta_min + (lr - self.eta_min) * (1 + np.cos(np.pi * since / length)) / 2


@dataclass(frozen=True)
class OneCycleLR(Schedule):
    """Up from ``max_lr / div_factor`` to ``max_lr``, then down to ``max_lr / (div_factor * final_div_factor)``.

    The optimiser's lr is not used, and momentum is not cycled. After the cycle the last rate is kept, where PyTorch
    raises an error.

    Parameters
    ----------
    max_lr : float
        > 0.
    total_steps : int, optional
        Length of the cycle in periods, >= 1.
    epochs : int, optional
        Length of the cycle in epochs, >= 1; give either this or `total_steps`.
    pct_start : float, default=0.3
        Share of the cycle in which the rate rises, in [0, 1]; with `three_phase` in (0, 0.5].
    anneal_strategy : {"cos", "linear"}, default="cos"
    div_factor : float, default=25
        > 0.
    final_div_factor : float, default=1e4
        > 0.
    three_phase : bool, default=False
        Fall to ``max_lr / div_factor`` as fast as the rate rose, and in a third phase to the last rate.
    every : {"epoch", "step"}, default="step"

    Source: Smith & Topin, 2018, arXiv:1708.07120.
    """

    max_lr: float
    total_steps: int | None = None
    epochs: int | None = None
    pct_start: float = 0.3
    anneal_strategy: str = "cos"
    div_factor: float = 25.0
    final_div_factor: float = 1e4
    three_phase: bool = False
    every: str = field(default="step", kw_only=True)

    def check(self) -> None:
        check_real("max_lr", self.max_lr, 0.0, open_low=True)
        if (self.total_steps is None) == (self.epochs is None):
            raise ValueError(
                f"give total_steps or epochs, one of them; got total_steps={self.total_steps!r}, epochs={self.epochs!r}"
            )
        for name in ("total_steps", "epochs"):
            if getattr(self, name) is not None:
                check_integer(name, getattr(self, name), 1)
        if check_bool("three_phase", self.three_phase):
            check_real("pct_start", self.pct_start, 0.0, 0.5, open_low=True)
        else:
            check_real("pct_start", self.pct_start, 0.0, 1.0)
        check_choice("anneal_strategy", self.anneal_strategy, ("cos", "linear"))
        check_real("div_factor", self.div_factor, 0.0, open_low=True)
        check_real("final_div_factor", self.final_div_factor, 0.0, open_low=True)

    @property
    def needs_length_of_epoch(self) -> bool:
        return self.epochs is not None and self.every == "step"

    def at(self, lr: Any, t: np.ndarray, periods_per_epoch: int) -> np.ndarray:
        total = self.total_steps if self.total_steps is not None else (self.epochs or 1) * periods_per_epoch
        initial = self.max_lr / self.div_factor
        up = self.pct_start * total - 1
        # (last t, rate there) of each phase
        ends = [(up, self.max_lr), (total - 1.0, initial / self.final_div_factor)]
        if self.three_phase:
            ends.insert(1, (2 * up, initial))
        at_end = np.minimum(t, total - 1)
        rates = np.full(len(t), ends[-1][1])
        start, begin = 0.0, initial
        for k, (stop, end) in enumerate(ends):
            inside = (at_end > start) if k else (at_end >= start)
            part = np.clip((at_end[inside] - start) / (stop - start), 0, 1) if stop > start else np.ones(inside.sum())
            rates[inside] = self._anneal(begin, end, part)
            start, begin = stop, end
        return rates

    def _anneal(self, begin: float, end: float, part: np.ndarray) -> np.ndarray:
        if self.anneal_strategy == "cos":
            return end + (begin - end) / 2 * (np.cos(np.pi * part) + 1)
        return begin + (end - begin) * part
