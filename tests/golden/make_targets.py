"""Make targets.npz with PyTorch: losses and gradients where targets are missing, samples have weights of any sign, or
one output of each row counts; and parameters after steps with learning rates by layer. All in float64.

The file here was made by PyTorch 2.13.0 (CPU). To make it again, with PyTorch and NumPy installed, from the root of the
repository::

    PYTHONPATH=engine:tests:tests/golden python tests/golden/make_targets.py
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from make_goldens import ACTIVATIONS, flat, network
from torch import nn
from torch.nn import functional

from cases import PAIRS, draw_samples, draw_theta
from nanostep.architecture import Architecture, make_architecture

ROWS = 6
UNKNOWN = np.array([[0, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0], [0, 0, 0], [1, 0, 1]], bool)
UNKNOWN_ROWS = np.array([0, 0, 1, 0, 0, 1], bool)
WEIGHT = np.array([1.0, -0.5, 2.0, 0.0, 3.0, -1.25])
CHOSEN = np.array([0, 2, 1, 1, 0, 2])

TERMS = {
    "half_squared_error": lambda a, y: 0.5 * (a - y) ** 2,
    "squared_error": lambda a, y: functional.mse_loss(a, y, reduction="none"),
    "absolute_error": lambda a, y: functional.l1_loss(a, y, reduction="none"),
    "huber": lambda a, y: functional.huber_loss(a, y, reduction="none"),
    "binary_cross_entropy": lambda a, y: functional.binary_cross_entropy(a, y, reduction="none"),
    "poisson": lambda a, y: functional.poisson_nll_loss(a, y, reduction="none"),
}

RATES: dict[str, tuple[type[torch.optim.Optimizer], dict[str, float], float | None]] = {
    "SGD": (torch.optim.SGD, {"lr": 0.125}, None),
    "SGD momentum": (torch.optim.SGD, {"lr": 0.125, "momentum": 0.5, "weight_decay": 0.25}, 0.125),
    "RMSprop": (torch.optim.RMSprop, {"lr": 0.03125, "momentum": 0.5}, None),
    "Adam": (torch.optim.Adam, {"lr": 0.03125}, 0.125),
    "AdamW": (torch.optim.AdamW, {"lr": 0.03125, "weight_decay": 0.5}, None),
}
"""Optimiser, hyper-parameters, and the norm by which the gradient of the layers that move is clipped."""

LAYER_RATES = [(0.5, 2.0, 1.0), (0.0, 1.0, 0.25)]


def forward(architecture: Architecture, linear: nn.ModuleList, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    a = z = x
    for layer, module in zip(architecture.layers, linear, strict=True):
        z = module(a)
        a = ACTIVATIONS[layer.activation](z)
    return z, a


def case(architecture: Architecture, kind: str, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return theta, data, and loss and gradient of the mean over the rows."""
    theta = draw_theta(architecture, rng)
    samples = draw_samples(architecture, theta, ROWS, rng)
    assert samples.y is not None
    linear, x, y = network(architecture, theta), torch.from_numpy(samples.x), torch.from_numpy(samples.y)
    z, a = forward(architecture, linear, x)
    weight = torch.from_numpy(WEIGHT) if kind == "weighted" else torch.ones(ROWS, dtype=torch.float64)
    if architecture.loss == "cross_entropy":
        known = torch.from_numpy(np.where(UNKNOWN_ROWS, 0.0, 1.0))
        rows = known * functional.cross_entropy(z, y, reduction="none")
    elif kind == "chosen":
        rows = TERMS[architecture.loss](a, y)[torch.arange(ROWS), torch.from_numpy(CHOSEN)]
    else:
        terms = TERMS[architecture.loss](a, y) * torch.from_numpy(np.where(UNKNOWN, 0.0, 1.0))
        rows = terms.sum(1) if architecture.loss == "half_squared_error" else terms.mean(1)
    loss = (weight * rows).mean()
    gradient = flat(torch.autograd.grad(loss, list(linear.parameters())))
    return {"theta": theta, "x": samples.x, "y": samples.y, "loss": np.array(loss.item()), "gradient": gradient}


def steps(name: str, rates: tuple[float, ...], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return theta after three steps with a learning rate for each layer."""
    kind, hyperparameters, clip_norm = RATES[name]
    architecture = make_architecture([3, 4, 4, 3], "tanh", "identity", "squared_error")
    theta = draw_theta(architecture, rng)
    samples = draw_samples(architecture, theta, ROWS, rng)
    linear, x, y = network(architecture, theta), torch.from_numpy(samples.x), torch.from_numpy(samples.y)
    lr = hyperparameters["lr"]
    moving = [
        {"params": list(module.parameters()), "lr": rate * lr}
        for module, rate in zip(linear, rates, strict=True)
        if rate > 0
    ]
    optimizer = kind(moving, **hyperparameters)
    for _ in range(3):
        optimizer.zero_grad()
        functional.mse_loss(forward(architecture, linear, x)[1], y).backward()
        if clip_norm is not None:
            nn.utils.clip_grad_norm_([p for group in moving for p in group["params"]], clip_norm)
        optimizer.step()
    return {"theta": theta, "x": samples.x, "y": samples.y, "moved": flat(linear.parameters())}


def main() -> None:
    rng, cases = np.random.default_rng(26), []
    arrays = {"unknown": UNKNOWN, "unknown_rows": UNKNOWN_ROWS, "weight": WEIGHT, "chosen": CHOSEN}
    for loss, output in PAIRS:
        for what in ("missing", "weighted", "chosen"):
            if what == "chosen" and loss == "cross_entropy":
                continue
            found = case(make_architecture([3, 4, 3], "tanh", output, loss), what, rng)
            arrays |= {f"{len(cases)}.{name}": array for name, array in found.items()}
            cases.append({"loss": loss, "output": output, "kind": what})
    for name in RATES:
        for rates in LAYER_RATES:
            found = steps(name, rates, rng)
            arrays |= {f"{len(cases)}.{key}": array for key, array in found.items()}
            kind, hyperparameters, clip_norm = RATES[name]
            given = {**hyperparameters, "clip_norm": clip_norm}
            cases.append({"kind": "steps", "optimizer": kind.__name__, "given": given, "rates": list(rates)})
    np.savez_compressed(Path(__file__).parent / "targets.npz", cases=np.array(json.dumps(cases)), **arrays)


if __name__ == "__main__":
    main()
