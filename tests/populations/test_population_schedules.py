"""Learning-rate schedules of populations: the rates and parameters are those of each network alone."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nanostep as ns
from cases import QUICK
from nanostep import schedules
from nanostep.populations import rates as rates_of_runs
from nanostep.populations import run

K = 5
X = np.random.default_rng(0).standard_normal((11, 3))
Y = np.random.default_rng(1).random((11, 2))
RATES = np.linspace(0.05, 0.4, K)


@dataclass(frozen=True)
class Root(schedules.Schedule):
    """A user's own schedule."""

    def at(self, lr: Any, t: np.ndarray, periods_per_epoch: int) -> np.ndarray:
        return lr / np.sqrt(1 + t)


@dataclass(frozen=True)
class Scalar(schedules.Schedule):
    """A schedule that supports numbers only."""

    def at(self, lr: Any, t: np.ndarray, periods_per_epoch: int) -> np.ndarray:
        return np.full(len(t), lr if lr < 1 else 1.0)


SCHEDULES: list[schedules.Schedule] = [
    schedules.StepLR(2, gamma=0.5),
    schedules.ExponentialLR(0.9),
    schedules.ExponentialLR(0.97, every="step"),
    schedules.SequentialLR([schedules.LinearLR(every="step"), schedules.StepLR(3, every="step")], [5]),
    schedules.OneCycleLR(0.3, epochs=6),
    schedules.ConstantLR(0.0, total_iters=1),
    schedules.ReduceLROnPlateau(patience=0, threshold=0.05, cooldown=1, monitor="loss"),
    schedules.ReduceLROnPlateau("max", patience=0, threshold=0.05, threshold_mode="abs"),
    schedules.ReduceLROnPlateau(patience=0, threshold=0.08),
    Root(),
    Root(every="step"),
]


def make(backend: str) -> tuple[ns.Population, list[ns.Network]]:
    nets = [ns.Network([3, 5, 2], activation="tanh", backend=backend, seed=i) for i in range(K)]
    return ns.Population([3, 5, 2], K, activation="tanh", backend=backend), nets


def compare(
    backend: str, schedule: schedules.Schedule, batch: int, rates: Any, parts: tuple[int, ...], **more: Any
) -> None:
    """Train a population and its networks for some epochs, in parts that continue each other."""
    ours, nets = make(backend)
    optimizer, seen = ns.SGD(lr=rates, momentum=0.5), []
    alone = [optimizer.of(i) for i in range(K)]
    for epochs in parts:
        history = ours.train(
            X, Y, epochs=epochs, batch_size=batch, optimizer=optimizer, validation=(X, Y), schedule=schedule, **more
        )
        for i, net in enumerate(nets):
            single = net.train(
                X, Y, epochs=epochs, batch_size=batch, optimizer=alone[i], validation=(X, Y), schedule=schedule, **more
            )
            np.testing.assert_array_equal(history.lr[i, : history.epochs[i]], single.lr)
            np.testing.assert_allclose(ours.theta[i], net.theta, rtol=0, atol=0 if backend == "numpy" else 1e-13)
        assert history.lr.shape == (K, epochs)
        seen += history.lr[3].tolist()
    assert len(set(seen)) > 1  # the rate of one network must change


@pytest.mark.parametrize("backend", QUICK)
@pytest.mark.parametrize("batch", [4, 11])
@pytest.mark.parametrize("rates", [RATES, 0.2], ids=["rates", "rate"])
@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_schedules_are_those_of_each_network(
    schedule: schedules.Schedule, rates: Any, batch: int, backend: str
) -> None:
    compare(backend, schedule, batch, rates, (4, 3))


@pytest.mark.parametrize("schedule", SCHEDULES[1:3], ids=repr)
def test_every_backend(each_backend: str, schedule: schedules.Schedule) -> None:
    compare(each_backend, schedule, 4, RATES, (3,))


@pytest.mark.parametrize("number", [1, 2, 6])
def test_networks_that_stand_apart_have_rates_of_their_own(number: int) -> None:
    """Early stopping leaves the networks at different epochs; the next part continues from there."""
    stopping = ns.EarlyStopping("loss", patience=0, min_delta=2e-3, restore_best=False)
    compare("numpy", SCHEDULES[number], 4, RATES, (9, 2), early_stopping=stopping)
    ours, _ = make("numpy")
    optimizer = ns.SGD(lr=RATES, momentum=0.5)
    history = ours.train(
        X, Y, epochs=9, batch_size=4, optimizer=optimizer, early_stopping=stopping, schedule=SCHEDULES[number]
    )
    assert len(set(history.epochs.tolist())) > 1  # otherwise the test is too weak


@pytest.mark.parametrize("backend", QUICK)
@pytest.mark.parametrize("schedule", [*SCHEDULES[:6], *SCHEDULES[9:]], ids=repr)
def test_cuts_change_no_bit(backend: str, schedule: schedules.Schedule, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls of whole runs, against calls of one epoch and as few networks as possible."""
    found = []
    for seconds, together, fewest in ((1e9, 1 << 22, 256), (1e-9, 6, 2)):
        for name in ("CALL_SECONDS", "FIRST_CALL_FLOPS"):
            monkeypatch.setattr(run, name, seconds)
        monkeypatch.setattr(rates_of_runs, "RATES_TOGETHER", together)
        monkeypatch.setattr(run, "FEWEST", fewest)
        ours, _ = make(backend)
        history = ours.train(X, Y, epochs=5, batch_size=4, optimizer=ns.SGD(lr=RATES), schedule=schedule)
        found.append((ours.theta.copy(), history.lr, history.loss))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("rates", [np.linspace(0.1, 0.9, 300), 0.4], ids=["rates", "rate"])
@pytest.mark.parametrize("optimizer", [ns.SGD, ns.AdamW])
def test_rates_of_updates_depend_on_no_company(optimizer: type[ns.SGD | ns.AdamW], rates: Any) -> None:
    """With single samples the engine takes 8 or 2 vectors of networks at a time, with batches one."""
    schedule, found = schedules.ExponentialLR(0.97, every="step"), []
    for size in (300, K):
        ours = ns.Population([3, 5, 2], size, activation="tanh", backend="c")
        history = ours.train(
            X,
            Y,
            epochs=4,
            batch_size=1,
            optimizer=optimizer(rates if np.ndim(rates) == 0 else rates[:size]),
            schedule=schedule,
        )
        found.append((ours.theta[:K].copy(), history.lr[:K]))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_steps_count_for_schedules_by_updates() -> None:
    """An epoch of one update follows those that `step` has made before, rather than being the first."""
    ours, nets = make("numpy")
    optimizer = ns.SGD(lr=RATES)
    ours.step(X, Y, optimizer=optimizer)
    history = ours.train(X, Y, epochs=2, batch_size=11, schedule=schedules.ExponentialLR(0.5, every="step"))
    np.testing.assert_array_equal(history.lr, RATES[:, None] * [0.5, 0.25])
    for i, net in enumerate(nets):
        net.step(X, Y, optimizer=optimizer.of(i))
        net.train(X, Y, epochs=2, batch_size=11, schedule=schedules.ExponentialLR(0.5, every="step"))
        np.testing.assert_array_equal(ours.theta[i], net.theta)


def test_callbacks_have_the_last_word() -> None:
    def callback(event: Any) -> None:
        if event.epoch in (2, 4):
            event.lr = 0.01 if event.epoch == 2 else None

    for number in (1, 2, 6):
        compare("numpy", SCHEDULES[number], 4, RATES, (6,), callbacks=callback)


def test_the_state_of_a_plateau_belongs_to_the_population_and_its_optimiser(tmp_path: Path) -> None:
    schedule = schedules.ReduceLROnPlateau(patience=0, factor=0.5, threshold=0.9, monitor="loss")
    ours, _ = make("numpy")
    optimizer = ns.SGD(lr=RATES)
    history = ours.train(X, Y, epochs=4, optimizer=optimizer, schedule=schedule)
    np.testing.assert_array_equal(history.lr, RATES[:, None] * [1, 1, 0.5, 0.25])
    assert history.to_pandas()["lr"].tolist() == history.lr.ravel().tolist()
    ours.save(tmp_path / "p")
    single = ours[2]
    for each in (ns.Population.load(tmp_path / "p", "numpy"), pickle.loads(pickle.dumps(ours)), ours):
        history = each.train(X, Y, epochs=2, schedule=schedule)
        np.testing.assert_array_equal(history.lr, RATES[:, None] * [0.125, 0.0625])
    assert single.train(X, Y, epochs=2, schedule=schedule).lr == history.lr[2].tolist()
    # a network whose rate is changed starts afresh, the others continue
    optimizer.lr = np.where(np.arange(K) == 1, 0.3, RATES)
    expected = np.where(np.arange(K) == 1, 0.3, RATES / 32)
    np.testing.assert_array_equal(ours.train(X, Y, epochs=1, schedule=schedule).lr[:, 0], expected)
    again = ours.train(X, Y, epochs=1, optimizer=ns.SGD(lr=0.25), schedule=schedule)
    assert again.lr.tolist() == [[0.25]] * K
    fresh = ns.Population.load(tmp_path / "p", "numpy")
    assert (
        fresh.train(X, Y, epochs=1, schedule=schedules.ReduceLROnPlateau(monitor="loss")).lr.ravel().tolist()
        == RATES.tolist()
    )


def test_without_a_schedule_no_rates_are_recorded() -> None:
    ours, _ = make("numpy")
    assert ours.train(X, Y, epochs=2).lr.shape == (K, 0)


@pytest.mark.parametrize(
    ("schedule", "error", "message"),
    [
        (0.1, TypeError, "schedule must be one of nanostep.schedules"),
        (schedules.ReduceLROnPlateau(), ValueError, "there are no validation data"),
        (schedules.ReduceLROnPlateau(monitor="accuracy"), ValueError, "this run measures loss"),
        (Scalar(), ValueError, "must take an lr of shape (5, 1)"),
    ],
)
def test_schedules_that_cannot_be_followed(schedule: Any, error: type[Exception], message: str) -> None:
    ours, _ = make("numpy")
    before = ours.theta.copy()
    with pytest.raises(error) as raised:
        ours.train(X, Y, optimizer=ns.SGD(lr=RATES), schedule=schedule)
    assert message in str(raised.value)
    assert np.array_equal(ours.theta, before)
    assert ours.history is None


def test_a_schedule_for_numbers_will_do_where_networks_agree() -> None:
    ours, _ = make("numpy")
    history = ours.train(X, Y, epochs=1, optimizer=ns.SGD(lr=0.3), schedule=Scalar())
    assert history.lr.tolist() == [[0.3]] * K
