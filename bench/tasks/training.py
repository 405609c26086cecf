"""`Training`: repeated optimiser steps, the base class of steps, series, data sets and populations."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nanostep.benchmark.agreement import Evidence, reference_run, short_run
from nanostep.benchmark.contenders import Contender
from nanostep.benchmark.contenders.base import Run, Trainer
from nanostep.benchmark.tasks.base import Sample, Session, Settings, Task
from nanostep.benchmark.workload import make_data

if TYPE_CHECKING:
    from nanostep.benchmark.floors import Floors

REFERENCE_SECONDS = 1.0
"""Most time that the reference may take for the run with which a timed one is compared."""

GROWTH = 4
"""Runs are 1, 4, 16, ... epochs long, so that few lengths occur and the reference is run for each once."""


class TrainingSession(Session):
    """Runs of a fixed number of epochs, each from the initial weights, until the repeat is long enough."""

    def __init__(self, task: Training, contender: Contender, cores: int, settings: Settings) -> None:
        self._task, self._contender, self._cores, self._settings = task, contender, cores, settings
        self._trainer: Trainer | None = None
        self._loss_dtype = contender.loss_dtype or task.workload.dtype
        self._epochs = 1
        self._spare: Run | None = None

    def check(self) -> Evidence:
        workload = self._task.workload
        rows, epochs = short_run(workload)
        x, y = make_data(workload)
        run = self._task.make_trainer(self._contender, x[:rows], y[:rows], self._cores).run(epochs)
        return self._evidence(run, rows, epochs, timed=False)

    def run(self) -> Sample:
        trainer = self._trainer or self._ready()
        workload = self._task.workload
        seconds, runs = 0.0, 0
        while seconds < self._settings.seconds:
            run = self._spare or trainer.run(self._epochs)
            self._spare = None
            seconds += run.seconds
            runs += 1
        steps = runs * self._epochs * workload.steps_per_epoch
        evidence = self._evidence(run, workload.rows, self._epochs, timed=True)
        epochs_per_s = runs * self._epochs / seconds
        about = {"steps": steps, "epochs_in_a_row": self._epochs, "epochs_per_s": epochs_per_s, **trainer.about()}
        return Sample(self._task.per_step(seconds / steps), evidence, about)

    def _evidence(self, run: Run, rows: int, epochs: int, *, timed: bool) -> Evidence:
        loss, theta = self._task.outcome(run)
        return Evidence(rows, epochs, loss, theta, self._loss_dtype, timed)

    def _ready(self) -> Trainer:
        """Compile, warm up, and choose the number of epochs of a run."""
        x, y = make_data(self._task.workload)
        self._trainer = trainer = self._task.make_trainer(self._contender, x, y, self._cores)
        if self._contender.compiles or self._task.workload.steps_per_epoch < 16:
            trainer.run(1)
        run = trainer.run(1)
        seconds = run.seconds
        if self._settings.quick and seconds >= self._settings.seconds:
            self._spare = run  # used as the first repeat, since --quick has no time for another one
        while GROWTH * self._epochs <= self._settings.epoch_limit and GROWTH * seconds <= self._settings.seconds:
            self._epochs, seconds = GROWTH * self._epochs, GROWTH * seconds
        return trainer


@dataclass(frozen=True)
class Training(Task):
    """A workload, timed per step, or per row if the unit is ns/row."""

    def epoch_limit(self) -> int:
        started = time.perf_counter()
        reference_run(self.workload, self.workload.rows, 1)
        seconds = max(time.perf_counter() - started, 1e-9)
        limit = 1
        while GROWTH * limit * seconds <= REFERENCE_SECONDS and limit < 1024:
            limit *= GROWTH
        return limit

    def make_trainer(self, contender: Contender, x: np.ndarray, y: np.ndarray, cores: int) -> Trainer:
        """Return the contender's trainer for the workload on these rows."""
        return contender.trainer(self.workload, x, y, cores)

    def outcome(self, run: Run) -> tuple[float | np.ndarray, np.ndarray]:
        """Return the values to compare with the reference: loss and theta."""
        return run.loss, run.theta

    def per_step(self, seconds: float) -> float:
        """Return the seconds of a step in the task's unit."""
        return 1e9 * seconds / self.workload.batch if self.unit == "ns/row" else 1e6 * seconds

    def prepare(self, contender: Contender, cores: int, settings: Settings) -> Session:
        return TrainingSession(self, contender, cores, settings)

    def floor(self, floors: Floors) -> float | None:
        from nanostep.benchmark.floors import training_floor

        return self.per_step(training_floor(self.workload, floors))
