"""Epochs of stochastic updates in an order of the estimator's own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from nanostep._arrays import Samples
from nanostep.backends.contract import Cursor, Plan
from nanostep.network import Network
from nanostep.sklearn._dataset import Dataset
from nanostep.training.engine_call import Caller
from nanostep.training.optimizer_state import OptimizerState

NO_ORDER = np.empty(0, np.int64)


class EpochRunner:
    """Makes the updates of one epoch after another; the network's optimiser state moves on with them.

    Parameters
    ----------
    network : Network
    state : OptimizerState
        Of the network; its optimiser's ``lr`` may be changed between epochs.
    data : Dataset
    plan : Plan
        Without an order: each epoch is given its own.
    """

    def __init__(self, network: Network, state: OptimizerState, data: Dataset, plan: Plan) -> None:
        self._network, self._state, self._data, self._plan = network, state, data, plan
        self._cursor = Cursor(NO_ORDER, epoch=state.epochs, updates=state.updates)
        self._caller = self._make_caller(data.samples()) if data.is_dense else None

    def run(self, order: np.ndarray | None, epochs: int = 1) -> Iterator[tuple[float, float]]:
        """Make the updates of some epochs, and yield the mean loss and the mean penalty of each.

        Parameters
        ----------
        order : ndarray of int64, shape (n,), or None
            The order of the samples; None for the order in which they stand.
        epochs : int, default=1
            More than one without an order only.

        Raises
        ------
        KeyboardInterrupt
            Ctrl-C: theta and the state hold what was learned until then.
        """
        if self._caller is None:
            for _ in range(epochs):
                yield self._run_blocks(order)
            return
        self._cursor.order = NO_ORDER if order is None else order
        while epochs > 0:
            ended = self._run(self._caller, epochs)
            epochs -= len(ended)
            yield from ended

    def _run_blocks(self, order: np.ndarray | None) -> tuple[float, float]:
        """As `run`, for data that are made dense a block of whole batches at a time; each is an epoch to the engine."""
        epoch, sums = self._cursor.epoch, np.zeros(2)
        for samples in self._data.blocks(order, self._plan.batch):
            block_plan = replace(self._plan, batch=min(self._plan.batch, len(samples)), own_order=False)
            self._cursor = Cursor(NO_ORDER, epoch=epoch, updates=self._cursor.updates)
            (means,) = self._run(self._make_caller(samples, block_plan), 1)
            sums += len(samples) * np.array(means)
        loss, penalty = sums / len(self._data)
        return float(loss), float(penalty)

    def _run(self, caller: Caller, epochs: int) -> list[tuple[float, float]]:
        """Make updates until an epoch or more have ended, at most `epochs`; return the means of each."""
        while True:
            losses = caller.call(epochs)
            self._state.updates, self._state.epochs = self._cursor.updates, self._cursor.epoch
            if caller.interrupted and not losses:
                raise KeyboardInterrupt
            if losses:
                return list(zip(losses, caller.penalties or [0.0] * len(losses), strict=True))

    def _make_caller(self, samples: Samples, plan: Plan | None = None) -> Caller:
        state = self._state
        return Caller(self._network, state.slots, samples, state.optimizer, plan or self._plan, self._cursor)
