"""`Rounds` carries out a sweep: rounds of tasks, run by joblib, without those whose scores are known already."""

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
from nanostep.sweeps.table import cost_of
from nanostep.sweeps.tasks import Outcome, State, Task, run, split
from nanostep.training.metrics import Metric

Parallel = Callable[[list[Any]], Iterable[tuple[int, Outcome]]]
"""Calls `run_numbered` with each list of arguments, and yields the results as they become ready."""


@dataclass(kw_only=True)
class Rounds:
    """The rounds of a sweep; arguments are those of `sweep`, checked.

    Attributes
    ----------
    scores : ndarray, shape (trials, folds, repeats)
        NaN where there is none.
    epochs : ndarray of int64, shape (trials,)
        Epochs that the networks of each trial have made.
    """

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

    def execute(self, rounds: list[tuple[int, int]], parallel: Parallel, results: Results, *, progress: bool) -> None:
        """Carry out rounds, each given as (settings, epochs).

        A round takes that many of the best settings of the round before and trains their networks until they have made
        that many epochs in total; 0 means the epochs that each setting asks for.
        """
        y = self.samples.labels
        if y is None:
            assert self.samples.y is not None
            y = self.trials[0].architecture.unrepeated(self.samples.y)
        data = hashlib.sha256(self.samples.x.tobytes() + b"|" + y.tobytes()).hexdigest()
        active = list(range(len(self.trials)))
        with task_bar(progress) as bar:
            for number, (count, epochs) in enumerate(rounds):
                active = self._best(active, count)
                tasks = self._make_tasks(active, epochs)
                bar.start(f"round {number + 1} of {len(rounds)}" if len(rounds) > 1 else "sweep", len(tasks))
                try:
                    self._run_tasks(tasks, bar, data, y, parallel, results, keep_state=number + 1 < len(rounds))
                except KeyboardInterrupt:
                    more = "; call it again with the same path to go on" if results.has_file else ""
                    warnings.warn(f"Ctrl-C ended the sweep: what was not finished is NaN{more}", stacklevel=3)
                    break
        self._states.clear()

    def _run_tasks(
        self,
        tasks: list[Task],
        bar: TaskBar,
        data: str,
        y: np.ndarray,
        parallel: Parallel,
        results: Results,
        *,
        keep_state: bool,
    ) -> None:
        """Record the scores of all tasks, running those that are not in `results`."""
        keys = [task.key(data, self.metric.name) if results.has_file else None for task in tasks]
        calls = []
        for number, (task, key) in enumerate(zip(tasks, keys, strict=True)):
            scores = None if key is None else results.find(key, len(task.units))
            if scores is not None:
                self._record(task, Outcome(scores, None))
                bar.advance()
            else:
                calls.append((number, task, self.samples.x, y, self.metric, keep_state))
        for number, outcome in parallel(calls):
            self._record(tasks[number], outcome)
            key = keys[number]
            if key is not None:
                results.add(key, outcome.scores)
            bar.advance()

    def _record(self, task: Task, outcome: Outcome) -> None:
        for k, (unit, score) in enumerate(zip(task.units, outcome.scores, strict=True)):
            self.scores[unit] = score
            self.epochs[unit[0]] = task.epochs
            self._states.pop(unit, None)
            if outcome.state is not None:
                self._states[unit] = outcome.state.take([k])

    def _best(self, active: list[int], count: int) -> list[int]:
        """Return the `count` best of the active settings, in their original order."""
        if count >= len(active):
            return active
        with np.errstate(all="ignore"):
            mean = self.scores[active].mean(axis=(1, 2))
        cost = cost_of(mean, self.metric.mode)
        return sorted(np.array(active)[np.argsort(cost, kind="stable")[:count]].tolist())

    def _make_tasks(self, active: list[int], epochs: int) -> list[Task]:
        tasks: list[Task] = []
        groups: dict[Any, list[int]] = {}
        for s in active:
            groups.setdefault(self.trials[s].group(), []).append(s)
        for group in groups.values():
            for f, fold in enumerate(self.folds):
                units = tuple((s, f, r) for s in group for r in range(self.repeats))
                states = [self._states[unit] for unit in units if unit in self._states]
                whole = Task(
                    trials=tuple(self.trials[s] for s, _, _ in units),
                    units=units,
                    fold=fold,
                    seed=self.seed,
                    epochs=epochs or self.trials[group[0]].epochs,
                    dtype=self.dtype.name,
                    backend=self.backend,
                    threads=self.threads,
                    state=State.joined(states) if len(states) == len(units) else None,
                )
                tasks.extend(split(whole, len(fold[0])))
        return tasks


def run_numbered(
    number: int, task: Task, x: np.ndarray, y: np.ndarray, metric: Metric, keep_state: bool
) -> tuple[int, Outcome]:
    """Return the number of a task and its outcome, because outcomes arrive in any order."""
    return number, run(task, x, y, metric, keep_state=keep_state)


def make_parallel(n_jobs: object) -> Parallel:
    """Return a function that runs tasks: by joblib, or in a loop where joblib is not installed.

    Raises
    ------
    ImportError
        Several jobs were requested without joblib.
    """
    if n_jobs is not None and (check_integer("n_jobs", n_jobs, -(2**15), 2**15) == 0):
        raise ValueError("n_jobs=0 is no number of jobs; -1 takes all processors")
    if n_jobs in (None, 1) and importlib.util.find_spec("joblib") is None:
        return lambda calls: (run_numbered(*call) for call in calls)
    joblib = require(f"n_jobs={n_jobs}", "joblib", "joblib", "sweep")
    # batches of one: a task is long enough, and the progress bar shows its end
    parallel = joblib.Parallel(n_jobs=n_jobs, return_as="generator_unordered", batch_size=1)
    return lambda calls: parallel(joblib.delayed(run_numbered)(*call) for call in calls)
