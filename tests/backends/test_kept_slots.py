"""Slots and theta that the C backend keeps packed between calls are what everything else sees."""

from __future__ import annotations

import copy
import gc
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from test_prepared_calls import assert_same, by_the_general_path, network, samples

import nanostep as ns
from cases import REQUIRED

pytestmark = pytest.mark.skipif("c" not in REQUIRED, reason="the C backend is not required here")


def stepped(net: ns.Network, optimizer: ns.Optimizer, steps: int = 3) -> ns.Network:
    X, Y = samples(net, 8)
    for _ in range(steps):
        net.step(X, Y, optimizer=optimizer)
    return net


def pair(**changes: object) -> tuple[ns.Network, ns.Network]:
    adam = ns.Adam(lr=0.01)
    return stepped(network(**changes), adam), stepped(by_the_general_path(network(**changes)), adam)


def test_they_are_kept() -> None:
    net, other = pair()
    assert net._state.keeper is not None
    assert net._state.array.tobytes() != other._state.array.tobytes()  # the last steps have not been written back yet
    assert other._state.keeper is None
    assert_same(net, other)
    assert net._state.keeper is None
    assert net._state.array.tobytes() == other._state.array.tobytes()


def test_a_reader_may_write() -> None:
    net, other = pair()
    for each in (net, other):
        each._state.slots[...] *= 0.5
        stepped(each, each.optimizer)
    assert_same(net, other)


READERS: dict[str, Callable[[ns.Network, Path], ns.Network]] = {
    "copy": lambda net, path: net.copy(),
    "copy.copy": lambda net, path: copy.copy(net),
    "deepcopy": lambda net, path: copy.deepcopy(net),
    "pickle": lambda net, path: pickle.loads(pickle.dumps(net)),
    "file": lambda net, path: (net.save(path / "net.safetensors"), ns.load(path / "net.safetensors", backend="c"))[1],
}


@pytest.mark.parametrize("name", READERS)
def test_copies_go_on_as_the_network_would(name: str, tmp_path: Path) -> None:
    net, other = pair()
    copied = READERS[name](net, tmp_path)
    assert not np.shares_memory(copied._state.array, net._state.array)
    X, Y = samples(net, 8)
    for each in (net, copied, other):
        each.step(X, Y)
        each.step(X[:2], Y[:2])
    assert_same(net, other)
    assert_same(copied, other)


def test_checkpoints_hold_them(tmp_path: Path) -> None:
    finals = []
    for kept in (True, False):
        net = network() if kept else by_the_general_path(network())
        stepped(net, ns.Adam(lr=0.01))
        X, Y = samples(net, 16)
        path = tmp_path / f"{kept}.checkpoint"
        net.train(X, Y, epochs=2, batch_size=4, checkpoint=ns.Checkpoint(path))
        net.step(X, Y)
        finals.append((net.theta.tobytes(), net._state.slots.tobytes()))
    assert finals[0] == finals[1]


def test_train_and_given_gradients_between_steps() -> None:
    net, other = pair()
    X, Y = samples(net, 24)
    for each in (net, other):
        each.train(X, Y, epochs=2, batch_size=5)
        stepped(each, each.optimizer)
        each.apply_gradient(each.gradient(X, Y)[1])
        stepped(each, each.optimizer)
        each.apply_gradient(each.gradient(X, Y)[1], scale=[1, 0.5])
        stepped(each, each.optimizer)
    assert_same(net, other)


def test_steps_in_a_callback_of_train() -> None:
    net, other = pair()
    X, Y = samples(net, 24)
    for each in (net, other):
        step = lambda event, each=each: each.step(X, Y) and None  # noqa: E731
        each.train(X, Y, epochs=3, batch_size=5, callbacks=step)
        stepped(each, each.optimizer)
    assert_same(net, other)


def test_a_state_that_is_replaced() -> None:
    net, other = pair()
    first = net._state, other._state
    for each in (net, other):
        stepped(each, ns.RMSprop(momentum=0.5))
        each.optimizer = ns.Adam()
        stepped(each, each.optimizer)
    assert_same(net, other)
    for each, state in zip((net, other), first, strict=True):
        each._state = state  # the first optimiser's, whose slots were written back when others took their place
        stepped(each, each.optimizer)
    assert_same(net, other)
    for each in (net, other):
        each.reset_optimizer()
        stepped(each, each.optimizer)
    assert_same(net, other)


def test_plain_steps_leave_the_slots_kept() -> None:
    net, other = pair()
    X, Y = samples(net, 8)
    for each in (net, other):
        each.step(X, Y, 0.1)
        each.step(X[:1], Y[:1], 0.1)
    assert net._state.keeper is not None
    for each in (net, other):
        stepped(each, each.optimizer)
    assert_same(net, other)


def test_a_state_outlives_its_network() -> None:
    net, other = pair()
    state = net._state
    del net
    gc.collect()
    assert state.slots.tobytes() == other._state.slots.tobytes()


def test_another_instruction_set_between_two_steps() -> None:
    before, results = ns.backends.native.isa_in_use(), []
    sets = ns.backends.native.available_isas()
    try:
        for net in (network((3, 17, 2)), by_the_general_path(network((3, 17, 2)))):
            net.optimizer = ns.Adam(lr=0.01)
            X, Y = samples(net, 8)
            for isa in (*sets, *sets):
                ns.backends.native.select_isa(isa)
                out, pull = net.vjp(X)
                ns.backends.native.select_isa(sets[0])
                net.predict(Y[:, [0, 1, 0]])
                results.append((out.tobytes(), pull(Y).tobytes()))
                ns.backends.native.select_isa(isa)
                net.step(X, Y)
                net.step(X, Y)
            results.append((net.theta.tobytes(), net._state.slots.tobytes()))
    finally:
        ns.backends.native.select_isa(before)
    half = len(results) // 2
    assert results[:half] == results[half:]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nan_in_theta(dtype: str) -> None:
    """NaN is equal to itself in the comparison, and hides no other change."""
    net, other = pair(dtype=dtype)
    X, Y = samples(net, 8)
    for change in ((0, np.nan), (4, 7.0), (0, -np.nan), (0, 0.0), (0, -0.0), (1, np.inf), (1, 0.5)):
        for each in (net, other):
            each.theta[change[0]] = change[1]
        assert net.predict(X).tobytes() == other.predict(X).tobytes()
        assert net.gradient(X, Y)[1].tobytes() == other.gradient(X, Y)[1].tobytes()
    assert_same(net, other)
    for each in (net, other):
        each.theta[2] = np.nan
        stepped(each, each.optimizer)
        each.theta = np.full(len(each.theta), 0.25)
        each._state.slots[...] = 0
        stepped(each, each.optimizer)
    assert_same(net, other)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sizes", [(1, 1), (1, 70, 1), (3, 8, 2), (7, 9, 31, 3), (40, 1, 33), (64, 64), (100, 70, 5)])
def test_packing_loses_nothing(sizes: tuple[int, ...], dtype: str) -> None:
    """Whatever the widths, a step whose rate is too small to change anything leaves theta as it was."""
    net = network(sizes, dtype=dtype)
    X, Y = samples(net, 5)
    net.theta = before = np.random.default_rng(1).uniform(0.1, 1, len(net.theta)).astype(dtype)
    net.step(X, Y, lr=1e-40)
    assert net.theta.tobytes() == before.tobytes()
    slots = np.random.default_rng(0).random((2, len(before))).astype(dtype)
    net.step(X, Y, optimizer=ns.Adam())
    net._state.slots[...] = slots
    net.theta = before
    net.optimizer.lr, net.optimizer.betas = 1e-30, (1 - 1e-12, 1 - 1e-12)
    net.step(X, Y)
    assert np.allclose(net._state.slots, slots, rtol=1e-5)
    assert np.allclose(net.theta, before, rtol=1e-6)
