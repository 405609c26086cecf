"""`SequentialLR`: one schedule after another."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from nanostep.schedules.base import Schedule, check_milestones
from nanostep.schedules.plateau import ReduceLROnPlateau


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
        milestones = check_milestones(self.milestones)
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

    def at(self, lr: Any, t: np.ndarray, periods_per_epoch: int) -> np.ndarray:
        rates = np.empty(np.broadcast_shapes(np.shape(lr), t.shape))
        part = np.searchsorted(self.milestones, t, side="right")
        for i, (begin, schedule) in enumerate(zip((0, *self.milestones), self.schedulers, strict=True)):
            inside = part == i
            rates[..., inside] = schedule.at(lr, t[inside] - begin, periods_per_epoch)
        return rates
