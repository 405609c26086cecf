"""Make the golden files with PyTorch: gradients and training runs of dense networks in float64, computed by autograd.

The files here were made by PyTorch 2.13.0 (CPU). To make them again, with PyTorch and NumPy installed, from the
repository's root::

    PYTHONPATH=engine:tests python tests/golden/make_goldens.py

Drawn numbers are multiples of a power of two and are stored as 16-bit integers, so that they are the same in float32
and in float64. Each file holds, beside its arrays, a JSON text ``cases`` with one description per case.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from cases import NOT_IN_PYTORCH, OBJECT_PAIRS, OPTIMIZERS, PAIRS, draw_architecture, draw_samples, draw_theta
from conformance.goldens import UNITS
from nanostep._arrays import Samples
from nanostep.architecture import Architecture, make_architecture
from nanostep.losses import GaussianNLL, Huber, Loss, Quantile
from nanostep.optimizers import AdamW, Optimizer

FOLDER = Path(__file__).parent

MOST_CANCELLATION = 20
"""Cases whose gradients cancel further in the sum over the batch are drawn again: they are mostly rounding errors."""

ACTIVATIONS: Mapping[str, nn.Module] = {
    "identity": nn.Identity(),
    "sigmoid": nn.Sigmoid(),
    "tanh": nn.Tanh(),
    "relu": nn.ReLU(),
    "leaky_relu": nn.LeakyReLU(),
    "elu": nn.ELU(),
    "softplus": nn.Softplus(),
    "silu": nn.SiLU(),
    "softmax": nn.Softmax(dim=1),
}

LOSSES: Mapping[str, nn.Module] = {
    "squared_error": nn.MSELoss(),
    "absolute_error": nn.L1Loss(),
    "huber": nn.HuberLoss(delta=1.0),
    "binary_cross_entropy": nn.BCELoss(),
    "cross_entropy": nn.CrossEntropyLoss(),
    "poisson": nn.PoissonNLLLoss(log_input=True),
}

TRAJECTORY = make_architecture([3, 5, 2], "tanh", "identity", "half_squared_error")

LONG_RUNS = (
    make_architecture([2, 2, 1], "sigmoid", "sigmoid", "half_squared_error"),
    make_architecture([4, 9, 3], "tanh", "softmax", "cross_entropy"),
    make_architecture([3, 6, 4, 2], ["silu", "elu"], "identity", "huber"),
    make_architecture([5, 7, 3], "softplus", "sigmoid", "binary_cross_entropy"),
    make_architecture([4, 3], "tanh", "identity", "poisson"),
    make_architecture([2, 3, 3, 3, 3, 1], "tanh", "identity", "squared_error"),
    make_architecture([3, 6, 4], "tanh", "identity", GaussianNLL()),
    make_architecture([4, 5, 1], "silu", "identity", Huber(0.25)),
)


def network(architecture: Architecture, theta: np.ndarray) -> nn.ModuleList:
    """Return the linear layers with the parameters of theta; ``parameters()`` has theta's order."""
    linear = nn.ModuleList()
    for weights, biases in zip(*architecture.views(theta), strict=True):
        linear.append(nn.Linear(weights.shape[1], weights.shape[0], dtype=torch.float64))
        with torch.no_grad():
            linear[-1].weight.copy_(torch.from_numpy(weights))
            linear[-1].bias.copy_(torch.from_numpy(biases))
    return linear


def loss_of(architecture: Architecture, linear: nn.ModuleList, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return the mean loss; PyTorch's cross entropy takes the logits."""
    z = x
    for layer, module in zip(architecture.layers, linear, strict=True):
        z = module(z)
        a = ACTIVATIONS[layer.activation](z)
        if module is not linear[-1]:
            z = a
    if isinstance(architecture.criterion, Loss):
        return loss_with_options(architecture.criterion, a, y)
    if architecture.loss == "half_squared_error":
        return 0.5 * ((a - y) ** 2).sum() / len(x)
    return LOSSES[architecture.loss](z if architecture.loss == "cross_entropy" else a, y)


def loss_with_options(loss: Loss, a: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return the mean loss; y has the target of each output. PyTorch has no pinball loss."""
    if isinstance(loss, Huber):
        return nn.functional.huber_loss(a, y, delta=loss.delta)
    if isinstance(loss, Quantile):
        q = torch.tensor(loss.quantiles, dtype=a.dtype)
        error = (y - a).reshape(len(a), -1, len(q))
        return torch.maximum(q * error, (q - 1) * error).mean()
    assert isinstance(loss, GaussianNLL)
    mean, log_variance = torch.chunk(a, 2, -1)
    return nn.functional.gaussian_nll_loss(mean, torch.chunk(y, 2, -1)[0], log_variance.exp())


def flat(tensors: Iterable[torch.Tensor]) -> np.ndarray:
    """Return tensors in the layout of theta."""
    return np.concatenate([tensor.detach().numpy().ravel() for tensor in tensors])


def drawn(architecture: Architecture, n: int, rng: np.random.Generator) -> tuple[np.ndarray, Samples]:
    theta = draw_theta(architecture, rng)
    return theta, draw_samples(architecture, theta, n, rng)


def stored(theta: np.ndarray, samples: Samples) -> dict[str, np.ndarray]:
    """Return the drawn numbers as integers."""
    arrays = {}
    for name, array in (("theta", theta), ("x", samples.x), ("y", samples.y)):
        assert array is not None
        arrays[name] = (array / UNITS[name]).astype(np.int16)
        assert (arrays[name] * UNITS[name] == array).all(), f"{name} is not exact in 16 bits"
    return arrays


def gradient(architecture: Architecture, theta: np.ndarray, samples: Samples) -> tuple[dict[str, np.ndarray], float]:
    """Return loss and gradients by theta and x, and the largest cancellation in a W or b when the samples' gradients
    are summed."""
    linear = network(architecture, theta)
    x, y = torch.from_numpy(samples.x).requires_grad_(), torch.from_numpy(samples.y)
    mean_loss = loss_of(architecture, linear, x, y)
    *mean, dx = torch.autograd.grad(mean_loss, [*linear.parameters(), x])
    size = [torch.zeros_like(block) for block in mean]
    for row in range(len(x)):
        one = torch.autograd.grad(
            loss_of(architecture, linear, x[row : row + 1], y[row : row + 1]), linear.parameters()
        )
        size = [total + block.abs() / len(x) for total, block in zip(size, one, strict=True)]
    cancellation = max(float(s.norm() / m.norm()) for s, m in zip(size, mean, strict=True))
    return {"loss": np.array(mean_loss.item()), "gradient": flat(mean), "dx": dx.numpy()}, cancellation


OURS = ("l1", "clip_norm", "clip_value", "velocity_with_rate", "epsilon_hat")
"""Hyper-parameters that PyTorch's optimisers do not have: made by functions of torch.nn.utils, or here."""


def trajectory(
    architecture: Architecture, theta: np.ndarray, samples: Samples, optimizer: Optimizer, batch: int, steps: int
) -> dict[str, np.ndarray]:
    """Return the loss before each step and the parameters after it; batches go through the samples in order."""
    linear = network(architecture, theta)
    torch_optimizer = getattr(torch.optim, type(optimizer).__name__)(
        linear.parameters(), **{k: v for k, v in dataclasses.asdict(optimizer).items() if k not in OURS}
    )
    x, y = torch.from_numpy(samples.x), torch.from_numpy(samples.y)
    losses, thetas = [], []
    start = 0
    for _ in range(steps):
        rows = slice(start, start + batch)
        start = start + batch if start + batch < len(x) else 0
        torch_optimizer.zero_grad()
        loss = loss_of(architecture, linear, x[rows], y[rows])
        loss.backward()
        if optimizer.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(linear.parameters(), optimizer.clip_norm)
        if optimizer.clip_value is not None:
            torch.nn.utils.clip_grad_value_(linear.parameters(), optimizer.clip_value)
        with torch.no_grad():
            for parameter in linear.parameters():
                if isinstance(optimizer, AdamW):
                    parameter -= optimizer.lr * optimizer.l1 * parameter.sign()
                else:
                    parameter.grad += optimizer.l1 * parameter.sign()  # type: ignore[operator]
        torch_optimizer.step()
        losses.append(loss.item())
        thetas.append(flat(linear.parameters()))
    return {"losses": np.array(losses), "thetas": np.array(thetas)}


def described(architecture: Architecture, **more: Any) -> dict[str, Any]:
    options = {} if architecture.loss_options is None else {"options": architecture.loss_options.options()}
    return {
        "sizes": architecture.sizes,
        "activation": architecture.activations[:-1],
        "output": architecture.output,
        "loss": architecture.loss,
        **options,
        **more,
    }


def save(name: str, cases: list[tuple[dict[str, Any], dict[str, np.ndarray]]]) -> None:
    arrays: dict[str, np.ndarray] = {"cases": np.array(json.dumps([description for description, _ in cases]))}
    arrays["torch"] = np.array(torch.__version__)
    for k, (_, values) in enumerate(cases):
        arrays |= {f"{k}/{key}": value for key, value in values.items()}
    path = FOLDER / f"{name}.npz"
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]
    print(f"{path.name}: {len(cases)} cases, {path.stat().st_size} bytes")


def main() -> None:
    torch.set_num_threads(1)

    gradients = []
    pairs = [PAIRS[k % len(PAIRS)] for k in range(72)] + [*OBJECT_PAIRS, *OBJECT_PAIRS]
    for k, pair in enumerate(pairs):
        rng = np.random.default_rng(1000 + k)
        cancellation = np.inf
        while cancellation > MOST_CANCELLATION:
            architecture = draw_architecture(rng, *pair, layers=k % 5, widest=70)
            theta, samples = drawn(architecture, int(rng.integers(1, 66)), rng)
            values, cancellation = gradient(architecture, theta, samples)
        gradients.append((described(architecture), {**stored(theta, samples), **values}))
    save("gradients", gradients)

    optimizers = []
    for name, optimizer in OPTIMIZERS.items():
        if name in NOT_IN_PYTORCH:
            continue
        theta, samples = drawn(TRAJECTORY, 8, np.random.default_rng(7))
        values = trajectory(TRAJECTORY, theta, samples, optimizer, batch=3, steps=20)
        optimizers.append((described(TRAJECTORY, optimizer=name, batch=3), {**stored(theta, samples), **values}))
    save("optimizers", optimizers)

    runs = []
    for k, architecture in enumerate(LONG_RUNS):
        theta, samples = drawn(architecture, 23, np.random.default_rng(2000 + k))
        batch = (1, 5, 23)[k % 3]
        values = trajectory(architecture, theta, samples, OPTIMIZERS["sgd"], batch, steps=100)
        values["thetas"] = values["thetas"][9::10]
        runs.append((described(architecture, optimizer="sgd", batch=batch), {**stored(theta, samples), **values}))
    save("runs", runs)


if __name__ == "__main__":
    main()
