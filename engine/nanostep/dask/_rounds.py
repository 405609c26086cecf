"""The rounds of a run: local training and averaging; a round is repeated if a worker was lost during it."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import Any

import numpy as np
from dask.distributed import Client, Future, KilledWorker

from nanostep.dask._partitions import Partitions, places
from nanostep.dask._tasks import Recipe, Snapshot, combine, distribute, measure, train_partition
from nanostep.dask.history import RoundHistory
from nanostep.network import Network
from nanostep.training.interrupt import interruptible
from nanostep.training.recorder import Recorder

POLL_SECONDS = 1.0
"""Interval at which the client checks that the workers of a round still exist."""

ATTEMPTS = 4
"""Most attempts at a round: if each of them loses workers, the round itself is likely to be the cause."""

FAN_IN = 32
"""Most models that one task averages: up to this many make one weighted sum, more are summed as a tree."""


class WorkerLost(Exception):
    """A worker with tasks of the round is gone."""


class Rounds:
    """A run of local SGD, which updates the network and the history one whole round at a time.

    Parameters
    ----------
    net : Network
    client : Client
    recipe : Recipe
    data : Partitions
    shards : list of range
        For each local model its partitions, as indices into `data`.
    epochs : int
        Local epochs of a round.
    held_out : Partitions or None
        Validation data on the cluster.
    history : RoundHistory
    recorder : Recorder
        Recorder of that history.
    """

    def __init__(
        self,
        net: Network,
        client: Client,
        recipe: Recipe,
        data: Partitions,
        shards: list[range],
        *,
        epochs: int,
        held_out: Partitions | None,
        history: RoundHistory,
        recorder: Recorder,
    ) -> None:
        self._net, self._client, self._recipe, self._epochs = net, client, recipe, epochs
        self._data, self._shards, self._held_out = data, shards, held_out
        self._history, self._recorder = history, recorder
        self._rows = sum(data.rows)
        shard_rows = [sum(data.rows[i] for i in shard) for shard in shards]
        shard_updates = [epochs * sum(-(-data.rows[i] // recipe.batch_size) for i in shard) for shard in shards]
        self._weights = [rows / self._rows for rows in shard_rows]
        self._steps = sum(shard_updates)
        weighted = sum(rows * updates for rows, updates in zip(shard_rows, shard_updates, strict=True))
        self._updates = (weighted + self._rows // 2) // self._rows

    def execute(self, rounds: int) -> None:
        history = self._history
        with self._recorder:
            while history.epochs < rounds:
                self._advance()
                self._recorder.update_progress(0.0, history.steps)
            self._recorder.end()

    def _advance(self) -> None:
        """Carry out a round. Ctrl-C either discards it entirely, or takes effect after its result is committed."""
        started = time.perf_counter()
        for _ in range(ATTEMPTS):
            attempt = _Attempt(self._client)
            try:
                model, losses = self._run(attempt)
                break
            except WorkerLost:
                continue
            finally:
                attempt.release()
        else:
            raise RuntimeError(
                f"round {self._history.epochs + 1} was begun {ATTEMPTS} times and lost workers each time; look into "
                "their logs, and at their memory, which must hold a partition twice"
            )

        def commit() -> int:
            self._commit(model, losses, time.perf_counter() - started, attempt)
            return 0

        _, interrupted = interruptible(commit, np.zeros(1, np.int32))
        if interrupted:
            raise KeyboardInterrupt

    def _run(self, attempt: _Attempt) -> tuple[Snapshot, list[float]]:
        """Return the average of the models that the shards train, and its losses on `held_out`."""
        average = self._submit(attempt)
        validation = []
        if self._held_out is not None:
            where = places(self._client, self._held_out.samples)
            for samples, worker in zip(self._held_out.samples, where, strict=True):
                validation.append(attempt.submit(measure, self._recipe, average, samples, worker=worker))
        model = attempt.result(average)
        return model, [attempt.result(loss) for loss in validation]

    def _submit(self, attempt: _Attempt) -> Future:
        net, data, state = self._net, self._data, self._net._state
        where = places(self._client, data.samples)
        begin = Snapshot(net._theta.copy(), state.slots.copy(), state.updates)
        start = attempt.submit_large(distribute, begin)
        models = []
        for shard in self._shards:
            model = start
            for i, first, epochs in self._visits(shard):
                model = attempt.submit(
                    train_partition, self._recipe, model, data.samples[i], data.numbers[i], state.epochs + first,
                    epochs, is_last=first + epochs == self._epochs, worker=where[i],
                )  # fmt: skip
                attempt.bytes += begin.nbytes
            models.append(model)
        attempt.bytes += 2 * begin.nbytes  # from the caller, and back to it
        return self._average(attempt, models, begin)

    def _visits(self, shard: range) -> list[tuple[int, int, int]]:
        """Return the visits of a model to its partitions in order, as (partition, first epoch, epochs)."""
        if len(shard) == 1:
            return [(shard[0], 0, self._epochs)]
        return [(i, epoch, 1) for epoch in range(self._epochs) for i in shard]

    def _average(self, attempt: _Attempt, models: list[Future], begin: Snapshot) -> Future:
        dtype, nbytes, weights = self._net.dtype, begin.nbytes, self._weights
        while True:
            groups = range(0, len(models), FAN_IN)
            result_dtype = dtype if len(groups) == 1 else np.dtype(np.float64)
            attempt.bytes += len(models) * nbytes
            models = [
                attempt.submit(
                    combine, models[i : i + FAN_IN], weights[i : i + FAN_IN], begin.updates + self._updates,
                    result_dtype.name,
                )
                for i in groups
            ]  # fmt: skip
            if len(models) == 1:
                return models[0]
            nbytes = begin.nbytes * result_dtype.itemsize // dtype.itemsize
            weights = [1.0] * len(models)

    def _commit(self, model: Snapshot, losses: list[float], seconds: float, attempt: _Attempt) -> None:
        net, history, state = self._net, self._history, self._net._state
        net._theta[...] = model.theta
        state.slots[...] = model.slots
        state.updates, state.epochs = model.updates, state.epochs + self._epochs
        history.steps += self._steps
        history.samples += self._epochs * self._rows
        history.round_seconds.append(seconds)
        history.bytes.append(attempt.bytes)
        history.workers.append(len(attempt.workers))
        if self._held_out is not None:
            rows = self._held_out.rows
            total = sum(loss * n for loss, n in zip(losses, rows, strict=True))
            history.validation_loss.append(total / sum(rows))
        self._recorder.end_epochs([model.loss_sum / self._rows], [state.optimizer.lr])


class _Attempt:
    """The tasks of one attempt at a round.

    Attributes
    ----------
    workers : set of str
        Addresses of the workers that must exist until the attempt ends.
    bytes : int
        Bytes of models that were passed between tasks and the caller.
    """

    def __init__(self, client: Client) -> None:
        self._client, self._futures = client, list[Future]()
        self.workers, self.bytes = set[str](), 0

    def submit(self, function: Callable, *arguments: Any, worker: str | None = None, **options: Any) -> Future:
        """Submit a call of `function`, pinned to `worker` if that is given, since tasks move to the data."""
        if worker is not None:
            self.workers.add(worker)
        where = None if worker is None else [worker]
        self._futures.append(self._client.submit(function, *arguments, workers=where, pure=False, **options))
        return self._futures[-1]

    def submit_large(self, function: Callable, argument: Snapshot) -> Future:
        """Submit a call with an argument of any size, without Dask's warning about more than 10 MB."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sending large graph", category=UserWarning)
            return self.submit(function, argument)

    def result(self, future: Future) -> Any:
        """Wait for a result.

        Raises
        ------
        WorkerLost
            A task waits for a worker that is gone, or has died with several workers.
        """
        while True:
            try:
                return future.result(timeout=POLL_SECONDS)
            except TimeoutError:
                if not self.workers <= set(self._client.nthreads()):
                    raise WorkerLost from None
            except (KilledWorker, CancelledError):
                raise WorkerLost from None

    def release(self) -> None:
        """Release the tasks; those that have not begun are cancelled."""
        for future in self._futures:
            future.release()
