"""Our backends on the tasks of `steps` under pytest-benchmark, with its storage and comparisons; see ../README.md.

pytest bench/rounds --benchmark-only -k "W1 or W4" --benchmark-json=figures.json
"""

from __future__ import annotations

import math

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from nanostep.backends import PACKAGES
from nanostep.benchmark.contenders import CONTENDERS
from nanostep.benchmark.tasks.base import Settings
from nanostep.benchmark.tasks.steps import TASKS
from nanostep.benchmark.tasks.training import Training
from nanostep.benchmark.workload import make_data

ROUNDS = 5
SECONDS = 0.2
"""Aim for the length of one round."""


@pytest.mark.parametrize("backend", PACKAGES)
@pytest.mark.parametrize("task", TASKS, ids=[task.name for task in TASKS])
def test_steps(benchmark: BenchmarkFixture, task: Training, backend: str) -> None:
    contender, workload = CONTENDERS[backend], task.workload
    agreement = task.judge(task.prepare(contender, 1, Settings()).check())
    assert agreement.ok, f"not timed: {agreement}"
    trainer = contender.trainer(workload, *make_data(workload), 1)
    trainer.run(1)
    epochs = max(1, math.ceil(SECONDS / trainer.run(1).seconds))
    benchmark.group = f"{workload.name} {workload.network}"
    benchmark.pedantic(trainer.run, args=(epochs,), rounds=ROUNDS)
    steps = epochs * workload.steps_per_epoch
    benchmark.extra_info.update(backend=backend, steps_per_round=steps, **trainer.about())
    if benchmark.stats is not None:  # --benchmark-disable runs the round once and keeps no time
        steps_per_s = steps / benchmark.stats.stats.median
        benchmark.extra_info["steps_per_s"] = steps_per_s
        benchmark.extra_info["samples_per_s"] = steps_per_s * workload.rows / workload.steps_per_epoch
