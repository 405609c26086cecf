"""The benchmark's runs: turns, interruption, worker processes, floors, requests, and figures in files."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import nanostep as ns
from nanostep.benchmark import command, lanes, measure, worker
from nanostep.benchmark.contenders import CONTENDERS, Contender
from nanostep.benchmark.contenders.base import join, split
from nanostep.benchmark.floors import Floors, flops_per_step, training_floor
from nanostep.benchmark.lanes import LaneError, LocalLane, WorkerLane
from nanostep.benchmark.request import check_request
from nanostep.benchmark.results import read
from nanostep.benchmark.table import lines
from nanostep.benchmark.tasks import GROUPS, TASKS
from nanostep.benchmark.tasks.base import Settings
from nanostep.benchmark.tasks.steps import WORKLOADS

SHORT = Settings(seconds=1e-4)

# -- order, interruption, time limit ----------------------------------------------------------------------------------


class Recorder(LocalLane):
    log: list[tuple[str, str]] = []  # noqa: RUF012 (set by each test)

    def __init__(self, contender, cores):
        super().__init__(contender, cores)
        self._name = contender

    def call(self, *message):
        if message[0] == "run":
            self.log.append((self._name, message[0]))
            self.before_run()
        return super().call(*message)

    def before_run(self):
        pass


def test_repeats_take_turns(bench):
    Recorder.log = []
    seen = []
    results = bench(
        ["W4", "D1"],
        ["numpy", "numpy-by-hand"],
        repeats=3,
        open_lane=Recorder,
        on_progress=lambda *what: seen.append(what),
    )
    assert [name for name, _ in Recorder.log] == ["numpy", "numpy-by-hand"] * 6
    assert all(len(row.values) == 3 for row in results.rows)
    assert results.complete
    assert seen[-1][1] + 1 == seen[-1][2] - 1  # the floors were not measured


class Interrupted(Recorder):
    def before_run(self):
        if len(self.log) == 4:
            raise KeyboardInterrupt


def test_ctrl_c_keeps_what_was_measured(bench):
    Recorder.log = []
    results = bench(["W4", "D1"], ["numpy", "numpy-by-hand"], repeats=3, open_lane=Interrupted)
    assert not results.complete
    counts = [(row.task, row.status, len(row.values)) for row in results.rows]
    assert counts == [("W4", "timed", 2), ("W4", "timed", 1), ("D1", "interrupted", 0), ("D1", "interrupted", 0)]


def test_quick_leaves_out_what_there_is_no_time_for(bench, monkeypatch):
    monkeypatch.setattr("nanostep.benchmark.request.QUICK_BUDGET", -1.0)
    results = bench(["W4"], ["numpy"], quick=True)
    assert [(row.status, row.reason) for row in results.rows] == [("left out", measure.OVER)]


def test_quick_leaves_out_what_compiles_long_unless_it_is_named(monkeypatch):
    monkeypatch.setattr(Contender, "unavailable", lambda self: "")
    monkeypatch.setattr(type(CONTENDERS["torch-compile"]), "unavailable", lambda self: "")
    request = check_request(["W4"], None, ["1"], quick=True)
    rows = measure.Benchmark(request, lambda *_: None, LocalLane).results.rows
    assert [row.status for row in rows if row.contender == "torch-compile" and "--quick" in row.reason] == ["left out"]
    request = check_request(["W4"], ["torch-compile"], ["1"], quick=True)
    assert not measure.Benchmark(request, lambda *_: None, LocalLane).results.rows[0].reason


# -- workers ----------------------------------------------------------------------------------------------------------


def state(pid: int) -> str:
    """Return Linux's letter for the state of a process."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]


def test_a_worker_runs_pinned_and_is_stopped_between_questions():
    lane = WorkerLane("c", 1)
    try:
        loaded = lane.call("load")
        assert len(loaded["affinity"]) <= 1
        assert lane.call("prepare", "W4", SHORT).theta.shape == (2410,)
        sample = lane.call("run")
        assert sample.about["threads"] == 1
        assert TASKS["W4"].judge(sample.evidence).ok
        with pytest.raises(LaneError, match="KeyError"):
            lane.call("prepare", "W99", SHORT)
        if sys.platform == "linux":
            deadline = time.monotonic() + 10
            while state(lane._process.pid) != "T":  # the signal may arrive late on a busy machine
                assert time.monotonic() < deadline
                time.sleep(0.01)
    finally:
        lane.close()
    assert lane._process.returncode is not None


def test_a_worker_that_dies_is_reported_with_its_last_words(monkeypatch):
    lane = WorkerLane("no-such-contender", 1)
    with pytest.raises(LaneError, match="no-such-contender"):
        lane.call("load")
    lane._process.kill()
    with pytest.raises(LaneError, match="died"):
        lane.call("load")
    lane.close()


def test_environment_of_workers(monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    environment = lanes.environment(2)
    assert "OPENBLAS_CORETYPE" not in environment
    assert environment["OMP_NUM_THREADS"] == environment["OPENBLAS_NUM_THREADS"] == "2"
    assert worker.thread_count() >= 0


# -- floors -----------------------------------------------------------------------------------------------------------


def floors(cores: int = 1, **changes) -> Floors:
    """The machine of WORKLOADS: 117 GF/s float32 a core, 3.66 GHz, multiply-add 4.2 cycles, divide 13."""
    cycle = 1 / 3.66e9
    values = {
        "cores": cores,
        "vector_bytes": 64,
        "flops": {"float32": cores * 117e9, "float64": cores * 58.5e9},
        "cycle": cycle,
        "fma": 4.2 * cycle,
        "divide": 13 * cycle,
        "bandwidth": 2e10,
        "fork_join": 0.0,
        "barrier": 0.0,
        "cache_bytes": 0,
    }
    return Floors(**{**values, **changes})


@pytest.mark.parametrize(
    ("task", "microseconds"), [("W1", 0.030), ("W3", 17.1), ("W4", 2.83), ("W5", 111), ("W6", 3510), ("D1", 4.9)]
)
def test_floors_of_the_published_machine(task, microseconds):
    assert 1e6 * training_floor(WORKLOADS[task], floors()) == pytest.approx(microseconds, rel=0.04)


@pytest.mark.parametrize(
    ("task", "nanoseconds"), [("P1-f32", 0.95), ("P1-f64", 2.25), ("P1-f64-1M", 2.25), ("P2", 250)]
)
def test_floors_of_populations_on_the_published_machine(task, nanoseconds):
    assert TASKS[task].floor(floors()) == pytest.approx(nanoseconds, rel=0.12)
    assert TASKS[task].floor(floors(2)) == pytest.approx(TASKS[task].floor(floors()) / 2)


def test_floors_scale():
    workload = WORKLOADS["W5"]
    assert flops_per_step(workload) == 32 * (4 * (784 * 128 + 1280) + 2 * 1280)
    one, two = training_floor(workload, floors()), training_floor(workload, floors(2, barrier=1e-6))
    assert two == pytest.approx(one / 2 + 1e-6, rel=1e-3)
    slow = training_floor(workload, floors(cache_bytes=2**20, bandwidth=1e6))
    assert slow == pytest.approx(32 * (784 * 4 + 8) / 1e6)
    assert TASKS["W5"].floor(floors()) == pytest.approx(1e6 * one)
    assert TASKS["K1"].floor(floors()) is None
    rows = TASKS["G1/rows=1000"]
    assert rows.floor(floors()) == pytest.approx(1e9 * training_floor(rows.workload, floors()) / 1000)


def test_floors_are_measured():
    if reason := measure.floors.unavailable():
        pytest.fail(reason)
    measured = measure.floors.measure(1)
    assert measured.vector_bytes in (16, 32, 64)
    assert measured.flops["float32"] > measured.flops["float64"] > 1e8
    assert 1e-11 < measured.cycle < measured.fma < measured.divide < 1e-6
    assert measured.bandwidth > 1e8
    assert measured.fork_join == measured.barrier == 0


# -- requests and files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "options", "exception", "words"),
    [
        ((["W9"],), {}, ValueError, "tasks='W9' is not known; choose one of: W1, W1-mild, W2"),
        ((None, ["cuda"]), {}, ValueError, "contenders='cuda' is not known"),
        ((None, None, ["0"]), {}, ValueError, "cores='0': accepted are numbers from 1 to"),
        ((None, None, ["many"]), {}, ValueError, "cores='many'"),
        ((), {"seconds": 0.0}, ValueError, "seconds=0.0 is out of range"),
        ((), {"seconds": "1"}, TypeError, "seconds must be a real number"),
        ((), {"repeats": 0}, ValueError, "repeats=0 is out of range"),
    ],
)
def test_bad_arguments(arguments, options, exception, words):
    with pytest.raises(exception, match=words):
        check_request(*arguments, **options)


def test_requests():
    everything, quick = check_request(), check_request(quick=True)
    assert set(everything.tasks) == set(TASKS)
    assert set(quick.tasks) < set(TASKS)
    assert quick.seconds < everything.seconds
    assert everything.cores[0] == 1
    assert check_request(["G1/rows", "W1"]).tasks == (*GROUPS["G1/rows"], "W1")
    assert check_request(["G1/rows=100"], quick=True).tasks == ("G1/rows=100",)
    assert len(check_request(["G1"], quick=True).tasks) < len(GROUPS["G1"])


def test_files_that_cannot_be_written_fail_before_measuring(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "measure", lambda *_, **__: pytest.fail("measured"))
    request = check_request(["W4"], ["numpy"])
    with pytest.raises(FileNotFoundError):
        command.run(request, tmp_path / "missing" / "figures.json", None, None)
    with pytest.raises(ValueError, match=r"\.png or \.svg"):
        command.run(request, None, None, tmp_path / "plot.txt")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ns.NanostepError, match="matplotlib"):
        command.run(request, None, None, tmp_path / "plot.png")
    assert list(tmp_path.iterdir()) == []


def test_results_survive_json(bench, tmp_path):
    results = bench(["W4", "T1"], ["numpy", "numpy-by-hand", "fann"])
    path = tmp_path / "figures.json"
    path.write_text(results.to_json())
    again = read(path)
    assert again.rows == results.rows
    written = json.loads(path.read_text())
    assert {"cpu", "c_library", "versions"} <= written["machine"].keys()
    assert written["machine"]["versions"]["nanostep"] == ns.__version__
    first = written["rows"][0]
    assert first["median"] == pytest.approx(np.median(first["values"]))
    assert "NaN" not in path.read_text()
    for text in ("{}", "[1]", "no", '{"format": 1}', '{"format": 99}'):
        path.write_text(text)
        with pytest.raises(ValueError, match="nanostep bench"):
            read(path)


def test_ratios_are_peer_over_ours(bench):
    results = bench(["W4"], ["c", "numpy-by-hand"])
    (line,) = lines(results)
    assert line.ours.contender == "c"
    assert line.peer.contender == "numpy-by-hand"
    assert line.ratio == pytest.approx(line.peer.median / line.ours.median)


def test_weights_go_there_and_back():
    architecture = WORKLOADS["W3"].architecture
    theta = np.arange(architecture.parameter_count, dtype=float)
    pairs = split(architecture, theta)
    assert [w.shape for w, _ in pairs] == [(64, 8), (64, 64), (4, 64)]
    np.testing.assert_array_equal(join(pairs), theta)
    many = np.stack([theta, theta + 0.5])
    pairs = split(architecture, many)
    np.testing.assert_array_equal(pairs[1][0][1], split(architecture, many[1])[1][0])
    np.testing.assert_array_equal(join(pairs), many)
