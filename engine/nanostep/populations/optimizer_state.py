"""What optimisers remember between updates of the networks of a population, and when they start afresh."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from nanostep._base_model import BaseModel
from nanostep._checks import check_memory
from nanostep.optimizers import Optimizer
from nanostep.schedules.plateau import PlateauStates, ReduceLROnPlateau
from nanostep.training.optimizer_state import OptimizerState


@dataclass
class PopulationOptimizerState:
    """What an optimiser remembers of K networks; see `nanostep.training.optimizer_state.OptimizerState`.

    Attributes
    ----------
    optimizer : Optimizer
        Hyper-parameters are numbers, or arrays (K,).
    slots : ndarray, shape (K, number of slots, parameters)
    updates, epochs : ndarray of int64, shape (K,)
        Made by each network since the state was fresh; early stopping and Ctrl-C leave them at different counts.
    plateau : (ReduceLROnPlateau, PlateauStates) or None
        The schedule of that kind that was last trained with, and where it stands for each network.
    """

    optimizer: Optimizer
    slots: np.ndarray
    updates: np.ndarray
    epochs: np.ndarray
    plateau: tuple[ReduceLROnPlateau, PlateauStates] | None = None

    def plateau_of(self, schedule: ReduceLROnPlateau) -> PlateauStates:
        """Return where the networks stand: at the optimiser's rate if they had another schedule, or another rate."""
        base = np.broadcast_to(np.asarray(self.optimizer.lr, np.float64), len(self.updates))
        if self.plateau is None or self.plateau[0] != schedule:
            self.plateau = schedule, PlateauStates.fresh(base)
        states = self.plateau[1]
        changed = np.flatnonzero(states.base_lr != base)
        if len(changed):
            states.put(changed, PlateauStates.fresh(base[changed]))
        return states

    def of(self, number: int) -> OptimizerState:
        """Return a copy of the state of one network."""
        alone = self.optimizer.of(number)
        slots = self.slots[number][self.optimizer.slot_rows(alone)]
        plateau = None if self.plateau is None else (self.plateau[0], self.plateau[1][number])
        return OptimizerState(alone, slots, int(self.updates[number]), int(self.epochs[number]), plateau)

    def take(self, numbers: np.ndarray) -> PopulationOptimizerState:
        """Return copies of the states of some networks."""
        plateau = None if self.plateau is None else (self.plateau[0], self.plateau[1].take(numbers))
        return PopulationOptimizerState(
            self.optimizer.take(numbers), self.slots[numbers], self.updates[numbers], self.epochs[numbers], plateau
        )

    def copy(self) -> PopulationOptimizerState:
        """Return a state that shares no counts and slots with this one."""
        return replace(self, slots=self.slots.copy(), updates=self.updates.copy(), epochs=self.epochs.copy())


def fresh_state(optimizer: Optimizer, model: BaseModel) -> PopulationOptimizerState:
    """Return the state of an optimiser that has made no update: slots are zero.

    Raises
    ------
    MemoryError
        Slots and parameters would not fit into this machine's memory.
    """
    networks, parameters = model._theta.shape
    slots = len(optimizer.slots)
    check_population_memory(networks, parameters, model.dtype, slots)
    counts = np.zeros((2, networks), np.int64)
    return PopulationOptimizerState(optimizer, np.zeros((networks, slots, parameters), model.dtype), *counts)


def continued(state: PopulationOptimizerState, optimizer: Optimizer, model: BaseModel) -> PopulationOptimizerState:
    """Return `state` if `optimizer` is the object it belongs to and its slots fit, otherwise a fresh state."""
    if optimizer is state.optimizer and len(optimizer.slots) == state.slots.shape[1]:
        return state
    return fresh_state(optimizer, model)


def check_population_memory(networks: int, parameters: int, dtype: np.dtype, slots: int = 0) -> None:
    """Raise MemoryError if parameters and slots of so many networks do not fit into this machine's memory."""
    what = f"size={networks} networks of {parameters} parameters with {slots} optimiser slots each take"
    check_memory(what, networks * parameters * dtype.itemsize * (1 + slots))
