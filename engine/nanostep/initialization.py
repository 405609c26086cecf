"""Initial parameters: Glorot or He uniform weights by activation, zero biases, from a seed.

Weights are uniform on (-r, r). For layers with a rectifier-like activation (relu, leaky_relu, elu, silu)
``r = sqrt(6 / fan_in)`` (He et al., 2015, "Delving Deep into Rectifiers", eq. 10, uniform form); for all others
``r = sqrt(6 / (fan_in + fan_out))`` (Glorot & Bengio, 2010, "Understanding the difficulty of training deep feedforward
neural networks", eq. 16). Numbers are drawn in float64 whatever the dtype, so float32 networks start at the rounded
values of their float64 twins. They are drawn before any backend is involved, so every backend starts from the same
theta.
"""

from __future__ import annotations

import math

import numpy as np

from nanostep._pcg64 import uniforms
from nanostep.architecture import Architecture, Layer

RECTIFIERS = frozenset({"relu", "leaky_relu", "elu", "silu"})

BLOCK = 8192
"""Networks whose weights are drawn together, so that the arrays of an operation stay in cache."""

MOST_WEIGHTS = 512
"""Most weights of a network for which generators are advanced together: above it, NumPy's own is as fast."""


def weight_limit(layer: Layer) -> float:
    """Return r, where the initial weights of `layer` lie in (-r, r)."""
    if layer.activation in RECTIFIERS:
        return math.sqrt(6.0 / layer.inputs)
    return math.sqrt(6.0 / (layer.inputs + layer.outputs))


def initialize(architecture: Architecture, theta: np.ndarray, seed: int | None) -> None:
    """Fill `theta` (parameters,) with initial weights drawn from PCG64(`seed`) and zero biases.

    Weights are drawn layer by layer, row by row. ``seed=None`` draws a seed from the operating system.
    """
    layers = architecture.layers
    numbers = np.random.Generator(np.random.PCG64(seed)).random(len(theta) - sum(layer.outputs for layer in layers))
    numbers *= 2.0
    numbers -= 1.0
    for layer in layers:
        count = layer.inputs * layer.outputs
        np.multiply(numbers[:count], weight_limit(layer), out=theta[layer.weights], casting="same_kind")
        theta[layer.biases] = 0.0
        numbers = numbers[count:]


def initialize_each(architecture: Architecture, theta__mp: np.ndarray, seeds: np.ndarray) -> None:
    """Fill each row of `theta__mp` (networks, parameters) as `initialize` does with that network's seed (uint64)."""
    count = sum(layer.inputs * layer.outputs for layer in architecture.layers)
    if count > MOST_WEIGHTS or len(seeds) < 4 * count:
        for theta__p, seed in zip(theta__mp, seeds.tolist(), strict=True):
            initialize(architecture, theta__p, seed)
        return
    for start in range(0, len(seeds), BLOCK):
        block, used = theta__mp[start : start + BLOCK], 0
        numbers = uniforms(seeds[start : start + BLOCK], count)
        for layer in architecture.layers:
            of_layer = numbers[used : used + layer.inputs * layer.outputs]
            block[:, layer.weights] = ((2.0 * of_layer - 1.0) * weight_limit(layer)).T
            block[:, layer.biases] = 0.0
            used += len(of_layer)
