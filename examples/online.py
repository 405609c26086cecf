"""Online learning of a drifting stream: for each row predict, then learn from it, all in one jitted loop.

Run: python examples/online.py [rows]
"""

from __future__ import annotations

import sys
import time

import numpy as np
from numba import njit

import nanostep as ns


def make_stream(rows: int, inputs: int = 8, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of x, and targets y whose dependence on x turns slowly from one direction to another."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((rows, inputs))
    first, second = random.standard_normal((2, inputs)) / np.sqrt(inputs)
    angle = np.linspace(0, np.pi, rows)[:, None]
    y = np.sin((x * (np.cos(angle) * first + np.sin(angle) * second)).sum(axis=1, keepdims=True) * 2)
    return x, y


@njit(cache=True)
def learn_stream(fns, theta, x, y, lr, work):
    """Return the mean loss of every tenth of the stream; each row is predicted and then trained on once."""
    losses = np.zeros(10)
    share = 10 / len(x)
    for i in range(len(x)):
        losses[i * 10 // len(x)] += share * fns.step(theta, x[i], y[i], lr, work)
    return losses


def main(rows: int = 1_000_000) -> tuple[np.ndarray, np.ndarray]:
    """Return the losses of a network that goes on learning, and of one that stops after a tenth of the stream."""
    net = ns.Network([8, 16, 1], activation="tanh", output="identity", backend="numba", seed=1)
    fns = net.jit()
    work = fns.workspace()
    x, y = make_stream(rows)
    learn_stream(fns, net.theta.copy(), x[:10], y[:10], 0.05, work)  # compiles, or loads the compiled code

    theta = net.theta.copy()
    started = time.perf_counter()
    learning = learn_stream(fns, theta, x, y, 0.05, work)
    seconds = time.perf_counter() - started
    theta = net.theta.copy()
    tenth = rows // 10
    learn_stream(fns, theta, x[:tenth], y[:tenth], 0.05, work)
    stopped = learn_stream(fns, theta, x, y, 0.0, work)

    print(f"{rows / seconds / 1e6:.1f} million rows/s")
    for k in range(10):
        print(f"tenth {k + 1:2}: loss {learning[k]:.4f}; {stopped[k]:.4f} had it stopped learning after the first")
    return learning, stopped


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
