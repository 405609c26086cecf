"""The calls that a run is made of: the choice of threads, and Ctrl-C within a long step."""

from __future__ import annotations

import os
import signal
import threading

import numpy as np
import pytest

import nanostep as ns
from cases import REQUIRED
from nanostep import calls
from nanostep.calls import CALLS_BETWEEN_TRIALS, TRIAL_CALLS, _interruptible, _ThreadTrial

needs_c = pytest.mark.skipif("c" not in REQUIRED, reason="NANOSTEP_TEST_BACKENDS leaves the C backend out")


def chosen(seconds: dict[int | None, float], number: int) -> list[int | None]:
    """The threads of the first `number` calls, where a step takes `seconds` on so many threads."""
    trial, used = _ThreadTrial(tuple(seconds)), []
    for _ in range(number):
        threads, _ = trial.next_call()
        used.append(threads)
        trial.record(threads, seconds[threads])
    return used


def test_the_faster_number_of_threads_is_chosen() -> None:
    tried = 2 * TRIAL_CALLS
    for seconds, best in (({1: 3.0, 4: 1.0}, 4), ({1: 1.0, 4: 3.0}, 1)):
        used = chosen(seconds, tried + 10)
        assert used[:tried].count(1) == used[:tried].count(4) == TRIAL_CALLS
        assert used[tried:] == [best] * 10


def test_trials_are_made_again() -> None:
    trial, seconds, used = _ThreadTrial((1, 2)), {1: 1.0, 2: 2.0}, []
    for call in range(4 * TRIAL_CALLS + CALLS_BETWEEN_TRIALS + 5):
        if call == 2 * TRIAL_CALLS:
            seconds = {1: 2.0, 2: 1.0}  # now two are faster
        threads, _ = trial.next_call()
        used.append(threads)
        trial.record(threads, seconds[threads])
    assert used[2 * TRIAL_CALLS] == 1
    assert used[-1] == 2


def test_a_single_choice_is_not_tried() -> None:
    assert chosen({None: 1.0}, 5) == [None] * 5
    assert not _ThreadTrial((7,)).trying


@needs_c
def test_trials_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((600, 40)), rng.standard_normal((600, 5))
    thetas = []
    for threads in (1, None):
        net = ns.Network([40, 96, 5], "tanh", "identity", backend="c")
        used = []
        train = net._engine.train

        def note(*arguments, train=train, used=used):
            used.append(arguments[4].threads)
            return train(*arguments)

        monkeypatch.setattr(net._engine, "train", note)
        monkeypatch.setattr(net._engine, "useful_threads", lambda *_: 3)
        net.train(x, y, epochs=300, batch_size=150, threads=threads)
        thetas.append(net.theta.tobytes())
        assert set(used) == ({1} if threads == 1 else {1, 3})
    assert thetas[0] == thetas[1]


def interrupt_soon() -> None:
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()


@needs_c
@pytest.mark.parametrize("call", ["train", "step"])
def test_ctrl_c_ends_a_step_that_takes_long(call: str) -> None:
    """Ctrl-C comes long before the first step is over, which is then never made."""
    rows = 100_000
    x, y = np.ones((rows, 64), np.float32), np.ones((rows, 1), np.float32)
    net = ns.Network([64, 512, 512, 1], "tanh", "identity", dtype="float32", backend="c")
    before = net.theta.tobytes()
    make = {
        "train": lambda: net.train(x, y, epochs=1, batch_size=rows, shuffle=False),
        "step": lambda: net.step(x, y, lr=1e-3),
    }[call]
    interrupt_soon()
    with pytest.raises(KeyboardInterrupt):
        make()
    assert net.theta.tobytes() == before
    if call == "train":
        assert net.history is not None
        assert (net.history.interrupted, net.history.steps) == (True, 0)


def test_errors_of_a_long_call_reach_the_caller() -> None:
    def fail() -> int:
        raise ValueError("a word")

    with pytest.raises(ValueError, match="a word"):
        _interruptible(fail, np.zeros(1, np.int32))
    assert _interruptible(lambda: 3, np.zeros(1, np.int32)) == (3, False)


def test_ctrl_c_sets_the_flag_and_waits_for_the_call() -> None:
    cancel = np.zeros(1, np.int32)

    def until_cancelled() -> int:
        while not cancel[0]:
            pass
        return 5

    interrupt_soon()
    assert _interruptible(until_cancelled, cancel) == (5, True)


@pytest.mark.parametrize("backend", REQUIRED)
def test_long_calls_make_the_bits_of_short_ones(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    thetas = []
    for limit in (calls.LONG_CALL_SECONDS, 0.0):
        monkeypatch.setattr(calls, "LONG_CALL_SECONDS", limit)
        net = ns.Network([3, 4, 2], backend=backend)
        net.train(np.eye(3), np.ones((3, 2)) / 2, epochs=4)
        thetas.append(net.theta.tobytes())
    assert thetas[0] == thetas[1]
