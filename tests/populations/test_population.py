"""A population gives what each of its networks gives when trained alone."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import nanostep as ns
from cases import QUICK, REQUIRED
from nanostep.backends import one_by_one, population_contract
from nanostep.populations import run
from nanostep.populations.data import check_samples_of_networks

K = 7
ULPS = 200
"""Lanes round in another order. RMSprop divides by roots of small sums and reaches 27 (AVX-512), the others 10."""

OPTIMIZERS: dict[str, Callable[[Any], ns.Optimizer]] = {
    "sgd": lambda r: ns.SGD(lr=r),
    "momentum": lambda r: ns.SGD(lr=r, momentum=np.where(np.arange(K) % 2, 0.9, 0.0), weight_decay=1e-3),
    "nesterov": lambda r: ns.SGD(lr=r, momentum=0.8, nesterov=True, velocity_with_rate=True),
    "rmsprop": lambda r: ns.RMSprop(lr=0.1 * r, momentum=0.5),
    "centered": lambda r: ns.RMSprop(lr=0.1 * r, centered=True, eps=1e-3),
    "adam": lambda r: ns.Adam(lr=0.1 * r, betas=(np.linspace(0.5, 0.9, K), 0.99), amsgrad=True),
    "adamw": lambda r: ns.AdamW(lr=0.1 * r, l1=1e-3, weight_decay=np.linspace(0, 0.1, K)),
    "norm": lambda r: ns.SGD(lr=r, clip_norm=np.linspace(0.01, 1.0, K), l1=1e-3),
    "value": lambda r: ns.Adam(lr=0.1 * r, betas=(0.9, np.linspace(0.8, 0.99, K)), clip_value=0.01, epsilon_hat=True),
}

HEADS = [
    ("sigmoid", "half_squared_error"),
    ("identity", "huber"),
    ("softmax", "cross_entropy"),
    ("softmax", "squared_error"),
    ("sigmoid", "binary_cross_entropy"),
    ("softmax", "binary_cross_entropy"),
    ("tanh", "absolute_error"),
    ("tanh", "poisson"),
]

RATES = np.linspace(0.05, 0.4, K)

LEAN = [
    ([3, 5, 4, 2], ["sigmoid", "softplus"], ("sigmoid", "half_squared_error"), "sgd", 1, "float64"),
    ([3, 4], [], ("softmax", "cross_entropy"), "sgd", 1, "float32"),
    ([9, 11, 3], ["silu"], ("softmax", "cross_entropy"), "sgd", 1, "float32"),
    ([3, 5, 4, 2], ["tanh", "relu"], ("identity", "huber"), "momentum", 4, "float32"),
    ([3, 5, 4, 2], ["leaky_relu", "elu"], ("softmax", "cross_entropy"), "nesterov", 9, "float64"),
    ([3, 5, 4, 2], ["sigmoid", "identity"], ("softmax", "squared_error"), "rmsprop", 1, "float64"),
    ([3, 5, 4, 2], ["softplus", "silu"], ("sigmoid", "binary_cross_entropy"), "centered", 4, "float64"),
    ([3, 5, 4, 2], ["sigmoid", "tanh"], ("softmax", "binary_cross_entropy"), "adam", 9, "float64"),
    ([3, 9, 6], ["elu"], ("tanh", "absolute_error"), "adamw", 1, "float32"),
    ([3, 5, 4, 2], ["relu", "sigmoid"], ("tanh", "poisson"), "norm", 10, "float32"),
    ([3, 5, 4, 2], ["tanh", "elu"], ("sigmoid", "half_squared_error"), "value", 9, "float32"),
]
"""Every activation, output and kind of update in few networks, because Numba compiles each for half a second."""


def data(sizes: list[int], loss: str, n: int = 11) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n)
    x, y = rng.standard_normal((n, sizes[0])), rng.random((n, sizes[-1]))
    if loss == "cross_entropy":
        return x, rng.integers(0, sizes[-1], n)
    return x, y / y.sum(axis=1, keepdims=True) if sizes[-1] > 1 else y


def alone(population: ns.Population, seeds: Any, backend: str) -> list[ns.Network]:
    """Return the same networks, each as a `Network`."""
    *hidden, output = population.architecture.activations
    loss = population.architecture.loss
    return [
        ns.Network(
            population.sizes,
            activation=hidden,
            output=output,
            loss=loss,
            dtype=population.dtype,
            backend=backend,
            seed=s,
        )
        for s in seeds
    ]


def agree(population: ns.Population, nets: list[ns.Network], ulps: float) -> bool:
    eps = np.finfo(population.dtype).eps
    return all(np.allclose(a, b.theta, rtol=0, atol=ulps * eps) for a, b in zip(population.theta, nets, strict=True))


def compare(
    backend: str, sizes: list[int], activation: str | list[str], head: tuple[str, str], name: str, dtype: str,
    batch: int, *, against: str = "", ulps: float = ULPS,
) -> None:  # fmt: skip
    """Compare a population with its networks trained alone, on backend `against` if that is given."""
    output, loss = head
    population = ns.Population(
        sizes, K, activation=activation, output=output, loss=loss, dtype=dtype, backend=backend, seed=3
    )
    nets = alone(population, range(3, 3 + K), against or backend)
    assert agree(population, nets, 0)
    x, y = data(sizes, loss)
    optimizer = OPTIMIZERS[name](RATES)
    history = population.train(x, y, epochs=3, batch_size=batch, optimizer=optimizer, seed=5)
    losses = [
        net.train(x, y, epochs=3, batch_size=batch, optimizer=optimizer.of(i), seed=5).loss
        for i, net in enumerate(nets)
    ]
    ulps = 0 if backend == "numpy" else ulps
    assert agree(population, nets, ulps)
    np.testing.assert_allclose(history.loss, losses, rtol=ulps * np.finfo(dtype).eps, atol=0)
    assert np.isfinite(population.theta).all()


@pytest.mark.parametrize("backend", QUICK)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch", [1, 4, 50])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(backend: str, name: str, batch: int, dtype: str) -> None:
    compare(backend, [3, 5, 2], "tanh", ("sigmoid", "half_squared_error"), name, dtype, batch)


@pytest.mark.parametrize("backend", QUICK)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch", [1, 9])
@pytest.mark.parametrize("head", HEADS, ids="-".join)
@pytest.mark.parametrize("sizes", [[2, 2, 1], [4, 9, 6, 5], [3, 4]], ids=str)
def test_outputs(backend: str, sizes: list[int], head: tuple[str, str], batch: int, dtype: str) -> None:
    if sizes[-1] == 1 and head[0] == "softmax":
        head = ("identity", "squared_error")
    compare(backend, sizes, "sigmoid", head, "sgd", dtype, batch)


@pytest.mark.parametrize("backend", QUICK)
@pytest.mark.parametrize("activation", ["identity", "relu", "leaky_relu", "elu", "softplus", "silu"])
def test_activations(backend: str, activation: str) -> None:
    for batch in (1, 8):
        compare(backend, [4, 9, 3], activation, ("softmax", "cross_entropy"), "sgd", "float64", batch)


@pytest.mark.parametrize(("name", "dtype"), [("sgd", "float32"), ("momentum", "float64"), ("adam", "float32")])
def test_every_backend(each_backend: str, name: str, dtype: str) -> None:
    compare(each_backend, [3, 5, 2], "tanh", ("sigmoid", "half_squared_error"), name, dtype, 4)


@pytest.mark.parametrize("backend", [name for name in REQUIRED if name not in QUICK])
@pytest.mark.parametrize("case", LEAN, ids=lambda case: "-".join((*case[2], *map(str, case[3:]))))
def test_few_networks_of_all_kinds(backend: str, case: tuple) -> None:
    sizes, hidden, head, name, batch, dtype = case
    # RMSprop, which divides by roots of small sums, reaches 612 on AVX-512, the others at most 11
    ulps = 10_000 if name == "rmsprop" else ULPS
    compare(backend, sizes, hidden, head, name, dtype, batch, against="numpy", ulps=ulps)


def test_data_of_their_own_and_rows(each_backend: str) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((K, 11, 3)), rng.random((K, 11, 2))
    rows = rng.integers(0, 11, (K, 6))
    for batch in (1, 4):
        ours = ns.Population([3, 5, 2], K, activation="tanh", backend=each_backend)
        bagged = ns.Population([3, 5, 2], K, activation="tanh", backend=each_backend)
        ours.train(x, y, epochs=2, batch_size=batch, optimizer=ns.SGD(lr=0.2))
        bagged.train(x[0], y[0], epochs=2, batch_size=batch, optimizer=ns.SGD(lr=0.2), rows=rows)
        nets, bags = alone(ours, range(K), each_backend), alone(ours, range(K), each_backend)
        for i in range(K):
            nets[i].train(x[i], y[i], epochs=2, batch_size=batch, optimizer=ns.SGD(lr=0.2))
            bags[i].train(x[0][rows[i]], y[0][rows[i]], epochs=2, batch_size=batch, optimizer=ns.SGD(lr=0.2))
        assert agree(ours, nets, 100)
        assert agree(bagged, bags, 100)
        np.testing.assert_allclose(ours.predict(x)[2], nets[2].predict(x[2]), atol=1e-12)
        np.testing.assert_allclose(ours.loss(x, y), [net.loss(x[i], y[i]) for i, net in enumerate(nets)], atol=1e-12)
        assert ours.predict(x[0]).shape == (K, 11, 2)


def test_labels_of_rows_of_their_own(each_backend: str) -> None:
    x, y = data([3, 5, 2], "cross_entropy")
    rows = np.random.default_rng(0).integers(0, 11, (K, 6))
    ours = ns.Population([3, 5, 2], K, activation="tanh", output="softmax", loss="cross_entropy", backend=each_backend)
    nets = alone(ours, range(K), each_backend)
    ours.train(x, y, epochs=2, batch_size=4, optimizer=ns.SGD(lr=RATES), label_smoothing=0.1, rows=rows)
    for i, net in enumerate(nets):
        net.train(
            x[rows[i]], y[rows[i]], epochs=2, batch_size=4, optimizer=ns.SGD(lr=float(RATES[i])), label_smoothing=0.1
        )
    assert agree(ours, nets, 100)


def test_seeds_dropout_and_smoothing_of_each_network(each_backend: str) -> None:
    x, y = data([3, 5, 2], "cross_entropy")
    seeds, dropout = np.arange(10, 10 + K), np.linspace(0, 0.5, K)
    ours = ns.Population(
        [3, 5, 2], K, activation="tanh", output="softmax", loss="cross_entropy", backend=each_backend, seed=seeds
    )
    nets = alone(ours, seeds.tolist(), each_backend)
    ours.train(x, y, epochs=2, batch_size=4, optimizer=ns.SGD(lr=0.2), seed=seeds, dropout=dropout, label_smoothing=0.1)
    for i, net in enumerate(nets):
        net.train(
            x,
            y,
            epochs=2,
            batch_size=4,
            optimizer=ns.SGD(lr=0.2),
            seed=int(seeds[i]),
            dropout=float(dropout[i]),
            label_smoothing=0.1,
        )
    assert agree(ours, nets, 100)


def test_comparisons_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that gives all networks the rate of the first, or shifts their rows by one, is detected."""
    monkeypatch.setattr(ns.SGD, "of", lambda self, network: ns.SGD(lr=float(np.min(self.lr))))
    x, y = data([3, 5, 2], "half_squared_error")
    ours = ns.Population([3, 5, 2], K, activation="tanh", backend="numpy")
    nets = alone(ours, range(K), "numpy")
    ours.train(x, y, epochs=1, batch_size=4, optimizer=ns.SGD(lr=RATES))
    for net, rate in zip(nets, RATES.tolist(), strict=True):
        net.train(x, y, epochs=1, batch_size=4, optimizer=ns.SGD(lr=rate))
    assert not agree(ours, nets, ULPS)
    of = population_contract.PopulationSamples.of
    monkeypatch.setattr(population_contract.PopulationSamples, "of", lambda self, i: of(self, (i + 1) % K))
    with pytest.raises(AssertionError):
        test_data_of_their_own_and_rows("numpy")


def test_early_stopping_is_that_of_each_network(each_backend: str) -> None:
    x, y = data([3, 5, 2], "half_squared_error")
    xv, yv = data([3, 5, 2], "half_squared_error", 9)
    stopping = ns.EarlyStopping(patience=2, min_delta=1e-3)
    ours = ns.Population([3, 5, 2], K, activation="tanh", backend=each_backend)
    nets = alone(ours, range(K), each_backend)
    history = ours.train(
        x, y, epochs=25, batch_size=4, optimizer=ns.SGD(lr=RATES), validation=(xv, yv), early_stopping=stopping
    )
    for i, net in enumerate(nets):
        alone_history = net.train(
            x, y, epochs=25, batch_size=4, optimizer=ns.SGD(lr=float(RATES[i])), validation=(xv, yv),
            early_stopping=stopping
        )  # fmt: skip
        assert history.epochs[i] == alone_history.epochs
        assert history.best_epoch[i] == alone_history.best_epoch
        np.testing.assert_allclose(history.validation_loss[i, : history.epochs[i]], alone_history.validation_loss)
        assert np.isnan(history.loss[i, history.epochs[i] :]).all()
    assert agree(ours, nets, 100)
    assert len(set(history.epochs.tolist())) > 1  # otherwise the test is too weak
    assert history.stopped == ("early_stopping" if history.epochs.max() < 25 else "epochs")
    # they are at different epochs now; training continues for each from its own
    ours.train(x, y, epochs=2, batch_size=4)
    for net in nets:
        net.train(x, y, epochs=2, batch_size=4)
    assert agree(ours, nets, 200)


def test_cuts_threads_and_company_change_no_bit(each_backend: str) -> None:
    x, y = data([2, 2, 1], "half_squared_error")
    rates = np.linspace(0.1, 1, 600)
    runs = []
    for threads, calls in ((1, (6,)), (2, (1, 5)), (3, (2, 2, 2))):
        size = K if each_backend == "numpy" else 600
        population = ns.Population([2, 2, 1], size, dtype="float32", backend=each_backend)
        optimizer = ns.SGD(lr=rates[:size])
        for epochs in calls:
            history = population.train(x, y, epochs=epochs, optimizer=optimizer, threads=threads)
        assert history.threads == (threads if each_backend == "numba" else history.threads)
        runs.append(population.theta.copy())
    assert np.array_equal(runs[0], runs[1])
    assert np.array_equal(runs[0], runs[2])
    few = ns.Population([2, 2, 1], K, dtype="float32", backend=each_backend)
    few.train(x, y, epochs=6, optimizer=ns.SGD(lr=rates[:K]))
    assert np.array_equal(few.theta, runs[0][:K])


@pytest.mark.parametrize("name", ["l1", "weight_decay", "clip_norm", "momentum"])
def test_bits_do_not_depend_on_company(each_backend: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls for 256 networks, the first of which have no penalty, and for the last 2, against one call for all."""
    size = 514
    some = np.where(np.arange(size) < 256, 0.0, 0.5)
    if name == "clip_norm":
        some = np.where(np.arange(size) < 256, 1e9, 0.01)  # cannot be switched off in an array
    x, y = data([3, 5, 4, 2], "half_squared_error", 4)
    thetas = []
    for much in (1e9, 1e-9):
        for bound in ("CALL_SECONDS", "FIRST_CALL_FLOPS"):
            monkeypatch.setattr(run, bound, much)
        ours = ns.Population(
            [3, 5, 4, 2], size, activation="tanh", dtype="float32", backend=each_backend, seed=np.zeros(size, int)
        )
        ours.train(x, y, epochs=3, batch_size=1, optimizer=ns.SGD(lr=0.1, **{name: some}))
        thetas.append(ours.theta.copy())
    assert np.array_equal(*thetas)
    assert not np.array_equal(thetas[0][0], thetas[0][-1])  # the penalty has an effect


def test_single_networks(each_backend: str) -> None:
    x, y = data([3, 5, 2], "half_squared_error")
    optimizer = ns.SGD(lr=RATES, momentum=np.where(np.arange(K) % 2, 0.9, 0.0))
    ours = ns.Population([3, 5, 2], K, activation="tanh", backend=each_backend)
    ours.train(x, y, epochs=2, batch_size=4, optimizer=optimizer)
    nets = list(ours)
    assert nets[-1].optimizer == optimizer.of(K - 1) == ours[-1].optimizer
    for net in nets:  # the state of the optimiser was copied too
        net.train(x, y, epochs=2, batch_size=4)
    ours.train(x, y, epochs=2, batch_size=4)
    assert agree(ours, nets, 100)
    assert agree(ns.Population.stack(nets), nets, 0)
    best = int(np.argmin(ours.loss(x, y)))
    assert np.array_equal(ours.best(x, y).theta, ours.theta[best])
    assert ours.weights[0].shape == (K, 5, 3)
    assert ours.biases[1].shape == (K, 2)
    assert repr(ours).startswith("Population([3, 5, 2], size=7, activation='tanh'")


@pytest.mark.parametrize("optimizer", [ns.SGD(lr=RATES), ns.Adam(betas=(0.9, np.linspace(0.9, 0.99, K)))], ids=repr)
def test_copies_and_files_go_on_as_the_original(optimizer: ns.Optimizer, tmp_path: Path) -> None:
    x, y = data([3, 5, 2], "half_squared_error")
    ours = ns.Population([3, 5, 2], K, activation="tanh", backend="numpy")
    ours.train(x, y, epochs=2, batch_size=4, optimizer=optimizer)
    ours.save(tmp_path / "p.safetensors")
    copies = [ns.Population.load(tmp_path / "p.safetensors", "numpy"), pickle.loads(pickle.dumps(ours))]
    ours.train(x, y, epochs=2, batch_size=4)
    for copy in copies:
        assert copy.optimizer == optimizer
        copy.train(x, y, epochs=2, batch_size=4)
        assert np.array_equal(copy.theta, ours.theta)


def test_files_tell_populations_from_networks(tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    ns.Population([2, 1], 3).save(path)
    with pytest.raises(ns.FileFormatError, match=r"Population\.load"):
        ns.load(path)
    ns.Network([2, 1]).save(path)
    with pytest.raises(ns.FileFormatError, match=r"ns\.load"):
        ns.Population.load(path)


class Interrupting:
    """An engine in which Ctrl-C takes effect after call number `number`."""

    def __init__(self, engine: Any, number: int) -> None:
        self._engine, self._left = engine, number

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def train(self, *arguments: Any) -> None:
        self._engine.train(*arguments)
        self._left -= 1
        if self._left == 0:
            raise KeyboardInterrupt


def test_ctrl_c_ends_every_network_at_an_epoch(each_backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CALL_SECONDS", "FIRST_CALL_FLOPS"):
        monkeypatch.setattr(run, name, 1e-9)  # calls of 256 networks
    x, y = data([2, 2, 1], "half_squared_error", 4)
    ours = ns.Population([2, 2, 1], 600, backend=each_backend)
    monkeypatch.setattr(ours, "_engine", Interrupting(ours._engine, 5))
    with pytest.raises(KeyboardInterrupt):
        ours.train(x, y, epochs=4, optimizer=ns.SGD(lr=0.1))
    history = ours.history
    assert history is not None
    assert history.stopped == "interrupted"
    assert history.epochs.tolist() == [2] * 512 + [1] * 88
    assert np.array_equal(np.isfinite(history.loss).sum(axis=1), history.epochs)
    ours.train(x, y, epochs=1)  # each goes on from its own epoch
    for i, epochs in ((0, 3), (511, 3), (512, 2), (599, 2)):
        net = ns.Network([2, 2, 1], backend=each_backend, seed=i)
        net.train(x, y, epochs=epochs, optimizer=ns.SGD(lr=0.1))
        np.testing.assert_allclose(ours.theta[i], net.theta, atol=1e-12)


def test_a_cancelled_call_leaves_networks_as_they_were_or_done(each_backend: str) -> None:
    x, y = data([2, 2, 1], "half_squared_error", 50)
    ours = ns.Population([2, 2, 1], 200, backend=each_backend)
    nets, before = alone(ours, range(200), each_backend), ours.theta.copy()
    config = population_contract.PopulationRunConfig(1, True, np.zeros(200, np.uint64), 1, np.ones(1, np.int32))
    call = population_contract.PopulationTask(np.arange(200), 0, 0, 1)
    samples = check_samples_of_networks(ours, x, y)
    ours._engine.train(
        population_contract.PopulationTraining(ours._theta, ours._state.slots, samples, ns.SGD(lr=0.1), config), call
    )
    assert not call.done.all()
    assert np.array_equal(ours.theta[~call.done], before[~call.done])
    for i in np.flatnonzero(call.done):
        nets[i].train(x, y, epochs=1, batch_size=1, optimizer=ns.SGD(lr=0.1))
        assert np.array_equal(ours.theta[i], nets[i].theta)


def test_history_as_a_table() -> None:
    x, y = data([3, 2], "half_squared_error")
    history = ns.Population([3, 2], 2, backend="numpy").train(x, y, epochs=3, validation=(x, y))
    table = history.to_pandas()
    assert isinstance(table, pd.DataFrame)
    assert len(table) == 6
    assert table.columns.tolist() == ["network", "epoch", "loss", "validation_loss"]
    np.testing.assert_array_equal(table["loss"], history.loss.ravel())


def test_data_are_not_copied_for_rows() -> None:
    population = ns.Population([3, 2], K)
    x, y = data([3, 2], "half_squared_error")
    rows = np.zeros((K, 4), np.int64)
    checked = check_samples_of_networks(population, x, y, rows)
    assert np.shares_memory(checked.samples.x, x)
    assert np.shares_memory(checked.rows, rows)


@pytest.mark.parametrize("backend", QUICK)
def test_wide_networks_have_threads_of_their_own(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_by_one, "THREAD_FLOPS", 0.0)
    x, y = data([3, 70, 2], "half_squared_error", 20)
    got = []
    for threads in (1, 3, None):
        ours = ns.Population([3, 70, 2], 6, backend=backend)
        monkeypatch.setattr(ours._engine, "_most_threads", lambda: 4)
        history = ours.train(x, y, epochs=2, batch_size=4, optimizer=ns.Adam(lr=0.01), threads=threads)
        got.append((ours.theta, history.loss, history.threads))
    assert [threads for _, _, threads in got] == [1, 3, 4]
    for theta, loss, _ in got[1:]:
        np.testing.assert_array_equal(theta, got[0][0])
        np.testing.assert_array_equal(loss, got[0][1])


def test_an_error_of_one_network_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_by_one, "THREAD_FLOPS", 0.0)
    ours = ns.Population([3, 70, 2], 6, backend="c")
    monkeypatch.setattr(ours._engine, "_most_threads", lambda: 2)

    def train(*_: Any, **__: Any) -> None:
        raise OSError("in a thread")

    monkeypatch.setattr(ours._engine._engine, "train", train)
    with pytest.raises(OSError, match="in a thread"):
        ours.train(*data([3, 70, 2], "half_squared_error"))
