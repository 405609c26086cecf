"""`ns.losses.Custom`: losses that are functions of the user's own."""

from __future__ import annotations

import ctypes
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nanostep as ns
from cases import DTYPES, QUICK, REQUIRED
from nanostep.losses import Custom, Loss

RNG = np.random.default_rng(7)
X = RNG.standard_normal((33, 3))
Y = RNG.standard_normal((33, 2))


def half_squares(a, y):
    e = a - y
    return (e * e).sum(axis=1) / 2, e


def mean_squares(a, y):
    e = a - y
    return (e * e).mean(axis=1), 2 * e / a.shape[1]


def surprisal(a, y):
    return -(y * np.log(a)).sum(axis=1), -y / a


def huber(a, y):
    e = a - y
    terms = np.where(np.abs(e) <= 1, e * e / 2, np.abs(e) - 0.5)
    return terms.mean(axis=1), np.clip(e, -1, 1) / a.shape[1]


PAIRS = (
    (half_squares, "half_squared_error", "tanh"),
    (mean_squares, "squared_error", "identity"),
    (huber, "huber", "sigmoid"),
    (surprisal, "cross_entropy", "softmax"),
    (mean_squares, "squared_error", "softmax"),
)
"""Functions, and the losses and outputs of ours that they equal."""


def make(loss: object, backend: str = "numpy", output: str = "identity", **changes: Any) -> ns.Network:
    return ns.Network(
        [3, 6, 2], **{"activation": "tanh", "output": output, "loss": loss, "backend": backend, "seed": 1, **changes}
    )


def targets(loss: str) -> np.ndarray:
    return np.eye(2)[RNG.integers(0, 2, 33)] if loss == "cross_entropy" else Y


def check_like(own: Custom, loss: str, output: str, backend: str, dtype: str) -> None:
    """Check that every call does what it does with one of our losses."""
    tolerance = {"rtol": 2e-4 if dtype == "float32" else 1e-9, "atol": 2e-6 if dtype == "float32" else 1e-12}
    nets, y = [make(kind, backend, output, dtype=dtype) for kind in (own, loss)], targets(loss)
    for n in (1, 5, 33):
        results: list[list[Any]] = []
        for net in nets:
            results.append([net.loss(X[:n], y[:n]), *net.gradient(X[:n], y[:n])])
            results[-1] += [net.loss(X[:n], y[:n], sample_weight=np.arange(1.0, n + 1))]
            results[-1] += [net.step(X[:n], y[:n], lr=0.1), net.step(X[:n], y[:n], optimizer=ns.Adam())]
            results[-1] += [net.learn_one(X[0], y[0]), net.predict(X)]
        for got, want in zip(*results, strict=True):
            np.testing.assert_allclose(got, want, **tolerance)
    for batch, more in (
        (1, {}),
        (7, {"sample_weight": np.linspace(0.5, 2, 33)}),
        (33, {"validation": (X[:5], y[:5])}),
        (8, {"dropout": 0.3, "layer_rates": [1, 0.5]}),
    ):
        histories = [
            net.train(X, y, epochs=3, batch_size=batch, optimizer=ns.SGD(lr=0.05, clip_norm=1.0), seed=3, **more)
            for net in nets
        ]
        np.testing.assert_allclose(histories[0].loss, histories[1].loss, **tolerance)
        np.testing.assert_allclose(nets[0].theta, nets[1].theta, **tolerance)
        for net in nets:
            net.theta = nets[1].theta
    nets[0].partial_fit(X, y)
    nets[1].partial_fit(X, y)
    np.testing.assert_allclose(nets[0].theta, nets[1].theta, **tolerance)


@pytest.mark.parametrize("backend", QUICK)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("f", "loss", "output"), PAIRS)
def test_functions_of_python(f: Any, loss: str, output: str, dtype: str, backend: str) -> None:
    check_like(Custom(f), loss, output, backend, dtype)


def test_functions_of_python_on_every_backend(each_backend: str) -> None:
    nets = [make(kind, each_backend) for kind in (Custom(huber), "huber")]
    for net in nets:
        net.train(X, Y, epochs=2, batch_size=8, optimizer=ns.Adam())
    np.testing.assert_allclose(nets[0].theta, nets[1].theta, rtol=1e-9, atol=1e-12)
    assert nets[0].backend == each_backend


def test_they_are_called_once_for_each_batch() -> None:
    rows = []

    def counting(a, y):
        rows.append(len(a))
        return half_squares(a, y)

    net = make(Custom(counting))
    net.train(X, Y, epochs=2, batch_size=10, optimizer=ns.SGD())
    assert rows == [10, 10, 10, 3] * 2
    net.step(X, Y, lr=0.1)
    assert rows[8:] == [33]


@pytest.mark.parametrize("backend", REQUIRED)
def test_populations_call_them_for_each_network(backend: str) -> None:
    population = ns.Population([3, 4, 2], size=3, output="identity", loss=Custom(huber), backend=backend, seed=1)
    twin = ns.Population([3, 4, 2], size=3, output="identity", loss="huber", backend=backend, seed=1)
    histories = [
        p.train(X, Y, epochs=2, batch_size=8, optimizer=ns.Adam(lr=np.array([0.1, 0.01, 0.02])))
        for p in (population, twin)
    ]
    np.testing.assert_allclose(population.theta, twin.theta, rtol=1e-9)
    np.testing.assert_allclose(histories[0].loss, histories[1].loss, rtol=1e-9)
    np.testing.assert_allclose(population.loss(X, Y), twin.loss(X, Y), rtol=1e-9)
    np.testing.assert_allclose(population.step(X, Y), twin.step(X, Y), rtol=1e-9)


# -- what goes wrong --------------------------------------------------------------------------------------------------


def fails(a, y):
    raise ZeroDivisionError("mine")


def writes(a, y):
    y[0] = 0


@pytest.mark.parametrize("backend", QUICK)
@pytest.mark.parametrize(
    ("f", "error", "message"),
    [
        (lambda a, y: None, TypeError, r"must return two arrays, the losses \(n,\) and dL/da .*; got NoneType"),
        (lambda a, y: (a, y, y), TypeError, "got 3 values"),
        (lambda a, y: (0.0, a - y), ValueError, r"must return losses of shape \(33,\); got \(\)"),
        (lambda a, y: (a, a - y), ValueError, r"must return losses of shape \(33,\); got \(33, 2\)"),
        (lambda a, y: (a[:, 0], a[:, :1]), ValueError, r"must return dL/da of shape \(33, 2\); got \(33, 1\)"),
        (lambda a, y: (a[:, 0], a * 1j), TypeError, "must return real numbers as dL/da; got dtype complex128"),
        (lambda a, y: (a[:, 0], a * np.nan), ValueError, r"returned nan in dL/da, at \[0, 0\]"),
        (lambda a, y: (a[:, 0] + np.inf, a), ValueError, r"returned inf in losses, at \[0\]"),
        (fails, ZeroDivisionError, "mine"),
        (writes, ValueError, "read-only"),
    ],
)
def test_what_they_return_is_checked(f: Any, error: type[Exception], message: str, backend: str) -> None:
    net, y = make(Custom(f), backend), Y.copy()
    net.optimizer = ns.Adam()
    theta, state = net.theta.copy(), pickle.dumps(net._state)
    for call in (
        lambda: net.loss(X, y),
        lambda: net.gradient(X, y),
        lambda: net.step(X, y),
        lambda: net.step(X, y, lr=0.1),
        lambda: net.train(X, y, batch_size=33),
        lambda: net.partial_fit(X, y, batch_size=33),
    ):
        with pytest.raises(error, match=message) as caught:
            call()
        if error is ZeroDivisionError:
            assert caught.value.__notes__ == ["raised within the loss Custom(fails)"]
        assert (net.theta == theta).all()
        assert (y == Y).all()
    assert pickle.dumps(net._state) == state


def test_an_error_within_a_run_leaves_theta_as_it_was_before() -> None:
    calls = []

    def later(a, y):
        calls.append(0)
        if len(calls) == 3:
            raise RuntimeError("the third batch")
        return half_squares(a, y)

    net = make(Custom(later))
    before = net.theta.copy()
    with pytest.raises(RuntimeError, match="the third batch"):
        net.train(X, Y, epochs=1, batch_size=4, optimizer=ns.Adam())
    assert (net.theta == before).all()
    net.train(X, Y, epochs=1, batch_size=4)
    assert (net.theta != before).any()


def test_bad_arguments_are_refused() -> None:
    for f in (None, "huber", 7):
        with pytest.raises(TypeError, match="f must be a function; got"):
            Custom(f)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="name must be a string; got int"):
        Custom(huber, name=3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"loss='custom' is given as an object: loss=nanostep\.losses\.Custom"):
        make("custom")
    net = make(Custom(huber))
    with pytest.raises(ValueError, match="nan_targets='ignore' is for losses that are known here"):
        net.loss(X, Y, nan_targets="ignore")
    with pytest.raises(ValueError, match=r"loss=Custom\(huber\) is a function of all of them"):
        net.step(X, Y[:, 0], outputs=np.zeros(33, int), lr=0.1)
    with pytest.raises(ValueError, match="a worksheet shows losses that are known here"):
        net.worksheet(X[0], Y[0])
    with pytest.raises(ValueError, match="jit compiles losses that are known here"):
        net.jit()
    with pytest.raises(ValueError, match="LevenbergMarquardt needs loss="):
        net.train(X, Y, optimizer=ns.LevenbergMarquardt())


# -- values, files ----------------------------------------------------------------------------------------------------


def test_they_are_values() -> None:
    assert Custom(huber) == Custom(huber) != Custom(mean_squares)
    assert Custom(huber, name="mine") != Custom(huber)
    assert repr(Custom(huber, name="mine")) == "Custom(mine)"
    assert isinstance(Custom(huber), Loss)
    assert make(Custom(huber)).loss_name == "custom"
    assert "loss=Custom(huber)" in repr(make(Custom(huber)))


def test_files_keep_the_name_alone(tmp_path: Path) -> None:
    net = make(Custom(huber, name="my loss"))
    net.train(X, Y, epochs=2, batch_size=8, optimizer=ns.Adam())
    net.save(tmp_path / "net")
    loaded = ns.load(tmp_path / "net", backend="numpy")
    assert (loaded.predict(X) == net.predict(X)).all()
    assert (loaded.vjp(X)[0] == net.predict(X)).all()
    assert repr(loaded.architecture.criterion) == "Custom(my loss)"
    for call in (lambda: loaded.step(X, Y), lambda: loaded.loss(X, Y), lambda: loaded.train(X, Y)):
        with pytest.raises(RuntimeError, match=r"has the loss 'my loss', .* give it as nanostep\.load\(path, loss=f\)"):
            call()
    loaded.save(tmp_path / "again")
    for given in (huber, Custom(huber, name="my loss")):
        again = ns.load(tmp_path / "again", backend="numpy", loss=given)
        twin = net.copy()
        assert again.train(X, Y, epochs=1).loss == twin.train(X, Y, epochs=1).loss
        assert (again.theta == twin.theta).all()
    with pytest.raises(TypeError, match="f must be a function; got 'huber'"):
        ns.load(tmp_path / "net", loss="huber")  # type: ignore[arg-type]
    make("huber").save(tmp_path / "plain")
    with pytest.raises(ValueError, match="loss is for networks whose loss is a function; this one has loss='huber'"):
        ns.load(tmp_path / "plain", loss=huber)

    population = ns.Population([3, 4, 2], size=2, output="identity", loss=Custom(huber), backend="numpy")
    population.save(tmp_path / "population")
    assert (ns.Population.load(tmp_path / "population", "numpy").predict(X) == population.predict(X)).all()
    ns.Population.load(tmp_path / "population", loss=huber).step(X, Y)


def test_pickles_carry_functions_that_can_be_imported() -> None:
    net = make(Custom(huber))
    other = pickle.loads(pickle.dumps(net))
    assert other.architecture == net.architecture
    assert other.step(X, Y) == net.copy().step(X, Y)
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        pickle.dumps(make(Custom(lambda a, y: (a[:, 0], a))))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_regressors_and_sweeps_take_them() -> None:
    from nanostep.sklearn import MLPRegressor

    regressor = MLPRegressor(Custom(half_squares), (4,), max_iter=4, backend="numpy", random_state=0).fit(X, Y)
    twin = MLPRegressor("squared_error", (4,), max_iter=4, backend="numpy", random_state=0).fit(X, Y)
    np.testing.assert_allclose(regressor.predict(X), twin.predict(X), rtol=1e-9)
    table = ns.sweep(X, Y, {"loss": [Custom(huber)], "epochs": [1, 2]}, cv=2, backend="numpy")
    assert np.isfinite(table.best_score)


# -- compiled functions -----------------------------------------------------------------------------------------------

TYPES = {"float32": ctypes.c_float, "float64": ctypes.c_double}


def compiled(kind: str, dtype: str) -> Any:
    """The Huber loss as a function that writes its results in place."""
    from numba import carray, cfunc, njit, types

    @njit
    def body(a, y, loss, da):
        n, outputs = a.shape
        for b in range(n):
            total = a[b, 0] * 0
            for o in range(outputs):
                e = a[b, o] - y[b, o]
                size = abs(e)
                total += e * e / 2 if size <= 1 else size - a.dtype.type(0.5)
                da[b, o] = min(max(e, -1), 1) / outputs
            loss[b] = total / outputs

    if kind == "njit":
        return body
    real = types.CPointer(getattr(types, dtype))

    @cfunc(types.void(real, real, types.uintp, types.uintp, real, real, types.voidptr))
    def function(a, y, n, outputs, loss, da, user):
        body(carray(a, (n, outputs)), carray(y, (n, outputs)), carray(loss, n), carray(da, (n, outputs)))

    if kind == "cfunc":
        return function
    pointer = ctypes.POINTER(TYPES[dtype])
    prototype = ctypes.CFUNCTYPE(
        None, pointer, pointer, ctypes.c_size_t, ctypes.c_size_t, pointer, pointer, ctypes.c_void_p
    )
    address = prototype(function.address)
    address.kept = function
    return address


@pytest.mark.parametrize("backend", REQUIRED)
@pytest.mark.parametrize(
    ("kind", "dtype"), [("njit", "float32"), ("njit", "float64"), ("cfunc", "float64"), ("ctypes", "float32")]
)
def test_compiled_functions(kind: str, dtype: str, backend: str) -> None:
    own = Custom(compiled(kind, dtype), name="compiled")
    check_like(own, "huber", "sigmoid" if kind == "njit" else "softmax", backend, dtype)


@pytest.mark.parametrize("backend", QUICK)
@pytest.mark.parametrize("lr", [None, 0.1])
def test_a_function_of_all_outputs_takes_no_choice_of_them(backend: str, lr: float | None) -> None:
    """Prepared calls of C look at outputs by themselves: they must decline what the gate refuses."""
    net = make(Custom(compiled("ctypes", "float64")), backend)
    net.step(X, Y, lr)
    before = net.theta.copy()
    for n in (1, 5):
        with pytest.raises(ValueError, match="is a function of all of them"):
            net.step(X[:n], Y[:n, 0], lr, outputs=[1] * n)
    assert (net.theta == before).all()


def test_compiled_functions_of_another_dtype_are_refused() -> None:
    with pytest.raises(TypeError, match=r"is a cfunc of .*; a network of float32 needs \(float \*, float \*, size_t"):
        make(Custom(compiled("cfunc", "float64")), dtype="float32")
    with pytest.raises(TypeError, match="must have the argtypes"):
        make(Custom(compiled("ctypes", "float32")), dtype="float64")
    with pytest.raises(TypeError, match="must have the argtypes"):
        make(Custom(ctypes.CFUNCTYPE(None)(lambda: None)))
