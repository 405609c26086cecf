"""The benchmark's populations: each network has its own weights and rate, and no network may be left out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nanostep.benchmark import sampling
from nanostep.benchmark.agreement import TOLERANCES
from nanostep.benchmark.contenders import CONTENDERS
from nanostep.benchmark.contenders.base import Run, Trainer
from nanostep.benchmark.contenders.ours import Backend
from nanostep.benchmark.tasks import GROUPS, TASKS
from nanostep.benchmark.tasks.base import Settings
from nanostep.benchmark.workload import make_data

SHORT = Settings(seconds=1e-4)


def small(name: str):
    """Return a task with few rows and 21 networks, which do not fill whole vectors."""
    task = TASKS[name]
    return replace(task, workload=replace(task.workload, networks=21, rows=4 * task.workload.batch))


@pytest.mark.parametrize("name", GROUPS["P"])
def test_the_networks_that_are_checked_are_spread(name):
    workload = TASKS[name].workload
    checked = workload.checked
    assert (checked[0], checked[-1]) == (0, workload.networks - 1)
    assert len(checked) == len(set(checked)) == 17
    assert {i % 16 for i in checked} == set(range(16))
    assert len({i * 16 // workload.networks for i in checked}) == 16
    rates = workload.rates()
    assert rates.shape == (workload.networks,)
    assert rates[0] == pytest.approx(workload.lr / 16)
    assert rates[-1] == pytest.approx(workload.lr)
    assert len(np.unique(rates.astype(workload.dtype))) > 0.9 * min(workload.networks, 2**20)


@pytest.mark.parametrize("name", ["P1-f32", "P2"])
def test_workloads_are_well_posed(name):
    workload = TASKS[name].workload
    x, y = make_data(workload)
    assert workload.rows % workload.batch == 0
    for i in workload.checked[::8]:
        net, optimizer = workload.make_single(i, "numpy")
        before = net.loss(x, y)
        net.train(x, y, epochs=4, batch_size=workload.batch, optimizer=optimizer, shuffle=False)
        assert net.loss(x, y) < before


def test_members_are_the_networks_of_the_population():
    workload = small("P2").workload
    theta = workload.initial_thetas()
    for i in (0, 1, 20):
        np.testing.assert_array_equal(workload.make_single(i, "numpy")[0].theta, theta[i])


@pytest.mark.parametrize("contender", ["c", "numba", "numpy"])
@pytest.mark.parametrize("name", ["P1-f32", "P1-f64", "P2"])
def test_contenders_agree(name, contender):
    task = small(name)
    session = task.prepare(CONTENDERS[contender], 1, SHORT)
    agreement = task.judge(session.check())
    assert agreement.ok, agreement
    assert agreement.theta_tolerance == TOLERANCES[task.workload.dtype]
    assert agreement.steps >= 16
    sample = session.run()
    assert sample.value > 0
    assert sample.evidence.theta.shape == (21, task.workload.architecture.parameter_count)
    assert sample.evidence.loss.shape == (21,)
    assert task.judge(sample.evidence).ok


class Wrong(Backend):
    """A backend whose results are altered; the check must notice it."""

    name, title = "numpy", "wrong"

    def spoil(self, workload, run, start):
        raise NotImplementedError

    def population(self, workload, x, y, cores) -> Trainer:
        inner, spoil = super().population(workload, x, y, cores), self.spoil

        class Spoilt(Trainer):
            def run(self, epochs: int) -> Run:
                return spoil(workload, inner.run(epochs), workload.initial_thetas())

        return Spoilt()


class ForgetsLast(Wrong):
    """Does not train the last network, which does not fill a vector."""

    def spoil(self, workload, run, start):
        run.theta[-1] = start[-1]
        return run


class SwapsTwo(Wrong):
    def spoil(self, workload, run, start):
        run.theta[[0, 1]] = run.theta[[1, 0]]
        return run


class SwapsLosses(Wrong):
    """Trains correctly but gives the losses to the wrong networks, with the right mean."""

    def spoil(self, workload, run, start):
        return replace(run, loss=run.loss[::-1])


class OneRate(Wrong):
    """Trains all networks at the largest rate."""

    def population(self, workload, x, y, cores) -> Trainer:
        class Flat(type(workload)):
            def rates(self) -> np.ndarray:
                return np.full(self.networks, self.lr)

        return Backend.population(self, Flat(**vars(workload)), x, y, cores)


@pytest.mark.parametrize("wrong", [ForgetsLast, SwapsTwo, SwapsLosses, OneRate])
@pytest.mark.parametrize("name", ["P1-f32", "P2"])
def test_a_wrong_population_is_rejected(wrong, name):
    task = small(name)
    agreement = task.judge(task.prepare(wrong(), 1, SHORT).check())
    assert not agreement.ok
    assert "accepted are" in str(agreement)


def test_what_cannot_be_done_has_a_reason():
    assert TASKS["P1-f32"].cannot(CONTENDERS["numba"]) == TASKS["P1-f32-16k"].cannot(CONTENDERS["jax"]) == ""
    assert "above 256 networks" in TASKS["P1-f32"].cannot(CONTENDERS["numpy"])
    assert TASKS["P1-f64-1M"].cannot(CONTENDERS["c"]) == TASKS["P1-f64-1M"].cannot(CONTENDERS["numba"]) == ""
    assert "above 16,384 networks" in TASKS["P1-f64-1M"].cannot(CONTENDERS["jax"])
    assert "side by side" in TASKS["P2"].cannot(CONTENDERS["torch"])


@pytest.mark.parametrize("name", ["P1-f32", "W4", "K1", "K2"])
def test_what_the_look_at_machine_code_repeats(name, monkeypatch):
    monkeypatch.setattr(sampling, "LENGTH", 1e-6)
    monkeypatch.setitem(TASKS, "P1-f32", small("P1-f32"))
    result = sampling._work(name, "c")()
    if name == "P1-f32":
        assert result.theta.shape == (21, 9)
    elif name == "W4":
        assert result.theta.shape == (2410,)
    else:
        assert len(result) == 256


def test_a_run_of_the_benchmark(bench, monkeypatch):
    monkeypatch.setitem(TASKS, "P1-f64", small("P1-f64"))
    results = bench(["P1-f64"], ["c", "numpy", "numpy-by-hand"])
    ours, reference, peer = results.rows
    assert len(ours.values) == len(reference.values) == 2
    assert ours.unit == "ns/network/step"
    assert (peer.status, "side by side" in peer.reason) == ("cannot", True)
    assert results.tasks["P1-f64"]["workload"]["networks"] == 21
