"""Learning-rate schedules: the names, arguments, defaults and formulas of ``torch.optim.lr_scheduler`` (PyTorch 2.x).

A schedule is an immutable description, given to ``Network.train(schedule=...)``. The rate is a closed formula in t, the
number of periods (epochs, or updates with ``every="step"``) that the optimiser's state has seen; lr is the optimiser's.
Nothing is counted here, so a run may be cut, continued and resumed, and one schedule may serve many networks.
`ReduceLROnPlateau`, which depends on what was measured, is in `nanostep.plateau`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from nanostep._checks import check_bool, check_integer, check_real
from nanostep._names import check_choice
from nanostep.plateau import ReduceLROnPlateau
from nanostep.schedule import Schedule

__all__ = [
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "ExponentialLR",
    "InverseScaling",
    "LinearLR",
    "MultiStepLR",
    "OneCycleLR",
    "ReduceLROnPlateau",
    "Schedule",
    "SequentialLR",
    "StepLR",
]


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

    def at(self, lr: float, t: np.ndarray, periods_per_epoch: int) -> np.ndarray:
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

    def at(self, lr: float, t: np.ndarray, periods_per_epoch: int) -> np.ndarray:
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

    def at(self, lr: float, t: np.ndarray, periods_per_epoch: int) -> np.ndarray:
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
        object.__setattr__(self, "milestones", tuple(sorted(_check_milestones(self.milestones))))
        check_real("gamma", self.gamma, 0.0)

    def at(self, lr: float, t: np.ndarray, periods_per_epoch: int) -> np.ndarray:
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

    def at(self, lr: float, t: np.ndarray, periods_per_epoch: int) -> np.ndarray:
        return lr * self.gamma**t


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

    def at(self, lr: float, t: np.ndarray, periods_per_epoch: int) -> np.ndarray:
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

    def at(self, lr: float, t: np.ndarray, periods_per_epoch: int) -> np.ndarray:
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

    The optimiser's lr plays no part, and momentum is not cycled. After the cycle the last rate stays, where PyTorch
    raises an error.

    Parameters
    ----------
    max_lr : float
        > 0.
    total_steps : int, optional
        Length of the cycle in periods, >= 1.
    epochs : int, optional
        Its length in epochs, >= 1; give one of the two.
    pct_start : float, default=0.3
        Share of the cycle in which the rate rises, in [0, 1]; with `three_phase` in (0, 0.5].
    anneal_strategy : {"cos", "linear"}, default="cos"
    div_factor : float, default=25
        > 0.
    final_div_factor : float, default=1e4
        > 0.
    three_phase : bool, default=False
        Come down to ``max_lr / div_factor`` as fast as it rose, and from there to the end.
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

    def at(self, lr: float, t: np.ndarray, periods_per_epoch: int) -> np.ndarray:
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
        What a period counts, >= 1.
    every : {"epoch", "step"}, default="epoch"
    """

    power: float = 0.5
    samples: int = 1

    def check(self) -> None:
        check_real("power", self.power, 0.0)
        check_integer("samples", self.samples, 1)

    def at(self, lr: float, t: np.ndarray, periods_per_epoch: int) -> np.ndarray:
        return lr / (1 + self.samples * t) ** self.power


@dataclass(frozen=True)
class SequentialLR(Schedule):
    """One schedule after another, such as a warm-up and then a decay; each begins at its own t = 0.

    Parameters
    ----------
    schedulers : sequence of Schedule
        At least one, all with the same `every`; not `ReduceLROnPlateau`.
    milestones : sequence of int
        Periods, increasing, at which the next one takes over: one fewer than `schedulers`.

    Examples
    --------
    >>> import nanostep as ns
    >>> warm = ns.schedules.SequentialLR([ns.schedules.LinearLR(0.1, total_iters=4), ns.schedules.StepLR(10)], [4])
    >>> warm.rates(1.0, first_update=0, count=6, steps_per_epoch=1).round(3).tolist()
    [0.1, 0.325, 0.55, 0.775, 1.0, 1.0]
    """

    schedulers: tuple[Schedule, ...]
    milestones: tuple[int, ...]
    every: str = field(default="epoch", init=False)

    def check(self) -> None:
        if not isinstance(self.schedulers, Iterable):
            raise TypeError(f"schedulers must be a sequence of schedules; got {type(self.schedulers).__name__}")
        parts = tuple(self.schedulers)
        for i, part in enumerate(parts):
            if not isinstance(part, Schedule) or isinstance(part, ReduceLROnPlateau):
                raise TypeError(
                    f"schedulers[{i}] must be a schedule other than ReduceLROnPlateau; got {type(part).__name__}"
                )
        milestones = _check_milestones(self.milestones)
        if any(a >= b for a, b in pairwise(milestones)):
            raise ValueError(f"milestones={list(milestones)} must increase")
        if len(milestones) != len(parts) - 1:
            raise ValueError(f"{len(parts)} schedulers need {len(parts) - 1} milestones; got {len(milestones)}")
        grains = {part.every for part in parts}
        if len(grains) != 1:
            raise ValueError("schedulers must all have the same every; got both 'epoch' and 'step'")
        object.__setattr__(self, "schedulers", parts)
        object.__setattr__(self, "milestones", milestones)
        object.__setattr__(self, "every", grains.pop())

    @property
    def needs_length_of_epoch(self) -> bool:
        return any(part.needs_length_of_epoch for part in self.schedulers)

    def at(self, lr: float, t: np.ndarray, periods_per_epoch: int) -> np.ndarray:
        rates = np.empty(len(t))
        part = np.searchsorted(self.milestones, t, side="right")
        for i, (begin, schedule) in enumerate(zip((0, *self.milestones), self.schedulers, strict=True)):
            inside = part == i
            rates[inside] = schedule.at(lr, t[inside] - begin, periods_per_epoch)
        return rates


def _check_milestones(values: object) -> tuple[int, ...]:
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise TypeError(f"milestones must be a sequence of integers; got {type(values).__name__}")
    return tuple(check_integer(f"milestones[{i}]", value, 0) for i, value in enumerate(values))
