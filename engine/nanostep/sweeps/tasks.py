"""Tasks, the unit of work of a sweep: networks of one kind on one fold, trained as a population and scored."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from nanostep.optimizers import stacked
from nanostep.population import Population
from nanostep.populations.data import check_samples_of_networks
from nanostep.populations.optimizer_state import fresh_state
from nanostep.sweeps.folds import Fold
from nanostep.sweeps.settings import Trial
from nanostep.training.metrics import Metric
from nanostep.training.threads import thread_limit

TASK_FLOPS = 2e10
"""Work of a task: about a second or two of one core, so that distributing it costs little."""

ENTRIES_TOGETHER = 1 << 20
"""Most outputs in memory at a time while scores are computed."""

WHOLE_GROUP = 64
"""Networks that stay in one task even if their work exceeds `TASK_FLOPS`: fewer would leave vector lanes empty."""


@dataclass
class State:
    """The state between two rounds of k networks with p parameters."""

    theta__kp: np.ndarray
    slots__ksp: np.ndarray
    updates: np.ndarray
    epochs: np.ndarray

    def take(self, rows: Sequence[int]) -> State:
        """Return the state of some of the networks."""
        indices = list(rows)
        return State(*(part[indices] for part in vars(self).values()))

    @classmethod
    def joined(cls, states: Sequence[State]) -> State:
        """Return the state of the networks of all `states`."""
        return cls(*(np.concatenate(parts) for parts in zip(*(vars(s).values() for s in states), strict=True)))


@dataclass(frozen=True, kw_only=True)
class Task:
    """Networks that differ in hyper-parameters and initial weights.

    Attributes
    ----------
    trials : tuple of Trial
        Setting of each network.
    units : tuple of (int, int, int)
        Index of each network's setting, fold and repetition.
    fold : Fold
    seed : int
        Repetition r has the initial weights of seed + r; all networks have the sample order of seed.
    epochs : int
        Epochs that the networks have made after the task.
    dtype, backend : str
    threads : int or None
    state : State or None
        State to continue from; None to train from the beginning.
    """

    trials: tuple[Trial, ...]
    units: tuple[tuple[int, int, int], ...]
    fold: Fold = field(repr=False)
    seed: int
    epochs: int
    dtype: str
    backend: str
    threads: int | None
    state: State | None = field(default=None, repr=False)

    def key(self, data: str, metric: str) -> str:
        """Return a digest of everything that determines the scores, which `state` does not."""
        trials = [trial.identity() for trial in self.trials]
        repeats = [unit[2] for unit in self.units]
        whole = json.dumps([data, metric, trials, repeats, self.seed, self.epochs, self.dtype, self.backend])
        digest = hashlib.sha256(whole.encode())
        for part in self.fold:
            digest.update(part.tobytes() + b"|")
        return digest.hexdigest()


@dataclass
class Outcome:
    """Result of a task: a score for each network, and their state if they continue."""

    scores: np.ndarray
    state: State | None


def run(task: Task, x: np.ndarray, y: np.ndarray, metric: Metric, *, keep_state: bool) -> Outcome:
    """Train and score the networks of a task; with `keep_state`, return their state too.

    x and y (rows or class labels) are separate arguments, because joblib's backends send such arrays to each worker
    only once.
    """
    population = _make_population(task)
    first = task.trials[0]
    used, held_out = task.fold
    population.train(
        x[used],
        y[used],
        epochs=task.epochs - int(population._state.epochs[0]),
        batch_size=first.batch,
        optimizer=population.optimizer,
        shuffle=first.shuffle,
        seed=task.seed,
        threads=thread_limit(task.threads),
        dropout=np.array([trial.dropout for trial in task.trials]),
        label_smoothing=first.smoothing,
    )
    state = None
    if keep_state:
        optimizer_state = population._state
        state = State(population._theta, optimizer_state.slots, optimizer_state.updates, optimizer_state.epochs)
    return Outcome(_scores(population, x[held_out], y[held_out], metric, thread_limit(task.threads)), state)


def _make_population(task: Task) -> Population:
    architecture = task.trials[0].architecture
    population = Population(
        architecture.sizes,
        len(task.trials),
        activation=architecture.activations[:-1],
        output=architecture.output,
        loss=architecture.criterion,
        dtype=task.dtype,
        backend=task.backend,
        seed=[(task.seed + repeat) % 2**64 for _, _, repeat in task.units],
    )
    state = fresh_state(stacked([trial.optimizer for trial in task.trials]), population)
    population._state = state
    if task.state is not None:
        population._theta[...], state.slots[...] = task.state.theta__kp, task.state.slots__ksp
        state.updates[...], state.epochs[...] = task.state.updates, task.state.epochs
    return population


def _scores(population: Population, x: np.ndarray, y: np.ndarray, metric: Metric, threads: int | None) -> np.ndarray:
    size, engine, theta = len(population), population._engine, population._theta
    scores = np.empty(size)
    if metric.name == "loss":
        engine.loss(theta, check_samples_of_networks(population, x, y), scores, threads=threads)
        return scores
    outputs = population.architecture.outputs
    together = max(1, ENTRIES_TOGETHER // (len(x) * outputs))
    for start in range(0, size, together):
        indices = np.arange(start, min(start + together, size))
        a__kno = np.empty((len(indices), len(x), outputs), population.dtype)
        engine.predict(theta, x, a__kno, indices, threads=threads)
        for k, a__no in zip(indices, a__kno, strict=True):
            scores[k] = metric.function(y, a__no, None) if np.isfinite(a__no).all() else np.nan
    return scores


def split(task: Task, samples: int) -> Iterator[Task]:
    """Yield parts of a task, each with enough work for a task of its own, but not too much."""
    made = 0 if task.state is None else int(task.state.epochs[0])
    flops = 6.0 * task.trials[0].architecture.parameter_count * samples * max(1, task.epochs - made)
    count = max(WHOLE_GROUP, int(TASK_FLOPS / flops) // WHOLE_GROUP * WHOLE_GROUP)
    for start in range(0, len(task.trials), count):
        part = slice(start, start + count)
        state = None if task.state is None else task.state.take(range(len(task.trials))[part])
        yield replace(task, trials=task.trials[part], units=task.units[part], state=state)
