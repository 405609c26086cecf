"""What callbacks of `Network.train` are given."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nanostep.history import History

if TYPE_CHECKING:
    from nanostep.network import Network


@dataclass(frozen=True)
class EpochEnd:
    """State of a run after an epoch, passed to each callback.

    Attributes
    ----------
    network : Network
        Its theta is exact: it may be read, copied or changed.
    epoch : int
        Epochs completed in this call, from 1.
    epochs : int
        Epochs asked for.
    loss : float
        Training loss of this epoch (see `History.loss`).
    validation_loss : float or None
    history : History
        The record so far.
    """

    network: Network
    epoch: int
    epochs: int
    loss: float
    validation_loss: float | None
    history: History


Callback = Callable[[EpochEnd], object]
"""Called after every epoch; returning True, or raising `StopTraining`, ends the run cleanly."""


def check_callbacks(value: object) -> tuple[Callback, ...]:
    """Return `value`, a callable or a sequence of callables, as a tuple."""
    items = (value,) if callable(value) else value
    if not isinstance(items, Iterable):
        raise TypeError(f"callbacks must be a callable or a sequence of callables; got {type(value).__name__}")
    checked = tuple(items)
    for i, item in enumerate(checked):
        if not callable(item):
            raise TypeError(f"callbacks[{i}] must be callable; got {type(item).__name__}")
    return checked
