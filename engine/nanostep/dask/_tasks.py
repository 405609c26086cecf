"""The tasks of workers. Every function here is pure: the same arguments give the same bits on any worker and at every
call, so that Dask can recompute results that were lost with a worker.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from dask.sizeof import sizeof

from nanostep._arrays import Samples, check_samples
from nanostep.architecture import Architecture
from nanostep.backends import load
from nanostep.backends.contract import RunConfig
from nanostep.network import Network
from nanostep.optimizers import Optimizer
from nanostep.training.arguments import Data, TrainConfig
from nanostep.training.optimizer_state import OptimizerState
from nanostep.training.resume import begin
from nanostep.training.run import CHUNK_SEED, ArrayRun


@dataclass(frozen=True)
class Recipe:
    """Arguments that all tasks of a run share.

    Attributes
    ----------
    architecture : Architecture
    dtype : str
    backend : str
        Backend of the caller's network. A worker that cannot run it must fail, because other backends give other bits.
    optimizer : Optimizer
    batch_size : int
    shuffle : bool
    seed : int
    """

    architecture: Architecture
    dtype: str
    backend: str
    optimizer: Optimizer
    batch_size: int
    shuffle: bool
    seed: int


@dataclass(frozen=True)
class Snapshot:
    """A model at some moment of a round, as it is sent between tasks.

    Attributes
    ----------
    theta : ndarray, shape (parameters,)
    slots : ndarray, shape (slots of the optimiser, parameters)
    updates : int
        Updates that the optimiser's state has seen.
    loss_sum : float
        Sum of the losses of the rows used so far in the last local epoch of the round.
    """

    theta: np.ndarray
    slots: np.ndarray
    updates: int
    loss_sum: float = 0.0

    @property
    def nbytes(self) -> int:
        return self.theta.nbytes + self.slots.nbytes


@sizeof.register(Snapshot)
def _size_of_snapshot(snapshot: Snapshot) -> int:
    return snapshot.nbytes


@sizeof.register(Samples)
def _size_of_samples(samples: Samples) -> int:
    return sum(part.nbytes for part in (samples.x, samples.y, samples.labels) if part is not None)


def prepare(recipe: Recipe, partition: int, names: tuple[str, str], X: Any, Y: Any) -> Samples | None:
    """Return the checked samples of a partition in the network's dtype; None if it has no rows."""
    load(recipe.backend)
    if len(X) == 0 and len(Y) == 0:
        return None
    full_names = (f"{names[0]} of partition {partition}", f"{names[1]} of partition {partition}")
    return check_samples(recipe.architecture, np.dtype(recipe.dtype), X, Y, names=full_names)


def count(samples: Samples | None) -> int:
    """Return the number of rows of a partition."""
    return 0 if samples is None else len(samples)


def distribute(snapshot: Snapshot) -> Snapshot:
    """Return the snapshot unchanged: as the result of a task it is sent from worker to worker, not by the caller."""
    return snapshot


def train_partition(
    recipe: Recipe, model: Snapshot, samples: Samples, partition: int, epoch: int, epochs: int, *, is_last: bool
) -> Snapshot:
    """Train a model on one partition for some epochs, the first of which is number `epoch` of the optimiser's state.

    `partition` is the partition's number in the data, which determines its sample orders; `is_last` is True if the last
    of the epochs is the last of the round.
    """
    samples = aligned(samples)
    net = _network(recipe, model, epoch)
    run_config = RunConfig(
        batch=min(recipe.batch_size, len(samples)),
        shuffle=recipe.shuffle,
        seed=(recipe.seed + partition * CHUNK_SEED) % 2**64,
        threads=1,  # each thread of a worker runs a task of its own
    )
    data, config = Data(samples, None, None), TrainConfig(epochs, run_config)
    state, config, run_state = begin(net, net._state, data, config, drawn=False)
    ArrayRun(net, state, data, config, run_state).execute()
    loss_sum = run_state.history.loss[-1] * len(samples) if is_last else 0.0
    return Snapshot(net._theta, state.slots, state.updates, model.loss_sum + loss_sum)


def combine(parts: Sequence[Snapshot], weights: Sequence[float], updates: int, dtype: str) -> Snapshot:
    """Return ``sum(weight * part)``, in the order of the parts and in float64, rounded to `dtype`; losses are added."""
    with np.errstate(all="ignore"):  # for models that have diverged
        theta, slots = (
            _weighted_sum([getattr(part, name) for part in parts], weights).astype(dtype) for name in ("theta", "slots")
        )
    loss_sum = parts[0].loss_sum
    for part in parts[1:]:
        loss_sum += part.loss_sum
    return Snapshot(theta, slots, updates, loss_sum)


def _weighted_sum(arrays: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
    total = arrays[0] * np.float64(weights[0])
    for array, weight in zip(arrays[1:], weights[1:], strict=True):
        total += array * np.float64(weight)
    return total


def measure(recipe: Recipe, model: Snapshot, samples: Samples) -> float:
    """Return the mean loss over a partition."""
    net = _network(recipe, model, 0)
    return net._engine.loss(net._theta, aligned(samples))


def aligned(samples: Samples) -> Samples:
    """Return samples with aligned arrays: arrays that Dask has written to disk and read back may be unaligned."""
    x, y, labels = (
        None if part is None else np.require(part, requirements=["C", "A"])
        for part in (samples.x, samples.y, samples.labels)
    )
    assert x is not None
    return Samples(x, y, labels)


def _network(recipe: Recipe, model: Snapshot, epoch: int) -> Network:
    """Return a network that shares no memory with `model`."""
    state = OptimizerState(recipe.optimizer, model.slots.copy(), model.updates, epoch)
    return Network._restored(recipe.architecture, np.dtype(recipe.dtype), recipe.backend, model.theta, state)
