"""`Network.apply_gradient`: the optimiser's update from a given gradient, beside `step` and by its formula."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nanostep as ns
from cases import DTYPES, OPTIMIZERS, QUICK, REQUIRED
from conformance.comparisons import TOLERANCE
from nanostep.optimizers import SGD, Adam, AdamW, Optimizer, RMSprop

RNG = np.random.default_rng(8)
X = RNG.standard_normal((9, 3))
Y = RNG.random((9, 2))
GRAD = RNG.standard_normal(26)
NAN, INF = float("nan"), float("inf")
KINDS = {
    "sgd": lambda: SGD(lr=0.1),
    "momentum": lambda: SGD(lr=0.05, momentum=0.8, weight_decay=0.1),
    "nesterov": lambda: SGD(lr=0.05, momentum=0.7, nesterov=True),
    "centered": lambda: RMSprop(lr=0.01, eps=1e-3, centered=True, momentum=0.5),
    "amsgrad": lambda: Adam(lr=0.02, betas=(0.7, 0.6), amsgrad=True),
    "adamw": lambda: AdamW(lr=0.05, weight_decay=0.3, l1=0.1),
    "clip_norm": lambda: Adam(lr=0.02, clip_norm=0.5),
    "clip_value": lambda: SGD(lr=0.02, momentum=0.5, clip_value=0.05, l1=0.01),
}


def make(backend: str = "numpy", **more: Any) -> ns.Network:
    return ns.Network([3, 4, 2], activation="tanh", backend=backend, **more)


def snapshot(net: ns.Network) -> tuple[bytes, bytes, int, int, object]:
    state = net._state
    return net.theta.tobytes(), state.slots.tobytes(), state.updates, state.epochs, state.optimizer


def near(got: np.ndarray, want: np.ndarray, dtype: str) -> None:
    assert np.linalg.norm(got - want) <= 20 * TOLERANCE[dtype] * max(np.linalg.norm(want), 1e-3)


# -- beside step ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", QUICK)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_gradient_and_apply_gradient_do_what_step_does(backend: str, name: str, dtype: str) -> None:
    optimizer = OPTIMIZERS[name]
    stepped, applied = make(backend, dtype=dtype), make(backend, dtype=dtype)
    for t in range(1, 5):
        loss = stepped.step(X, Y, optimizer=optimizer)
        own, grad = applied.gradient(X, Y)
        assert applied.apply_gradient(grad, optimizer=optimizer) is None
        assert own == pytest.approx(loss, rel=20 * TOLERANCE[dtype])
        near(applied.theta, stepped.theta, dtype)
        near(applied._state.slots, stepped._state.slots, dtype)
        assert applied._state.updates == stepped._state.updates == t
    assert applied.optimizer is optimizer


@pytest.mark.parametrize("backend", REQUIRED)
def test_one_of_each_kind_on_every_backend(backend: str) -> None:
    for kind in (SGD(lr=0.1), RMSprop(centered=True), Adam(amsgrad=True), AdamW(clip_norm=0.1)):
        net, right = make(backend), make("numpy")
        for scale in (None, [0.0, 0.5]):
            for each in (net, right):
                each.apply_gradient(GRAD, optimizer=kind, scale=scale)
        near(net.theta, right.theta, "float64")
        near(net._state.slots, right._state.slots, "float64")


@pytest.mark.parametrize("backend", QUICK)
@pytest.mark.parametrize("kind", KINDS)
def test_state_goes_on(backend: str, kind: str, tmp_path: Path) -> None:
    """Through step and train, files, pickles and copies, the same bits as without them."""
    optimizer = KINDS[kind]()
    net = make(backend)
    net.apply_gradient(GRAD, optimizer=optimizer)
    net.step(X, Y)
    net.apply_gradient(-GRAD)
    assert net._state.updates == 3
    net.save(tmp_path / "net.safetensors")
    others = (ns.load(tmp_path / "net.safetensors", backend=backend), pickle.loads(pickle.dumps(net)), net.copy())
    for each in (net, *others):
        each.apply_gradient(2 * GRAD, scale=[0.5, 2.0])
        each.step(X, Y)
        each.train(X, Y, epochs=1, batch_size=4)
        assert each._state.updates == net._state.updates == 8
        assert each.theta.tobytes() == net.theta.tobytes()
        assert each._state.slots.tobytes() == net._state.slots.tobytes()


@pytest.mark.parametrize("backend", QUICK)
def test_another_optimiser_starts_afresh(backend: str) -> None:
    net, first = make(backend), ns.Adam()
    net.apply_gradient(GRAD, optimizer=first)
    net.apply_gradient(GRAD, optimizer=ns.Adam())
    assert net._state.updates == 1
    assert net.optimizer is not first


@pytest.mark.parametrize("backend", QUICK)
def test_a_loss_of_ones_own(backend: str) -> None:
    """vjp and apply_gradient together: the median instead of the mean."""
    net = ns.Network([1, 8, 1], activation="tanh", output="identity", backend=backend)
    x = np.linspace(-1, 1, 50)[:, None]
    y, optimizer = np.where(np.arange(50)[:, None] % 5, x, 9.0), ns.Adam(lr=0.01)
    for _ in range(800):
        out, pull = net.vjp(x)
        net.apply_gradient(pull(np.sign(out - y) / len(y)), optimizer=optimizer)
    assert np.median(np.abs(net.predict(x) - x)) < 0.1


# -- scale ------------------------------------------------------------------------------------------------------------

LAYERS = (16, 10)


def check_scale(apply: Callable[..., None], backend: str, dtype: str, optimizer: Optimizer, scale: Any) -> None:
    """Check one update against that without a scale, of a gradient that is 0 where the scale is."""
    net = make(backend, dtype=dtype)
    net.train(X, Y, epochs=1, batch_size=3, optimizer=optimizer)
    plain = net.copy()
    full = np.repeat(scale, LAYERS) if len(scale) == 2 else np.asarray(scale)
    before, slots = net.theta.copy(), net._state.slots.copy()
    plain.apply_gradient(np.where(full == 0, 0, GRAD), optimizer=optimizer)
    apply(net, GRAD, optimizer=optimizer, scale=scale)
    frozen = full == 0
    assert net.theta[frozen].tobytes() == before[frozen].tobytes()
    assert net._state.slots[:, frozen].tobytes() == slots[:, frozen].tobytes()
    near(net._state.slots[:, ~frozen], plain._state.slots[:, ~frozen], dtype)
    near(net.theta, before + full * (plain.theta - before), dtype)
    assert not frozen.all() or net._state.updates == plain._state.updates


SCALES = ([1.0, 1.0], [0.0, 1.0], [0.3, 0.0], [2.0, 0.5], [0, 0], np.resize([0.0, 1.0, 0.25], 26))


@pytest.mark.parametrize("backend", QUICK)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_scale_multiplies_the_change(backend: str, kind: str, dtype: str) -> None:
    for scale in SCALES:
        check_scale(ns.Network.apply_gradient, backend, dtype, KINDS[kind](), scale)


def _ignored(net: ns.Network, grad: Any, *, optimizer: Optimizer, scale: Any) -> None:
    net.apply_gradient(grad, optimizer=optimizer)


def _of_the_gradient(net: ns.Network, grad: Any, *, optimizer: Optimizer, scale: Any) -> None:
    net.apply_gradient(np.repeat(scale, LAYERS) * grad, optimizer=optimizer)


def _frozen_slots_move(net: ns.Network, grad: Any, *, optimizer: Optimizer, scale: Any) -> None:
    moved = net.copy()
    moved.apply_gradient(grad, optimizer=optimizer)
    net.apply_gradient(grad, optimizer=optimizer, scale=scale)
    net._state.slots[...] = moved._state.slots


def _norm_of_all(net: ns.Network, grad: Any, *, optimizer: Any, scale: Any) -> None:
    factor = min(1, optimizer.clip_norm / np.linalg.norm(grad)) if optimizer.clip_norm else 1
    net.apply_gradient(factor * grad, optimizer=optimizer, scale=scale)


@pytest.mark.parametrize("wrong", [_ignored, _of_the_gradient, _frozen_slots_move, _norm_of_all])
def test_wrong_scales_are_rejected(wrong: Callable[..., None]) -> None:
    with pytest.raises(AssertionError):
        check_scale(wrong, "numpy", "float64", KINDS["clip_norm"](), [0.0, 0.5])


@pytest.mark.parametrize("backend", QUICK)
def test_a_rate_for_each_layer(backend: str) -> None:
    """With plain SGD the scale is a learning rate."""
    net = make(backend)
    before = net.theta.copy()
    net.apply_gradient(GRAD, optimizer=ns.SGD(lr=0.1), scale=[0.5, 3])
    np.testing.assert_allclose(net.theta, before - np.repeat([0.05, 0.3], LAYERS) * GRAD, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("backend", QUICK)
def test_long_gradients_are_clipped_by_their_norm(backend: str) -> None:
    """More parameters than are worked on at a time."""
    net = ns.Network([40, 30, 5], backend=backend)
    grad, scale, before = RNG.standard_normal(net.theta.size), RNG.integers(0, 3, net.theta.size), net.theta.copy()
    net.apply_gradient(grad, optimizer=ns.SGD(lr=1.0, clip_norm=2.0), scale=scale)
    norm = np.linalg.norm(grad[scale > 0])
    np.testing.assert_allclose(net.theta, before - scale * grad * 2 / (norm + 1e-6), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("backend", QUICK)
def test_arguments_that_are_theta_itself(backend: str) -> None:
    for scale in (None, [1, 0.5]):
        net, other = make(backend), make(backend)
        for optimizer in (ns.SGD(lr=0.1, clip_norm=0.1), ns.AdamW(lr=0.1)):
            net.apply_gradient(net.theta, optimizer=optimizer, scale=scale)
            other.apply_gradient(other.theta.copy(), optimizer=optimizer, scale=scale)
            assert net.theta.tobytes() == other.theta.tobytes()
    net.theta, other.theta = np.abs(net.theta), np.abs(net.theta)
    net.apply_gradient(GRAD, scale=net.theta)
    other.apply_gradient(GRAD, scale=other.theta.copy())
    assert net.theta.tobytes() == other.theta.tobytes()


@pytest.mark.parametrize("backend", QUICK)
def test_overflow_is_silent(backend: str) -> None:
    net = make(backend)
    net.apply_gradient(1e300 * np.abs(GRAD), optimizer=ns.SGD(lr=1e10))
    assert np.isinf(net.theta).all()


# -- bad input --------------------------------------------------------------------------------------------------------

BAD: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
    (GRAD[:-1], {}, ValueError, "grad must have shape (26,), as theta; got (25,)"),
    (GRAD[:, None], {}, ValueError, "got (26, 1)"),
    (1.0, {}, ValueError, "got ()"),
    (np.where(GRAD == GRAD[3], NAN, GRAD), {}, ValueError, "grad[3] is nan"),
    (np.where(GRAD == GRAD[3], INF, GRAD), {}, ValueError, "grad[3] is inf"),
    (GRAD + 0j, {}, TypeError, "grad must hold real numbers"),
    (GRAD.astype(object), {}, TypeError, "dtype object"),
    (None, {}, TypeError, "grad must hold real numbers"),
    (GRAD, {"optimizer": "adam"}, TypeError, "optimizer must be ns.SGD"),
    (GRAD, {"optimizer": ns.LBFGS()}, TypeError, "optimizer must be ns.SGD"),
    (GRAD, {"optimizer": ns.SGD(lr=np.array([0.1, 0.2]))}, (TypeError, ValueError), "lr"),  # type: ignore[list-item]
    (GRAD, {"scale": 0.5}, ValueError, "scale must have shape (2,), one for each layer, or (26,), as theta; got ()"),
    (GRAD, {"scale": [1, 1, 1]}, ValueError, "got (3,)"),
    (GRAD, {"scale": np.ones((1, 26))}, ValueError, "got (1, 26)"),
    (GRAD, {"scale": [1, -0.5]}, ValueError, "scale must be >= 0; scale[1] is -0.5"),
    (GRAD, {"scale": [NAN, 1]}, ValueError, "scale[0] is nan"),
    (GRAD, {"scale": [1, INF]}, ValueError, "scale[1] is inf"),
    (GRAD, {"scale": ["a", "b"]}, TypeError, "scale must hold real numbers"),
    (GRAD, {"scale": [1, 1j]}, TypeError, "scale must hold real numbers"),
]


@pytest.mark.parametrize("backend", QUICK)
@pytest.mark.parametrize(("grad", "options", "exception", "words"), BAD)
def test_bad_input_changes_nothing(
    backend: str, grad: Any, options: dict[str, Any], exception: type[Exception], words: str
) -> None:
    net = make(backend)
    net.train(X, Y, epochs=1, batch_size=4, optimizer=ns.Adam())
    before = snapshot(net)
    for optimizer in ({}, {"optimizer": ns.SGD(momentum=0.5)}):
        with pytest.raises(exception) as caught:
            net.apply_gradient(grad, **{**optimizer, **options})
        assert words in str(caught.value)
        assert snapshot(net) == before


@pytest.mark.parametrize("backend", QUICK)
def test_spoiled_optimisers_and_read_only_theta_are_refused(backend: str) -> None:
    net = make(backend)
    net.apply_gradient(GRAD, optimizer=ns.Adam())
    before = snapshot(net)
    net.optimizer.lr = -1
    with pytest.raises(ValueError, match="lr=-1"):
        net.apply_gradient(GRAD)
    net.optimizer.lr = 1e-3
    net._theta.setflags(write=False)
    with pytest.raises(ValueError, match="read-only"):
        net.apply_gradient(GRAD, optimizer=ns.SGD())
    assert snapshot(net) == before
