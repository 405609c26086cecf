"""The forward pass inside step, gradient and vjp gives the bits of `predict` for the same X as a whole."""

from __future__ import annotations

import numpy as np
import pytest

import nanostep as ns
from cases import DTYPES, REQUIRED

ROWS = (1, 2, 3, 4, 5, 8, 15, 16, 17, 31, 33, 63, 64, 65, 67, 70)
SIZES = ((2, 2, 1), (1, 1), (3, 17, 2), (8, 16, 4), (33, 5), (40, 70, 9, 1), (4, 64, 64, 2))
CASES = [(name, sizes) for name in REQUIRED for sizes in (SIZES[1:3] if name == "numba" else SIZES)]  # it compiles each


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("backend", "sizes"), CASES, ids=str)
def test_targets_that_are_the_outputs(backend: str, sizes: tuple[int, ...], dtype: str) -> None:
    rng = np.random.default_rng(0)
    for output in ("identity", "tanh") if backend != "numba" else ("tanh",):
        net = ns.Network(sizes, activation="tanh", output=output, dtype=dtype, backend=backend, seed=3)
        before = net.theta.copy()
        for n in ROWS:
            X = rng.standard_normal((n, sizes[0])).astype(dtype)
            Y = net.predict(X)
            out, _ = net.vjp(X)
            assert out.tobytes() == Y.tobytes()
            assert net.loss(X, Y) == 0.0
            value, gradient = net.gradient(X, Y)
            assert value == 0.0
            assert not gradient.any()
            for optimizer in (ns.Adam(1e-3), ns.SGD(0.5), ns.SGD(0.5, momentum=0.9)):
                assert net.step(X, Y, optimizer=optimizer) == 0.0
                assert (net.theta == before).all(), (n, optimizer)
            assert net.step(X, Y, 0.5) == 0.0
            assert (net.theta == before).all(), n
        assert net.learn_one(X[0], net.predict(X[0])) == 0.0
        assert net.predict(X[0]).tobytes() == net.predict_one(X[0]).tobytes() == net.predict(X[:1])[0].tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", [name for name in REQUIRED if name != "numba"])
def test_wide_networks(backend: str, dtype: str) -> None:
    """Layers that exceed L1, and inputs summed in parts."""
    net = ns.Network((784, 128, 10), activation="relu", output="identity", dtype=dtype, backend=backend)
    before = net.theta.copy()
    for n in (1, 2, 3, 4, 7, 33):
        X = np.random.default_rng(n).standard_normal((n, 784)).astype(dtype)
        assert net.step(X, net.predict(X), optimizer=ns.Adam(1e-3)) == 0.0
        assert (net.theta == before).all()
