"""Sweeps and searches on a Dask cluster of two worker processes: the same tables, also when a worker is killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from dask.distributed import Client, LocalCluster

import nanostep as ns
from nanostep.sklearn import MLPClassifier, PopulationSearchCV
from nanostep.sweeps import rounds
from nanostep.sweeps.results import Results

RNG = np.random.default_rng(3)
X = RNG.standard_normal((300, 6))
Y = (X[:, 0] * X[:, 1] > X[:, 2]).astype(int)
SPACE = {"lr": np.geomspace(1e-3, 0.1, 40).tolist(), "hidden": [(8,), (12,), (6, 6)]}


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0", "silence_logs": "CRITICAL"}
    with LocalCluster(processes=True, **options) as cluster, Client(cluster) as client:
        yield client


def sweep(**options: Any) -> ns.SweepTable:
    return ns.sweep(X, Y, ns.Halving(SPACE), cv=3, epochs=27, backend="c", **options)


def same(a: ns.SweepTable, b: ns.SweepTable) -> bool:
    return all(np.array_equal(a[name], b[name]) for name in a)


def test_a_sweep_is_the_same_on_a_cluster(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    here = sweep()

    def run(*_: Any, **__: Any) -> None:
        raise AssertionError("made in this process")

    monkeypatch.setattr(rounds, "run", run)
    with joblib.parallel_config("dask"):
        there = sweep()
    assert same(here, there)
    assert len(set(here["epochs"])) == 4  # several rounds, between which states are sent from process to process
    with pytest.raises(AssertionError, match="made in this process"):
        sweep()


def test_a_worker_that_is_killed_changes_no_bit(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, killed = sweep(), []
    add = Results.add

    def add_and_kill(self: Results, key: str, scores: np.ndarray) -> None:
        add(self, key, scores)
        if not killed:  # after the first finished task, with other tasks running and waiting
            killed.extend(client.run(os.getpid).values())
            os.kill(killed[0], signal.SIGKILL)

    monkeypatch.setattr(Results, "add", add_and_kill)
    with joblib.parallel_config("dask"):
        there = sweep(path=tmp_path / "sweep.jsonl")
    assert same(here, there)
    client.wait_for_workers(2, timeout=60)
    now = set(client.run(os.getpid).values())
    assert killed[0] not in now
    assert killed[1] in now


def test_a_search_is_the_same_on_a_cluster(client: Client) -> None:
    grid = {"alpha": [1e-4, 1e-2, 1.0], "hidden_layer_sizes": [(4,), (8,)]}
    search = PopulationSearchCV(MLPClassifier(max_iter=400, tol=1e-2, random_state=0), grid, cv=3, refit=False)
    here = search.fit(X, Y).cv_results_
    with joblib.parallel_config("dask"):
        there = search.fit(X, Y).cv_results_
    np.testing.assert_array_equal(here["mean_test_score"], there["mean_test_score"])
