"""`SweepTable`: the scores of a sweep, with a row for each setting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nanostep._optional import require
from nanostep.sweeps.spaces import Setting

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame


class SweepTable(dict[str, np.ndarray]):
    """A row for each setting, by column; prints as a pandas table where pandas is installed.

    Columns are the names of the settings, and

    * ``mean_score``, ``std_score``: over the folds and repetitions,
    * ``rank``: 1 for the best mean; settings with a score that is not finite come last,
    * ``epochs``: the number that the networks have made,
    * ``split0_score`` and so on: the mean over the repetitions on each fold.

    ``pandas.DataFrame(table)`` and `to_pandas` make a data frame of it.

    Attributes
    ----------
    settings : list of dict
        The setting of each row, including the values that were fixed for all.
    metric, mode : str
        Name of the scores, and "min" or "max" for whether lower or higher ones are better.
    varied : list of str
        Names of the settings that were varied.
    """

    def __init__(
        self, settings: Sequence[Setting], fixed: Setting, scores__sfr: np.ndarray, epochs: np.ndarray, metric: str,
        mode: str,
    ) -> None:  # fmt: skip
        names = list(dict.fromkeys(name for setting in settings for name in setting))
        columns = {name: _column([setting.get(name) for setting in settings]) for name in names}
        flat = scores__sfr.reshape(len(settings), -1)
        with np.errstate(all="ignore"):
            mean = flat.mean(axis=1)
            columns |= {"mean_score": mean, "std_score": flat.std(axis=1)}
            by_fold = scores__sfr.mean(axis=2)
        columns["rank"] = _ranks(mean, epochs, mode)
        columns["epochs"] = epochs
        columns |= {f"split{f}_score": by_fold[:, f] for f in range(by_fold.shape[1])}
        super().__init__(columns)
        self.settings = [{**fixed, **setting} for setting in settings]
        self.metric, self.mode = metric, mode
        self.varied = names

    @property
    def best(self) -> Setting:
        """The setting of rank 1; the first of them if there are several."""
        return self.settings[int(np.argmin(self["rank"]))]

    @property
    def best_score(self) -> float:
        """The mean score of `best`."""
        return float(self["mean_score"][np.argmin(self["rank"])])

    def to_pandas(self) -> DataFrame:
        """Return a pandas.DataFrame with a row for each setting (extra ``[pandas]``)."""
        pd = require("to_pandas", "pandas", "pandas", "pandas")
        frame: DataFrame = pd.DataFrame(dict(self))
        return frame

    def plot(self, x: str | None = None, ax: Axes | None = None) -> Axes:
        """Draw the scores against the settings; see `nanostep.plots.plot_sweep`."""
        from nanostep.plots import plot_sweep

        return plot_sweep(self, self.varied, metric=self.metric, mode=self.mode, x=x, ax=ax)

    def __repr__(self) -> str:
        try:
            frame = self.to_pandas()
        except ImportError:
            return f"SweepTable({dict(self)!r})"
        return str(frame.sort_values("rank").to_string(max_rows=20))

    def _repr_html_(self) -> str | None:
        try:
            return str(self.to_pandas().sort_values("rank").to_html(max_rows=20))
        except ImportError:
            return None

    def __reduce__(self) -> Any:
        return _restored, (dict(self), vars(self))


def _restored(columns: dict[str, np.ndarray], attributes: dict[str, Any]) -> SweepTable:
    table = SweepTable.__new__(SweepTable)
    table.update(columns)
    vars(table).update(attributes)
    return table


def _column(values: list[Any]) -> np.ndarray:
    kinds = {type(value) for value in values}
    if kinds <= {int} or kinds <= {bool} or kinds <= {int, float} or kinds <= {str}:
        return np.array(values)
    column = np.empty(len(values), object)
    column[:] = values
    return column


def _ranks(mean: np.ndarray, epochs: np.ndarray, mode: str) -> np.ndarray:
    """Return ranks from 1; equal means share a rank. Settings that were dropped come after those that went on."""
    cost = cost_of(mean, mode)
    order = np.lexsort((cost, -epochs))
    ranks = np.empty(len(mean), np.int64)
    for i, row in enumerate(order):
        before = order[i - 1]
        ties = i > 0 and cost[row] == cost[before] and epochs[row] == epochs[before]
        ranks[row] = ranks[before] if ties else i + 1
    return ranks


def cost_of(scores: np.ndarray, mode: str) -> np.ndarray:
    """Return scores turned so that lower is better, infinity for those that are not finite; mode is "min" or "max"."""
    return np.where(np.isfinite(scores), scores if mode == "min" else -scores, np.inf)
