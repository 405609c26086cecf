"""`nanostep.jax`: values and gradients are those of the same network written in JAX.

JAX is imported by a fixture, so that the tests can be collected, and left out, where it is not installed.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import nanostep as ns
from cases import DTYPES, REQUIRED

RNG = np.random.default_rng(3)
X, DOUT = RNG.standard_normal((6, 3)), RNG.standard_normal((6, 2))
TOLERANCE = {"float32": 2e-6, "float64": 1e-14}


@pytest.fixture
def jax() -> Iterator[ModuleType]:
    """JAX, with float64 for the length of a test."""
    importlib.import_module("nanostep.jax")
    jax = importlib.import_module("jax")
    jax.config.update("jax_enable_x64", True)
    yield jax
    jax.config.update("jax_enable_x64", False)


def network(**more: Any) -> ns.Network:
    return ns.Network([3, 5, 2], **{"activation": "tanh", "output": "sigmoid", **more})


def function(net: ns.Network) -> Callable[[Any, Any], Any]:
    return importlib.import_module("nanostep.jax").function(net)


def by_hand(jax: ModuleType, net: ns.Network) -> Callable[[Any, Any], Any]:
    """The same network in JAX's own operations."""
    first, second = net.architecture.layers

    def apply(theta: Any, x: Any) -> Any:
        a = jax.numpy.tanh(x @ theta[first.weights].reshape(5, 3).T + theta[first.biases])
        return jax.nn.sigmoid(a @ theta[second.weights].reshape(2, 5).T + theta[second.biases])

    return apply


def close(got: Any, want: Any) -> None:
    assert got.dtype == want.dtype
    assert got.shape == want.shape
    error = np.linalg.norm(np.asarray(got) - np.asarray(want))
    assert error <= TOLERANCE[str(got.dtype)] * np.linalg.norm(want)


@pytest.mark.parametrize("jitted", [False, True])
@pytest.mark.parametrize("backend", REQUIRED)
@pytest.mark.parametrize("dtype", DTYPES)
def test_values_and_gradients_are_those_of_jax(jax: ModuleType, backend: str, dtype: str, jitted: bool) -> None:
    net = network(backend=backend, dtype=dtype)
    theta, dout = net.theta + net.dtype.type(0.25), DOUT.astype(dtype)
    kept = net.theta.copy()
    wrap = jax.jit if jitted else lambda f: f
    for x in (X.astype(dtype), X[:1].astype(dtype), X[0].astype(dtype)):
        d = dout[: len(x)] if x.ndim == 2 else dout[0]
        results = []
        for f in (function(net), by_hand(jax, net)):

            def value(theta: Any, x: Any, f: Any = f, d: Any = d) -> Any:
                return (f(theta, x) * d).sum()

            results.append((wrap(f)(theta, x), *wrap(jax.grad(value, argnums=(0, 1)))(theta, x)))
        for got, want in zip(*results, strict=True):
            close(got, want)
    assert (net.theta == kept).all()


def test_vmap_over_thetas_and_over_samples(jax: ModuleType) -> None:
    net = network()
    thetas = np.stack([net.theta, net.theta + 1, -net.theta])
    ours, right = function(net), by_hand(jax, net)
    close(jax.vmap(ours, (0, None))(thetas, X), jax.vmap(right, (0, None))(thetas, X))
    close(jax.vmap(ours, (None, 0))(net.theta, X), right(net.theta, X))
    each = [jax.jit(jax.vmap(jax.grad(lambda t, x, f=f: f(t, x).sum()), (None, 0))) for f in (ours, right)]
    close(each[0](net.theta, X), each[1](net.theta, X))


def test_a_model_around_it(jax: ModuleType) -> None:
    """Gradients go on into what is before, and add up where the network is used twice; in a loop of `lax.scan`."""
    net, w = network(), RNG.standard_normal((3, 3))
    found = []
    for f in (function(net), by_hand(jax, net)):

        def loss(theta: Any, w: Any, f: Any = f) -> Any:
            return (f(theta, X @ w) * f(theta, -X @ w)).sum()

        def step(theta: Any, _: Any, loss: Any = loss) -> Any:
            return theta - 0.1 * jax.grad(loss)(theta, w), loss(theta, w)

        found.append((jax.grad(loss, argnums=1)(net.theta, w), *jax.lax.scan(step, net.theta, None, 20)))
    for got, want in zip(*found, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12)


def test_large_arrays_on_one_processor(jax: ModuleType) -> None:
    """Callbacks that wait for JAX's own threads have hung there (jax issue 24255)."""
    code = """if True:
        import os, jax, numpy as np, nanostep as ns, nanostep.jax
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        net = ns.Network([300, 300, 300], dtype="float32", backend="numpy")
        f = nanostep.jax.function(net)
        step = jax.jit(lambda theta, x: theta - jax.grad(lambda theta: f(theta, f(theta, x)).mean())(theta))
        theta, x = jax.numpy.asarray(net.theta), jax.numpy.ones((2000, 300))
        for _ in range(5):
            theta = step(theta, x)
        assert np.isfinite(theta).all()
        """
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_bad_input(jax: ModuleType) -> None:
    with pytest.raises(TypeError, match=r"network must be a nanostep\.Network; got list"):
        function([3, 2])  # type: ignore[arg-type]
    f = function(network())
    theta = network().theta
    for bad, x, message in (
        (theta, X[:, :2], r"X must have shape \(n, 3\)"),
        (theta, X * np.nan, r"X\[0, 0\] is nan"),
        (theta[1:], X, "theta must have shape"),
    ):
        for call in (f, jax.jit(f)):
            with pytest.raises(Exception, match=message):
                jax.block_until_ready(call(bad, x))
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jacfwd(f)(theta, X)
    jax.config.update("jax_enable_x64", False)
    with pytest.raises(ValueError, match="jax_enable_x64"):
        function(network())
    assert function(network(dtype="float32"))(theta, X).dtype == "float32"
