"""`EpochRunner`: epochs of stochastic updates in orders that the estimator draws."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from nanostep._arrays import Samples
from nanostep.backends.contract import Cursor, RunConfig
from nanostep.network import Network
from nanostep.sklearn._dataset import Dataset
from nanostep.training.engine_call import EngineCall
from nanostep.training.optimizer_state import OptimizerState

NO_ORDER = np.empty(0, np.int64)


class EpochRunner:
    """Makes the updates of one epoch after another, and updates the state of the network's optimiser.

    Parameters
    ----------
    network : Network
    state : OptimizerState
        State of the network's optimiser, whose ``lr`` may be changed between epochs.
    data : Dataset
    config : RunConfig
    """

    def __init__(self, network: Network, state: OptimizerState, data: Dataset, config: RunConfig) -> None:
        self._network, self._state, self._data, self._config = network, state, data, config
        self._cursor = Cursor(NO_ORDER, epoch=state.epochs, updates=state.updates)
        self._engine_call = self._make_engine_call(data.samples()) if data.is_dense else None

    def run(self, order: np.ndarray | None, epochs: int = 1) -> Iterator[tuple[float, float]]:
        """Make the updates of some epochs, and yield the mean loss and the mean penalty of each.

        Parameters
        ----------
        order : ndarray of int64, shape (n,), or None
            The order of the samples; None for the order of the data.
        epochs : int, default=1
            More than one only without an order.

        Raises
        ------
        KeyboardInterrupt
            Ctrl-C: theta and the state hold the results of the updates until then.
        """
        if self._engine_call is None:
            for _ in range(epochs):
                yield self._run_blocks(order)
            return
        self._cursor.order = NO_ORDER if order is None else order
        while epochs > 0:
            ended = self._run(self._engine_call, epochs)
            epochs -= len(ended)
            yield from ended

    def _run_blocks(self, order: np.ndarray | None) -> tuple[float, float]:
        """Run an epoch on sparse data, a dense block of whole batches at a time; each is an epoch for the engine."""
        epoch, sums = self._cursor.epoch, np.zeros(2)
        for samples in self._data.blocks(order, self._config.batch):
            block_config = replace(self._config, batch=min(self._config.batch, len(samples)), custom_order=False)
            self._cursor = Cursor(NO_ORDER, epoch=epoch, updates=self._cursor.updates)
            (means,) = self._run(self._make_engine_call(samples, block_config), 1)
            sums += len(samples) * np.array(means)
        loss, penalty = sums / len(self._data)
        return float(loss), float(penalty)

    def _run(self, engine_call: EngineCall, epochs: int) -> list[tuple[float, float]]:
        """Make updates until one to `epochs` epochs have ended; return the mean loss and penalty of each."""
        while True:
            losses = engine_call.call(epochs)
            self._state.updates, self._state.epochs = self._cursor.updates, self._cursor.epoch
            if engine_call.interrupted and not losses:
                raise KeyboardInterrupt
            if losses:
                return list(zip(losses, engine_call.penalties or [0.0] * len(losses), strict=True))

    def _make_engine_call(self, samples: Samples, config: RunConfig | None = None) -> EngineCall:
        return EngineCall(self._network, self._state, samples, config or self._config, self._cursor)
