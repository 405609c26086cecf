"""`RunState`: where a run stands between two calls of the engine."""

from __future__ import annotations

from dataclasses import dataclass

from nanostep.training.early_stopping import BestSoFar
from nanostep.training.history import History


@dataclass
class RunState:
    """Where a run stands, beyond the parameters and the state of the optimiser.

    Attributes
    ----------
    fingerprint : dict
        Of what was asked for; see `nanostep.training.resume`.
    history : History
    best : BestSoFar
    first_update : int
        Updates that the optimiser's state had seen before the run.
    epoch, row, loss_sum
        See `nanostep.backends.contract.Cursor`.
    chosen_lr : float or None
        What a callback has set.
    """

    fingerprint: dict[str, str]
    history: History
    best: BestSoFar
    first_update: int
    epoch: int
    row: int = 0
    loss_sum: float = 0.0
    chosen_lr: float | None = None
