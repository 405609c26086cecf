"""Threads of the Numba backend: they change no bit, and none is left waiting."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import nanostep as ns
from nanostep._arrays import Samples
from nanostep.architecture import make_architecture
from nanostep.backends.contract import Cursor, RunConfig
from nanostep.backends.jit import _threads
from nanostep.backends.jit.networks import Engine

X = np.random.default_rng(0).standard_normal((300, 20)).astype(np.float32)
LABELS = np.random.default_rng(1).integers(0, 5, 300)


def trained(threads: int | None, batch_size: int, optimizer: ns.Optimizer, shuffle: bool = True) -> tuple[bytes, int]:
    net = ns.Network(
        [20, 40, 33, 5],
        activation="tanh",
        output="softmax",
        loss="cross_entropy",
        dtype="float32",
        backend="numba",
        seed=3,
    )
    history = net.train(
        X, LABELS, epochs=3, batch_size=batch_size, optimizer=optimizer, shuffle=shuffle, threads=threads
    )
    return net.theta.tobytes() + np.array(history.loss).tobytes(), history.threads


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("batch_size", [33, 64, 150, 300])
@pytest.mark.parametrize("optimizer", [ns.SGD(lr=0.1), ns.SGD(lr=0.1, momentum=0.9), ns.Adam()], ids=lambda o: o.kind)
def test_results_do_not_depend_on_the_number_of_threads(
    optimizer: ns.Optimizer, batch_size: int, shuffle: bool
) -> None:
    alone, threads = trained(1, batch_size, optimizer, shuffle)
    assert threads == 1
    for wanted in (2, 3, 64):
        result, threads = trained(wanted, batch_size, optimizer, shuffle)
        assert result == alone
        assert threads == min(wanted, -(-min(batch_size, 64) // 16))
    assert trained(None, batch_size, optimizer, shuffle)[0] == alone


@pytest.mark.parametrize("batch_size", [33, 150])
@pytest.mark.parametrize(("optimizer", "alpha"), [(ns.SGD(lr=0.1), 0.0), (ns.Adam(l1=1e-3, clip_norm=0.1), 0.3)])
def test_nor_do_those_of_runs_with_everything(optimizer: ns.Optimizer, alpha: float, batch_size: int) -> None:
    architecture = make_architecture([20, 40, 33, 5], "tanh", "softmax", "cross_entropy")
    theta = np.random.default_rng(2).standard_normal(architecture.parameter_count).astype(np.float32) / 4
    samples = Samples(X, None, LABELS, np.random.default_rng(3).random(300, np.float32))
    results = set()
    for threads in (1, 2, 3):
        engine, cursor = Engine(architecture, np.dtype(np.float32)), Cursor(np.empty(300, np.int64))
        plan = RunConfig(batch_size, shuffle=True, seed=4, threads=threads, dropout=(0.5, 0.2), smoothing=0.1,
                         alpha=alpha,
                    batch_mean=True)  # fmt: skip
        moving, slots, losses, penalties = theta.copy(), np.zeros((2, len(theta)), np.float32), np.ones(3), np.ones(3)
        slots = slots[: len(optimizer.slots)]
        steps = 2 * -(-300 // batch_size) + 1
        ended = engine.train(
            moving, slots, samples, optimizer, plan, cursor, steps, losses, epoch_penalty__e=penalties
        )  # fmt: skip
        assert ended == 2
        assert engine.threads == threads
        assert (penalties[:2] > 0).all() == (alpha > 0)
        results.add(b"".join(array.tobytes() for array in (moving, slots, losses, penalties))
                    + np.array([cursor.loss_sum, cursor.penalty_sum]).tobytes())  # fmt: skip
    assert len(results) == 1


def test_single_rows_are_work_for_one() -> None:
    assert trained(4, 1, ns.SGD(lr=0.1))[1] == 1
    assert trained(4, 16, ns.SGD(lr=0.1))[1] == 1


def test_many_runs_at_once() -> None:
    expected = trained(1, 64, ns.Adam())[0]
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(lambda _: trained(3, 64, ns.Adam())[0], range(12)))
    assert set(results) == {expected}


def test_a_thread_that_cannot_start_calls_the_others_off(monkeypatch: pytest.MonkeyPatch) -> None:
    start, ran, count = threading.Thread.start, [], iter(range(10))

    def refuse_third(thread: threading.Thread) -> None:
        if next(count) == 2:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse_third)
    with pytest.raises(RuntimeError, match="new thread"):
        _threads.run_team(ran.append, 4)  # type: ignore[arg-type]
    assert ran == []


def test_results_of_a_team_are_those_of_its_first_worker() -> None:
    assert _threads.run_team(lambda number: 10 + number, 5) == 10


def test_the_environment_limits_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NANOSTEP_THREADS", "1")
    assert _threads.most_threads() == 1
    monkeypatch.delenv("NANOSTEP_THREADS")
    assert _threads.most_threads() >= 1
