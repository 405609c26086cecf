"""Population-based training: networks train together, and copies of the best, with other rates, replace the worst.

After every few epochs the networks are ranked on held-out digits. The last quarter is replaced by copies of the first
(exploit), and a copy's learning rate and weight decay are multiplied by 0.8 or 1.25 (explore). The rates thus follow a
schedule that was not chosen in advance.

Source: Jaderberg et al., 2017, "Population based training of neural networks", arXiv:1711.09846.

Run: python examples/evolution.py [networks] [generations]
"""

from __future__ import annotations

import sys
import time

import numpy as np

import nanostep as ns
from nanostep.data import load_digits

EPOCHS = 2
"""Epochs of a generation."""


def evolve(networks: int, generations: int, exploits: bool, seed: int = 0) -> tuple[np.ndarray, list[float]]:
    """Return the networks' final losses on the held-out digits, and the median rate of each generation."""
    pixels, labels = load_digits()
    x, y = pixels[:1400] / 16, labels[:1400]
    held_out = pixels[1400:] / 16, labels[1400:]
    random = np.random.default_rng(seed)
    rates, decays = 10 ** random.uniform(-3, 0.5, networks), 10 ** random.uniform(-6, -1, networks)
    population = ns.Population(
        [64, 16, 10], networks, activation="tanh", output="softmax", loss="cross_entropy", dtype="float32"
    )
    optimizer = ns.SGD(lr=rates, momentum=0.9, weight_decay=decays)
    medians = []
    for generation in range(generations):
        population.train(x, y, epochs=EPOCHS, batch_size=32, optimizer=optimizer, seed=generation)
        medians.append(float(np.median(optimizer.lr)))
        if not exploits or generation == generations - 1:
            continue
        order = np.argsort(np.nan_to_num(population.loss(*held_out), nan=np.inf))
        quarter = max(1, networks // 4)
        parents = np.arange(networks)
        parents[order[-quarter:]] = order[:quarter]
        population = population.take(parents)  # with their momenta, rates and decays
        optimizer = population.optimizer
        copies = order[-quarter:]
        optimizer.lr[copies] *= random.choice([0.8, 1.25], quarter)
        optimizer.weight_decay[copies] *= random.choice([0.8, 1.25], quarter)
    return population.loss(*held_out), medians


def main(networks: int = 64, generations: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """Return the losses with exploit and explore, and those of the same networks without."""
    started = time.perf_counter()
    evolved, rates = evolve(networks, generations, exploits=True)
    seconds = time.perf_counter() - started
    alone, _ = evolve(networks, generations, exploits=False)
    print(f"{networks} networks, {generations} generations of {EPOCHS} epochs: {seconds:.2f} s")
    for name, losses in (("with exploit and explore", evolved), ("each by itself", alone)):
        finite = np.sort(losses[np.isfinite(losses)])
        print(f"{name}: held-out loss best {finite[0]:.3f}, median {np.median(finite):.3f}, worst {finite[-1]:.3f}")
    print("median rate by generation: " + " ".join(f"{rate:.3g}" for rate in rates[:: max(1, generations // 8)]))
    return evolved, alone


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
