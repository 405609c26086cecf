"""Which learning rates solve XOR? 1,000 rates times 100 seeds: 100,000 networks, 2,000 updates each.

Run: python examples/rates.py [rates] [seeds] [picture.png]
"""

from __future__ import annotations

import sys
import time

import numpy as np

import nanostep as ns

X, Y = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32), np.array([0, 1, 1, 0], np.float32)
AGAIN = 25
"""Repetitions of the four samples in an epoch, so that the loss is recorded only every hundred updates."""


def main(rates: int = 1000, seeds: int = 100, picture: str | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return the rates, and for each the share of the seeds whose network gives all four answers."""
    rate, seed = np.meshgrid(np.geomspace(0.01, 100, rates), np.arange(seeds), indexing="ij")
    started = time.perf_counter()
    population = ns.Population([2, 4, 1], rate.size, activation="tanh", dtype="float32", seed=seed.ravel())
    built = time.perf_counter()
    population.train(np.tile(X, (AGAIN, 1)), np.tile(Y, AGAIN), epochs=20, optimizer=ns.SGD(lr=rate.ravel()))
    trained = time.perf_counter()
    right = ((population.predict(X)[:, :, 0] > 0.5) == (Y > 0.5)).all(axis=1)
    solved = right.reshape(rate.shape).mean(axis=1)
    updates = rate.size * 20 * AGAIN * len(X)
    print(f"{rate.size} networks built in {built - started:.2f} s, trained in {trained - built:.2f} s: "
          f"{(trained - built) / updates * 1e9:.1f} ns for each network and update")  # fmt: skip
    good = rate[solved >= 0.95, 0]
    if len(good):
        print(f"95 % of the seeds or more solve it at rates from {good.min():.2g} to {good.max():.2g}")
    if picture is not None:
        draw(rate[:, 0], solved, picture)
    return rate[:, 0], solved


def draw(rate: np.ndarray, solved: np.ndarray, path: str) -> None:
    """Save the picture; needs matplotlib."""
    from matplotlib.figure import Figure

    ax = Figure(figsize=(6, 3.4), layout="constrained").add_subplot()
    ax.semilogx(rate, 100 * solved, linewidth=1)
    ax.set(xlabel="learning rate", ylabel="seeds that solve XOR, %", ylim=(0, 101))
    ax.grid(alpha=0.25)
    ax.figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]), *sys.argv[3:])
