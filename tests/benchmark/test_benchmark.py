"""The benchmark: tasks are well posed, and contenders that compute something else are shown without times."""

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
from nanostep.benchmark import command, measure
from nanostep.benchmark.agreement import TOLERANCES, Evidence, judge
from nanostep.benchmark.contenders import CONTENDERS
from nanostep.benchmark.contenders.base import Run, Trainer
from nanostep.benchmark.contenders.numpy_by_hand import HandCalls
from nanostep.benchmark.contenders.ours import Backend
from nanostep.benchmark.lanes import LocalLane
from nanostep.benchmark.request import check_request
from nanostep.benchmark.results import read
from nanostep.benchmark.table import excuses
from nanostep.benchmark.tasks import GROUPS, TASKS, start
from nanostep.benchmark.tasks.base import Settings
from nanostep.benchmark.tasks.batch_calls import BatchCall
from nanostep.benchmark.tasks.steps import WORKLOADS
from nanostep.benchmark.workload import make_data

BACKENDS = list(backends.PACKAGES)
SHORT = Settings(seconds=1e-4)
PEERS = ("jax", "torch", "torch-compile", "sklearn", "fann")


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
    net.train(
        x[: steps * workload.batch],
        y[: steps * workload.batch],
        epochs=1,
        batch_size=workload.batch,
        optimizer=workload.make_optimizer(),
    )
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
    assert {"P1-f32", "P1-f64-16k", "P1-f64-1M", "P2"} <= set(GROUPS["P"])


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


BATCH_CALLS = [name for name, task in TASKS.items() if isinstance(task, BatchCall)]


@pytest.mark.parametrize("name", ["c", "numpy-by-hand"])
@pytest.mark.parametrize("task", BATCH_CALLS)
def test_calls_with_batches_agree(task, name):
    session = TASKS[task].prepare(CONTENDERS[name], 1, SHORT)
    for evidence in (session.check(), session.run().evidence):
        agreement = TASKS[task].judge(evidence)
        assert agreement.ok, agreement


@pytest.mark.parametrize("name", ["c", "numpy"])
@pytest.mark.parametrize("task", ["K7-train", "K7-network", "K7-copy"])
def test_what_is_made_agrees(task, name):
    session = TASKS[task].prepare(CONTENDERS[name], 1, SHORT)
    for evidence in (session.check(), session.run().evidence):
        assert TASKS[task].judge(evidence).ok
    assert "nanostep's own" in TASKS[task].cannot(CONTENDERS["jax"])


class WrongCalls(HandCalls):
    """Every call is wrong in one way: half the rate, other rows, no mean, an episode that always ends."""

    def step(self, x__bi, y__bo):
        self.rule.lr = self.model.workload.lr / 2
        return super().step(x__bi, y__bo)

    def predict(self, x__bi):
        return super().predict(x__bi[::-1])

    def gradient(self, x__bi, y__bo):
        return super().gradient(x__bi, y__bo) * len(x__bi)

    def pull(self, x__bi, dout__bo):
        gradient, dx = super().pull(x__bi, dout__bo)
        return gradient, dx / len(dx)

    def learn(self, memory, i__b):
        super().learn(memory._replace(ends=np.ones_like(memory.ends)), i__b)


@pytest.mark.parametrize("task", [name for name in BATCH_CALLS if "4-64-64-2" in name])
def test_wrong_calls_are_rejected(task, monkeypatch):
    monkeypatch.setattr(type(CONTENDERS["numpy-by-hand"]), "calls", lambda _, workload: WrongCalls(workload))
    session = TASKS[task].prepare(CONTENDERS["numpy-by-hand"], 1, SHORT)
    assert not TASKS[task].judge(session.check()).ok


def test_who_cannot_be_called_with_batches():
    assert TASKS["K8/4-64-64-2"].cannot(CONTENDERS["fann"]) == "not written for calls with batches"
    assert "see torch" in TASKS["K8/4-64-64-2"].cannot(CONTENDERS["torch-compile"])
    assert TASKS["K8/4-64-64-2"].cannot(CONTENDERS["torch"]) == ""


class WrongRate(networks.Engine):
    """Takes steps that are a thousandth too long."""

    def train(self, theta__p, slots__sp, samples, optimizer, config, cursor, steps, epoch_loss__e, **penalty):
        longer = type(optimizer)(lr=1.001 * optimizer.lr)
        return super().train(theta__p, slots__sp, samples, longer, config, cursor, steps, epoch_loss__e, **penalty)


class WrongSign(networks.Engine):
    """Ascends the gradient."""

    def backward(self, theta__p, z, a, d__bo, grad__p, masks=None):
        super().backward(theta__p, z, a, d__bo, grad__p, masks)
        grad__p *= -1


class ForgetsLastBias(networks.Engine):
    """Does not change the last parameter."""

    def backward(self, theta__p, z, a, d__bo, grad__p, masks=None):
        super().backward(theta__p, z, a, d__bo, grad__p, masks)
        grad__p[-1] = 0


class NewWeights(networks.Engine):
    """Updates the output layer before the hidden deltas are computed."""

    def backward(self, theta__p, z, a, d__bo, grad__p, masks=None):
        super().backward(theta__p, z, a, d__bo, grad__p, masks)
        moved = theta__p.copy()
        last = self.architecture.layers[-1].weights
        moved[last] -= 0.01 * grad__p[last]
        late = np.empty_like(grad__p)
        super().backward(moved, z, a, d__bo, late, masks)
        grad__p[: last.start] = late[: last.start]


class WrongLoss(networks.Engine):
    """Trains correctly but reports another loss."""

    def train(self, theta__p, slots__sp, samples, optimizer, config, cursor, steps, epoch_loss__e, **penalty):
        ended = super().train(theta__p, slots__sp, samples, optimizer, config, cursor, steps, epoch_loss__e, **penalty)
        epoch_loss__e[:ended] *= 1.001
        return ended


class StepTooMany(networks.Engine):
    """Applies the last gradient of a call twice."""

    def train(self, theta__p, slots__sp, samples, optimizer, config, cursor, steps, epoch_loss__e, **penalty):
        before = theta__p.copy()
        ended = super().train(theta__p, slots__sp, samples, optimizer, config, cursor, steps, epoch_loss__e, **penalty)
        optimizers.update(optimizer, 1, theta__p, (before - theta__p) / steps, np.zeros_like(slots__sp))
        return ended


class NotANumber(networks.Engine):
    """Reports NaN, which is not larger than any tolerance."""

    def train(self, theta__p, slots__sp, samples, optimizer, config, cursor, steps, epoch_loss__e, **penalty):
        ended = super().train(theta__p, slots__sp, samples, optimizer, config, cursor, steps, epoch_loss__e, **penalty)
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
    # a loss in single precision is compared with its tolerance, parameters with that of the workload
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


def test_a_contender_that_skips_work_when_timed_is_rejected(bench, monkeypatch):
    monkeypatch.setitem(CONTENDERS, "lazy", Lazy())
    lazy, right = bench(["W4"], ["lazy", "numpy"]).rows
    assert lazy.status == "disagrees"
    assert lazy.values == []
    assert math.isnan(lazy.median)
    assert right.timed


@pytest.mark.usefixtures("bench")
@pytest.mark.parametrize("wrong", [WrongRate], indirect=True)
def test_a_wrong_backend_is_shown_as_such_and_fails_the_command(wrong, bench, tmp_path, capsys, monkeypatch):
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
def test_peers_that_are_not_installed_are_listed(name, bench, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    monkeypatch.setattr("ctypes.util.find_library", lambda _: None)
    results = bench(["W1-mild", "W4"], [name, "numpy"], repeats=1)
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


def test_a_contender_that_breaks_is_shown_with_its_error(bench, monkeypatch):
    monkeypatch.setitem(CONTENDERS, "breaks", Breaks())
    broken, right = bench(["W4"], ["breaks", "numpy"]).rows
    assert (broken.status, broken.reason) == ("failed", "RuntimeError: out of paper")
    assert right.timed


def test_the_first_run_of_a_process_prints_what_its_task_reads(capsys: pytest.CaptureFixture[str]) -> None:
    start.first_run("numpy")
    values = json.loads(capsys.readouterr().out)
    assert values.keys() == {"seconds", "loss", "theta"}
    assert values["seconds"] > 0
    assert np.isfinite([values["loss"], *values["theta"]]).all()
