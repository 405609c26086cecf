"""`PopulationLearning`: the methods of `nanostep.Population` that change its parameters by training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import ArrayLike

from nanostep.architecture import Architecture
from nanostep.optimizers import SGD, Hyper, Optimizer
from nanostep.populations.arguments import (
    check_memory,
    check_population_data,
    check_population_optimizer,
    check_population_request,
)
from nanostep.populations.callbacks import PopulationCallback
from nanostep.populations.calls import step
from nanostep.populations.history import PopulationHistory
from nanostep.populations.rates import check_takes_arrays
from nanostep.populations.run import PopulationRun
from nanostep.schedules.base import Schedule
from nanostep.schedules.plateau import PlateauStates, ReduceLROnPlateau
from nanostep.training.early_stopping import EarlyStopping

if TYPE_CHECKING:
    from nanostep.population import Population


class PopulationLearning:
    """Mixin of `Population`, which sets these up."""

    _architecture: Architecture
    _dtype: np.dtype
    _theta: np.ndarray
    _optimizer: Optimizer
    _slots: np.ndarray
    _updates: np.ndarray
    _epochs: np.ndarray
    _plateau: tuple[ReduceLROnPlateau, PlateauStates] | None
    _history: PopulationHistory | None

    def step(
        self,
        X: ArrayLike,
        Y: ArrayLike,
        lr: Hyper | None = None,
        *,
        optimizer: Optimizer | None = None,
        rows: ArrayLike | None = None,
    ) -> np.ndarray:
        """Make one update of every network, each as `Network.step` would, and return the losses before it.

        Parameters
        ----------
        X, Y, rows : array-like
            One sample or a batch, for all networks or for each its own, as in `train`.
        lr : float or ndarray, shape (K,), optional
            Learning rate of a plain SGD step, > 0, which leaves the optimisers' states alone.
        optimizer : Optimizer, optional
            Make its update instead; its state goes on if it is the population's `optimizer`, otherwise it starts
            afresh. Without `lr` and `optimizer`, the population's `optimizer` is used.

        Returns
        -------
        ndarray of float64, shape (K,)

        Raises
        ------
        KeyboardInterrupt
            Ctrl-C. Some networks may have made the update, the others are as they were.
        """
        if lr is not None and optimizer is not None:
            raise TypeError("give lr or optimizer, not both; to change an optimiser's rate set optimizer.lr")
        given = optimizer if lr is None else SGD(lr=lr)
        chosen = check_population_optimizer(self._optimizer if given is None else given, len(self._theta))
        data = check_population_data(self._population, X, Y, rows)
        if lr is not None:
            size, parameters = self._theta.shape
            return step(
                self._population, data, chosen, np.zeros((size, 0, parameters), self._dtype), np.zeros(size, int)
            )
        self._go_on_with(chosen)
        return step(self._population, data, self._optimizer, self._slots, self._updates)

    def train(
        self,
        X: ArrayLike,
        Y: ArrayLike,
        epochs: int = 10,
        batch_size: int = 1,
        optimizer: Optimizer | None = None,
        shuffle: bool = True,
        seed: int | ArrayLike | None = 0,
        validation: tuple[ArrayLike, ArrayLike] | None = None,
        threads: int | None = None,
        callbacks: PopulationCallback | Sequence[PopulationCallback] = (),
        progress: bool = False,
        *,
        rows: ArrayLike | None = None,
        validation_rows: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        schedule: Schedule | None = None,
        dropout: float | ArrayLike = 0.0,
        label_smoothing: float = 0.0,
        early_stopping: EarlyStopping | None = None,
    ) -> PopulationHistory:
        """Train all networks, each as `Network.train` would.

        Parameters
        ----------
        X : array-like, shape (n, inputs), or (K, n, inputs)
            Samples that all networks see, or of each its own.
        Y : array-like
            As in `Network.loss`, or with a first axis of K like X.
        epochs, batch_size, shuffle, label_smoothing
            As in `Network.train`.
        optimizer : Optimizer, optional
            Every hyper-parameter that is a number may be an array of K, one for each network. Defaults to the
            population's `optimizer`; as with a network, the same object goes on and another starts afresh.
        seed : int, array-like of K ints or None, default=0
            Of the sample orders and of dropout. One for all gives all networks the same order, which is fastest.
        validation : (Xv, Yv), optional
            Data, for all or for each, on which the loss of every network is measured after every epoch.
        threads : int, optional
            Most threads, 1 to 65536; None takes as many as there are processors.
        callbacks : callable or a sequence of them
            Called with a `PopulationEpochEnd` after every epoch. Returning True or raising `StopTraining` ends the run,
            returning an array of K bools ends it for some networks; setting ``event.lr`` changes the rates.
        progress : bool, default=False
            As in `Network.train`; of the losses it shows the median and the best.
        rows : array-like of int, shape (K, m), optional
            The rows of X (n, inputs) that each network uses, for bagging or folds without copies.
        validation_rows : array-like of int, shape (K, m), optional
            The rows of Xv (n, inputs) on which each network is measured; without `validation`, rows of X, such as those
            that `rows` leaves out.
        sample_weight : array-like, shape (K, n), or (n,), optional
            As in `Network.train`, of each network or of all; n are the samples of each, or all rows of X.
        schedule : Schedule, optional
            As in `Network.train`, from the optimiser's lr of each network; a `ReduceLROnPlateau` looks at the
            "validation_loss" or "loss" of each by itself.
        dropout : float or array-like, default=0
            One probability, K of them, or shape (K, hidden layers).
        early_stopping : EarlyStopping, optional
            For each network by itself, on "validation_loss" or "loss". Those that have stopped cost nothing more.

        Returns
        -------
        PopulationHistory

        Raises
        ------
        KeyboardInterrupt
            Ctrl-C. Every network stands at the end of an epoch; `history` has what was made.
        """
        request = check_population_request(
            self._population, X, Y, epochs, batch_size, shuffle, seed, validation, validation_rows, threads, rows,
            sample_weight, dropout, label_smoothing, early_stopping, callbacks, schedule, progress,
        )  # fmt: skip
        chosen = check_population_optimizer(self._optimizer if optimizer is None else optimizer, len(self._theta))
        check_takes_arrays(schedule, chosen)
        self._go_on_with(chosen)
        run = PopulationRun(self._population, request)
        self._history = run.history
        return run.run()

    # -- state of the optimiser ---------------------------------------------------------------------------------------

    def _go_on_with(self, optimizer: Optimizer) -> None:
        """Start afresh if this is another optimiser than the last, or if its slots no longer fit."""
        if optimizer is not self._optimizer or len(optimizer.slots) != self._slots.shape[1]:
            self._reset(optimizer)

    def _reset(self, optimizer: Optimizer) -> None:
        """Start the state of an optimiser afresh."""
        size, parameters = self._theta.shape
        slots = len(optimizer.slots)
        check_memory(self._architecture, self._dtype, size, slots)
        self._optimizer = optimizer
        self._slots = np.zeros((size, slots, parameters), self._dtype)
        self._updates, self._epochs = np.zeros(size, np.int64), np.zeros(size, np.int64)
        self._plateau = None

    @property
    def _population(self) -> Population:
        return cast("Population", self)
