"""Prepared pull-backs and given gradients of the C backend: the same bits, and the same errors, as the general path."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_prepared_calls import assert_same, hostile, network, samples

import nanostep as ns
from cases import DTYPES, OPTIMIZERS, REQUIRED

pytestmark = pytest.mark.skipif("c" not in REQUIRED, reason="the C backend is not required here")


def by_the_general_path(net: ns.Network) -> ns.Network:
    for name in ("prepared_update", "prepared_predict", "prepared_forward", "prepared_apply"):
        setattr(net._engine, name, lambda *arguments: None)
    return net


def results(pull: Any, dout: Any) -> list[bytes]:
    made = [pull(dout), *pull(dout, inputs=True), pull(dout, params=False), *pull(dout, inputs=True, wrt="z")]
    return [array.tobytes() for array in made]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("sizes", "output"), [((3, 5, 2), "identity"), ((1, 1), "tanh"), ((9, 33, 4), "softmax"), ((4, 64, 64, 2), "silu")]
)
def test_the_same_bits(sizes: tuple[int, ...], output: str, dtype: str) -> None:
    changes: dict[str, Any] = {"dtype": dtype, "output": output, "activation": "silu"}
    net, other = network(sizes, **changes), by_the_general_path(network(sizes, **changes))
    for n in (1, 2, 3, 4, 17, 64, 65, 100):
        X, Y = samples(net, n, seed=n)
        (out, pull), (want, want_pull) = net.vjp(X), other.vjp(X)
        assert pull._prepared is not None
        assert want_pull._prepared is None
        assert out.tobytes() == want.tobytes() == net.predict(X).tobytes()
        first = results(pull, Y)
        assert first == results(want_pull, Y)
        later, _ = net.vjp(X + 1), net.loss(X, Y)
        assert results(pull, Y) == first, "the activations that are there belong to another forward pass"
        assert results(later[1], Y) == results(other.vjp(X + 1)[1], Y)
        assert results(pull, Y) == first


def test_one_sample() -> None:
    net, other = network(), by_the_general_path(network())
    X, Y = samples(net, 1)
    for X_, Y_ in ((X[0], Y[0]), (X, Y), (X[0].tolist(), Y[0].tolist())):
        (out, pull), (want, want_pull) = net.vjp(X_), other.vjp(X_)
        assert out.shape == want.shape
        grad, dx = pull(Y_, inputs=True)
        want_grad, want_dx = want_pull(Y_, inputs=True)
        assert grad.tobytes() == want_grad.tobytes()
        assert (dx.shape, dx.tobytes()) == (want_dx.shape, want_dx.tobytes())


def test_x_and_theta_may_change_their_memory() -> None:
    net = network()
    X, Y = samples(net, 6)
    _, pull = net.vjp(X)
    want = pull(Y)
    X[...] = 9
    assert pull(Y).tobytes() == want.tobytes()
    net.theta[1] += 1
    with pytest.raises(RuntimeError, match="theta has changed"):
        pull(Y)
    net.step(X, Y, 0.1)
    with pytest.raises(RuntimeError, match="theta has changed"):
        pull(Y)


def test_theta_that_is_restored() -> None:
    net = network()
    X, Y = samples(net, 6)
    before = net.theta.copy()
    _, pull = net.vjp(X)
    want = results(pull, Y)
    net.step(X, Y, 0.5)
    net.predict(X)
    net.theta = before
    assert results(pull, Y) == want


def test_hostile_dout_gives_the_ordinary_error() -> None:
    net, other = network(), by_the_general_path(network())
    X, Y = samples(net, 4)
    _, pull = net.vjp(X)
    _, want_pull = other.vjp(X)
    for dout in [*hostile(Y), Y[:3], Y[0], Y.T]:
        made = []
        for each in (pull, want_pull):
            try:
                made.append(each(dout).tobytes())
            except (ValueError, TypeError) as error:
                made.append((type(error), str(error).partition(" at 0x")[0]))
        assert made[0] == made[1]
    for keywords in ({"inputs": 1}, {"params": None}, {"wrt": "a"}, {"wrt": 3}):
        with pytest.raises((TypeError, ValueError), match=next(iter(keywords))):
            pull(Y, **keywords)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_given_gradients(name: str, dtype: str) -> None:
    net, other = network(dtype=dtype), by_the_general_path(network(dtype=dtype))
    net.optimizer = other.optimizer = OPTIMIZERS[name]
    rng = np.random.default_rng(0)
    for _ in range(3):
        grad = rng.standard_normal(len(net.theta))
        for each in (net, other):
            each.apply_gradient(grad)
            each.apply_gradient(grad.astype(dtype), optimizer=OPTIMIZERS[name])
            each.apply_gradient(grad.tolist())
        assert_same(net, other)


def test_hostile_gradients() -> None:
    net, other = network(), by_the_general_path(network())
    net.optimizer = other.optimizer = ns.Adam()
    good = np.ones(len(net.theta), np.float32)
    spoilt = good.copy()
    spoilt[-1] = np.nan
    bad: list[Any] = [spoilt, good[:-1], good[None], None, "text", [], object(), good.astype(complex), np.float32(1)]
    for grad in bad:
        errors = []
        for each in (net, other):
            with pytest.raises((TypeError, ValueError)) as caught:
                each.apply_gradient(grad)
            errors.append((caught.type, str(caught.value).partition(" at 0x")[0]))
            assert each._state.updates == 0
        assert errors[0] == errors[1]
    for each in (net, other):
        each.apply_gradient(each.theta)  # read while it is written
        each.apply_gradient(each.theta[::-1])
        each._theta.setflags(write=False)
        with pytest.raises(ValueError, match="read-only"):
            each.apply_gradient(good)
    assert_same(net, other)
