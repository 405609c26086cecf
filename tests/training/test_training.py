"""Training runs: histories, orders, state that continues, stopping, threads."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nanostep as ns
from cases import REQUIRED
from nanostep.training.callbacks import Callback

X = np.random.default_rng(0).standard_normal((45, 3))
Y = np.random.default_rng(1).random((45, 2))


def make(backend: str = "numpy", dtype: str = "float64", seed: int = 0) -> ns.Network:
    return ns.Network(
        [3, 6, 2], activation="tanh", output="identity", loss="squared_error", dtype=dtype, backend=backend, seed=seed
    )


@pytest.fixture(params=REQUIRED)
def net(request: pytest.FixtureRequest) -> ns.Network:
    return make(request.param)


def test_history_says_what_happened(net: ns.Network) -> None:
    history = net.train(X, Y, epochs=4, batch_size=10, seed=9, validation=(X[:5], Y[:5]))
    assert history is net.history
    assert history.epochs == len(history.loss) == len(history.validation_loss) == 4
    assert history.steps == 4 * 5  # the last batch of an epoch has five samples
    assert history.samples == 4 * 45
    assert history.backend == net.backend
    assert history.seed == 9
    assert history.seconds > 0
    assert not history.interrupted
    assert history.validation_loss[-1] == net.loss(X[:5], Y[:5])
    values = history.to_dict()
    assert values["epochs"] == 4
    assert values["loss"] == history.loss
    assert values["loss"] is not history.loss


def test_training_loss_is_the_mean_of_the_losses_before_each_step(net: ns.Network) -> None:
    twin = make(net.backend)
    history = net.train(X, Y, epochs=1, batch_size=20, shuffle=False, optimizer=ns.SGD(lr=0.1))
    total = 0.0
    for start in range(0, 45, 20):
        rows = slice(start, start + 20)
        total += twin.step(X[rows], Y[rows], lr=0.1) * len(X[rows])
    assert history.loss[0] == pytest.approx(total / 45, rel=1e-14)
    np.testing.assert_allclose(net.theta, twin.theta, rtol=1e-14)


def test_training_learns(net: ns.Network) -> None:
    before = net.loss(X, Y)
    net.train(X, Y, epochs=100, batch_size=5, optimizer=ns.Adam(lr=0.01))
    assert net.loss(X, Y) < before / 5


@pytest.mark.parametrize("batch_size", [1, 7, 45])
def test_every_backend_uses_the_same_order(batch_size: int) -> None:
    results = []
    for backend in REQUIRED:
        net = make(backend)
        losses = net.train(X, Y, epochs=3, batch_size=batch_size, optimizer=ns.SGD(lr=0.1), seed=5).loss
        results.append((net.theta, losses))
    for theta, losses in results:
        np.testing.assert_allclose(theta, results[0][0], rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(losses, results[0][1], rtol=1e-10)


def test_seeds(net: ns.Network) -> None:
    def train(**arguments: Any) -> bytes:
        net.theta = make().theta
        net.train(X, Y, epochs=2, optimizer=ns.SGD(lr=0.1), **arguments)
        return net.theta.tobytes()

    assert train(seed=1) == train(seed=1)
    assert train(seed=1) != train(seed=2)
    assert train(shuffle=False) == train(shuffle=False, seed=3)
    assert train(seed=1) != train(shuffle=False)
    drawn = [train(seed=None) for _ in range(2)]
    assert drawn[0] != drawn[1]
    assert net.history is not None
    assert train(seed=net.history.seed) == drawn[1]


OPTIMIZERS: list[Callable[[], ns.Optimizer]] = [
    lambda: ns.SGD(lr=0.05),
    lambda: ns.SGD(lr=0.05, momentum=0.9),
    lambda: ns.RMSprop(centered=True, momentum=0.5),
    lambda: ns.Adam(),
    lambda: ns.AdamW(amsgrad=True),
]


@pytest.mark.parametrize("batch_size", [1, 7])
@pytest.mark.parametrize("new", OPTIMIZERS)
def test_the_same_optimiser_goes_on_with_the_same_bits(
    net: ns.Network, new: Callable[[], ns.Optimizer], batch_size: int
) -> None:
    twin, optimizer, other = make(net.backend), new(), new()
    whole = net.train(X, Y, epochs=6, batch_size=batch_size, optimizer=optimizer)
    parts = [twin.train(X, Y, epochs=2, batch_size=batch_size, optimizer=other)]
    parts.append(twin.train(X, Y, epochs=3, batch_size=batch_size))  # without one: the network's
    parts.append(twin.train(X, Y, epochs=1, batch_size=batch_size, optimizer=twin.optimizer))
    assert [loss for part in parts for loss in part.loss] == whole.loss
    assert twin.theta.tobytes() == net.theta.tobytes()


@pytest.mark.parametrize("new", OPTIMIZERS[1:])
def test_another_optimiser_and_a_reset_start_afresh(net: ns.Network, new: Callable[[], ns.Optimizer]) -> None:
    thetas = []
    optimizer = new()
    for chosen in (new(), new(), optimizer):
        net.train(X, Y, epochs=1, optimizer=optimizer)
        net.theta = make().theta
        if chosen is optimizer:
            net.reset_optimizer()
        net.train(X, Y, epochs=2, optimizer=chosen)
        thetas.append(net.theta.tobytes())
    assert thetas[0] == thetas[1] == thetas[2]
    net.theta = make().theta
    net.train(X, Y, epochs=2, optimizer=optimizer)  # not fresh: moments and order continue
    assert net.theta.tobytes() != thetas[0]


def test_steps_and_runs_share_the_state(net: ns.Network) -> None:
    twin, optimizer, other = make(net.backend), ns.Adam(), ns.Adam()
    net.train(X, Y, epochs=3, batch_size=45, shuffle=False, optimizer=optimizer)
    twin.train(X, Y, epochs=1, batch_size=45, shuffle=False, optimizer=other)
    twin.step(X, Y, optimizer=other)
    twin.step(X, Y, lr=1e-30)  # a plain step does not change the state
    twin.step(X, Y)
    np.testing.assert_allclose(twin.theta, net.theta, rtol=1e-14)


def test_one_optimiser_may_serve_many_networks(net: ns.Network) -> None:
    optimizer = ns.Adam()
    nets = [make(net.backend), make(net.backend)]
    for each in nets:
        each.train(X, Y, epochs=2, optimizer=optimizer)
    assert nets[0].theta.tobytes() == nets[1].theta.tobytes()


def test_rates_may_change_without_losing_the_state(net: ns.Network) -> None:
    optimizer = ns.SGD(lr=0.1, momentum=0.9)
    net.train(X, Y, epochs=1, batch_size=45, optimizer=optimizer)
    velocity, before = net._state.slots.copy(), net.theta.copy()
    optimizer.lr = 1e-12
    net.step(X, Y)
    assert (net._state.slots != velocity).any()
    np.testing.assert_allclose(net.theta, before, atol=1e-10)


def test_batch_sizes(net: ns.Network) -> None:
    twin = make(net.backend)
    assert net.train(X, Y, epochs=2, batch_size=10_000).steps == 2
    twin.train(X, Y, epochs=2, batch_size=45)
    assert net.theta.tobytes() == twin.theta.tobytes()


def test_no_epochs_change_nothing(net: ns.Network) -> None:
    before = net.theta.tobytes()
    history = net.train(X, Y, epochs=0)
    assert (history.epochs, history.steps, history.loss) == (0, 0, [])
    assert net.theta.tobytes() == before


def test_callbacks_see_each_epoch(net: ns.Network) -> None:
    seen = []

    def look(event: ns.EpochEnd) -> None:
        seen.append((event.epoch, event.epochs, event.loss, event.validation_loss, event.network.theta.copy()))

    history = net.train(X, Y, epochs=3, validation=(X, Y), callbacks=[look])
    assert [entry[:2] for entry in seen] == [(1, 3), (2, 3), (3, 3)]
    assert [entry[2] for entry in seen] == history.loss
    assert [entry[3] for entry in seen] == history.validation_loss
    assert (seen[2][4] == net.theta).all()
    assert (seen[0][4] != net.theta).any()


def test_callbacks_do_not_change_the_run(net: ns.Network) -> None:
    twin = make(net.backend)
    net.train(X, Y, epochs=5, callbacks=lambda event: None, validation=(X, Y))
    twin.train(X, Y, epochs=5)
    assert net.theta.tobytes() == twin.theta.tobytes()


def stop_by_exception(event: ns.EpochEnd) -> None:
    if event.epoch == 2:
        raise ns.StopTraining


@pytest.mark.parametrize(
    "stop",
    [
        lambda event: event.epoch == 2,
        lambda event: np.mean(event.history.loss) < 1e9 and np.bool_(event.epoch == 2),
        lambda event: np.array(event.epoch == 2),
        stop_by_exception,
    ],
)
def test_callbacks_can_stop(net: ns.Network, stop: Callback) -> None:
    before: list[int] = []
    history = net.train(X, Y, epochs=50, callbacks=[lambda event: before.append(event.epoch), stop])
    assert before == [1, 2]
    assert history.epochs == 2
    assert not history.interrupted
    twin = make(net.backend)
    twin.train(X, Y, epochs=2)
    assert net.theta.tobytes() == twin.theta.tobytes()


@pytest.mark.parametrize("answer", ["stop", 1, 0.0, [True], np.array([True]), np.float64(1)])
@pytest.mark.parametrize("kind", ["epochs", "steps", "solver"])
def test_an_answer_that_is_no_bool_is_refused(answer: Any, kind: str) -> None:
    more: dict[str, Any] = {"callbacks": lambda event: answer}
    if kind == "steps":
        more["callbacks"] = ns.EveryNSteps(1, more["callbacks"])
    if kind == "solver":
        more["optimizer"] = ns.LBFGS()
    with pytest.raises(TypeError, match="a callback must return True to end the run, or False or None; got"):
        make().train(X, Y, epochs=3, **more)


def test_a_callback_that_answers_stop_lets_the_others_see_the_epoch() -> None:
    after: list[int] = []
    make().train(X, Y, epochs=50, callbacks=[lambda event: event.epoch == 2, lambda event: after.append(event.epoch)])
    assert after == [1, 2]


def test_an_error_in_a_callback_leaves_a_sound_state(net: ns.Network) -> None:
    def fail(event: ns.EpochEnd) -> None:
        if event.epoch == 3:
            raise KeyError("mine")

    optimizer = ns.Adam()
    with pytest.raises(KeyError, match="mine"):
        net.train(X, Y, epochs=10, optimizer=optimizer, callbacks=fail)
    assert net.history is not None
    assert net.history.epochs == 3
    net.train(X, Y, epochs=2, optimizer=optimizer)
    twin, other = make(net.backend), ns.Adam()
    twin.train(X, Y, epochs=5, optimizer=other)
    assert net.theta.tobytes() == twin.theta.tobytes()


def test_keyboard_interrupt_keeps_what_was_learned(net: ns.Network) -> None:
    def interrupt(event: ns.EpochEnd) -> None:
        if event.epoch == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        net.train(X, Y, epochs=100, callbacks=interrupt)
    assert net.history is not None
    assert net.history.interrupted
    assert net.history.epochs == 4
    twin = make(net.backend)
    twin.train(X, Y, epochs=4)
    assert net.theta.tobytes() == twin.theta.tobytes()


INTERRUPTED = """
import sys, numpy as np, nanostep as ns
X = np.random.default_rng(0).standard_normal((500, 3)); Y = X[:, :1] * 0.5
net = ns.Network([3, 8, 1], activation="tanh", output="identity", loss="squared_error", backend=sys.argv[1])
before = net.loss(X, Y)
net.train(X, Y, epochs=1)
print("ready", flush=True)
try:
    net.train(X, Y, epochs=10**9, optimizer=ns.SGD(lr=0.01))
except KeyboardInterrupt:
    print(net.history.interrupted, net.loss(X, Y) < before / 10, bool(np.isfinite(net.theta).all()))
"""


def test_ctrl_c_in_the_middle_of_a_long_run(net: ns.Network) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, net.backend], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(1.0)
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert out == "True True True\n", err


def test_a_diverging_run_warns_once(net: ns.Network) -> None:
    with pytest.warns(RuntimeWarning, match="smaller learning rate") as caught:
        history = net.train(1e3 * X, Y, epochs=30, batch_size=45, optimizer=ns.SGD(lr=1e6))
    assert len([w for w in caught if "smaller learning rate" in str(w.message)]) == 1
    assert not np.isfinite(history.loss[-1])


def test_many_threads_train_their_own_networks(net: ns.Network) -> None:
    expected = make(net.backend)
    expected.train(X, Y, epochs=30, batch_size=4)
    nets = [make(net.backend) for _ in range(6)]
    threads = [threading.Thread(target=n.train, args=(X, Y), kwargs={"epochs": 30, "batch_size": 4}) for n in nets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {n.theta.tobytes() for n in nets} == {expected.theta.tobytes()}


def test_threads_on_one_network_do_not_crash_and_reads_are_right(net: ns.Network) -> None:
    expected = net.predict(X)
    wrong = []

    def read() -> None:
        for i in range(200):
            row = i % 45
            if not np.array_equal(net.predict(X), expected) or not np.allclose(net.predict(X[row]), expected[row]):
                wrong.append(i)

    readers = [threading.Thread(target=read) for _ in range(4)]
    for thread in readers:
        thread.start()
    for thread in readers:
        thread.join()
    assert wrong == []
    sizes = (1, 3, 45)
    writers = [threading.Thread(target=net.train, args=(X, Y), kwargs={"epochs": 50, "batch_size": b}) for b in sizes]
    for thread in writers:
        thread.start()
    for thread in writers:
        thread.join()
    assert np.isfinite(net.theta).all()


def test_progress_is_silent_without_a_terminal(net: ns.Network, capfd: pytest.CaptureFixture[str]) -> None:
    twin = make(net.backend)
    net.train(X, Y, epochs=3, progress=True)
    twin.train(X, Y, epochs=3)
    assert net.theta.tobytes() == twin.theta.tobytes()
    assert len(capfd.readouterr().err.splitlines()) <= 2
