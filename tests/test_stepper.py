"""`Network.stepper`: the same bits as `step`, and its arrays."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import nanostep as ns
from cases import REQUIRED

pytestmark = pytest.mark.parametrize("backend", REQUIRED)


def network(backend: str, **changes: Any) -> ns.Network:
    given = {"activation": "tanh", "output": "identity", "loss": "squared_error", "dtype": "float32", **changes}
    return ns.Network((3, 5, 2), backend=backend, **given)


def test_the_same_bits_as_step(backend: str) -> None:
    rng = np.random.default_rng(0)
    for changes in ({}, {"output": "softmax", "loss": "cross_entropy", "dtype": "float64"}):
        net, other, adam = network(backend, **changes), network(backend, **changes), ns.Adam(lr=0.01)
        step = net.stepper(6, adam)
        labels = net.loss_name == "cross_entropy"
        assert step.X.shape == (6, 3)
        assert step.Y.shape == ((6,) if labels else (6, 2))
        assert (step.X.dtype, step.Y.dtype) == (net.dtype, np.int64 if labels else net.dtype)
        assert step.outputs is step.sample_weight is None
        for k in range(4):
            X = rng.standard_normal((6, 3))
            Y = rng.integers(0, 2, 6) if labels else rng.standard_normal((6, 2))
            adam.lr = 0.01 / (k + 1)
            if k % 2:
                assert step(X, Y) == other.step(X, Y, optimizer=adam)
            else:
                step.X[...], step.Y[...] = X, Y
                assert step() == other.step(X, Y, optimizer=adam)
            assert net.theta.tobytes() == other.theta.tobytes()
        assert net._state.slots.tobytes() == other._state.slots.tobytes()


def test_outputs_and_weights(backend: str) -> None:
    rng = np.random.default_rng(0)
    X, y, chosen = rng.standard_normal((6, 3)), rng.standard_normal(6), rng.integers(0, 2, 6)
    weight = rng.standard_normal(6)
    net, other = network(backend, dtype="float64"), network(backend, dtype="float64")
    net.optimizer = other.optimizer = ns.Adam()
    step = net.stepper(6, outputs=True, sample_weight=True)
    assert (step.sample_weight == 1).all()
    step.X[...], step.Y[...], step.outputs[...], step.sample_weight[...] = X, y, chosen, weight
    assert step() == other.step(X, y, outputs=chosen, sample_weight=weight)
    assert step(X, y) == other.step(X, y, outputs=chosen, sample_weight=weight)
    assert net.theta.tobytes() == other.theta.tobytes()
    step = net.stepper(6, sample_weight=True)
    assert step(X, np.zeros((6, 2))) == pytest.approx(other.step(X, np.zeros((6, 2))))
    step = net.stepper(6, outputs=True)
    step.outputs[3] = 2
    with pytest.raises(ValueError, match="outputs has 2"):
        step()


def test_bad_arguments(backend: str) -> None:
    net = network(backend)
    before = net.theta.tobytes()
    for n, error in ((0, ValueError), (-1, ValueError), (2.5, TypeError), (True, TypeError), ("4", TypeError)):
        with pytest.raises(error, match="n"):
            net.stepper(n)
    with pytest.raises(TypeError, match="optimizer"):
        net.stepper(4, 0.1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="outputs"):
        net.stepper(4, outputs=1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="cross_entropy"):
        network(backend, output="softmax", loss="cross_entropy").stepper(4, outputs=True)
    step = net.stepper(4)
    X, Y = np.zeros((4, 3)), np.zeros((4, 2))
    for arguments, message in (((X[:3], Y[:3]), "takes 4 rows"), ((X, Y[:3]), "Y"), ((X[0], Y[0]), "takes 4 rows"),
                               ((X[:, :2], Y), "X"), ((3.0, Y), "takes 4 rows"), ((X * np.nan, Y), "X")):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            step(*arguments)
    for arguments in ((X,), (None, Y)):
        with pytest.raises(TypeError, match="give X and Y"):
            step(*arguments)
    assert net.theta.tobytes() == before
    assert np.isfinite(step())


def test_a_second_thread_gets_an_error(backend: str) -> None:
    net = network(backend)
    step, inside, leave, errors = net.stepper(4), threading.Event(), threading.Event(), []

    class Slow:
        """An X that lets the other thread in."""

        shape = (4, 3)

        def __array__(self, *arguments: Any, **keywords: Any) -> np.ndarray:
            inside.set()
            leave.wait(10)
            return np.zeros((4, 3))

    thread = threading.Thread(target=lambda: errors.append(step(Slow(), np.zeros((4, 2)))))
    thread.start()
    assert inside.wait(10)
    with pytest.raises(RuntimeError, match="another thread"):
        step()
    leave.set()
    thread.join()
    assert len(errors) == 1
    step()
