"""Whole runs of every backend: values against the reference in high precision, and effects."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from cases import ALL_PAIRS, DTYPES, OBJECT_PAIRS, OPTIMIZERS, draw_architecture, outputs_for
from conformance.runs import (
    EXTRAS,
    RunCase,
    Schedule,
    check_custom_order,
    check_cuts,
    check_forward,
    check_gradient,
    check_jacobian,
    check_labels,
    check_training,
    check_training_effects,
    check_vjp,
    check_weights,
)
from nanostep.architecture import HIDDEN_ACTIVATIONS, make_architecture
from nanostep.losses import GaussianNLL, Huber, Quantile

EVERY_DTYPE = pytest.mark.parametrize("dtype", DTYPES)

SINGLE_OUTPUTS = tuple(
    RunCase(make_architecture([3, width, 1], name, output, loss), 12)
    for k, (loss, output) in enumerate(
        pair for pair in ALL_PAIRS if pair[1] != "softmax" and outputs_for(pair[0], 1) == 1
    )
    for name, width in [(HIDDEN_ACTIVATIONS[k % 8], (3, 2, 4, 5, 8, 9, 16, 17, 32, 33)[k % 10])]
)
"""Networks whose step on one sample fits into registers, or just not: every loss, output, and hidden activation."""

NETWORKS = (
    *(
        RunCase(draw_architecture(np.random.default_rng(k), loss, output, layers=k % 5, widest=70), n)
        for k, ((loss, output), n) in enumerate(zip(ALL_PAIRS, [1, 2, 3, 7, 16, 33, 65] * len(ALL_PAIRS), strict=False))
    ),
    *(
        RunCase(make_architecture([3, 9, 5, 2 * outputs_for(loss, 4)], ["silu", "elu"], output, loss), 20)
        for loss, output in OBJECT_PAIRS
    ),
    *(
        RunCase(make_architecture([3, 5, 2], name, "identity", "half_squared_error"), n)
        for name in HIDDEN_ACTIVATIONS
        for n in (1, 9)
    ),
    RunCase(make_architecture([1, 1], "tanh", "sigmoid", "half_squared_error"), 1),
    RunCase(make_architecture([1, 1, 1, 1, 1, 1], "tanh", "identity", "squared_error"), 5),
    RunCase(make_architecture([3, 1], "tanh", "softmax", "cross_entropy"), 5),
    RunCase(make_architecture([5, 33, 17, 4], ["relu", "silu"], "softmax", "cross_entropy"), 300),
    RunCase(make_architecture([64, 32, 10], "relu", "softmax", "cross_entropy"), 1000),
    RunCase(make_architecture([4, 32, 16, 4], "tanh", "identity", "squared_error"), 5000),
)
"""Every loss with every output, depth 0 to 5, widths 1 to 70, batches from one row to more than any tile or block."""

TRAINED = (
    RunCase(make_architecture([2, 2, 1], "sigmoid", "sigmoid", "half_squared_error"), 11),
    RunCase(make_architecture([4, 16, 3], "tanh", "softmax", "cross_entropy"), 37),
    RunCase(make_architecture([3, 9, 5, 2], ["silu", "elu"], "identity", "huber"), 25),
    RunCase(make_architecture([7, 33, 4], "softplus", "sigmoid", "binary_cross_entropy"), 20),
    RunCase(make_architecture([6, 2], "tanh", "identity", "poisson"), 13),
    RunCase(make_architecture([3, 13, 1], "silu", "identity", "huber"), 18),
    RunCase(make_architecture([5, 30, 1], "elu", "sigmoid", "binary_cross_entropy"), 21),
    RunCase(make_architecture([3, 7, 4], "tanh", "identity", GaussianNLL()), 18),
    RunCase(make_architecture([4, 18, 6], "silu", "sigmoid", Quantile([0.125, 0.5, 0.75])), 19),
    RunCase(make_architecture([2, 4, 1], "tanh", "identity", Huber(0.25)), 14),
)
"""Cases for every optimiser: narrow and wider networks, with partial last batches."""


EXTRA_CASES = (
    RunCase(make_architecture([2, 2, 1], "sigmoid", "sigmoid", "half_squared_error"), 11),
    RunCase(make_architecture([4, 16, 3], "tanh", "softmax", "cross_entropy"), 37),
    RunCase(make_architecture([5, 40, 33, 2], ["silu", "softplus"], "identity", "huber"), 25),
)
"""Cases for every extra: each regime of plain runs, and layers of more than a vector."""

FITTED = tuple(
    RunCase(make_architecture([*[3, 17, 5, 2][: k % 4 + 1], 2], name, HIDDEN_ACTIVATIONS[k - 1], "squared_error"), n)
    for k, (name, n) in enumerate(zip(HIDDEN_ACTIVATIONS, [1, 5, 70, 3] * 2, strict=True))
)
"""Networks of one to four layers whose Jacobian is taken: every activation in hidden layers and as the output."""


@EVERY_DTYPE
@pytest.mark.parametrize("case", NETWORKS, ids=str)
def test_predict_and_loss(backend: ModuleType, case: RunCase, dtype: str) -> None:
    check_forward(backend.networks.Engine, case, dtype)


@EVERY_DTYPE
@pytest.mark.parametrize("case", NETWORKS, ids=str)
def test_gradient(backend: ModuleType, case: RunCase, dtype: str) -> None:
    check_gradient(backend.networks.Engine, case, dtype)


@EVERY_DTYPE
def test_predict_no_rows(backend: ModuleType, dtype: str) -> None:
    engine = backend.networks.Engine(NETWORKS[-1].architecture, np.dtype(dtype))
    theta = np.ones(NETWORKS[-1].architecture.parameter_count, dtype)
    a = np.empty((0, 4), dtype)
    assert engine.predict(theta, np.empty((0, 4), dtype), a) is None
    assert (theta == 1).all()


@EVERY_DTYPE
@pytest.mark.parametrize("case", [c for c in NETWORKS if c.architecture.loss == "cross_entropy"], ids=str)
def test_labels_are_one_hot_rows(backend: ModuleType, case: RunCase, dtype: str) -> None:
    check_labels(backend.networks.Engine, case, dtype)


@EVERY_DTYPE
def test_labels_of_classes_that_are_far_apart(backend: ModuleType, dtype: str) -> None:
    """Kernels may take a short cut where logits are close to each other; here they are up to a thousand apart."""
    case = RunCase(make_architecture([4, 5, 3], "tanh", "softmax", "cross_entropy"), 30)
    for scale in (3.0, 30.0, 300.0):
        check_labels(backend.networks.Engine, case, dtype, scale)


@EVERY_DTYPE
@pytest.mark.parametrize("batch", [1, 4, 64])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("case", TRAINED, ids=str)
def test_training(backend: ModuleType, case: RunCase, optimizer: str, batch: int, dtype: str) -> None:
    rows = min(batch, case.n)
    steps = 2 * -(-case.n // rows) + 1  # two epochs and the beginning of a third
    for shuffle in (True, False):
        check_training(backend.networks.Engine, case, Schedule(optimizer, rows, shuffle, steps), dtype)


@EVERY_DTYPE
@pytest.mark.parametrize("batch", [1, 4, 64])
@pytest.mark.parametrize("optimizer", ["sgd", "sgd-nesterov", "adamw-l1-clip"])
@pytest.mark.parametrize("case", EXTRA_CASES, ids=str)
@pytest.mark.parametrize("extras", EXTRAS)
def test_training_with_extras(
    backend: ModuleType, extras: str, case: RunCase, optimizer: str, batch: int, dtype: str
) -> None:
    """With plain SGD, a rule with momentum, and clipping by norm, which needs all gradients before an update."""
    rows = min(batch, case.n)
    schedule = Schedule(optimizer, rows, True, 2 * -(-case.n // rows) + 1, extras=extras)
    check_training(backend.networks.Engine, case, schedule, dtype)
    check_cuts(backend.networks.Engine, case, schedule, dtype)


@EVERY_DTYPE
def test_extras_in_batches_larger_than_a_tile(backend: ModuleType, dtype: str) -> None:
    for case in NETWORKS[-3:]:
        for optimizer in ("sgd", "adam-l1-clip"):
            schedule = Schedule(optimizer, case.n // 3 + 1, True, 4, extras="everything")
            check_training(backend.networks.Engine, case, schedule, dtype)


@EVERY_DTYPE
@pytest.mark.parametrize("batch", [1, 4, 64])
def test_order_of_the_caller(backend: ModuleType, batch: int, dtype: str) -> None:
    """A run with an order in the cursor is the same as one that draws this order."""
    for case in EXTRA_CASES:
        check_custom_order(backend.networks.Engine, case, min(batch, case.n), dtype)


@EVERY_DTYPE
@pytest.mark.parametrize("case", NETWORKS[::5], ids=str)
def test_weighted_samples(backend: ModuleType, case: RunCase, dtype: str) -> None:
    check_weights(backend.networks.Engine, case, dtype)


@EVERY_DTYPE
@pytest.mark.parametrize("case", FITTED, ids=str)
def test_jacobian(backend: ModuleType, case: RunCase, dtype: str) -> None:
    check_jacobian(backend.networks.Engine, case, dtype)


@EVERY_DTYPE
@pytest.mark.parametrize("case", [*NETWORKS, *FITTED], ids=str)
def test_vjp(backend: ModuleType, case: RunCase, dtype: str) -> None:
    check_vjp(backend.networks.Engine, case, dtype)


@EVERY_DTYPE
def test_vjp_of_no_rows(backend: ModuleType, dtype: str) -> None:
    engine = backend.networks.Engine(NETWORKS[-1].architecture, np.dtype(dtype))
    theta = np.ones(NETWORKS[-1].architecture.parameter_count, dtype)
    none, grad = np.empty((0, 4), dtype), np.full_like(theta, np.nan)
    for of_z in (False, True):
        engine.vjp(theta, none, none, of_z=of_z, grad__p=grad, dx__ni=none.copy())
        assert not grad.any()


@EVERY_DTYPE
@pytest.mark.parametrize("case", SINGLE_OUTPUTS, ids=str)
def test_training_of_a_single_output(backend: ModuleType, case: RunCase, dtype: str) -> None:
    for shuffle in (True, False):
        # exp of an unbounded output soon diverges at this rate
        steps = 3 if case.architecture.loss == "poisson" else 2 * case.n + 4
        schedule = Schedule("sgd", 1, shuffle, steps)
        check_training(backend.networks.Engine, case, schedule, dtype)
        check_cuts(backend.networks.Engine, case, schedule, dtype)


@EVERY_DTYPE
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_training_in_batches_larger_than_a_tile(backend: ModuleType, optimizer: str, dtype: str) -> None:
    for case in NETWORKS[-3:]:
        check_training(backend.networks.Engine, case, Schedule(optimizer, case.n // 3 + 1, True, 4), dtype)


@EVERY_DTYPE
@pytest.mark.parametrize("optimizer", ["sgd", "sgd-momentum", "adamw-amsgrad"])
def test_training_changes_nothing_but_what_it_moves_on(backend: ModuleType, optimizer: str, dtype: str) -> None:
    for case in TRAINED:
        for batch in (1, 4, case.n):
            check_training_effects(backend.networks.Engine, case, Schedule(optimizer, batch, True, 9), dtype)


@EVERY_DTYPE
@pytest.mark.parametrize("batch", [1, 4, 64])
@pytest.mark.parametrize("optimizer", ["sgd", "sgd-dampening", "rmsprop-all", "adam"])
def test_cutting_a_run_changes_no_bit(backend: ModuleType, optimizer: str, batch: int, dtype: str) -> None:
    for case in TRAINED:
        rows = min(batch, case.n)
        steps = 2 * -(-case.n // rows) + 1
        for shuffle in (True, False):
            check_cuts(backend.networks.Engine, case, Schedule(optimizer, rows, shuffle, steps), dtype)
