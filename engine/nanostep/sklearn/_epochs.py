"""Epochs of stochastic updates in an order of the estimator's own."""

from __future__ import annotations

import threading
from dataclasses import replace
from multiprocessing import parent_process

import numpy as np

from nanostep._arrays import Samples
from nanostep.backends.contract import Cursor, Plan
from nanostep.calls import Caller
from nanostep.network import Network
from nanostep.optimizer_state import OptimizerState
from nanostep.sklearn._dataset import Dataset

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

    def run(self, order: np.ndarray | None) -> tuple[float, float]:
        """Make the updates of an epoch, and return the mean loss and the mean penalty.

        Parameters
        ----------
        order : ndarray of int64, shape (n,), or None
            The order of the samples; None for the order in which they stand.

        Raises
        ------
        KeyboardInterrupt
            Ctrl-C: theta and the state hold what was learned until then.
        """
        try:
            if self._caller is not None:
                self._cursor.order = NO_ORDER if order is None else order
                return self._run(self._caller)
            return self._run_blocks(order)
        finally:
            self._state.updates, self._state.epochs = self._cursor.updates, self._cursor.epoch

    def _run_blocks(self, order: np.ndarray | None) -> tuple[float, float]:
        """As `run`, for data that are made dense a block of whole batches at a time; each is an epoch to the engine."""
        epoch, sums = self._cursor.epoch, np.zeros(2)
        for samples in self._data.blocks(order, self._plan.batch):
            block_plan = replace(self._plan, batch=min(self._plan.batch, len(samples)), own_order=False)
            self._cursor = Cursor(NO_ORDER, epoch=epoch, updates=self._cursor.updates)
            sums += len(samples) * np.array(self._run(self._make_caller(samples, block_plan)))
        loss, penalty = sums / len(self._data)
        return float(loss), float(penalty)

    def _run(self, caller: Caller) -> tuple[float, float]:
        while True:
            losses = caller.call(1)
            if losses:
                return losses[0], caller.penalties[0] if caller.penalties else 0.0
            if caller.interrupted:
                raise KeyboardInterrupt

    def _make_caller(self, samples: Samples, plan: Plan | None = None) -> Caller:
        state = self._state
        return Caller(self._network, state.slots, samples, state.optimizer, plan or self._plan, self._cursor)


def thread_limit(threads: int | None) -> int | None:
    """Return `threads`; in place of None, 1 in a child process or a thread other than the main one.

    Those are where joblib and others run many fits at a time, and every fit taking all processors would be too many.
    """
    if threads is None and (parent_process() is not None or threading.current_thread() is not threading.main_thread()):
        return 1
    return threads
