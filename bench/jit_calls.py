"""What a call of a network costs in jitted code, compiled in and through the C library, as JSON on standard output.

    python -m nanostep.benchmark.jit_calls

Nanoseconds for a `step` and for a `forward` of one row, the best of many runs of a jitted loop over some thousand rows.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

import nanostep as ns
from nanostep.jit.native import c_functions

NETWORKS = (
    ([2, 2, 1], "float64"),
    ([8, 16, 1], "float64"),
    ([4, 16, 3], "float64"),
    ([8, 16, 1], "float32"),
    ([64, 32, 10], "float32"),
)
ROWS, REPEATS = 4096, 30


def steps(fns: Any, theta: np.ndarray, x: np.ndarray, y: np.ndarray, work: np.ndarray) -> float:
    total = 0.0
    for i in range(len(x)):
        total += fns.step(theta, x[i], y[i], 0.01, work)
    return total


def forwards(fns: Any, theta: np.ndarray, x: np.ndarray, out: np.ndarray, work: np.ndarray) -> float:
    for i in range(len(x)):
        fns.forward(theta, x[i], out, work)
    return float(out[0])


def nanoseconds(loop: Callable[..., float], *arguments: Any) -> float:
    """Return the least time of a row."""
    compiled = njit(loop)
    compiled(*arguments)
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        compiled(*arguments)
        seconds.append(time.perf_counter() - started)
    return 1e9 * min(seconds) / ROWS


def measure(sizes: list[int], dtype: str) -> list[float]:
    """Return the times of `step` compiled in and in C, and of `forward` compiled in and in C."""
    net = ns.Network(sizes, activation="tanh", output="identity", dtype=dtype, seed=1)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((ROWS, sizes[0])).astype(dtype)
    y = rng.standard_normal((ROWS, sizes[-1])).astype(dtype)
    compiled, c = net.jit(), c_functions(net)
    found = [nanoseconds(steps, fns, net.theta.copy(), x, y, fns.workspace()) for fns in (compiled, c)]
    out = np.zeros(sizes[-1], dtype)
    return found + [nanoseconds(forwards, fns, net.theta.copy(), x, out, fns.workspace()) for fns in (compiled, c)]


def main() -> None:
    found = {f"{'-'.join(map(str, sizes))} {dtype}": measure(sizes, dtype) for sizes, dtype in NETWORKS}
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
