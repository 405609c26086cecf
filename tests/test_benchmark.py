"""The benchmark: tasks are well posed, contenders that compute something else get no time, and what is shown."""

from __future__ import annotations

import json
import math
import sys
from types import ModuleType

import numpy as np
import pytest

import nanostep as ns
from nanostep import backends
from nanostep.backends.reference import networks, optimizers
from nanostep.benchmark import command, lanes, measure, worker
from nanostep.benchmark.agreement import TOLERANCES, Evidence, judge
from nanostep.benchmark.contenders import CONTENDERS, Contender
from nanostep.benchmark.contenders.base import Run, Trainer, join, split
from nanostep.benchmark.contenders.ours import Backend
from nanostep.benchmark.floors import Floors, flops_per_step, training_floor
from nanostep.benchmark.lanes import LaneError, LocalLane, WorkerLane
from nanostep.benchmark.request import check_request
from nanostep.benchmark.results import read
from nanostep.benchmark.table import excuses, lines
from nanostep.benchmark.tasks import GROUPS, TASKS
from nanostep.benchmark.tasks.base import Settings
from nanostep.benchmark.tasks.steps import WORKLOADS
from nanostep.benchmark.workload import make_data

BACKENDS = list(backends.PACKAGES)
SHORT = Settings(seconds=1e-4)
PEERS = ("jax", "torch", "torch-compile", "sklearn", "fann")


def run(tasks, contenders, **options):
    """Measure in this process; on one core, briefly."""
    request = check_request(tasks, contenders, ["1"], **{"seconds": 1e-4, "repeats": 2, **options})
    return measure.measure(request, open_lane=LocalLane)


@pytest.fixture(autouse=True)
def _no_floors(request, monkeypatch):
    """Floors take a second; tests that want them say so."""
    if "floors" not in request.keywords:
        monkeypatch.setattr("nanostep.benchmark.floors.unavailable", lambda: "not in this test")


# -- workloads --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workload", WORKLOADS.values(), ids=WORKLOADS)
def test_workloads_are_well_posed(workload):
    x, y = make_data(workload)
    assert x.shape == (workload.rows, workload.sizes[0])
    assert x.dtype == workload.dtype
    make_data.cache_clear()
    np.testing.assert_array_equal(make_data(workload)[1], y)
    net = workload.make_network("numpy")
    before = net.loss(x, y)
    steps = min(workload.steps_per_epoch, 128)
    net.train(x[: steps * workload.batch], y[: steps * workload.batch], 1, workload.batch, workload.make_optimizer())
    assert net.loss(x, y) < before


def test_images_look_like_mnist():
    workload = TASKS["images"].workload
    assert (workload.rows, workload.sizes[0]) == (60_000, 784)
    small = type(workload)(**{**vars(workload), "rows": 500})
    x, labels = make_data(small)
    assert 0 <= x.min() < x.max() <= 1
    assert 0.1 < (x > 0).mean() < 0.3
    assert set(labels) == set(range(10))


def test_names_and_groups():
    assert {"W1", "W6", "SC", "D1", "K1", "K2", "T1", "T2", "digits", "images"} <= TASKS.keys()
    for group, names in GROUPS.items():
        assert set(names) <= TASKS.keys(), group
    assert {"G1/width=1024", "G1/batch=1", "G1/rows=10000000"} <= set(GROUPS["G1"])
    assert set(GROUPS["G1/width"]) < set(GROUPS["G1"])


# -- agreement --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*BACKENDS, "numpy-by-hand"])
@pytest.mark.parametrize("task", WORKLOADS)
def test_contenders_agree(task, name):
    evidence = TASKS[task].prepare(CONTENDERS[name], 1, SHORT).check()
    agreement = TASKS[task].judge(evidence)
    assert agreement.ok, agreement
    assert agreement.theta_tolerance == TOLERANCES[TASKS[task].workload.dtype]
    assert agreement.steps >= 16


@pytest.mark.parametrize("name", ["c", "numpy-by-hand"])
@pytest.mark.parametrize("task", ["W1", "W4", "digits", "K1", "K2", "G1/width=2", "G1/rows=100", "M1-run"])
def test_timed_runs_agree(task, name):
    sample = TASKS[task].prepare(CONTENDERS[name], 1, SHORT).run()
    assert sample.value >= 0
    assert TASKS[task].judge(sample.evidence).ok


class WrongRate(networks.Engine):
    """Takes steps that are a thousandth too long."""

    def train(self, theta__p, slots__sp, samples, optimizer, plan, cursor, steps, epoch_loss__e):
        longer = type(optimizer)(lr=1.001 * optimizer.lr)
        return super().train(theta__p, slots__sp, samples, longer, plan, cursor, steps, epoch_loss__e)


class WrongSign(networks.Engine):
    """Climbs."""

    def backward(self, theta__p, z, a, y__bo, grad__p):
        super().backward(theta__p, z, a, y__bo, grad__p)
        grad__p *= -1


class ForgetsLastBias(networks.Engine):
    """Leaves the last parameter alone."""

    def backward(self, theta__p, z, a, y__bo, grad__p):
        super().backward(theta__p, z, a, y__bo, grad__p)
        grad__p[-1] = 0


class NewWeights(networks.Engine):
    """Updates the output layer before the hidden deltas are computed."""

    def backward(self, theta__p, z, a, y__bo, grad__p):
        super().backward(theta__p, z, a, y__bo, grad__p)
        moved = theta__p.copy()
        last = self.architecture.layers[-1].weights
        moved[last] -= 0.01 * grad__p[last]
        late = np.empty_like(grad__p)
        super().backward(moved, z, a, y__bo, late)
        grad__p[: last.start] = late[: last.start]


class WrongLoss(networks.Engine):
    """Trains rightly and reports another loss."""

    def train(self, theta__p, slots__sp, samples, optimizer, plan, cursor, steps, epoch_loss__e):
        ended = super().train(theta__p, slots__sp, samples, optimizer, plan, cursor, steps, epoch_loss__e)
        epoch_loss__e[:ended] *= 1.001
        return ended


class StepTooMany(networks.Engine):
    """Applies the last gradient of a call twice."""

    def train(self, theta__p, slots__sp, samples, optimizer, plan, cursor, steps, epoch_loss__e):
        before = theta__p.copy()
        ended = super().train(theta__p, slots__sp, samples, optimizer, plan, cursor, steps, epoch_loss__e)
        optimizers.update(optimizer, 1, theta__p, (before - theta__p) / steps, np.zeros_like(slots__sp))
        return ended


class NotANumber(networks.Engine):
    """Reports NaN, which is not larger than any tolerance."""

    def train(self, theta__p, slots__sp, samples, optimizer, plan, cursor, steps, epoch_loss__e):
        ended = super().train(theta__p, slots__sp, samples, optimizer, plan, cursor, steps, epoch_loss__e)
        epoch_loss__e[:ended] = np.nan
        return ended


WRONG = (WrongRate, WrongSign, ForgetsLastBias, NewWeights, WrongLoss, StepTooMany, NotANumber)


@pytest.fixture
def wrong(request, monkeypatch):
    """Register a backend whose engine is the parameter as a contender, and return its name."""
    engine = request.param
    package = ModuleType(f"backend_with_{engine.__name__}")
    package.networks = ModuleType("networks")
    package.networks.Engine = engine
    monkeypatch.setitem(sys.modules, package.__name__, package)
    monkeypatch.setitem(backends.PACKAGES, engine.__name__, package.__name__)
    contender = type(engine.__name__, (Backend,), {"name": engine.__name__, "title": engine.__name__})()
    monkeypatch.setitem(CONTENDERS, engine.__name__, contender)
    return engine.__name__


@pytest.mark.parametrize("wrong", WRONG, indirect=True, ids=lambda engine: engine.__name__)
@pytest.mark.parametrize("task", ["W1", "W3", "W4"])
@pytest.mark.filterwarnings("ignore:the training loss is nan")
def test_a_wrong_engine_is_rejected(wrong, task):
    agreement = TASKS[task].judge(TASKS[task].prepare(CONTENDERS[wrong], 1, SHORT).check())
    assert not agreement.ok
    assert "accepted are" in str(agreement)


@pytest.mark.parametrize("wrong", [networks.Engine], indirect=True)
def test_a_right_engine_registered_alike_is_accepted(wrong):
    assert TASKS["W1"].judge(TASKS["W1"].prepare(CONTENDERS[wrong], 1, SHORT).check()).ok


def test_other_lengths_and_shapes_are_rejected():
    workload = WORKLOADS["W1"]
    run = CONTENDERS["numpy"].trainer(workload, *make_data(workload), 1).run(1)
    right = Evidence(workload.rows, 1, run.loss, run.theta, "float64", timed=True)
    assert judge(workload, right).ok
    assert not judge(workload, Evidence(workload.rows, 2, run.loss, run.theta, "float64", timed=True)).ok
    assert not judge(workload, Evidence(workload.rows, 1, run.loss, run.theta[1:], "float64", timed=True)).ok
    # a loss that the library only has in single precision is compared in single precision, parameters are not
    assert judge(workload, Evidence(workload.rows, 1, run.loss * (1 + 1e-4), run.theta, "float32", timed=True)).ok
    assert not judge(workload, Evidence(workload.rows, 1, run.loss, run.theta * (1 + 1e-4), "float32", timed=True)).ok


class Lazy(Backend):
    """Passes the check before timing, then does half of the work."""

    name, title = "lazy", "lazy"

    def unavailable(self) -> str:
        return ""

    def load(self) -> None:
        pass

    def trainer(self, workload, x, y, cores) -> Trainer:
        inner = CONTENDERS["numpy"]

        class Half(Trainer):
            def run(self, epochs: int) -> Run:
                whole = len(x) < workload.rows
                rows = len(x) if whole else len(x) // 2
                return inner.trainer(workload, x[:rows], y[:rows], 1).run(epochs)

        return Half()


def test_a_contender_that_skips_work_when_timed_is_rejected(monkeypatch):
    monkeypatch.setitem(CONTENDERS, "lazy", Lazy())
    lazy, right = run(["W4"], ["lazy", "numpy"]).rows
    assert lazy.status == "disagrees"
    assert lazy.values == []
    assert math.isnan(lazy.median)
    assert right.timed


@pytest.mark.parametrize("wrong", [WrongRate], indirect=True)
def test_a_wrong_backend_is_shown_as_such_and_fails_the_command(wrong, tmp_path, capsys, monkeypatch):
    path = tmp_path / "figures.json"
    request = check_request(["W1"], ["numpy", wrong], ["1"], seconds=1e-4, repeats=1)
    monkeypatch.setattr(command, "measure", lambda request, on_progress: measure.measure(request, open_lane=LocalLane))
    with pytest.raises(ns.NanostepError, match="WrongRate on W1: after 16 steps"):
        command.run(request, path, None, None)
    output = capsys.readouterr().out
    assert "disagrees" in output
    statuses = {row.contender: row.status for row in read(path).rows}
    assert statuses == {"numpy": "timed", "WrongRate": "disagrees"}


# -- contenders that are missing, refuse or break ---------------------------------------------------------------------


@pytest.mark.parametrize("name", PEERS)
def test_peers_that_are_not_installed_are_listed(name, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    monkeypatch.setattr("ctypes.util.find_library", lambda _: None)
    results = run(["W1-mild", "W4"], [name, "numpy"], repeats=1)
    for row in results.rows:
        if row.contender == name:
            assert row.status in ("missing", "cannot")
            assert "not installed" in row.reason or row.status == "cannot"
        else:
            assert row.timed
    assert any("not installed" in text for text in excuses(results))


def test_what_cannot_be_done_has_a_reason():
    for task in TASKS.values():
        reasons = {name: task.cannot(contender) for name, contender in CONTENDERS.items()}
        assert not reasons["c"] or task.name == "T2-cold"
        assert not all(reasons.values()), task.name
        assert all(reason == reason.strip() for reason in reasons.values())
    assert "softmax" in TASKS["W2"].cannot(CONTENDERS["fann"])
    assert "sigmoid" in TASKS["W1"].cannot(CONTENDERS["sklearn"])


class Breaks(Lazy):
    name, title = "breaks", "breaks"

    def trainer(self, workload, x, y, cores) -> Trainer:
        raise RuntimeError("out of paper\nand more lines")


def test_a_contender_that_breaks_is_shown_with_its_error(monkeypatch):
    monkeypatch.setitem(CONTENDERS, "breaks", Breaks())
    broken, right = run(["W4"], ["breaks", "numpy"]).rows
    assert (broken.status, broken.reason) == ("failed", "RuntimeError: out of paper")
    assert right.timed


# -- order, interruption, time limit ----------------------------------------------------------------------------------


class Recorder(LocalLane):
    log: list[tuple[str, str]] = []  # noqa: RUF012 (set by each test)

    def __init__(self, contender, cores):
        super().__init__(contender, cores)
        self._name = contender

    def ask(self, *message):
        if message[0] == "run":
            self.log.append((self._name, message[0]))
            self.before_run()
        return super().ask(*message)

    def before_run(self):
        pass


def test_repeats_take_turns():
    Recorder.log = []
    request = check_request(["W4", "D1"], ["numpy", "numpy-by-hand"], ["1"], seconds=1e-4, repeats=3)
    seen = []
    results = measure.measure(request, open_lane=Recorder, on_progress=lambda *what: seen.append(what))
    assert [name for name, _ in Recorder.log] == ["numpy", "numpy-by-hand"] * 6
    assert all(len(row.values) == 3 for row in results.rows)
    assert results.complete
    assert seen[-1][1] + 1 == seen[-1][2] - 1  # the floors were not measured


class Interrupted(Recorder):
    def before_run(self):
        if len(self.log) == 4:
            raise KeyboardInterrupt


def test_ctrl_c_keeps_what_was_measured():
    Recorder.log = []
    request = check_request(["W4", "D1"], ["numpy", "numpy-by-hand"], ["1"], seconds=1e-4, repeats=3)
    results = measure.measure(request, open_lane=Interrupted)
    assert not results.complete
    counts = [(row.task, row.status, len(row.values)) for row in results.rows]
    assert counts == [("W4", "timed", 2), ("W4", "timed", 1), ("D1", "interrupted", 0), ("D1", "interrupted", 0)]


def test_quick_leaves_out_what_there_is_no_time_for(monkeypatch):
    monkeypatch.setattr("nanostep.benchmark.request.QUICK_BUDGET", -1.0)
    results = run(["W4"], ["numpy"], quick=True)
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


def test_a_worker_runs_pinned_and_is_stopped_between_questions():
    lane = WorkerLane("c", 1)
    try:
        loaded = lane.ask("load")
        assert len(loaded["affinity"]) <= 1
        assert lane.ask("prepare", "W4", SHORT).theta.shape == (2410,)
        sample = lane.ask("run")
        assert sample.about["threads"] == 1
        assert TASKS["W4"].judge(sample.evidence).ok
        with pytest.raises(LaneError, match="KeyError"):
            lane.ask("prepare", "W99", SHORT)
        if sys.platform == "linux":
            with open(f"/proc/{lane._process.pid}/stat", encoding="ascii") as file:
                assert file.read().rpartition(")")[2].split()[0] == "T"
    finally:
        lane.close()
    assert lane._process.returncode is not None


def test_a_worker_that_dies_is_reported_with_its_last_words(monkeypatch):
    lane = WorkerLane("no-such-contender", 1)
    with pytest.raises(LaneError, match="no-such-contender"):
        lane.ask("load")
    lane._process.kill()
    with pytest.raises(LaneError, match="died"):
        lane.ask("load")
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
        "meeting": 0.0,
        "cache_bytes": 0,
    }
    return Floors(**{**values, **changes})


@pytest.mark.parametrize(
    ("task", "microseconds"), [("W1", 0.030), ("W3", 17.1), ("W4", 2.83), ("W5", 111), ("W6", 3510), ("D1", 4.9)]
)
def test_floors_of_the_published_machine(task, microseconds):
    assert 1e6 * training_floor(WORKLOADS[task], floors()) == pytest.approx(microseconds, rel=0.04)


def test_floors_scale():
    workload = WORKLOADS["W5"]
    assert flops_per_step(workload) == 32 * (4 * (784 * 128 + 1280) + 2 * 1280)
    one, two = training_floor(workload, floors()), training_floor(workload, floors(2, meeting=1e-6))
    assert two == pytest.approx(one / 2 + 1e-6, rel=1e-3)
    slow = training_floor(workload, floors(cache_bytes=2**20, bandwidth=1e6))
    assert slow == pytest.approx(32 * (784 * 4 + 8) / 1e6)
    assert TASKS["W5"].floor(floors()) == pytest.approx(1e6 * one)
    assert TASKS["K1"].floor(floors()) is None
    rows = TASKS["G1/rows=1000"]
    assert rows.floor(floors()) == pytest.approx(1e9 * training_floor(rows.workload, floors()) / 1000)


@pytest.mark.floors
def test_floors_are_measured():
    if reason := measure.floors.unavailable():
        pytest.fail(reason)
    measured = measure.floors.measure(1)
    assert measured.vector_bytes in (16, 32, 64)
    assert measured.flops["float32"] > measured.flops["float64"] > 1e8
    assert 1e-11 < measured.cycle < measured.fma < measured.divide < 1e-6
    assert measured.bandwidth > 1e8
    assert measured.fork_join == measured.meeting == 0


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


def test_results_survive_json(tmp_path):
    results = run(["W4", "T1"], ["numpy", "numpy-by-hand", "fann"])
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


def test_ratios_are_peer_over_ours():
    results = run(["W4"], ["c", "numpy-by-hand"])
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
