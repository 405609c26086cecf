"""Optimisers: hyper-parameters, slots, and updates whose outcome has a closed form.

Two networks of one linear neuron make the gradient known in advance. On x = 0 the weights have no gradient, so nothing
but weight decay moves them; with the absolute error and a target far below, the gradient of the bias is always 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields

import numpy as np
import pytest

import nanostep as ns
from cases import REQUIRED
from nanostep.optimizers import HYPERPARAMETERS, OPTIMIZERS, check_optimizer

STEPS = 7
CLASSES = tuple(OPTIMIZERS.values())


def trained(backend: str, optimizer: ns.Optimizer) -> ns.Network:
    net = ns.Network([2, 1], output="identity", loss="absolute_error", backend=backend, seed=1)
    for _ in range(STEPS):
        net.step([[0.0, 0.0]], [[-1000.0]], optimizer=optimizer)
    return net


def powers(base: float) -> list[float]:
    return [base**k for k in range(1, STEPS + 1)]


FALLS: list[tuple[ns.Optimizer, float]] = [
    (ns.SGD(lr=0.1), 0.1 * STEPS),
    (ns.SGD(lr=0.1, momentum=0.5), 0.1 * sum(2 * (1 - p) for p in powers(0.5))),
    (ns.SGD(lr=0.1, momentum=0.5, nesterov=True), 0.1 * sum(2 - p for p in powers(0.5))),
    # v approaches (1 - dampening) / (1 - momentum) = 1 from its first value, which is 1 as well
    (ns.SGD(lr=0.1, momentum=0.5, dampening=0.5), 0.1 * STEPS),
    (ns.RMSprop(lr=0.1, alpha=0.9, eps=0.01), sum(0.1 / (math.sqrt(1 - p) + 0.01) for p in powers(0.9))),
    (
        ns.RMSprop(lr=0.1, alpha=0.9, eps=0.01, centered=True),
        sum(0.1 / (math.sqrt((1 - p) * p) + 0.01) for p in powers(0.9)),
    ),
    # with alpha = 0, g / d is 1 / (1 + eps) at every step, which momentum sums
    (ns.RMSprop(lr=0.1, alpha=0.0, eps=1.0, momentum=0.5), 0.05 * sum(2 * (1 - p) for p in powers(0.5))),
    (ns.Adam(lr=0.1, eps=1.0), 0.05 * STEPS),
    (ns.Adam(lr=0.1, betas=(0.5, 0.6), eps=1.0, amsgrad=True), 0.05 * STEPS),
    (ns.AdamW(lr=0.1, eps=1.0, weight_decay=0.0), 0.05 * STEPS),
]
"""Distance by which each optimiser moves a parameter whose gradient is always 1."""


@pytest.mark.parametrize("backend", REQUIRED)
@pytest.mark.parametrize(("optimizer", "fall"), FALLS, ids=str)
def test_steps_under_a_gradient_that_is_always_one(backend: str, optimizer: ns.Optimizer, fall: float) -> None:
    assert trained(backend, optimizer).biases[0][0] == pytest.approx(-fall, rel=1e-12)


DECAYS: list[tuple[ns.Optimizer, float]] = [
    (ns.SGD(lr=0.1, weight_decay=0.5), 0.95**STEPS),
    (ns.AdamW(lr=0.1, weight_decay=0.5), 0.95**STEPS),
    (ns.AdamW(lr=0.1), 0.999**STEPS),
    (ns.Adam(lr=0.1), 1.0),
    (ns.RMSprop(lr=0.1), 1.0),
]
"""Value of a parameter without gradient after the updates."""


@pytest.mark.parametrize("backend", REQUIRED)
@pytest.mark.parametrize(("optimizer", "left"), DECAYS, ids=str)
def test_weight_decay_is_all_that_moves_a_weight_without_gradient(
    backend: str, optimizer: ns.Optimizer, left: float
) -> None:
    start = ns.Network([2, 1], seed=1, backend="numpy").weights[0]
    np.testing.assert_allclose(trained(backend, optimizer).weights[0], left * start, rtol=1e-14)


@pytest.mark.parametrize("backend", REQUIRED)
@pytest.mark.parametrize("cls", [ns.RMSprop, ns.Adam])
def test_decay_in_the_gradient_is_normalised_away(backend: str, cls: type[ns.RMSprop | ns.Adam]) -> None:
    """A penalty is divided by its own size, so a weight moves towards 0 by lr (RMSprop: lr / sqrt(1 - alpha))."""
    start = ns.Network([2, 1], seed=1, backend="numpy").weights[0]
    net = ns.Network([2, 1], output="identity", loss="absolute_error", backend=backend, seed=1)
    net.step([[0.0, 0.0]], [[-1000.0]], optimizer=cls(lr=1e-3, weight_decay=0.25, eps=0.0))
    size = 1e-3 if cls is ns.Adam else 1e-2
    np.testing.assert_allclose(net.weights[0] - start, -size * np.sign(start), rtol=1e-11)


@pytest.mark.parametrize("cls", CLASSES)
def test_every_field_reaches_the_backends(cls: Callable[..., ns.Optimizer]) -> None:
    names = [field.name for field in fields(cls())]  # type: ignore[arg-type]
    spelled = [n for name in names for n in (("beta1", "beta2") if name == "betas" else (name,))]
    values = cls().hyperparameters()
    assert sorted(values) == sorted(spelled)
    assert set(values) <= set(HYPERPARAMETERS)
    assert all(type(value) is float for value in values.values())


def test_hyperparameters_cover_all_optimisers_and_nothing_else() -> None:
    assert {name for cls in CLASSES for name in cls().hyperparameters()} == set(HYPERPARAMETERS)


@pytest.mark.parametrize(
    ("optimizer", "slots"),
    [
        (ns.SGD(), ()),
        (ns.SGD(momentum=0.9), ("momentum_buffer",)),
        (ns.RMSprop(), ("square_avg",)),
        (ns.RMSprop(momentum=0.9, centered=True), ("square_avg", "momentum_buffer", "grad_avg")),
        (ns.Adam(), ("exp_avg", "exp_avg_sq")),
        (ns.AdamW(amsgrad=True), ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")),
    ],
    ids=str,
)
def test_slots(optimizer: ns.Optimizer, slots: tuple[str, ...]) -> None:
    assert optimizer.slots == slots
    net = ns.Network([2, 1], backend="numpy", dtype="float32")
    net.train([[1, 2]], [1], epochs=1, optimizer=optimizer)
    assert net._state.slots.shape == (len(slots), 3)
    assert net._state.slots.dtype == np.float32
    assert net._state.slots.any() == bool(slots)


@pytest.mark.parametrize("cls", CLASSES)
def test_check_accepts_every_optimiser_and_looks_at_its_values_again(cls: Callable[..., ns.Optimizer]) -> None:
    optimizer = cls(lr=np.float32(0.5))
    assert check_optimizer(optimizer) is optimizer
    assert optimizer.hyperparameters()["lr"] == 0.5
    optimizer.lr = math.nan
    with pytest.raises(ValueError, match="lr=nan"):
        check_optimizer(optimizer)


def test_the_base_class_is_no_optimiser() -> None:
    with pytest.raises(TypeError, match="Optimizer is not an optimiser; use SGD, RMSprop, Adam or AdamW"):
        check_optimizer(ns.Optimizer())


@pytest.mark.parametrize("backend", REQUIRED)
def test_switching_momentum_on_starts_afresh(backend: str) -> None:
    """The slots that the new hyper-parameters need do not exist yet."""
    optimizer = ns.SGD(lr=0.1)
    net = ns.Network([2, 1], output="identity", loss="absolute_error", backend=backend)
    for momentum in (0.0, 0.5):
        optimizer.momentum = momentum
        net.step([[0.0, 0.0]], [[-1000.0]], optimizer=optimizer)
    assert net._state.updates == 1
    net.step([[0.0, 0.0]], [[-1000.0]])
    assert net.biases[0][0] == pytest.approx(-0.1 * (1 + 1 + 1.5), rel=1e-14)
