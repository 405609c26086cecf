"""`RoundHistory`: the record of a run of local SGD."""

from __future__ import annotations

from dataclasses import dataclass, field

from nanostep.training.history import History


@dataclass
class RoundHistory(History):
    """Record of one `nanostep.dask.train` call: a `nanostep.History` in which a round stands for an epoch.

    Attributes
    ----------
    loss : list of float
        Per round, the mean over all rows of the loss just before the step that used the row, in the round's last local
        epoch, each row by the local model that saw it.
    validation_loss : list of float
        Per round, the loss of the averaged parameters on the validation data; empty if none was given.
    round_seconds : list of float
        Per round, its wall time.
    bytes : list of int
        Per round, the bytes of parameters and optimiser state that were passed between tasks and the caller. Those
        between two tasks on one worker are not sent over the network.
    workers : list of int
        Per round, how many workers held data.
    shards : int
        Local models that were averaged.
    steps : int
        Updates made by all local models together.
    samples : int
        Rows used, counted once per local epoch.
    """

    round_seconds: list[float] = field(default_factory=list)
    bytes: list[int] = field(default_factory=list)
    workers: list[int] = field(default_factory=list)
    shards: int = 0
