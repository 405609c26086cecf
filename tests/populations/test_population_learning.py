"""Initial weights, steps and folds of populations: the same numbers as those of each network alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from test_population import OPTIMIZERS, RATES, ULPS, K, agree, alone, data

import nanostep as ns
from cases import QUICK
from nanostep import initialization
from nanostep._pcg64 import uniforms

SEEDS = [0, 1, 2**32 - 1, 2**32, 2**53 + 1, 2**63 - 1, 2**64 - 1]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("sizes", "activation"), [([1, 1], "tanh"), ([2, 3, 1], "relu"), ([3, 5, 4, 2], "tanh")])
def test_initial_weights_drawn_for_many_at_once(
    sizes: list[int], activation: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(initialization, "BLOCK", 100)
    monkeypatch.setattr(initialization, "initialize", None)
    seeds = np.array(SEEDS * 30, np.uint64)
    ours = ns.Population(sizes, len(seeds), activation=activation, dtype=dtype, backend="numpy", seed=seeds)
    for i in (*range(7), *range(95, 102), 209):
        net = ns.Network(sizes, activation=activation, dtype=dtype, backend="numpy", seed=int(seeds[i]))
        assert np.array_equal(ours.theta[i], net.theta)


@pytest.mark.parametrize("seed", SEEDS)
def test_numbers_are_those_of_numpys_generator(seed: int) -> None:
    expected = np.random.Generator(np.random.PCG64(seed)).random(1000)
    np.testing.assert_array_equal(uniforms(np.array([seed], np.uint64), 1000)[:, 0], expected)


def test_folds_are_validated_on_rows_left_out(each_backend: str) -> None:
    x, y = data([3, 5, 2], "half_squared_error", 14)
    out = np.arange(14).reshape(K, 2)
    rows = np.array([np.delete(np.arange(14), fold) for fold in out])
    ours = ns.Population([3, 5, 2], K, activation="tanh", backend=each_backend)
    nets = alone(ours, range(K), each_backend)
    history = ours.train(x, y, epochs=2, batch_size=4, optimizer=ns.SGD(lr=0.2), rows=rows, validation_rows=out)
    for i, net in enumerate(nets):
        single = net.train(
            x[rows[i]], y[rows[i]], epochs=2, batch_size=4, optimizer=ns.SGD(lr=0.2), validation=(x[out[i]], y[out[i]])
        )
        np.testing.assert_allclose(history.validation_loss[i], single.validation_loss, rtol=1e-12)
    other = ours.train(x, y, epochs=1, batch_size=4, rows=rows, validation=(x[::-1], y[::-1]), validation_rows=13 - out)
    np.testing.assert_allclose(other.validation_loss[:, 0], ours.loss(x, y, rows=out), rtol=1e-12)
    predicted = ours.predict(x, rows=out)
    assert predicted.shape == (K, 2, 2)
    np.testing.assert_allclose(predicted, [ours[i].predict(x[out[i]]) for i in range(K)], rtol=1e-14)


@pytest.mark.parametrize("backend", QUICK)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_of_optimizers(backend: str, name: str) -> None:
    """Steps, epochs and plain steps in turn: each continues from the state that a `Network` would have."""
    x, y = data([3, 5, 2], "half_squared_error", 6)
    optimizer = OPTIMIZERS[name](RATES)
    ours = ns.Population([3, 5, 2], K, activation="tanh", backend=backend)
    nets, singles = alone(ours, range(K), backend), [optimizer.of(i) for i in range(K)]
    for rows in (6, 1, 6):
        losses = ours.step(x[:rows], y[:rows], optimizer=optimizer)
        expected = [net.step(x[:rows], y[:rows], optimizer=singles[i]) for i, net in enumerate(nets)]
        np.testing.assert_allclose(losses, expected, rtol=1e-11)
    ours.train(x, y, epochs=2, batch_size=4)
    ours.step(x, y, RATES)
    losses = ours.step(x[0], y[0])
    for i, net in enumerate(nets):
        net.train(x, y, epochs=2, batch_size=4)
        net.step(x, y, float(RATES[i]))
        np.testing.assert_allclose(losses[i], net.step(x[0], y[0]), rtol=1e-11)
    assert agree(ours, nets, 0 if backend == "numpy" else ULPS)
    assert ours[3]._state.updates == nets[3]._state.updates == 8
    assert ours[3]._state.epochs == nets[3]._state.epochs == 2


def test_steps_on_data_of_their_own_and_rows(each_backend: str) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((K, 5, 3)), rng.random((K, 5, 2))
    rows = rng.integers(0, 5, (K, 4))
    ours = ns.Population([3, 5, 2], K, activation="tanh", backend=each_backend)
    nets = alone(ours, range(K), each_backend)
    losses = [ours.step(x, y, 0.2), ours.step(x[:, :1], y[:, :1]), ours.step(x[0], y[0], RATES, rows=rows)]
    for i, net in enumerate(nets):
        own, some = (x[i], y[i]), (x[0][rows[i]], y[0][rows[i]])
        singles = [net.step(*own, 0.2), net.step(x[i, 0], y[i, 0]), net.step(*some, float(RATES[i]))]
        np.testing.assert_allclose([loss[i] for loss in losses], singles, rtol=1e-12)
    assert agree(ours, nets, 100)


def test_steps_of_networks_that_stand_apart() -> None:
    """Adam's bias corrections follow each network's own number of updates."""
    x, y = data([3, 5, 2], "half_squared_error")
    stopping = ns.EarlyStopping("loss", patience=1, min_delta=1e-2)
    ours = ns.Population([3, 5, 2], K, activation="tanh")
    history = ours.train(x, y, epochs=12, batch_size=4, optimizer=ns.Adam(lr=RATES / 5), early_stopping=stopping)
    assert len(set(history.epochs.tolist())) > 1
    nets = list(ours)
    losses = ours.step(x, y)
    np.testing.assert_allclose(losses, [net.step(x, y) for net in nets], rtol=1e-12)
    assert agree(ours, nets, 100)


def test_a_step_that_is_cancelled_counts_for_those_that_made_it(
    each_backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cancelled(call: Callable[[], int], cancel: np.ndarray) -> tuple[int, bool]:
        cancel[0] = 1
        return call(), True

    monkeypatch.setattr("nanostep.populations.calls.interruptible", cancelled)
    monkeypatch.setattr("nanostep.populations.calls.LONG_CALL_SECONDS", 0.0)
    x, y = data([2, 2, 1], "half_squared_error")
    ours = ns.Population([2, 2, 1], 200, backend=each_backend)
    before = ours.theta.copy()
    with pytest.raises(KeyboardInterrupt):
        ours.step(x, y)
    moved = (ours.theta != before).any(axis=1)
    assert not moved.all()
    np.testing.assert_array_equal(ours._state.updates, moved)


def test_samples_may_be_parts_of_theta(each_backend: str) -> None:
    ours, others = (ns.Population([3, 2], K, seed=1, backend=each_backend) for _ in range(2))
    x, y = ours.theta.ravel()[:6].reshape(2, 3), ours.theta.ravel()[6:10].reshape(2, 2)
    others.step(x.copy(), y.copy(), 0.5)
    ours.step(x, y, 0.5)
    assert np.array_equal(ours.theta, others.theta)
