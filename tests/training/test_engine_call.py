"""The engine calls of a run: the choice of threads, and Ctrl-C within a long step."""

from __future__ import annotations

import gc
import os
import signal
import threading

import numpy as np
import pytest

import nanostep as ns
from cases import QUICK, REQUIRED
from nanostep._arrays import Samples
from nanostep.backends.contract import Cursor
from nanostep.training import engine_call
from nanostep.training.interrupt import interruptible
from nanostep.training.threads import CALLS_BETWEEN_TRIALS, SECONDS_BEFORE_TRIAL, TRIAL_CALLS, ThreadTuner

needs_c = pytest.mark.skipif("c" not in REQUIRED, reason="NANOSTEP_TEST_BACKENDS leaves the C backend out")


def chosen(trial: ThreadTuner, seconds: dict[int, float], number: int) -> list[int]:
    """Return the threads of the next `number` calls of 10 ms, if a step takes `seconds` with that many threads."""
    used = []
    for _ in range(number):
        threads, _ = trial.next_call()
        used.append(threads)
        trial.record(threads, seconds[threads], 0.01)
    return used


@pytest.mark.parametrize("backend", QUICK)
def test_a_run_leaves_no_memory_to_the_garbage_collector(backend: str) -> None:
    """A workspace may have hundreds of megabytes, so it must be freed at the end of the run."""
    net, x = ns.Network([3, 4, 2], backend=backend), np.ones((8, 3))

    def left_over() -> list[str]:
        kinds = (
            engine_call.EngineCall,
            Cursor,
            Samples,
        )  # compared by type, because isinstance would use dead weak references
        return [type(thing).__name__ for thing in gc.get_objects() if type(thing) in kinds]

    gc.collect()
    gc.disable()
    try:
        before = left_over()
        net.train(
            x, np.ones((8, 2)), epochs=2, schedule=ns.schedules.StepLR(1), metrics="mae", callbacks=lambda event: None
        )
        net.train([(x, np.ones((8, 2)))], epochs=2)
        assert left_over() == before
    finally:
        gc.enable()


BEFORE = round(SECONDS_BEFORE_TRIAL / 0.01)


def test_the_faster_number_of_threads_is_chosen() -> None:
    for seconds, best in (({1: 3.0, 4: 1.0}, 4), ({1: 1.0, 4: 3.0}, 1)):
        trial = ThreadTuner((1, 4))
        assert chosen(trial, seconds, BEFORE) == [1] * BEFORE  # a short run is over before anything is tried
        assert sorted(chosen(trial, seconds, 2 * TRIAL_CALLS)) == [1] * TRIAL_CALLS + [4] * TRIAL_CALLS
        assert not trial.trying
        assert chosen(trial, seconds, 10) == [best] * 10


def test_trials_are_made_again() -> None:
    trial = ThreadTuner((1, 2))
    chosen(trial, {1: 1.0, 2: 2.0}, BEFORE + 2 * TRIAL_CALLS)
    seconds = {1: 2.0, 2: 1.0}  # now two threads are faster
    assert chosen(trial, seconds, CALLS_BETWEEN_TRIALS) == [1] * CALLS_BETWEEN_TRIALS
    chosen(trial, seconds, 2 * TRIAL_CALLS)
    assert chosen(trial, seconds, 1) == [2]


def test_a_single_choice_is_not_tried() -> None:
    trial = ThreadTuner((7,))
    assert chosen(trial, {7: 1.0}, 100) == [7] * 100
    assert not trial.trying


@needs_c
def test_a_network_remembers_what_was_found() -> None:
    net = ns.Network([40, 96, 5], activation="tanh", output="identity", backend="c")
    x, y = np.ones((150, 40)), np.ones((150, 5))
    for _ in range(2):
        net.train(x, y, epochs=1, batch_size=150)
    assert len(net._thread_tuners) == 1
    net.train(x, y, epochs=1, batch_size=30)
    assert len(net._thread_tuners) == 2
    net.train(x, y, epochs=1, batch_size=30, threads=2)
    assert len(net._thread_tuners) == 2


@needs_c
def test_trials_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    # a run of many calls, even on a fast machine
    for name, seconds in (("CALL_SECONDS", 2e-4), ("TRIAL_SECONDS", 2e-4), ("SECONDS_BEFORE_TRIAL", 1e-4)):
        monkeypatch.setattr(f"nanostep.training.threads.{name}", seconds)
    monkeypatch.setattr(engine_call, "CALL_SECONDS", 2e-4)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((600, 40)), rng.standard_normal((600, 5))
    thetas = []
    for threads in (1, None):
        net = ns.Network([40, 96, 5], activation="tanh", output="identity", backend="c")
        used = []
        train = net._engine.train

        def note(*arguments, train=train, used=used, **penalties):
            used.append(arguments[4].threads)
            return train(*arguments, **penalties)

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
    """Ctrl-C comes long before the end of the first step, which is then not made."""
    rows = 100_000
    x, y = np.ones((rows, 64), np.float32), np.ones((rows, 1), np.float32)
    net = ns.Network([64, 512, 512, 1], activation="tanh", output="identity", dtype="float32", backend="c")
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
        interruptible(fail, np.zeros(1, np.int32))
    assert interruptible(lambda: 3, np.zeros(1, np.int32)) == (3, False)


def test_ctrl_c_sets_the_flag_and_waits_for_the_call() -> None:
    cancel = np.zeros(1, np.int32)

    def until_cancelled() -> int:
        while not cancel[0]:
            pass
        return 5

    interrupt_soon()
    assert interruptible(until_cancelled, cancel) == (5, True)


@pytest.mark.parametrize("begun", [False, True])
def test_ctrl_c_while_the_thread_starts_leaves_no_call_behind(begun: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    cancel, started = np.zeros(1, np.int32), threading.Event()
    start, threads = threading.Thread.start, []

    def until_cancelled() -> int:
        started.set()
        while not cancel[0]:
            pass
        return 5

    def interrupted(thread: threading.Thread) -> None:
        threads.append(thread)
        if begun:
            start(thread)
            started.wait()
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    if begun:
        assert interruptible(until_cancelled, cancel) == (5, True)
        return
    with pytest.raises(KeyboardInterrupt):
        interruptible(until_cancelled, cancel)
    start(threads[0])  # the system may start it late, and then it does nothing
    threads[0].join()
    assert not started.is_set()


@pytest.mark.parametrize("backend", REQUIRED)
def test_long_calls_make_the_bits_of_short_ones(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    thetas = []
    for limit in (engine_call.LONG_CALL_SECONDS, 0.0):
        monkeypatch.setattr(engine_call, "LONG_CALL_SECONDS", limit)
        net = ns.Network([3, 4, 2], backend=backend)
        net.train(np.eye(3), np.ones((3, 2)) / 2, epochs=4)
        thetas.append(net.theta.tobytes())
    assert thetas[0] == thetas[1]
