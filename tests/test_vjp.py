"""`Network.vjp`: outputs, and gradients of losses of the caller's own, against `gradient` and finite differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nanostep as ns
from cases import DTYPES, PAIRS, QUICK, REQUIRED
from conformance.comparisons import TOLERANCE
from nanostep._pull_back import PullBack
from nanostep.architecture import ACTIVATIONS, HIDDEN_ACTIVATIONS
from nanostep.backends.reference import networks
from nanostep.backends.reference.losses import loss_derivative, output_delta

RNG = np.random.default_rng(5)
X = RNG.standard_normal((7, 3))
DOUT = RNG.standard_normal((7, 2))
NAN, INF = float("nan"), float("inf")


def make(backend: str = "numpy", activation: str = "tanh", output: str = "identity", **more: Any) -> ns.Network:
    net = ns.Network([3, 5, 4, 2], activation=activation, output=output, backend=backend, **more)
    for b in net.biases:
        b[...] = 0.1
    return net


def close(got: np.ndarray, want: np.ndarray, dtype: str, factor: float = 4) -> None:
    assert got.dtype == dtype
    assert got.shape == want.shape
    assert np.linalg.norm(got - want) <= factor * TOLERANCE[dtype] * np.linalg.norm(want)


# -- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", QUICK)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [None, 1, 2, 3, 4, 7, 65, 200])
def test_outputs_have_the_bits_of_predict(backend: str, dtype: str, n: int | None) -> None:
    net = make(backend, dtype=dtype)
    x = X[0] if n is None else np.resize(X, (n, 3))
    for given in (x, x.tolist(), x.astype(dtype)):
        out, pull = net.vjp(given)
        assert out.tobytes() == net.predict(given).tobytes()
        assert pull(np.ones_like(out)).shape == net.theta.shape


@pytest.mark.parametrize("backend", REQUIRED)
def test_the_same_on_every_backend(backend: str) -> None:
    """One compilation for each case of Numba; the conformance suite has the grid."""
    for output, dtype in (("softmax", "float64"), ("silu", "float32")):
        net = make(backend, "elu", output, dtype=dtype)
        high = make("numpy", "elu", output)
        high.theta = net.theta
        (out, pull), (want_out, want) = net.vjp(X.astype("f4")), high.vjp(X.astype("f4"))
        close(out, want_out, dtype)
        for wrt in ("out", "z"):
            for got, right in zip(
                pull(DOUT.astype("f4"), inputs=True, wrt=wrt),
                want(DOUT.astype("f4"), inputs=True, wrt=wrt),
                strict=True,
            ):
                close(got, right, dtype)


def central(f: Callable[[np.ndarray], float], at: np.ndarray, h: float = 1e-6) -> np.ndarray:
    """Differences of f by every entry of `at`, which is changed in place and restored."""
    slopes = np.empty(at.size)
    flat = at.reshape(-1)
    for i in range(at.size):
        kept = flat[i]
        flat[i] = kept + h
        high = f(at)
        flat[i] = kept - h
        slopes[i] = (high - f(at)) / (2 * h)
        flat[i] = kept
    return slopes.reshape(at.shape)


@pytest.mark.parametrize("backend", QUICK)
@pytest.mark.parametrize("output", ACTIVATIONS)
@pytest.mark.parametrize("activation", HIDDEN_ACTIVATIONS)
def test_gradients_are_limits_of_differences(backend: str, activation: str, output: str) -> None:
    net, x = make(backend, activation, output, seed=3), X.copy()
    _, pull = net.vjp(x)
    grad, dx = pull(DOUT, inputs=True)
    theta = net.theta.copy()

    def loss_of_theta(values: np.ndarray) -> float:
        net.theta = values
        return float((DOUT * net.predict(x)).sum())

    np.testing.assert_allclose(grad, central(loss_of_theta, theta.copy()), rtol=1e-6, atol=1e-7)
    net.theta = theta
    np.testing.assert_allclose(dx, central(lambda v: float((DOUT * net.predict(v)).sum()), x), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("backend", QUICK)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("loss", "output"), PAIRS)
def test_the_networks_own_loss_gives_its_gradient(backend: str, loss: str, output: str, dtype: str) -> None:
    """dL/da / n, or dL/dz / n from the joined form, pulled back is what `gradient` returns."""
    net = make(backend, "silu", output, loss=loss, dtype=dtype)
    y = np.array([[0.25, 0.75], [1, 0], [0.5, 0.5]] * 3)[:7].astype(dtype)
    _, want = net.gradient(X, y)
    out, pull = net.vjp(X)
    z, a = networks.Engine(net.architecture, net.dtype).forward(net.theta, X.astype(dtype))
    delta, da = np.empty_like(y), np.empty_like(y)
    output_delta(loss, output, z[-1], a[-1], y, delta)
    close(pull(delta / 7, wrt="z"), want, dtype, 20)
    if loss not in ("cross_entropy", "binary_cross_entropy"):  # whose derivatives are divided by a and 1 - a
        loss_derivative(loss, out, y, da)
        close(pull(da / 7), want, dtype, 20)


# -- what a pull-back is ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", QUICK)
def test_it_may_be_called_again_with_the_same_bits(backend: str) -> None:
    net, x = make(backend), X.copy()
    _, pull = net.vjp(x)
    grad, dx = pull(DOUT, inputs=True)
    x[...] = 0  # a buffer that is filled again does not matter
    net.predict(-X)
    assert grad is not pull(DOUT)
    assert grad.tobytes() == pull(DOUT).tobytes() == pull(DOUT, inputs=True)[0].tobytes()
    for got in (pull(DOUT, params=False), pull(DOUT, inputs=True, params=False), pull(DOUT, inputs=True)[1]):
        assert got.tobytes() == dx.tobytes()
    np.testing.assert_allclose(pull(2 * DOUT), 2 * grad, rtol=1e-14)


@pytest.mark.parametrize("backend", QUICK)
def test_shapes(backend: str) -> None:
    net = make(backend)
    out, pull = net.vjp(X[0])
    assert out.shape == (2,)
    grad, dx = pull([1.0, -2.0], inputs=True)
    assert dx.shape == (3,)
    rows, pull_rows = net.vjp(X[:1])
    assert rows.shape == (1, 2)
    grad_of_rows, dx_of_rows = pull_rows([[1.0, -2.0]], inputs=True)
    assert dx_of_rows.shape == (1, 3)
    assert (grad == grad_of_rows).all()
    assert (dx == dx_of_rows[0]).all()
    out, pull = net.vjp(np.empty((0, 3)))
    assert out.shape == (0, 2)
    grad, dx = pull(np.empty((0, 2)), inputs=True)
    assert not grad.any()
    assert dx.shape == (0, 3)


CHANGES: dict[str, Callable[[ns.Network], object]] = {
    "step": lambda net: net.step(X, DOUT, lr=0.1),
    "train": lambda net: net.train(X, DOUT, epochs=1),
    "learn_one": lambda net: net.learn_one(X[0], DOUT[0]),
    "apply_gradient": lambda net: net.apply_gradient(np.ones_like(net.theta)),
    "theta": lambda net: setattr(net, "theta", net.theta + 1),
    "a view": lambda net: net.weights[1].__setitem__((0, 0), 7.0),
    "a view of a view": lambda net: net.theta[-1:].fill(np.nan),
    "minus zero": lambda net: net.theta.__setitem__(0, -0.0),
}


def check_stale(vjp: Callable[[ns.Network], PullBack], backend: str) -> None:
    """Check that every change of theta is noticed, and that nothing else is taken for one."""
    for name, change in CHANGES.items():
        net = make(backend)
        net.theta[0] = 0.0
        pull = vjp(net)
        kept = net.theta.copy()
        before = pull(DOUT)
        change(net)
        with pytest.raises(RuntimeError, match="theta has changed since the forward pass"):
            pull(DOUT)
        net.theta = kept
        assert pull(DOUT).tobytes() == before.tobytes(), name


@pytest.mark.parametrize("backend", QUICK)
def test_changes_of_theta_are_noticed(backend: str) -> None:
    check_stale(lambda net: net.vjp(X)[1], backend)


class _OfOldWeights(PullBack):
    """Works on with the parameters of the forward pass."""

    @classmethod
    def of(cls, net: ns.Network) -> PullBack:
        theta = net.theta.copy()
        return cls(net._engine, theta, theta, X, (7, 2))


class _OfNewWeights(PullBack):
    """Takes the parameters that are there."""

    @classmethod
    def of(cls, net: ns.Network) -> PullBack:
        return cls(net._engine, net._theta, net._theta, X, (7, 2))


class _ComparesValues(PullBack):
    """Takes -0 for 0."""

    @classmethod
    def of(cls, net: ns.Network) -> Any:
        _, right = net.vjp(X)
        kept = net.theta.copy()

        def pull(dout: np.ndarray) -> np.ndarray:
            if np.array_equal(net.theta, kept):
                return cls(net._engine, kept, kept, X, (7, 2))(dout)
            return right(dout)

        return pull


@pytest.mark.parametrize("wrong", [_OfOldWeights, _OfNewWeights, _ComparesValues])
def test_pulling_back_through_other_weights_is_rejected(wrong: Any) -> None:
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        check_stale(wrong.of, "numpy")


def test_nan_in_theta_is_no_change() -> None:
    net = make()
    net.theta[0] = np.nan
    _, pull = net.vjp(X)
    assert np.isnan(pull(DOUT)[0])


def test_overflow_is_silent() -> None:
    for backend in QUICK:
        _, pull = make(backend, "relu").vjp(1e200 * X)
        assert np.isinf(pull(1e200 * DOUT)).any()


# -- bad input --------------------------------------------------------------------------------------------------------

BAD_X: list[tuple[Any, type[Exception], str]] = [
    (X[:, :2], ValueError, "X must have shape (n, 3)"),
    (5.0, ValueError, "X must have shape (n, 3)"),
    (X * NAN, ValueError, "X[0, 0] is nan"),
    (X + 0j, TypeError, "X must hold real numbers"),
    ("rows", TypeError, "X must hold real numbers"),
]

BAD_PULLS: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
    (DOUT[:6], {}, ValueError, "dout must have the shape of the outputs, (7, 2); got (6, 2)"),
    (DOUT[:, :1], {}, ValueError, "got (7, 1)"),
    (DOUT[:, 0], {}, ValueError, "got (7,)"),
    (DOUT.T, {}, ValueError, "got (2, 7)"),
    (1.0, {}, ValueError, "got ()"),
    (np.where(DOUT == DOUT[1, 1], NAN, DOUT), {}, ValueError, "dout[1, 1] is nan"),
    (np.where(DOUT == DOUT[6, 0], INF, DOUT), {}, ValueError, "dout[6, 0] is inf"),
    (DOUT + 0j, {}, TypeError, "dout must hold real numbers"),
    (DOUT.astype(object), {}, TypeError, "dtype object"),
    (DOUT.astype(str), {}, TypeError, "dout must hold real numbers"),
    (None, {}, TypeError, "dout must hold real numbers"),
    ([[1, 2], [3]], {}, ValueError, "dout is not a rectangular array"),
    (DOUT, {"wrt": "a"}, ValueError, "wrt='a' is not known; choose one of: out, z"),
    (DOUT, {"wrt": None}, TypeError, "wrt must be a string"),
    (DOUT, {"inputs": 1}, TypeError, "inputs must be True or False"),
    (DOUT, {"params": "no"}, TypeError, "params must be True or False"),
]


@pytest.mark.parametrize("backend", QUICK)
@pytest.mark.parametrize(("x", "exception", "words"), BAD_X)
def test_inputs_are_checked(backend: str, x: Any, exception: type[Exception], words: str) -> None:
    with pytest.raises(exception) as caught:
        make(backend).vjp(x)
    assert words in str(caught.value)


@pytest.mark.parametrize("backend", QUICK)
@pytest.mark.parametrize(("dout", "options", "exception", "words"), BAD_PULLS)
def test_gradients_of_outputs_are_checked(
    backend: str, dout: Any, options: dict[str, Any], exception: type[Exception], words: str
) -> None:
    net = make(backend)
    _, pull = net.vjp(X)
    before, right = net.theta.tobytes(), pull(DOUT).tobytes()
    with pytest.raises(exception) as caught:
        pull(dout, **options)
    assert words in str(caught.value)
    assert net.theta.tobytes() == before
    assert pull(DOUT).tobytes() == right


def test_values_that_overflow_the_dtype_are_refused() -> None:
    _, pull = make(dtype="float32").vjp(X)
    with pytest.raises(ValueError, match="dout must be finite in float32"):
        pull(DOUT * 1e39)
