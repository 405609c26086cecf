"""Our backends on the tasks of `steps` and of calls under pytest-benchmark, with its storage and comparisons.

    pytest bench/rounds -n 0 --benchmark-only -k "W1 or W4" --benchmark-json=figures.json

An iteration is the same on every backend, one epoch or one pass of calls, so that the library's figures can be
compared; a round has as many as fill its time. See ../README.md.
"""

from __future__ import annotations

import math
import time

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from nanostep.backends import PACKAGES
from nanostep.benchmark.contenders import CONTENDERS
from nanostep.benchmark.tasks import batch_calls, calls, steps
from nanostep.benchmark.tasks.base import Settings, Task
from nanostep.benchmark.tasks.training import Training
from nanostep.benchmark.workload import make_data

ROUNDS = 5
SECONDS = 0.2
"""Aim for the length of one round."""

ONE_PASS = Settings(seconds=1e-9)

CALLS = [task for task in (*calls.TASKS, *batch_calls.TASKS) if isinstance(task, (calls.Call, batch_calls.BatchCall))]


@pytest.mark.parametrize("backend", PACKAGES)
@pytest.mark.parametrize("task", steps.TASKS, ids=[task.name for task in steps.TASKS])
def test_steps(benchmark: BenchmarkFixture, task: Training, backend: str) -> None:
    contender, workload = CONTENDERS[backend], task.workload
    agreement = task.judge(task.prepare(contender, 1, Settings()).check())
    assert agreement.ok, f"not timed: {agreement}"
    trainer = contender.trainer(workload, *make_data(workload), 1)
    trainer.run(1)
    iterations = max(1, math.ceil(SECONDS / trainer.run(1).seconds))
    benchmark.group = f"{workload.name} {workload.network}, an epoch of {workload.steps_per_epoch:,} steps"
    benchmark.pedantic(trainer.run, args=(1,), rounds=ROUNDS, iterations=iterations)
    benchmark.extra_info.update(backend=backend, steps_per_iteration=workload.steps_per_epoch, **trainer.about())
    if benchmark.stats is not None:  # --benchmark-disable runs the round once and keeps no time
        steps_per_s = workload.steps_per_epoch / benchmark.stats.stats.median
        benchmark.extra_info["steps_per_s"] = steps_per_s
        benchmark.extra_info["samples_per_s"] = steps_per_s * workload.rows / workload.steps_per_epoch


@pytest.mark.parametrize("backend", PACKAGES)
@pytest.mark.parametrize("task", CALLS, ids=[task.name for task in CALLS])
def test_calls(benchmark: BenchmarkFixture, task: Task, backend: str) -> None:
    session = task.prepare(CONTENDERS[backend], 1, ONE_PASS)
    evidence = session.check()
    assert evidence is not None
    agreement = task.judge(evidence)
    assert agreement.ok, f"not timed: {agreement}"
    count = session.run().about["calls"]
    started = time.perf_counter()
    session.run()
    iterations = max(1, math.ceil(SECONDS / (time.perf_counter() - started)))
    benchmark.group = f"{task.name} {task.title}, a pass of {count} calls"
    benchmark.pedantic(session.run, rounds=ROUNDS, iterations=iterations)
    benchmark.extra_info.update(backend=backend, calls_per_iteration=count)
    if benchmark.stats is not None:
        benchmark.extra_info["us_per_call"] = 1e6 * benchmark.stats.stats.median / count
