"""`Network`: its attributes, the layout of its parameters in theta, and the results of its calls."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

import nanostep as ns
from cases import REQUIRED
from nanostep.initialization import weight_limit

X = np.random.default_rng(0).integers(-8, 8, (12, 3)).astype(np.float64)
Y = np.random.default_rng(1).integers(0, 2, (12, 2)).astype(np.float64)


def test_theta_is_w_then_b_layer_by_layer() -> None:
    net = ns.Network([2, 3, 1], backend="numpy")
    assert net.theta.shape == (13,)
    net.theta[:] = np.arange(13)
    assert net.weights[0].tolist() == [[0, 1], [2, 3], [4, 5]]
    assert net.biases[0].tolist() == [6, 7, 8]
    assert net.weights[1].tolist() == [[9, 10, 11]]
    assert net.biases[1].tolist() == [12]
    net.weights[0][1, 0] = -5
    assert net.theta[2] == -5
    net.theta = range(13)
    assert net.weights[0][1, 0] == 2


def test_what_it_tells_about_itself() -> None:
    net = ns.Network(
        [4, 5, 6, 2],
        activation=["tanh", "relu"],
        output="softmax",
        loss="cross_entropy",
        dtype="float32",
        backend="numpy",
    )
    assert net.sizes == (4, 5, 6, 2)
    assert net.dtype == np.float32
    assert net.backend == "numpy"
    assert net.history is None
    assert net.optimizer == ns.SGD(lr=0.1)
    assert repr(net) == (
        "Network([4, 5, 6, 2], activation=['tanh', 'relu'], output='softmax', loss='cross_entropy', dtype='float32', "
        "backend='numpy')"
    )


@pytest.mark.parametrize("activation", ["tanh", "relu", "silu", "identity"])
def test_initial_weights_fill_their_interval_and_biases_are_zero(activation: str) -> None:
    net = ns.Network([60, 80, 5], activation=activation, backend="numpy", seed=4)
    for layer, weights, biases in zip(net.architecture.layers, net.weights, net.biases, strict=True):
        limit = weight_limit(layer)
        expected = (6 / layer.inputs if layer.activation in ("relu", "silu") else 6 / sum(weights.shape)) ** 0.5
        assert limit == pytest.approx(expected)
        assert 0.95 * limit < np.abs(weights).max() < limit
        assert abs(weights.mean()) < 0.1 * limit
        assert (biases == 0).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_initial_weights_depend_on_the_seed_alone(dtype: str) -> None:
    thetas = [ns.Network([3, 5, 2], dtype=dtype, backend=backend, seed=7).theta for backend in REQUIRED]
    for theta in thetas:
        np.testing.assert_array_equal(theta, thetas[0])
    assert (ns.Network([3, 5, 2], dtype=dtype, backend="numpy", seed=8).theta != thetas[0]).any()
    wide = ns.Network([3, 5, 2], dtype="float64", backend="numpy", seed=7).theta
    np.testing.assert_array_equal(thetas[0], wide.astype(dtype))
    drawn = [ns.Network([3, 5, 2], backend="numpy", seed=None).theta for _ in range(2)]
    assert (drawn[0] != drawn[1]).any()


@pytest.mark.parametrize("backend", REQUIRED)
def test_predict_keeps_the_number_of_axes(backend: str) -> None:
    net = ns.Network([3, 4, 2], backend=backend)
    assert net.predict(X).shape == (12, 2)
    assert net.predict(X[:1]).shape == (1, 2)
    assert net.predict(X[0]).shape == (2,)
    assert net.predict(X[:0]).shape == (0, 2)
    np.testing.assert_allclose(net.predict(X[0].tolist()), net.predict(X)[0], rtol=1e-14)


@pytest.mark.parametrize("backend", REQUIRED)
@pytest.mark.parametrize("rows", [(), (1,), (2,)], ids=["row", "one row", "batch"])
@pytest.mark.parametrize(
    "call",
    [
        lambda net, x, y: net.step(x, y, lr=0.5),
        lambda net, x, y: net.step(x, y, optimizer=ns.Adam(lr=0.1)),
        lambda net, x, y: net.train(x, y, epochs=3, optimizer=ns.SGD(lr=0.5)).loss,
    ],
    ids=["step", "step of Adam", "train"],
)
def test_data_that_share_memory_with_theta(
    backend: str, call: Callable[[ns.Network, np.ndarray, np.ndarray], object], rows: tuple[int, ...]
) -> None:
    """A step must not read parameters that it has already changed as data."""
    results = []
    for share in (np.asarray, np.copy):
        net = ns.Network([3, 4, 2], backend=backend)
        n = math.prod(rows)
        x = share(net.theta[: 3 * n].reshape(*rows, 3))
        y = share(net.theta[-2 * n :].reshape(*rows, 2))
        results.append((call(net, x, y), net.theta.tobytes()))
    assert results[0] == results[1]


@pytest.mark.parametrize("backend", REQUIRED)
def test_step_is_one_update_from_the_mean_gradient(backend: str) -> None:
    for rows in (slice(0, 1), slice(None)):
        net = ns.Network([3, 4, 2], activation="tanh", backend=backend)
        before, (loss, gradient) = net.theta.copy(), net.gradient(X[rows], Y[rows])
        assert net.step(X[rows], Y[rows], lr=0.25) == pytest.approx(loss, rel=1e-14)
        np.testing.assert_allclose(net.theta, before - 0.25 * gradient, rtol=1e-13, atol=1e-15)


def test_import_is_light() -> None:
    """Importing nanostep, and making a network on the reference, loads nothing heavy."""
    code = (
        "import sys, json, nanostep as ns; ns.Network([2, 1], backend='numpy').predict([1.0, 2.0]);"
        "print(json.dumps([m for m in sys.modules if m.partition('.')[0] in"
        " ('numba', 'cffi', '_cffi_backend', 'sklearn', 'pandas', 'rich', 'click', 'safetensors', 'plotext')]))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(result.stdout) == []


def test_public_names_are_all_there() -> None:
    for name in ns.__all__:
        assert getattr(ns, name) is not None
    assert set(ns.__all__) <= set(dir(ns))
    with pytest.raises(AttributeError, match="no attribute 'Netwrok'"):
        _ = ns.Netwrok
