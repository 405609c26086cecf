"""What a run of training did."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from nanostep._optional import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame


@dataclass
class History:
    """Record of one `Network.train` call.

    Attributes
    ----------
    loss : list of float
        Per epoch, the mean over samples of weight times loss just before the step that used the sample, with dropout
        and label smoothing if there are any. Parameters move during the epoch, so this is not the loss of the final
        parameters: that is ``net.loss(X, Y)``. For a solver, the loss after the iteration.
    validation_loss : list of float
        Per epoch, ``net.loss`` on the validation data after the epoch; empty if none was given.
    metrics, validation_metrics : dict of str to list of float
        For each metric its value after each epoch, on the training and on the validation data.
    lr : list of float
        Per epoch, the learning rate of its last update; empty for solvers.
    seconds : float
        Wall time inside the call, validation and callbacks included; of a resumed run, of all its parts.
    steps : int
        Optimiser updates made.
    samples : int
        Rows used, counted once per epoch.
    backend : str
        The backend that ran: "c", "numba" or "numpy".
    isa : str
        Instruction set that the kernels ran with, as they report it themselves; "" where the backend does not say.
    threads : int
        Threads that ran, the calling one included, as the kernels report; if the worker threads were busy for another
        network during part of the run, as of its last part.
    seed : int
        Seed of the sample order and of dropout (drawn if ``seed=None`` was given).
    stopped : str
        Why the run ended: "epochs" (all were made), "early_stopping", "callback", "converged" or "stalled" (a solver
        that has met its tolerance, or finds no better point), "interrupted" (Ctrl-C) or "error"; "" while it runs.
    """

    loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    metrics: dict[str, list[float]] = field(default_factory=dict)
    validation_metrics: dict[str, list[float]] = field(default_factory=dict)
    lr: list[float] = field(default_factory=list)
    seconds: float = 0.0
    steps: int = 0
    samples: int = 0
    backend: str = ""
    isa: str = ""
    threads: int = 1
    seed: int = 0
    stopped: str = ""
    _best_epoch: int | None = field(default=None, repr=False)

    @property
    def epochs(self) -> int:
        """Number of epochs completed."""
        return len(self.loss)

    @property
    def interrupted(self) -> bool:
        """True if the run ended by Ctrl-C before its last epoch."""
        return self.stopped == "interrupted"

    @property
    def best_epoch(self) -> int | None:
        """The best epoch, from 1: what early stopping took for it, otherwise that of the lowest validation loss, or of
        the lowest loss if there is none. None if no epoch has a value.
        """
        if self._best_epoch is not None:
            return self._best_epoch
        values = np.array(self.validation_loss or self.loss)
        return None if np.isnan(values).all() else int(np.nanargmin(values)) + 1

    def series(self) -> dict[str, list[float]]:
        """Return everything that has a value per epoch, by name.

        "loss", "validation_loss", each metric and ``validation_`` with its name, and "lr"; the metric "loss", which is
        measured after the epoch, is "loss_after_epoch".
        """
        series = {"loss": self.loss, "validation_loss": self.validation_loss}
        for name, values in self.metrics.items():
            series["loss_after_epoch" if name == "loss" else name] = values
        series |= {f"validation_{name}": values for name, values in self.validation_metrics.items()}
        return {name: values for name, values in {**series, "lr": self.lr}.items() if values}

    def _describe_losses(self) -> str:
        """Return the latest losses in words."""
        words = f"loss {self.loss[-1]:.4g}" if self.loss else ""
        if self.validation_loss:
            words += f"  validation {self.validation_loss[-1]:.4g}"
        return words

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the series over the epochs; see `nanostep.plots.plot_history`."""
        from nanostep.plots import plot_history

        return plot_history(self.series(), ax)

    def to_dict(self) -> dict[str, Any]:
        """Return all fields, `epochs`, `best_epoch` and `interrupted`, as plain numbers, strings, lists and dicts."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if not f.name.startswith("_")}
        for name, value in values.items():
            if isinstance(value, list):
                values[name] = list(value)
            elif isinstance(value, dict):
                values[name] = {key: list(series) for key, series in value.items()}
        return {**values, "epochs": self.epochs, "best_epoch": self.best_epoch, "interrupted": self.interrupted}

    def to_pandas(self) -> DataFrame:
        """Return `series` as a pandas.DataFrame, a row per epoch, the index "epoch" from 1 (extra ``[pandas]``)."""
        pd = require("to_pandas", "pandas", "pandas", "pandas")
        frame: DataFrame = pd.DataFrame(self.series(), index=pd.RangeIndex(1, self.epochs + 1, name="epoch"))
        return frame
