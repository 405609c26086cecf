"""What an optimiser remembers between updates of one network, and when it starts afresh."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nanostep.optimizers import Optimizer, refuse_arrays
from nanostep.schedules.plateau import PlateauState, ReduceLROnPlateau


@dataclass
class OptimizerState:
    """What an optimiser remembers between updates of one network.

    Attributes
    ----------
    optimizer : Optimizer
    slots : ndarray, shape (number of slots, parameters)
        Rows named by ``optimizer.slots``.
    updates, epochs : int
        Made since the state was fresh.
    plateau : (ReduceLROnPlateau, PlateauState) or None
        The schedule of that kind that was last trained with, and where it stands.
    """

    optimizer: Optimizer
    slots: np.ndarray
    updates: int = 0
    epochs: int = 0
    plateau: tuple[ReduceLROnPlateau, PlateauState] | None = None

    def plateau_of(self, schedule: ReduceLROnPlateau) -> PlateauState:
        """Return where `schedule` stands: at the optimiser's rate if it is another one, or if that rate was changed."""
        if self.plateau is None or self.plateau[0] != schedule or self.plateau[1].base_lr != self.optimizer.lr:
            self.plateau = (schedule, PlateauState(self.optimizer.lr, self.optimizer.lr))
        return self.plateau[1]


def fresh_state(optimizer: Optimizer, parameters: int, dtype: np.dtype) -> OptimizerState:
    """Return the state of an optimiser that has made no update: slots are zero."""
    return OptimizerState(optimizer, np.zeros((len(optimizer.slots), parameters), dtype))


def continued(state: OptimizerState, optimizer: Optimizer | None) -> OptimizerState:
    """Return `state` if `optimizer` is None or the object it belongs to, otherwise a fresh state.

    A state whose slots no longer fit (momentum switched on between calls) starts afresh too.
    """
    chosen = state.optimizer if optimizer is None else optimizer
    chosen.check()
    refuse_arrays(chosen)
    if chosen is state.optimizer and len(chosen.slots) == len(state.slots):
        return state
    return fresh_state(chosen, state.slots.shape[1], state.slots.dtype)
