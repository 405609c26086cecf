"""Outputs and losses of populations: those of each network alone, whichever networks are in the call."""

from __future__ import annotations

import numpy as np
import pytest
from test_population import HEADS, K, data

import nanostep as ns
from cases import QUICK
from nanostep.backends import load
from nanostep.backends.population_contract import PopulationSamples
from nanostep.populations.data import check_samples_of_networks

SIZE = 37
"""More than two vectors of float32 networks."""

ULPS = 16


def close(dtype: str, values: np.ndarray, expected: list[np.ndarray]) -> None:
    ulps = ULPS * float(np.finfo(dtype).eps)
    np.testing.assert_allclose(values, expected, rtol=ulps, atol=ulps)


@pytest.mark.parametrize("backend", QUICK)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ["sigmoid", "relu"])
@pytest.mark.parametrize("head", HEADS, ids="-".join)
def test_values_are_those_of_each_network(head: tuple[str, str], activation: str, dtype: str, backend: str) -> None:
    sizes = [3, 5, 4, 2]
    ours = ns.Population(sizes, SIZE, activation=activation, output=head[0], loss=head[1], dtype=dtype, backend=backend)
    x, y = data(sizes, head[1], 21)
    close(dtype, ours.predict(x), [net.predict(x) for net in ours])
    close(dtype, ours.loss(x, y), [net.loss(x, y) for net in ours])

    rows = np.random.default_rng(0).integers(0, 21, (SIZE, 9))
    close(dtype, ours.predict(x, rows=rows), [net.predict(x[rows[i]]) for i, net in enumerate(ours)])
    close(dtype, ours.loss(x, y, rows=rows), [net.loss(x[rows[i]], y[rows[i]]) for i, net in enumerate(ours)])
    np.testing.assert_array_equal(ours.predict(x[rows]), ours.predict(x, rows=rows))
    np.testing.assert_array_equal(ours.loss(x[rows], y[rows]), ours.loss(x, y, rows=rows))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bits_depend_on_neither_company_nor_threads(each_backend: str, dtype: str) -> None:
    sizes = [2, 40, 2]  # enough work for threads
    ours = ns.Population(sizes, 300, activation="tanh", dtype=dtype, backend=each_backend)
    x, y = data(sizes, "half_squared_error", 19)
    values = check_samples_of_networks(ours, x, y)
    outputs, losses = ours.predict(x), ours.loss(x, y)
    for indices in (np.array([299, 3, 150]), np.arange(1, 290)):
        for threads in (1, 2):
            some, some_losses = np.empty((len(indices), 19, 2), dtype), np.empty(len(indices))
            ours._engine.predict(ours._theta, values.samples.x, some, indices, threads=threads)
            ours._engine.loss(ours._theta, values, some_losses, indices, threads)
            np.testing.assert_array_equal(some, outputs[indices])
            np.testing.assert_array_equal(some_losses, losses[indices])


@pytest.mark.parametrize("backend", QUICK)
def test_weights_count(backend: str) -> None:
    """Weights of 0 hide losses that are not finite."""
    ours = ns.Population([3, 5, 2], SIZE, activation="tanh", backend=backend)
    x, y = data([3, 5, 2], "half_squared_error", 12)
    weight = np.random.default_rng(1).integers(0, 3, (SIZE, 12)).astype(float)
    weight[:, 4] = 0
    samples = check_samples_of_networks(ours, x, y).samples
    samples.x[4] = np.inf
    losses, one = np.empty(SIZE), np.empty(1)
    ours._engine.loss(ours._theta, PopulationSamples(samples, weight=weight), losses)
    single = load(backend).populations.Engine(ours.architecture, ours.dtype)
    for i in range(SIZE):
        single.loss(ours._theta[i : i + 1], PopulationSamples(samples, weight=weight[i : i + 1]), one)
        np.testing.assert_allclose(losses[i], one[0], rtol=1e-13)


@pytest.mark.parametrize("backend", QUICK)
def test_no_rows(backend: str) -> None:
    ours = ns.Population([3, 2], K, backend=backend)
    assert ours.predict(np.empty((0, 3))).shape == (K, 0, 2)
    assert ours.predict(np.empty((K, 0, 3))).shape == (K, 0, 2)


@pytest.mark.parametrize("backend", QUICK)
def test_extreme_outputs(backend: str) -> None:
    """Sigmoids that are subnormal numbers, and infinite sums."""
    ours = ns.Population([1, 1], SIZE, output="sigmoid", dtype="float32", backend=backend)
    x = np.array([[-90.0], [-100.0], [-1000.0], [100.0], [1e38]], "float32")
    theta = ours.theta.copy()
    theta[:] = [1.0, 0.0]
    theta[3] = [1e30, 0.0]
    ours.theta = theta
    close("float32", ours.predict(x), [net.predict(x) for net in ours])
    assert ours.predict(x)[0, 0, 0] > 0
