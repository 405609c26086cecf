"""The benchmark: the workloads, the check of equality that comes before any timing, and what it reports."""

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
from nanostep.benchmark import TOLERANCES, WORKLOADS, check_agreement, make_data, measure, rows, run_command

BACKENDS = list(backends.PACKAGES)


@pytest.mark.parametrize("workload", WORKLOADS.values(), ids=WORKLOADS)
def test_workloads_are_well_posed(workload):
    x, y = make_data(workload)
    assert x.shape == (workload.rows, workload.sizes[0])
    assert x.dtype == workload.dtype
    np.testing.assert_array_equal(make_data(workload)[1], y)
    net = workload.make_network("numpy")
    before = net.loss(x, y)
    steps = min(workload.steps_per_epoch, 128)
    net.train(x[: steps * workload.batch], y[: steps * workload.batch], 1, workload.batch, workload.make_optimizer())
    assert net.loss(x, y) < before


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("workload", WORKLOADS.values(), ids=WORKLOADS)
def test_backends_agree(workload, backend):
    agreement = check_agreement(workload, backend)
    assert agreement.ok, agreement
    assert agreement.tolerance == TOLERANCES[workload.dtype]


# -- engines that are wrong -------------------------------------------------------------------------------------------


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

    def loss(self, theta__p, samples):
        return np.nan


WRONG = (WrongRate, WrongSign, ForgetsLastBias, NewWeights, WrongLoss, StepTooMany, NotANumber)


@pytest.fixture
def wrong_backend(request, monkeypatch):
    """Register a backend whose engine is the parameter, and return its name."""
    engine = request.param
    package = ModuleType(f"backend_with_{engine.__name__}")
    package.networks = ModuleType("networks")
    package.networks.Engine = engine
    monkeypatch.setitem(sys.modules, package.__name__, package)
    monkeypatch.setitem(backends.PACKAGES, engine.__name__, package.__name__)
    return engine.__name__


@pytest.mark.parametrize("wrong_backend", WRONG, indirect=True, ids=lambda engine: engine.__name__)
@pytest.mark.parametrize("task", ["W1", "W3", "W4"])
def test_a_wrong_engine_is_rejected(wrong_backend, task):
    agreement = check_agreement(WORKLOADS[task], wrong_backend)
    assert not agreement.ok
    assert "accepted are" in str(agreement)


@pytest.mark.parametrize("wrong_backend", [networks.Engine], indirect=True)
def test_a_right_engine_registered_alike_is_accepted(wrong_backend):
    assert check_agreement(WORKLOADS["W1"], wrong_backend).ok


@pytest.mark.parametrize("wrong_backend", [WrongRate], indirect=True)
def test_a_wrong_engine_is_reported_and_not_timed(wrong_backend, monkeypatch, tmp_path, capsys):
    timed = []
    monkeypatch.setattr(measure, "Contender", recording(timed))
    right, wrong = rows(["W1"], ["numpy", wrong_backend], seconds=1e-3, repeats=2)
    assert timed == ["numpy"]
    assert right.agreement.ok
    assert len(right.seconds) == 2
    assert not wrong.agreement.ok
    assert wrong.seconds == ()
    assert math.isnan(wrong.us_per_step)
    assert wrong.to_dict()["us_per_step"] is None

    path = tmp_path / "figures.json"
    with pytest.raises(ns.NanostepError, match="WrongRate on W1: losses deviate"):
        run_command(["W1"], ["numpy", wrong_backend], 1e-3, path)
    assert "disagrees" in capsys.readouterr().out
    assert [row["agrees"] for row in json.loads(path.read_text())["rows"]] == [True, False]


def recording(timed: list[str]) -> type[measure.Contender]:
    class Recording(measure.Contender):
        def __init__(self, workload, backend):
            timed.append(backend)
            super().__init__(workload, backend)

    return Recording


# -- figures ----------------------------------------------------------------------------------------------------------


def test_figures():
    workload = WORKLOADS["W4"]
    agreement = check_agreement(workload, "numpy")
    row = measure.Row(workload, "numpy", agreement, "", 1, steps=1000, seconds=(0.02, 0.01, 0.03))
    assert row.us_per_step == pytest.approx(20)
    assert row.steps_per_s == pytest.approx(50_000)
    assert row.samples_per_s == pytest.approx(32 * 50_000)
    assert row.spread == pytest.approx(1.0)


def test_repeats_start_from_the_same_weights_and_are_interleaved():
    seen = []
    (first, second) = rows(["W2"], ["numpy", "numpy"], seconds=1e-3, repeats=2, on_progress=seen.append)
    assert seen == ["W2 numpy check"] * 2 + ["W2 numpy 1/2"] * 2 + ["W2 numpy 2/2"] * 2
    assert first.steps % WORKLOADS["W2"].steps_per_epoch == 0
    assert second.threads == 1
    contender = measure.Contender(WORKLOADS["W2"], "numpy")
    contender.run(1)
    theta = contender._net.theta.copy()
    contender.run(1)
    np.testing.assert_array_equal(contender._net.theta, theta)


def test_command_prints_a_table_and_writes_json(tmp_path, capsys):
    path = tmp_path / "figures.json"
    run_command(["W1", "SC"], ["numpy"], 1e-3, path)
    output = capsys.readouterr()
    for words in ("W1", "SC", "numpy", "us/step", "samples/s", "2-2-1 sigmoid, sigmoid, half_squared_error"):
        assert words in output.out
    assert max(map(len, output.out.splitlines())) <= 100
    written = json.loads(path.read_text())
    assert {"cpu", "c_library", "versions"} <= written["machine"].keys()
    assert written["machine"]["versions"]["nanostep"] == ns.__version__
    for row in written["rows"]:
        assert row["agrees"]
        assert row["steps_per_s"] == pytest.approx(1e6 / row["us_per_step"])


@pytest.mark.parametrize(
    ("arguments", "exception", "words"),
    [
        ((["W9"], None, 0.1, None), ValueError, "tasks='W9' is not known; choose one of: W1, W2"),
        ((None, ["cuda"], 0.1, None), ValueError, "backends='cuda' is not known"),
        ((None, None, 0.0, None), ValueError, "seconds=0.0 is out of range"),
        ((None, None, "1", None), TypeError, "seconds must be a real number"),
    ],
)
def test_bad_arguments(arguments, exception, words):
    with pytest.raises(exception, match=words):
        run_command(*arguments)


def test_a_file_that_cannot_be_written_fails_before_measuring(tmp_path, monkeypatch):
    monkeypatch.setattr("nanostep.benchmark.report.rows", lambda *_, **__: pytest.fail("measured"))
    with pytest.raises(FileNotFoundError):
        run_command(["W1"], ["numpy"], 0.1, tmp_path / "missing" / "figures.json")
