"""Times repeated SGD steps of every backend on every workload, under pytest-benchmark; see README.md here."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from nanostep.backends import PACKAGES
from nanostep.benchmark import WORKLOADS, Workload, check_agreement
from nanostep.benchmark.measure import REPEATS, Contender

SECONDS = 0.2
"""Aim for the length of one round."""


@pytest.mark.parametrize("backend", PACKAGES)
@pytest.mark.parametrize("workload", WORKLOADS.values(), ids=WORKLOADS)
def test_steps(benchmark: BenchmarkFixture, workload: Workload, backend: str) -> None:
    agreement = check_agreement(workload, backend)
    assert agreement.ok, f"not timed: {agreement}"
    contender = Contender(workload, backend)
    epochs = contender.calibrate(SECONDS)
    benchmark.group = f"{workload.name} {workload.network}"
    benchmark.pedantic(contender.run, args=(epochs,), rounds=REPEATS)
    steps = epochs * workload.steps_per_epoch
    benchmark.extra_info.update(backend=backend, isa=contender.isa, threads=contender.threads, steps_per_round=steps)
    if benchmark.stats is not None:  # --benchmark-disable runs the round once and keeps no time
        steps_per_s = steps / benchmark.stats.stats.median
        benchmark.extra_info["steps_per_s"] = steps_per_s
        benchmark.extra_info["samples_per_s"] = steps_per_s * workload.rows / workload.steps_per_epoch
