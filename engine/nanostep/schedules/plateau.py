"""`ReduceLROnPlateau`: the schedule that depends on what is measured, and its state."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from nanostep._checks import check_integer, check_real
from nanostep._names import check_choice
from nanostep.schedules.base import Schedule


@dataclass(frozen=True)
class PlateauState:
    """What `ReduceLROnPlateau` has come to; it belongs to the state of the network's optimiser.

    Attributes
    ----------
    base_lr : float
        The optimiser's rate when it began.
    lr : float
        The rate now.
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


@dataclass(frozen=True)
class ReduceLROnPlateau(Schedule):
    """Multiply the rate by `factor` when a measure has not improved for more than `patience` epochs.

    As ``torch.optim.lr_scheduler.ReduceLROnPlateau``, at the end of every epoch. This object keeps nothing: where the
    rate stands belongs to the state of the network's optimiser. It goes on in the next call of `train` with the same
    optimiser and schedule, and is in checkpoints and model files.

    Parameters
    ----------
    mode : {"auto", "min", "max"}, default="auto"
        Whether lower or higher is better; "auto" knows the losses and the named metrics.
    factor : float, default=0.1
        In (0, 1).
    patience : int, default=10
        >= 0.
    threshold : float, default=1e-4
        An improvement is more than this, >= 0.
    threshold_mode : {"rel", "abs"}, default="rel"
        Better than ``best * (1 - threshold)`` (for "max" ``best * (1 + threshold)``), or than ``best - threshold``
        (``best + threshold``).
    cooldown : int, default=0
        Epochs after a reduction in which bad epochs are not counted, >= 0.
    min_lr : float, default=0
        >= 0.
    eps : float, default=1e-8
        Reductions by this or less are not made, >= 0.
    monitor : str, default="validation_loss"
        What is measured: see `nanostep.EarlyStopping`.
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

    def at(self, lr: float, t: np.ndarray, periods_per_epoch: int) -> np.ndarray:
        """Return lr: the rate before anything is measured."""
        return np.full(len(t), lr)

    def after(self, state: PlateauState, value: float, mode: str) -> PlateauState:
        """Return the state after an epoch at whose end `value` was measured; mode is "min" or "max"."""
        bad, cooldown = state.bad_epochs + 1, state.cooldown
        best = state.best
        if math.isfinite(value) and (best is None or self._improves(value, best, mode)):
            best, bad = value, 0
        if cooldown > 0:
            bad, cooldown = 0, cooldown - 1
        lr = state.lr
        if bad > self.patience:
            reduced = max(lr * self.factor, self.min_lr)
            if lr - reduced > self.eps:
                lr = reduced
            bad, cooldown = 0, self.cooldown
        return replace(state, lr=lr, best=best, bad_epochs=bad, cooldown=cooldown)

    def _improves(self, value: float, best: float, mode: str) -> bool:
        if mode == "min":
            limit = best * (1 - self.threshold) if self.threshold_mode == "rel" else best - self.threshold
            return value < limit
        limit = best * (1 + self.threshold) if self.threshold_mode == "rel" else best + self.threshold
        return value > limit
