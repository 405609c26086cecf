"""Fit a small network to each of a thousand short series, in a parallel loop of your own by Numba's prange.

Each network predicts the next value of its series from the last four. The loop over series is distributed over all
cores, but the work of one network is not, so results do not depend on the number of cores.

Run: python examples/series.py [series]
"""

from __future__ import annotations

import sys
import time

import numpy as np
from numba import njit, prange

import nanostep as ns

LAGS = 4


def make_series(count: int, length: int = 100, seed: int = 0) -> np.ndarray:
    """Return noisy waves of random period, phase and shape, (count, length)."""
    random = np.random.default_rng(seed)
    period, phase = random.uniform(5, 20, (count, 1)), random.uniform(0, 2 * np.pi, (count, 1))
    wave = np.sin(2 * np.pi * np.arange(length) / period + phase)
    return wave * np.abs(wave) ** random.uniform(0, 1, (count, 1)) + 0.02 * random.standard_normal((count, length))


@njit(parallel=True, cache=True)
def fit_all(fns, start, series, epochs, theta, losses):
    """Fit a network to each row of series from the parameters `start`; fill theta (series, parameters) and losses."""
    length = series.shape[1]
    for k in prange(len(series)):
        work, slots, grad = fns.workspace(), fns.slots(), np.empty_like(start)
        x, y = np.empty((length - LAGS, LAGS)), np.empty((length - LAGS, 1))
        for i in range(length - LAGS):
            x[i], y[i, 0] = series[k, i : i + LAGS], series[k, i + LAGS]
        theta[k] = start
        for t in range(epochs):
            losses[k] = fns.gradient(theta[k], x, y, grad, work)
            fns.update(theta[k], grad, slots, t + 1)


def main(count: int = 1000) -> tuple[np.ndarray, np.ndarray]:
    """Return the networks' parameters and losses."""
    net = ns.Network([LAGS, 8, 1], activation="tanh", output="identity", loss="squared_error", backend="numba", seed=0)
    fns = net.jit(ns.Adam(lr=0.02))
    series = make_series(count)
    theta, losses = np.empty((count, len(net.theta))), np.empty(count)
    fit_all(fns, net.theta, series[:2], 1, theta, losses)  # compiles, or loads the compiled code
    started = time.perf_counter()
    fit_all(fns, net.theta, series, 300, theta, losses)
    seconds = time.perf_counter() - started
    print(f"{count} networks, 300 updates each on {series.shape[1] - LAGS} rows: {seconds:.2f} s")
    print(f"mean squared error: median {np.median(losses):.5f}, worst {losses.max():.5f}")
    print(f"variance of the series: {series.var():.3f}")
    return theta, losses


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
