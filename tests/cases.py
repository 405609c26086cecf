"""Cases of the tests: the required backends, grids of choices and sizes, and seeded data for each of them.

All data are multiples of a power of two small enough to be exact in float32 and float64 alike, so that both precisions
(and the golden files) start from the same numbers.
"""

from __future__ import annotations

import os

import numpy as np

import nanostep as ns
from nanostep._arrays import Samples
from nanostep.architecture import ACTIVATIONS, HIDDEN_ACTIVATIONS, LOSS_OUTPUTS, LOSSES, Architecture, make_architecture
from nanostep.backends import PACKAGES
from nanostep.backends.reference import networks
from nanostep.initialization import weight_limit
from nanostep.losses import GaussianNLL, Huber, Loss, Quantile
from nanostep.optimizers import SGD, Adam, AdamW, Optimizer, RMSprop

REQUIRED: tuple[str, ...] = tuple(
    name.strip() for name in os.environ.get("NANOSTEP_TEST_BACKENDS", ",".join(PACKAGES)).split(",")
)
"""Backends that must run here. Set NANOSTEP_TEST_BACKENDS (comma-separated names) to require fewer."""

QUICK: tuple[str, ...] = tuple(name for name in REQUIRED if name != "numba") or REQUIRED
"""Backends of tests of the Python code between calls: Numba takes seconds to compile each network and kind of run."""

THREADS: int | None = int(os.environ["NANOSTEP_TEST_THREADS"]) if "NANOSTEP_TEST_THREADS" in os.environ else None
"""Threads of the conformance suite's training runs; None lets the backend choose."""

COMPILERS: tuple[str, ...] = tuple(os.environ.get("NANOSTEP_TEST_COMPILERS", "cc").split(","))
"""C compilers to test with; each must be installed."""

DTYPES = ("float32", "float64")

HIGH = np.dtype(np.longdouble)
"""Precision of the expected values: more digits than float64 if the platform has them."""

PAIRS: tuple[tuple[str, str], ...] = tuple(
    (loss, output) for loss in LOSSES for output in LOSS_OUTPUTS.get(loss, ACTIVATIONS)
)
"""Every loss with every output that it accepts."""

OBJECT_PAIRS: tuple[tuple[Loss, str], ...] = (
    (Huber(0.25), "identity"),
    (Huber(2.5), "tanh"),
    (Huber(0.125), "softmax"),
    (Quantile([0.1, 0.5, 0.875]), "identity"),
    (Quantile([0.75]), "sigmoid"),
    (Quantile([0.25, 0.875]), "softmax"),
    (GaussianNLL(), "identity"),
)
"""Losses that are objects, with some of their outputs."""

ALL_PAIRS: tuple[tuple[str | Loss, str], ...] = (*PAIRS, *OBJECT_PAIRS)

OPTIMIZERS: dict[str, Optimizer] = {
    "sgd": SGD(lr=0.05),
    "sgd-decay": SGD(lr=0.05, weight_decay=0.1),
    "sgd-momentum": SGD(lr=0.02, momentum=0.8),
    "sgd-dampening": SGD(lr=0.02, momentum=0.8, dampening=0.3),
    "sgd-nesterov": SGD(lr=0.02, momentum=0.7, nesterov=True, weight_decay=0.05),
    "rmsprop": RMSprop(lr=0.01),
    "rmsprop-momentum": RMSprop(lr=0.005, alpha=0.9, eps=1e-3, momentum=0.6),
    "rmsprop-centered": RMSprop(lr=0.005, alpha=0.9, eps=1e-2, centered=True, weight_decay=0.05),
    "rmsprop-all": RMSprop(lr=0.005, alpha=0.8, eps=1e-2, centered=True, momentum=0.5, weight_decay=0.05),
    "adam": Adam(lr=0.01),
    "adam-decay": Adam(lr=0.01, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.1),
    "adam-amsgrad": Adam(lr=0.02, betas=(0.7, 0.6), eps=1e-3, amsgrad=True),
    "adamw": AdamW(lr=0.01, weight_decay=0.2),
    "adamw-amsgrad": AdamW(lr=0.02, betas=(0.7, 0.6), eps=1e-3, weight_decay=0.1, amsgrad=True),
    "sgd-l1-clip": SGD(lr=0.05, l1=0.02, clip_norm=0.25),
    "sgd-clip-value": SGD(lr=0.05, momentum=0.6, weight_decay=0.1, clip_value=0.05),
    "sgd-velocity": SGD(lr=0.02, momentum=0.7, nesterov=True, weight_decay=0.1, velocity_with_rate=True),
    "rmsprop-l1-clip": RMSprop(lr=0.01, eps=1e-2, l1=0.05, clip_norm=0.25),
    "rmsprop-clip-value": RMSprop(lr=0.005, eps=5e-2, momentum=0.5, clip_value=0.05),
    "adam-l1-clip": Adam(lr=0.01, eps=1e-2, l1=0.05, clip_norm=0.25),
    "adam-clip-value": Adam(lr=0.01, eps=1e-2, clip_value=0.05, epsilon_hat=True),
    "adamw-l1-clip": AdamW(lr=0.01, eps=1e-2, l1=0.5, clip_norm=0.25),
    "adamw-clip-value": AdamW(lr=0.01, eps=1e-2, clip_value=0.05, epsilon_hat=True),
}
"""Every variant of every optimiser; together they set each hyper-parameter to something other than its default."""

NOT_IN_PYTORCH = frozenset({"sgd-velocity", "adam-clip-value", "adamw-clip-value"})
"""The scikit-learn forms among `OPTIMIZERS`, whose loss curves the tests of the estimators check."""

KINKED = frozenset({"relu", "leaky_relu"})

KINK_MARGIN = 2.0**-10
"""Distance of a sample's z and a - y from a jump of a derivative: further than float32 rounding can move them."""


def outputs_for(loss: str | Loss, width: int) -> int:
    """Return the number of outputs that the loss accepts next to `width`."""
    unit = 1 if isinstance(loss, str) else loss.outputs_per_target
    return -(-width // unit) * unit


def draw_architecture(
    rng: np.random.Generator, loss: str | Loss, output: str, *, layers: int, widest: int
) -> Architecture:
    """Return an architecture with `layers` hidden layers of random activations; widths are uniform in log(width)."""
    sizes = np.exp(rng.uniform(0, np.log(widest + 1), layers + 2)).astype(int)
    if output == "softmax":
        sizes[-1] = max(sizes[-1], 2)  # one class has probability 1 whatever the parameters are
    sizes[-1] = outputs_for(loss, sizes[-1])
    return make_architecture(sizes.tolist(), rng.choice(HIDDEN_ACTIVATIONS, layers).tolist(), output, loss)


def draw_theta(architecture: Architecture, rng: np.random.Generator) -> np.ndarray:
    """Return parameters, biases included, of the usual size (float64, multiples of 2^-13)."""
    theta = np.empty(architecture.parameter_count)
    for layer in architecture.layers:
        limit = weight_limit(layer)
        theta[layer.weights] = rng.uniform(-limit, limit, layer.inputs * layer.outputs)
        theta[layer.biases] = rng.uniform(-0.5, 0.5, layer.outputs)
    return np.round(theta * 2**13) / 2**13


def draw_real(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Return standard normal numbers rounded to multiples of 2^-10."""
    return np.round(rng.standard_normal(shape) * 2**10) / 2**10


def draw_targets(loss: str | Loss, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return targets (n, outputs) that the loss accepts, multiples of 1/8, including exact zeros and ones."""
    if isinstance(loss, Loss):
        targets = shape[0], shape[1] // loss.outputs_per_target
        return loss.repeated(np.round(rng.standard_normal(targets) * 8) / 8)
    if loss == "cross_entropy":
        spread = rng.multinomial(8, np.full(shape[1], 1 / shape[1]), shape[0]) / 8
        one_hot = np.eye(shape[1])[rng.integers(shape[1], size=shape[0])]
        return np.where(np.arange(shape[0])[:, None] % 2, spread, one_hot)
    if loss == "binary_cross_entropy":
        return rng.integers(0, 9, shape) / 8
    if loss == "poisson":
        return rng.integers(0, 5, shape).astype(float)
    return np.round(rng.standard_normal(shape) * 8) / 8


def draw_samples(architecture: Architecture, theta: np.ndarray, n: int, rng: np.random.Generator) -> Samples:
    """Return n float64 samples whose gradients at `theta` are neither near a jump (`KINK_MARGIN`) nor bound to be 0."""
    engine = networks.Engine(architecture, np.dtype(np.float64))
    x = np.empty((0, architecture.inputs))
    y = np.empty((0, architecture.outputs))
    for _ in range(1000):
        candidates = Samples(
            draw_real((2 * n, architecture.inputs), rng),
            draw_targets(architecture.criterion, (2 * n, architecture.outputs), rng),
            None,
        )
        keep = _smooth(engine, theta, candidates)
        x, y = np.concatenate([x, candidates.x[keep]]), np.concatenate([y, candidates.y[keep]])  # type: ignore[index]
        if len(x) >= n:
            return Samples(x[:n].copy(), y[:n].copy(), None)
    raise AssertionError(f"no smooth samples for {architecture}")


def _smooth(engine: networks.Engine, theta: np.ndarray, samples: Samples) -> np.ndarray:
    z, a = engine.forward(theta, samples.x)
    keep = np.ones(len(samples), bool)
    for layer, z__bo in zip(engine.architecture.layers, z, strict=True):
        if layer.activation in KINKED:
            keep &= (np.abs(z__bo) > KINK_MARGIN).all(axis=1)
    if engine.architecture.loss in ("absolute_error", "quantile"):
        error__bo = a[-1] - samples.y
        keep &= (np.abs(error__bo) > KINK_MARGIN).all(axis=1)
        if engine.architecture.output == "softmax":
            # probabilities sum to one, so errors of one sign have no gradient apart from rounding
            keep &= (np.ptp(np.sign(error__bo), axis=1) > 0) | (error__bo.shape[1] == 1)
    return keep


def cast(samples: Samples, dtype: np.dtype) -> Samples:
    """Return a copy in another precision."""
    return Samples(
        samples.x.astype(dtype),
        None if samples.y is None else samples.y.astype(dtype),
        None if samples.labels is None else samples.labels.copy(),
        None if samples.weight is None else samples.weight.astype(dtype),
    )


def small_network(backend: str = "numpy", kind: str = "regression", dtype: str = "float64") -> ns.Network:
    """Return a network of 3 inputs and 6 hidden units for a kind of targets."""
    sizes, output, loss = {
        "regression": ([3, 6, 2], "identity", "squared_error"),
        "classes": ([3, 6, 3], "softmax", "cross_entropy"),
        "two": ([3, 6, 2], "softmax", "cross_entropy"),
        "binary": ([3, 6, 1], "sigmoid", "binary_cross_entropy"),
        "multilabel": ([3, 6, 2], "sigmoid", "binary_cross_entropy"),
    }[kind]
    return ns.Network(sizes, activation="tanh", output=output, loss=loss, dtype=dtype, backend=backend)
