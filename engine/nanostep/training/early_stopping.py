"""Early stopping, and what may be monitored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from nanostep._checks import check_bool, check_choice, check_integer, check_real
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


class BestSoFar:
    """What early stopping has come to in a run of m networks, 1 for a `nanostep.Network`.

    Attributes
    ----------
    value : ndarray of float64, shape (m,)
        Best value of each network; NaN before the first.
    epoch : ndarray of int64, shape (m,)
        Its epoch, from 1; 0 before.
    wait : ndarray of int64, shape (m,)
        Epochs since.
    theta : ndarray, shape (m, parameters), or None
        Copies of the parameters after these epochs, where they are to be put back; None until there are any.
    """

    def __init__(self, networks: int = 1) -> None:
        self.value = np.full(networks, np.nan)
        self.epoch, self.wait = np.zeros(networks, np.int64), np.zeros(networks, np.int64)
        self.theta: np.ndarray | None = None

    def update(
        self,
        stopping: EarlyStopping,
        mode: str,
        value__k: np.ndarray,
        epoch: int,
        theta__mp: np.ndarray,
        index__k: np.ndarray | None = None,
    ) -> np.ndarray:
        """Take in what was measured after an epoch, of the networks `index` or of all.

        NaN is no improvement; infinity is one as the first value.

        Returns
        -------
        ndarray of bool, shape (k,)
            The networks whose run is to end.
        """
        index = np.arange(len(self.value)) if index__k is None else index__k
        best = self.value[index]
        with np.errstate(invalid="ignore"):  # infinity less infinity
            gain = best - value__k if mode == "min" else value__k - best
        improved = ((gain > stopping.min_delta) | np.isnan(best)) & ~np.isnan(value__k)
        better = index[improved]
        self.wait[index] += 1
        self.value[better], self.epoch[better], self.wait[better] = value__k[improved], epoch, 0
        if stopping.restore_best and len(better):
            if self.theta is None:
                self.theta = np.empty_like(theta__mp)
            self.theta[better] = theta__mp[better]
        return ~improved & (self.wait[index] >= stopping.patience)

    def restore(self, theta__mp: np.ndarray) -> None:
        """Put back the best parameters of the networks that have any."""
        if self.theta is not None:
            found = self.epoch > 0
            theta__mp[found] = self.theta[found]


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
