"""What a run of a population did."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from nanostep._optional import require

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass
class PopulationHistory:
    """Record of one `Population.train` call; K networks, E epochs asked for.

    Attributes
    ----------
    loss : ndarray, shape (K, E)
        Mean training loss of each network in each epoch, as `History.loss`; NaN for epochs that it did not make.
    validation_loss : ndarray, shape (K, E), or (K, 0)
        Loss on the validation data after each epoch; no columns if none were given.
    lr : ndarray, shape (K, E), or (K, 0)
        Learning rate of each network's last update of each epoch; no columns if nothing could change the optimiser's.
    epochs : ndarray of int64, shape (K,)
        Epochs that each network made.
    best_epoch : ndarray of int64, shape (K,)
        The epoch, from 1, whose parameters early stopping has put back; 0 where it has not.
    seconds : float
        Wall time inside the call.
    backend, isa : str
        What ran, as in `History`.
    threads : int
        Threads of the last call of the engine.
    stopped : str
        "epochs" (all that were asked for), "early_stopping" (all networks ended before), "callback" (so
        they did, some or all by a callback), "interrupted" (Ctrl-C: every
        network stands at the end of an epoch, some may have made one less) or "error"; "" while it runs.
    """

    loss: np.ndarray
    validation_loss: np.ndarray
    lr: np.ndarray
    epochs: np.ndarray
    best_epoch: np.ndarray
    seconds: float = 0.0
    backend: str = ""
    isa: str = ""
    threads: int = 1
    stopped: str = field(default="")

    def final(self) -> np.ndarray:
        """Return, for each network, the validation loss (the training loss if there are no validation data) of the
        epoch whose parameters it has; NaN if it made none. Shape (K,).
        """
        values = self.validation_loss if self.validation_loss.shape[1] else self.loss
        epoch = np.where(self.best_epoch > 0, self.best_epoch, self.epochs)
        result = np.full(len(values), np.nan)
        made = np.flatnonzero(epoch > 0)
        result[made] = values[made, epoch[made] - 1]
        return result

    def _after(self, epoch: int) -> dict[str, np.ndarray]:
        """Return what was measured in epoch `epoch`, from 1, by name: shapes (K,)."""
        series = {"loss": self.loss, "validation_loss": self.validation_loss}
        return {name: values[:, epoch - 1] for name, values in series.items() if values.shape[1]}

    def _describe_losses(self, epoch: int) -> str:
        """Return in words where the losses stand after `epoch` epochs, of the networks that have made all of them."""
        words = []
        for name, latest in self._after(epoch).items() if epoch > 0 else ():
            made = latest[~np.isnan(latest)]
            values = f"{np.median(made):.4g} (best {made.min():.4g})" if len(made) else "nan"
            words.append(f"{name.removesuffix('_loss')} {values}")
        return "  ".join(words)

    def to_pandas(self) -> DataFrame:
        """Return a pandas.DataFrame with a row for each network and epoch made (extra ``[pandas]``).

        Columns "network", "epoch" (from 1), "loss" and, where there are any, "validation_loss" and "lr".
        """
        pd = require("to_pandas", "pandas", "pandas", "pandas")
        made = np.arange(self.loss.shape[1]) < self.epochs[:, None]
        network, epoch = np.nonzero(made)
        columns = {"network": network, "epoch": epoch + 1, "loss": self.loss[made]}
        for name in ("validation_loss", "lr"):
            if getattr(self, name).shape[1]:
                columns[name] = getattr(self, name)[made]
        frame: DataFrame = pd.DataFrame(columns)
        return frame
