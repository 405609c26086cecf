"""Early stopping, and what may be monitored."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from nanostep._checks import check_bool, check_integer, check_real
from nanostep._names import check_choice
from nanostep.training.metrics import Metric


@dataclass(frozen=True)
class EarlyStopping:
    """End a run when a measure has not improved for a number of epochs, as the callbacks of that name in Keras and
    PyTorch Lightning.

    It is an immutable description, given to ``Network.train(early_stopping=...)``; each call starts counting afresh.

    Parameters
    ----------
    monitor : str, default="validation_loss"
        "validation_loss" (needs validation data), "loss" (of training, see `History.loss`), the name of one of the
        run's metrics, which is then measured on the training data, or ``validation_`` and that name.
    patience : int, default=10
        Epochs in succession without improvement after which the run ends, >= 0; with 0 the first one ends it.
    min_delta : float, default=0
        An improvement is more than this, >= 0. NaN is none.
    restore_best : bool, default=True
        At the end of the run, whatever ended it but an error or Ctrl-C, put back the parameters of the best epoch, as
        far as improvements of `min_delta` count. The optimiser's state stays that of the last epoch.
    mode : {"auto", "min", "max"}, default="auto"
        Whether lower or higher is better; "auto" knows the losses and the named metrics.
    """

    monitor: str = "validation_loss"
    patience: int = 10
    min_delta: float = 0.0
    restore_best: bool = True
    mode: Literal["auto", "min", "max"] = "auto"

    def __post_init__(self) -> None:
        if not isinstance(self.monitor, str):
            raise TypeError(f"monitor must be a string; got {type(self.monitor).__name__}")
        check_integer("patience", self.patience, 0)
        check_real("min_delta", self.min_delta, 0.0)
        check_bool("restore_best", self.restore_best)
        check_choice("mode", self.mode, ("auto", "min", "max"))


@dataclass
class BestSoFar:
    """What early stopping has come to in a run.

    Attributes
    ----------
    value : float or None
        Best value; None before the first.
    epoch : int
        Its epoch, from 1; 0 before.
    wait : int
        Epochs since.
    theta : ndarray or None
        A copy of the parameters after that epoch, if they are to be put back.
    """

    value: float | None = None
    epoch: int = 0
    wait: int = 0
    theta: np.ndarray | None = None

    def update(self, stopping: EarlyStopping, mode: str, value: float, epoch: int, theta: np.ndarray) -> bool:
        """Take in what was measured after an epoch; return True if the run is to end."""
        self.wait += 1
        gain = math.inf if self.value is None else self.value - value if mode == "min" else value - self.value
        if gain > stopping.min_delta and not math.isnan(value):
            self.value, self.epoch, self.wait = value, epoch, 0
            if stopping.restore_best:
                self.theta = theta.copy()
            return False
        return self.wait >= stopping.patience


def check_monitor(
    argument: str, monitor: str, mode: str, metrics: tuple[Metric, ...], *, validated: bool, trained: bool = True
) -> str:
    """Return "min" or "max" for what `argument` ("early_stopping", "schedule") monitors.

    Raises
    ------
    ValueError
        The run does not measure that, or it is not known what is better. `validated` says that there are validation
        data, `trained` that metrics are measured on the training data.
    """
    modes = {"loss": "min"}
    for metric in metrics:
        if trained and metric.name != "loss":
            modes[metric.name] = metric.mode
        modes[f"validation_{metric.name}"] = metric.mode
    modes["validation_loss"] = "min"
    if not validated and monitor.startswith("validation_") and monitor in modes:
        raise ValueError(
            f"{argument} monitors {monitor!r}, but there are no validation data: give some, or monitor='loss'"
        )
    if monitor not in modes:
        measured = [name for name in modes if validated or not name.startswith("validation_")]
        raise ValueError(f"{argument} monitors {monitor!r}; this run measures {', '.join(measured)}: see metrics")
    chosen = modes[monitor] if mode == "auto" else mode
    if not chosen:
        raise ValueError(f"{argument} monitors {monitor!r}, a callable: say what is better, mode='min' or mode='max'")
    return chosen
