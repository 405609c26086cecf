"""Copies of networks and populations, the optimiser that they hold, and targets that follow slowly."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import nanostep as ns
from cases import QUICK

X = np.random.default_rng(5).standard_normal((20, 3))
Y = np.tanh(X[:, :1])


def made(kind: str, backend: str, **changes: Any) -> Any:
    given = {"activation": "tanh", "output": "identity", "backend": backend, "seed": 2, **changes}
    return ns.Network([3, 5, 1], **given) if kind == "network" else ns.Population([3, 5, 1], 3, **given)


BOTH = pytest.mark.parametrize("kind", ["network", "population"])
EACH = pytest.mark.parametrize("backend", QUICK)


@BOTH
@EACH
@pytest.mark.parametrize(
    "duplicate", [lambda net: net.copy(), copy.copy, copy.deepcopy], ids=["copy", "copy.copy", "deep"]
)
def test_a_copy_goes_on_with_the_same_bits_and_shares_nothing(kind: str, backend: str, duplicate: Any) -> None:
    ours = made(kind, backend)
    ours.train(X, Y, epochs=3, optimizer=ns.Adam(lr=0.01))
    twin = duplicate(ours)
    before, history = ours.theta.tobytes(), ours.history
    twin.train(X, Y, epochs=2)
    assert ours.theta.tobytes() == before != twin.theta.tobytes()
    assert ours.history is history
    ours.train(X, Y, epochs=2)
    assert ours.theta.tobytes() == twin.theta.tobytes()


@BOTH
@EACH
def test_an_optimizer_that_is_set_starts_afresh_and_the_same_one_goes_on(kind: str, backend: str) -> None:
    ours, twin, optimizer = made(kind, backend), made(kind, backend), ns.Adam(lr=0.01)
    ours.optimizer = optimizer
    assert ours.optimizer is optimizer
    for _ in range(3):
        ours.step(X, Y)
        ours.optimizer = optimizer
        twin.step(X, Y, optimizer=optimizer)
    assert ours.theta.tobytes() == twin.theta.tobytes()
    ours.optimizer = ns.Adam(lr=0.01)
    ours.step(X, Y)
    twin.step(X, Y)
    assert ours.theta.tobytes() != twin.theta.tobytes()


@BOTH
@pytest.mark.parametrize("value", ["adam", None, ns.Adam, 0.1], ids=repr)
def test_what_is_no_optimizer_is_refused(kind: str, value: Any) -> None:
    ours = made(kind, "numpy")
    state = ours._state
    with pytest.raises(TypeError, match=r"optimizer must be ns\.SGD"):
        ours.optimizer = value
    assert ours._state is state


@BOTH
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("tau", [0.0, 0.005, 0.5, 1.0])
def test_a_target_moves_by_its_share(kind: str, dtype: str, tau: float) -> None:
    source, target = made(kind, "numpy", dtype=dtype), made(kind, "numpy", dtype=dtype, seed=9)
    before, aim = target.theta.astype(float), source.theta.tobytes()
    ns.polyak_update(source, target, tau)
    expected = (1 - tau) * before + tau * source.theta.astype(float)
    np.testing.assert_allclose(target.theta, expected, rtol=0, atol=2 * np.finfo(dtype).eps)
    assert source.theta.tobytes() == aim


def test_all_of_the_way_is_a_copy_whatever_was_there() -> None:
    source, target = made("network", "numpy"), made("network", "numpy")
    target.theta[:] = np.inf
    ns.polyak_update(source, target, 1.0)
    assert target.theta.tobytes() == source.theta.tobytes()


def test_a_network_that_is_its_own_target_stays_where_it_is() -> None:
    net = made("network", "numpy")
    before = net.theta.tobytes()
    ns.polyak_update(net, net, 0.5)
    assert net.theta.tobytes() == before


NET = made("network", "numpy")


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((NET.theta, NET, 0.5), TypeError, "source must be a Network or a Population; got ndarray"),
        ((NET, None, 0.5), TypeError, "target must be a Network or a Population"),
        ((NET, made("population", "numpy"), 0.5), ValueError, "must be alike"),
        ((NET, made("network", "numpy", dtype="float32"), 0.5), ValueError, "must be alike"),
        ((NET, made("network", "numpy", activation="relu"), 0.5), ValueError, "must be alike"),
        ((NET, made("network", "numpy"), 1.5), ValueError, "tau=1.5 is out of range"),
        ((NET, made("network", "numpy"), np.nan), ValueError, "tau=nan is out of range"),
        ((NET, made("network", "numpy"), "half"), TypeError, "tau must be a real number"),
    ],
    ids=range(8),
)
def test_bad_arguments_change_nothing(arguments: Any, error: type[Exception], words: str) -> None:
    before = [model.theta.tobytes() for model in arguments[:2] if hasattr(model, "theta")]
    with pytest.raises(error, match=words):
        ns.polyak_update(*arguments)
    assert [model.theta.tobytes() for model in arguments[:2] if hasattr(model, "theta")] == before


def test_a_target_that_is_read_only_is_refused() -> None:
    target = made("network", "numpy")
    target._theta.setflags(write=False)
    with pytest.raises(ValueError, match="theta is read-only"):
        ns.polyak_update(NET, target, 0.5)
