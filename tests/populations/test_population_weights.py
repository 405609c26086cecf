"""Sample weights of populations, and populations of some networks of another."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nanostep as ns
from cases import QUICK
from nanostep import schedules
from nanostep.backends.native import networks as native_networks

K, N = 9, 23
RNG = np.random.default_rng(0)
X, Y, LABELS = RNG.standard_normal((N, 3)), RNG.random((N, 2)), RNG.integers(0, 2, N)
WEIGHTS = RNG.random((K, N)) * (RNG.random((K, N)) > 0.3)
ROWS = RNG.integers(0, N, (K, 12))


def population(backend: str, **options: Any) -> ns.Population:
    return ns.Population([3, 4, 2], K, activation="tanh", **{"output": "identity", "backend": backend, **options})


def close(a: Any, b: Any) -> None:
    np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("backend", QUICK)
@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("optimizer", [ns.SGD(lr=0.1), ns.Adam(lr=np.linspace(0.01, 0.1, K))])
def test_weights_are_those_of_each_network(backend: str, batch: int, optimizer: ns.Optimizer) -> None:
    ours = population(backend)
    history = ours.train(X, Y, epochs=2, batch_size=batch, optimizer=optimizer, sample_weight=WEIGHTS)
    for i, net in enumerate(population(backend)):
        alone = net.train(X, Y, epochs=2, batch_size=batch, optimizer=optimizer.of(i), sample_weight=WEIGHTS[i])
        close(ours.theta[i], net.theta)
        close(history.loss[i], alone.loss)
        close(ours.loss(X, Y, sample_weight=WEIGHTS)[i], net.loss(X, Y, sample_weight=WEIGHTS[i]))
    assert not np.allclose(ours.loss(X, Y, sample_weight=WEIGHTS), ours.loss(X, Y))


@pytest.mark.parametrize("backend", QUICK)
def test_weights_of_rows(backend: str) -> None:
    by_row = WEIGHTS[0] + 0.1
    shared, some, own = population(backend), population(backend), population(backend)
    shared.train(X, Y, epochs=2, batch_size=4, sample_weight=by_row)
    some.train(X, Y, epochs=2, batch_size=4, rows=ROWS, sample_weight=by_row)
    own.train(X[ROWS], Y[ROWS], epochs=2, batch_size=4, sample_weight=by_row[ROWS])
    close(some.theta, own.theta)
    for i in (0, K - 1):
        for ours, rows in ((shared, np.arange(N)), (some, ROWS[i])):
            net = population(backend)[i]
            net.train(X[rows], Y[rows], epochs=2, batch_size=4, sample_weight=by_row[rows])
            close(ours.theta[i], net.theta)


def test_weights_in_lanes(monkeypatch: pytest.MonkeyPatch) -> None:
    def train(*_: Any, **__: Any) -> None:
        raise AssertionError("one after another")

    ours = population("c", output="softmax", loss="cross_entropy")
    monkeypatch.setattr(native_networks.Engine, "train", train)
    ours.train(X, LABELS, epochs=1, batch_size=4, sample_weight=WEIGHTS)
    with pytest.raises(AssertionError, match="one after another"):
        ours.train(X, LABELS, epochs=1, batch_size=4, dropout=0.5)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.ones(N - 1), r"sample_weight must have shape \(23,\)"),
        (np.ones((K, N - 1)), r"sample_weight must have shape \(23,\) or \(9, 23\); got \(9, 22\)"),
        (np.ones((K + 1, N)), r"got \(10, 23\)"),
        (-np.ones(N), "sample_weight must be >= 0"),
        (np.where(np.arange(K) == 3, 0.0, 1.0)[:, None] * np.ones(N), r"sample_weight\[3\] is 0 for all"),
        (np.full(N, np.nan), "sample_weight must be finite"),
        ([[1.0], [1.0, 2.0]], "sample_weight is not a rectangular array"),
    ],
)
def test_bad_weights(weight: Any, message: str) -> None:
    ours = population("numpy")
    before = ours.theta.copy()
    with pytest.raises(ValueError, match=message):
        ours.train(X, Y, sample_weight=weight)
    np.testing.assert_array_equal(ours.theta, before)


def test_weights_that_leave_a_network_nothing() -> None:
    weight = np.zeros(N)
    weight[3] = 1
    rows = np.full((K, 4), 3)
    rows[5] = 4
    with pytest.raises(ValueError, match="0 for all rows of network 5"):
        population("numpy").train(X, Y, rows=rows, sample_weight=weight)


@pytest.mark.parametrize("backend", QUICK)
def test_some_networks_go_on_as_they_were(backend: str) -> None:
    optimizer = ns.Adam(lr=np.linspace(0.01, 0.1, K), betas=(np.linspace(0.5, 0.9, K), 0.99))
    plateau = schedules.ReduceLROnPlateau(patience=0, monitor="loss")
    ours = population(backend)
    ours.train(X, Y, epochs=3, batch_size=4, optimizer=optimizer, schedule=plateau)
    indices = [8, 2, 2, -9]
    some = ours.take(indices)
    assert len(some) == 4
    np.testing.assert_array_equal(some.optimizer.lr, optimizer.lr[indices])
    np.testing.assert_array_equal(some.theta, ours.theta[indices])
    some.train(X, Y, epochs=2, batch_size=4, schedule=plateau)
    ours.train(X, Y, epochs=2, batch_size=4, schedule=plateau)
    close(some.theta, ours.theta[indices])
    assert some[1].optimizer == ours[2].optimizer
    mask = np.arange(K) > 6
    np.testing.assert_array_equal(ours.take(mask).theta, ours.theta[7:])
    some.theta[0] = 0
    assert ours.theta[8].any()


def test_bad_choices() -> None:
    ours = population("numpy")
    for networks in ([], [0.5], [[0]], np.zeros(K - 1, bool), np.zeros(K, bool), "all"):
        with pytest.raises(ValueError, match="networks must be numbers"):
            ours.take(networks)
    for networks in ([K], [-K - 1]):
        with pytest.raises(IndexError, match="there are 9"):
            ours.take(networks)
