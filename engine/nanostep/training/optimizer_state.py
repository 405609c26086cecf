"""What an optimiser remembers between updates of one network, and when it starts afresh."""

from __future__ import annotations

from typing import Any

import numpy as np

from nanostep.backends.contract import Keeper
from nanostep.optimizers import Optimizer, refuse_arrays
from nanostep.schedules.plateau import PlateauState, ReduceLROnPlateau


class OptimizerState:
    """What an optimiser remembers between updates of one network.

    Attributes
    ----------
    optimizer : Optimizer
    slots : ndarray, shape (number of slots, parameters)
        Rows named by ``optimizer.slots``. To be read anew after every update: an engine may keep them elsewhere between
        two updates, and writes them back when this attribute is read.
    updates, epochs : int
        Made since the state was fresh.
    plateau : (ReduceLROnPlateau, PlateauState) or None
        The schedule of that kind that was last trained with, and where it stands.
    array, keeper
        See `nanostep.backends.contract.UpdateState`.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        slots: np.ndarray,
        updates: int = 0,
        epochs: int = 0,
        plateau: tuple[ReduceLROnPlateau, PlateauState] | None = None,
    ) -> None:
        self.optimizer = optimizer
        self.array = slots
        self.updates, self.epochs = updates, epochs
        self.plateau = plateau
        self.keeper: Keeper | None = None

    @property
    def slots(self) -> np.ndarray:
        keeper = self.keeper
        if keeper is not None:
            self.keeper = None
            keeper.store()
        return self.array

    def copy(self) -> OptimizerState:
        """Return the same state; nothing that changes is shared."""
        return OptimizerState(self.optimizer, self.slots.copy(), self.updates, self.epochs, self.plateau)

    def __getstate__(self) -> dict[str, Any]:
        slots = self.slots  # leaves no keeper
        return {**vars(self), "array": slots}

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
    if chosen is state.optimizer and len(chosen.slots) == len(state.array):
        return state
    return fresh_state(chosen, state.array.shape[1], state.array.dtype)
