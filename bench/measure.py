"""The benchmark itself: every contender on every task, checked, then timed in interleaved repeats."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from nanostep.benchmark import floors
from nanostep.benchmark.agreement import Evidence
from nanostep.benchmark.contenders import CONTENDERS
from nanostep.benchmark.floors import Floors
from nanostep.benchmark.lanes import Lane, LaneError, WorkerLane, choose_cores
from nanostep.benchmark.machine import describe
from nanostep.benchmark.request import Request
from nanostep.benchmark.results import TIMED, Results, Row
from nanostep.benchmark.tasks import GROUPS, TASKS, Task
from nanostep.benchmark.tasks.base import Settings

OVER = "the time of --quick was over"

Progress = Callable[[str, int, int], object]
"""Called with a description of the next run, the number of completed runs, and their total."""


def measure(
    request: Request,
    *,
    on_progress: Progress = lambda what, done, total: None,
    open_lane: Callable[[str, int], Lane] = WorkerLane,
) -> Results:
    """Carry out a request. After Ctrl-C the results hold the measurements so far and are marked incomplete."""
    benchmark = Benchmark(request, on_progress, open_lane)
    try:
        benchmark.run()
    except KeyboardInterrupt:
        benchmark.mark_interrupted()
    finally:
        benchmark.close()
    return benchmark.results


class Benchmark:
    """One run of the benchmark: its lanes, its results so far, and its progress."""

    def __init__(self, request: Request, on_progress: Progress, open_lane: Callable[[str, int], Lane]) -> None:
        self._request, self._on_progress, self._open_lane = request, on_progress, open_lane
        self._lanes: dict[tuple[str, int], Lane] = {}
        self._broken: dict[tuple[str, int], str] = {}
        self._floors: dict[int, Floors] = {}
        self._reference: Lane | None = None
        self._done, self._total = 0, 0
        self._started = time.monotonic()
        unavailable = {name: CONTENDERS[name].unavailable() for name in request.contenders}
        self.results = Results(
            machine=describe(),
            settings={**asdict(request), "pinned_to": {str(n): choose_cores(n) for n in request.cores}},
            tasks={name: _describe_task(TASKS[name]) for name in request.tasks},
            contenders={
                name: {"title": CONTENDERS[name].title, "ours": CONTENDERS[name].ours} for name in request.contenders
            },
        )
        # JSON has no infinity
        self.results.settings["budget"] = None if request.budget == float("inf") else request.budget
        for name in request.tasks:
            self._plan(TASKS[name], unavailable)

    def run(self) -> None:
        open_rows = [row for row in self.results.rows if not row.reason]
        self._total = (self._request.repeats + 1) * len(open_rows) + len(self._request.cores)
        self._measure_floors()
        for name, cores in self._rounds():
            rows = [row for row in open_rows if row.task == name and row.cores in cores]
            if self.overtime():
                for row in rows:
                    row.reject("left out", OVER)
                continue
            _Round(self, TASKS[name], rows).run()
        self.results.complete = True

    def _rounds(self) -> list[tuple[str, tuple[int, ...]]]:
        """Return each task with the numbers of cores whose repeats take turns.

        Without --quick these are all numbers of cores. With it, each round has one number of cores, so that a short
        time suffices for all tasks on few cores rather than for few tasks on all; starts, memory and series come last.
        """
        cores, tasks = self._request.cores, self._request.tasks
        if not self._request.quick:
            return [(name, cores) for name in tasks]
        late = {*GROUPS["T"], *GROUPS["M1"], *GROUPS["G1"]}
        return [(name, (n,)) for last in (False, True) for n in cores for name in tasks if (name in late) is last]

    def overtime(self) -> bool:
        """True if the time budget is used up, so that no further measurement begins."""
        return time.monotonic() - self._started > self._request.budget

    def mark_interrupted(self) -> None:
        """Mark every row that has neither figures nor a reason as interrupted."""
        for row in self.results.rows:
            if not row.timed and not row.reason:
                row.reject("interrupted", "by Ctrl-C")

    def close(self) -> None:
        for lane in (self._reference, *self._lanes.values()):
            if lane is not None:
                lane.close()

    def call_reference(self, *message: Any) -> Any:
        """Send a message to the worker that runs the reference on one core, and return the result."""
        if self._reference is None:
            self._reference = self._open_lane("", 1)
        return self._reference.call(*message)

    def advance(self, what: str, by: int = 1) -> None:
        self._on_progress(what, self._done, self._total)
        self._done += by

    def call(self, row: Row, *message: Any) -> Any:
        """Send a message to the row's lane, which is opened if necessary, and return the result."""
        key = (row.contender, row.cores)
        if key in self._broken:
            raise LaneError(self._broken[key])
        if key not in self._lanes:
            self._lanes[key] = self._open_lane(*key)
            try:
                self.results.contenders[row.contender].update(self._lanes[key].call("load"))
            except LaneError as error:
                self._broken[key] = f"could not be loaded: {error}"
                raise
        return self._lanes[key].call(*message)

    def reopen(self, row: Row) -> None:
        """Close the row's lane; the next call opens a new one."""
        lane = self._lanes.pop((row.contender, row.cores), None)
        if lane is not None:
            lane.close()

    def floor(self, task: Task, cores: int) -> float | None:
        return task.floor(self._floors[cores]) if cores in self._floors else None

    def _plan(self, task: Task, unavailable: dict[str, str]) -> None:
        """Add a row for each contender and number of cores, with a reason if it will not be measured."""
        for cores in self._request.cores if task.scales else self._request.cores[:1]:
            for name in self._request.contenders:
                contender, row = CONTENDERS[name], Row(task.name, name, cores, task.unit)
                self.results.rows.append(row)
                if reason := task.cannot(contender):
                    row.reject("cannot", reason)
                elif unavailable[name]:
                    row.reject("missing", unavailable[name])
                elif self._request.quick and not contender.quick and not self._request.named:
                    row.reject(
                        "left out", f"--quick leaves it out, because it takes long to compile: --contenders {name}"
                    )

    def _measure_floors(self) -> None:
        reason = floors.unavailable()
        if reason:
            self.results.floors = {"unavailable": reason}
            return
        for cores in self._request.cores:
            self.advance(f"floors of {cores} core{'s' * (cores > 1)}")
            lane = self._open_lane("", cores)
            try:
                self._floors[cores] = lane.call("floors")
            except LaneError as error:
                self.results.floors = {"unavailable": str(error)}
                return
            finally:
                lane.close()
            self.results.floors[str(cores)] = asdict(self._floors[cores])


class _Round:
    """One task, whose rows are all checked and then timed in turns."""

    def __init__(self, benchmark: Benchmark, task: Task, rows: list[Row]) -> None:
        self._benchmark, self._task, self._rows = benchmark, task, rows

    def run(self) -> None:
        if not self._rows:
            return
        request = self._benchmark._request
        settings = Settings(
            request.seconds, self._benchmark.call_reference("epoch_limit", self._task.name), request.quick
        )
        for row in self._rows:
            if self._benchmark.overtime():
                row.reject("left out", OVER)
                continue
            self._benchmark.advance(f"{row.task} {row.contender} check, {row.cores} core{'s' * (row.cores > 1)}")
            evidence = self._call(row, "prepare", row.task, settings)
            if not row.reason and self._agrees(row, evidence):
                row.floor = self._benchmark.floor(self._task, row.cores)
        for repeat in range(request.repeats):
            if self._benchmark.overtime():
                break
            for row in self._rows:
                self._benchmark.advance(f"{row.task} {row.contender} {repeat + 1}/{request.repeats}")
                if not row.reason:
                    self._repeat(row)
        for row in self._rows:
            if not row.timed and not row.reason:
                row.reject("left out", OVER)
            if not row.reason:
                self._release(row)

    def _release(self, row: Row) -> None:
        """Release the task in the lane and keep its report of threads; a failure at this point keeps the figures."""
        try:
            processes = self._benchmark.results.contenders[row.contender].setdefault("processes", {})
            processes[str(row.cores)] = self._benchmark.call(row, "release")
        except LaneError:
            self._benchmark.reopen(row)

    def _repeat(self, row: Row) -> None:
        sample = self._call(row, "run")
        if sample is not None and self._agrees(row, sample.evidence):
            row.values.append(sample.value)
            row.status, row.about = TIMED, sample.about

    def _agrees(self, row: Row, evidence: Evidence | None) -> bool:
        """Return True if the evidence agrees with the reference or there is none; otherwise reject the row."""
        if evidence is None:
            return True
        agreement = self._benchmark.call_reference("judge", self._task.name, evidence)
        row.agreement = str(agreement)
        if not agreement.ok:
            row.reject("disagrees", str(agreement))
        return agreement.ok

    def _call(self, row: Row, *message: Any) -> Any:
        try:
            return self._benchmark.call(row, *message)
        except LaneError as error:
            row.reject("failed", str(error))
            self._benchmark.reopen(row)
            return None


def _describe_task(task: Task) -> dict[str, Any]:
    workload = task.workload
    return {
        "title": task.title,
        "unit": task.unit,
        "series": task.series,
        "workload": asdict(workload),
        "steps_per_epoch": workload.steps_per_epoch,
    }
