"""The course of a sweep: rounds of tasks, who makes them, and what is known already."""

from __future__ import annotations

import hashlib
import importlib.util
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from nanostep._arrays import Samples
from nanostep._checks import check_integer
from nanostep._optional import require
from nanostep.sweeps.folds import Fold
from nanostep.sweeps.progress import TaskBar, task_bar
from nanostep.sweeps.results import Results
from nanostep.sweeps.settings import Trial
from nanostep.sweeps.tasks import Outcome, State, Task, run, split
from nanostep.training.metrics import Metric

Parallel = Callable[[list[Any]], Iterable[tuple[int, Outcome]]]
"""Makes calls of `numbered`, given their arguments; the results come as they are ready."""


@dataclass
class Course:
    """A sweep under way; arguments as in `sweep`, checked."""

    trials: list[Trial]
    samples: Samples
    folds: list[Fold]
    repeats: int
    seed: int
    dtype: np.dtype
    backend: str
    metric: Metric
    threads: int | None

    def __post_init__(self) -> None:
        self.scores = np.full((len(self.trials), len(self.folds), self.repeats), np.nan)
        self.epochs = np.zeros(len(self.trials), np.int64)
        self._states: dict[tuple[int, int, int], State] = {}

    def run(self, rounds: list[tuple[int, int]], parallel: Parallel, results: Results, *, progress: bool) -> None:
        """Make the rounds: each with so many of the best settings of the one before, until they have made so many
        epochs, or all that they are to make where that is 0.
        """
        y = self.samples.y if self.samples.labels is None else self.samples.labels
        assert y is not None
        data = hashlib.sha256(self.samples.x.tobytes() + b"|" + y.tobytes()).hexdigest()
        active = list(range(len(self.trials)))
        with task_bar(progress) as bar:
            for number, (count, epochs) in enumerate(rounds):
                active = self._best(active, count)
                tasks = self._tasks(active, epochs)
                bar.start(f"round {number + 1} of {len(rounds)}" if len(rounds) > 1 else "sweep", len(tasks))
                try:
                    self._make(tasks, bar, data, y, parallel, results, keeps=number + 1 < len(rounds))
                except KeyboardInterrupt:
                    more = "; call it again with the same path to go on" if results.are_kept else ""
                    warnings.warn(f"Ctrl-C ended the sweep: what was not finished is NaN{more}", stacklevel=3)
                    break
        self._states.clear()

    def _make(
        self,
        tasks: list[Task],
        bar: TaskBar,
        data: str,
        y: np.ndarray,
        parallel: Parallel,
        results: Results,
        *,
        keeps: bool,
    ) -> None:
        """Make the tasks that are not known."""
        keys = [task.key(data, self.metric.name) if results.are_kept else None for task in tasks]
        calls = []
        for number, (task, key) in enumerate(zip(tasks, keys, strict=True)):
            scores = None if key is None else results.find(key, len(task.units))
            if scores is not None:
                self._take(task, Outcome(scores, None))
                bar.advance()
            else:
                calls.append((number, task, self.samples.x, y, self.metric, keeps))
        for number, outcome in parallel(calls):
            self._take(tasks[number], outcome)
            key = keys[number]
            if key is not None:
                results.add(key, outcome.scores)
            bar.advance()

    def _take(self, task: Task, outcome: Outcome) -> None:
        for k, (unit, score) in enumerate(zip(task.units, outcome.scores, strict=True)):
            self.scores[unit] = score
            self.epochs[unit[0]] = task.epochs
            self._states.pop(unit, None)
            if outcome.state is not None:
                self._states[unit] = outcome.state.take([k])

    def _best(self, active: list[int], count: int) -> list[int]:
        """Return the best settings, in their order."""
        if count >= len(active):
            return active
        with np.errstate(all="ignore"):
            mean = self.scores[active].mean(axis=(1, 2))
        worth = np.where(np.isfinite(mean), mean if self.metric.mode == "min" else -mean, np.inf)
        return sorted(np.array(active)[np.argsort(worth, kind="stable")[:count]].tolist())

    def _tasks(self, active: list[int], epochs: int) -> list[Task]:
        tasks: list[Task] = []
        groups: dict[Any, list[int]] = {}
        for s in active:
            groups.setdefault(self.trials[s].group(), []).append(s)
        for members in groups.values():
            for f, fold in enumerate(self.folds):
                units = tuple((s, f, r) for s in members for r in range(self.repeats))
                states = [self._states[unit] for unit in units if unit in self._states]
                whole = Task(
                    tuple(self.trials[s] for s, _, _ in units),
                    units,
                    fold,
                    self.seed,
                    epochs or self.trials[members[0]].epochs,
                    self.dtype.name,
                    self.backend,
                    self.threads,
                    State.joined(states) if len(states) == len(units) else None,
                )
                tasks.extend(split(whole, len(fold[0])))
        return tasks


def numbered(number: int, task: Task, x: np.ndarray, y: np.ndarray, metric: Metric, keeps: bool) -> tuple[int, Outcome]:
    """Return what came of a task, and its number: results come in any order."""
    return number, run(task, x, y, metric, keeps=keeps)


def make_parallel(n_jobs: object) -> Parallel:
    """Return what makes the tasks: joblib, or a loop where it is not installed.

    Raises
    ------
    ImportError
        Several jobs are asked for without joblib.
    """
    if n_jobs is not None and (check_integer("n_jobs", n_jobs, -(2**15), 2**15) == 0):
        raise ValueError("n_jobs=0 is no number of jobs; -1 takes all processors")
    if n_jobs in (None, 1) and importlib.util.find_spec("joblib") is None:
        return lambda calls: (numbered(*call) for call in calls)
    joblib = require(f"n_jobs={n_jobs}", "joblib", "joblib", "sweep")
    # batches of one: a task is long enough, and its end is news
    parallel = joblib.Parallel(n_jobs=n_jobs, return_as="generator_unordered", batch_size=1)
    return lambda calls: parallel(joblib.delayed(numbered)(*call) for call in calls)
