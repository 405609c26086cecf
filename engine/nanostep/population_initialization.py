"""Initial parameters of many networks: the bits of `nanostep.initialization`, drawn for thousands of seeds at once."""

from __future__ import annotations

import numpy as np

from nanostep._pcg64 import uniforms
from nanostep.architecture import Architecture
from nanostep.initialization import initialize, weight_limit

MANY = 8192
"""Networks whose weights are drawn together: what an operation works on stays in cache."""

MOST_WEIGHTS = 512
"""Weights of a network up to which they are: one takes 11 us by itself, together 0.3 us with 6 weights, 5 with 500."""


def initialize_each(architecture: Architecture, theta__mp: np.ndarray, seeds: np.ndarray) -> None:
    """Do for every row of `theta` (networks, parameters) what `initialize` does, each with its seed, of uint64."""
    count = sum(layer.inputs * layer.outputs for layer in architecture.layers)
    if count > MOST_WEIGHTS or len(seeds) < 4 * count:
        for theta__p, seed in zip(theta__mp, seeds.tolist(), strict=True):
            initialize(architecture, theta__p, seed)
        return
    for at in range(0, len(seeds), MANY):
        some, drawn = theta__mp[at : at + MANY], 0
        numbers = uniforms(seeds[at : at + MANY], count)
        for layer in architecture.layers:
            of_layer = numbers[drawn : drawn + layer.inputs * layer.outputs]
            some[:, layer.weights] = ((2.0 * of_layer - 1.0) * weight_limit(layer)).T
            some[:, layer.biases] = 0.0
            drawn += len(of_layer)
