"""`Network`: what it is made of, what it accepts, and how its parameters stand in theta."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import nanostep as ns
from cases import REQUIRED
from nanostep._arrays import convert
from nanostep.architecture import make_architecture
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
    net = ns.Network([4, 5, 6, 2], ["tanh", "relu"], "softmax", "cross_entropy", "float32", "numpy")
    assert net.sizes == (4, 5, 6, 2)
    assert net.dtype == np.float32
    assert net.backend == "numpy"
    assert net.history is None
    assert net.optimizer == ns.SGD(lr=0.1)
    assert repr(net) == (
        "Network([4, 5, 6, 2], activation=['tanh', 'relu'], output='softmax', loss='cross_entropy', dtype='float32', "
        "backend='numpy')"
    )


def test_layout_covers_theta_without_gap_or_overlap() -> None:
    architecture = make_architecture([3, 1, 7, 2], "tanh", "identity", "huber")
    owner = np.zeros(architecture.parameter_count, int)
    for layer in architecture.layers:
        owner[layer.weights] += 1
        owner[layer.biases] += 1
        assert layer.weights.stop - layer.weights.start == layer.inputs * layer.outputs
    assert (owner == 1).all()


@pytest.mark.parametrize("activation", ["tanh", "relu", "silu", "identity"])
def test_initial_weights_fill_their_interval_and_biases_are_zero(activation: str) -> None:
    net = ns.Network([60, 80, 5], activation, backend="numpy", seed=4)
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


@pytest.fixture
def mapped(tmp_path: Path) -> np.memmap:
    memory = np.memmap(tmp_path / "x", np.float64, "w+", shape=X.shape)
    memory[:] = X
    return memory


def test_memory_mapped_data(mapped: np.memmap) -> None:
    net = ns.Network([3, 4, 2])
    np.testing.assert_array_equal(net.predict(mapped), net.predict(X))


def read_only() -> np.ndarray:
    array = X.copy()
    array.setflags(write=False)
    return array


@pytest.mark.parametrize("backend", REQUIRED)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "form",
    [
        pytest.param(X.tolist(), id="list"),
        pytest.param(tuple(map(tuple, X.tolist())), id="tuples"),
        *(pytest.param(X.astype(t), id=t) for t in ("float16", "float32", "longdouble", "int8", "int64", ">f8", ">i2")),
        pytest.param(np.asfortranarray(X), id="Fortran"),
        pytest.param(np.repeat(X, 2, axis=0)[::2], id="strided"),
        pytest.param(np.ascontiguousarray(X[::-1, ::-1])[::-1, ::-1], id="negative strides"),
        pytest.param(np.broadcast_to(X, (2, *X.shape))[1], id="broadcast"),
        pytest.param(read_only(), id="read-only"),
        pytest.param(pd.DataFrame(X, columns=list("abc")), id="frame"),
        pytest.param(np.ma.masked_array(X), id="masked array without masked entries"),
        pytest.param(np.frombuffer(b"\0" + X.tobytes(), np.uint8)[1:].view(float).reshape(X.shape), id="unaligned"),
    ],
)
def test_data_of_every_form_give_the_same_result(backend: str, dtype: str, form) -> None:
    results = []
    for data in (X, form):
        net = ns.Network([3, 4, 2], "tanh", dtype=dtype, backend=backend)
        history = net.train(data, Y, epochs=2, batch_size=5)
        results.append((net.theta.tobytes(), history.loss, net.predict(data).tobytes(), net.loss(data, Y)))
    assert results[0] == results[1]


def test_boolean_data_and_targets() -> None:
    net = ns.Network([3, 2])
    assert net.loss(X > 0, Y > 0) == net.loss((X > 0).astype(float), Y)


def test_targets_of_one_output_may_be_flat() -> None:
    net, y = ns.Network([3, 4, 1]), Y[:, :1]
    flat = y.ravel()
    assert net.loss(X, y) == net.loss(X, flat) == net.loss(X, pd.Series(flat)) == net.loss(X, flat.tolist())
    assert net.loss(X[0], y[0, 0]) == net.loss(X[:1], y[:1])


@pytest.mark.parametrize("backend", REQUIRED)
def test_labels_stand_for_one_hot_rows(backend: str) -> None:
    labels = np.array([0, 1, 2] * 4)
    forms = [labels, labels.tolist(), labels.astype(np.uint8), labels.astype(float), labels[:, None], np.eye(3)[labels]]
    results = set()
    for form in forms:
        net = ns.Network([3, 4, 3], output="softmax", loss="cross_entropy", backend=backend)
        loss, gradient = net.gradient(X, form)
        results.add((loss, gradient.tobytes()))
    assert len(results) == 1
    assert net.loss(X[0], 2) == net.loss(X[:1], [2]) == net.loss(X[0], [0, 0, 1])


@pytest.mark.parametrize("backend", REQUIRED)
def test_predict_keeps_the_number_of_axes(backend: str) -> None:
    net = ns.Network([3, 4, 2], backend=backend)
    assert net.predict(X).shape == (12, 2)
    assert net.predict(X[:1]).shape == (1, 2)
    assert net.predict(X[0]).shape == (2,)
    assert net.predict(X[:0]).shape == (0, 2)
    np.testing.assert_allclose(net.predict(X[0].tolist()), net.predict(X)[0], rtol=1e-14)


def test_data_are_converted_at_most_once() -> None:
    for fits in (np.ones((4, 3)), read_only(), read_only()[2:5]):
        assert np.shares_memory(convert("X", fits, np.dtype(float)), fits)
    assert not np.shares_memory(convert("X", X, np.dtype(np.float32)), X)


@pytest.mark.parametrize("backend", REQUIRED)
def test_data_that_share_memory_with_theta(backend: str) -> None:
    """A step must not read parameters that it has already changed."""
    for shape, y in (((3,), Y[0]), ((1, 3), Y[:1])):
        net, twin = (ns.Network([3, 4, 2], backend=backend) for _ in range(2))
        data = twin.theta[:3].copy()
        losses = net.step(net.theta[:3].reshape(shape), y, lr=0.5), twin.step(data.reshape(shape), y, lr=0.5)
        assert losses[0] == losses[1]
        np.testing.assert_array_equal(net.theta, twin.theta)


@pytest.mark.parametrize("backend", REQUIRED)
def test_step_is_one_update_from_the_mean_gradient(backend: str) -> None:
    for rows in (slice(0, 1), slice(None)):
        net = ns.Network([3, 4, 2], "tanh", backend=backend)
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
