"""Every operation of every backend keeps its row of the contract."""

from __future__ import annotations

import inspect
from types import ModuleType

import numpy as np
import pytest

from cases import DTYPES
from conformance.operations import POISON, check_empty_batch, check_operation, check_propagates_nan, reference_function
from nanostep.backends.contract import MODULES, OPERATIONS, Operation

BY_NAME = {operation.name: operation for operation in OPERATIONS}
EVERY_OPERATION = pytest.mark.parametrize("operation", OPERATIONS, ids=BY_NAME)
EVERY_DTYPE = pytest.mark.parametrize("dtype", DTYPES)


@EVERY_OPERATION
def test_signature_is_that_of_the_reference_and_of_the_row(backend: ModuleType, operation: Operation) -> None:
    function = getattr(getattr(backend, operation.module), operation.name)
    signature = inspect.signature(function)
    assert list(signature.parameters) == [argument.name for argument in operation.arguments]
    assert signature == inspect.signature(reference_function(operation))


def test_no_operation_without_a_row(backend: ModuleType) -> None:
    """A public function defined in one of the contract's modules whose arguments carry axes is an operation."""
    for module in MODULES:
        namespace = getattr(backend, module)
        public = {
            name
            for name, value in vars(namespace).items()
            if inspect.isfunction(value) and value.__module__ == namespace.__name__ and not name.startswith("_")
            if any("__" in parameter for parameter in inspect.signature(value).parameters)
        }
        rows = {operation.name for operation in OPERATIONS if operation.module == module}
        assert rows <= public
        assert public - rows <= HELPERS.get(module, set())


HELPERS = {
    "activations": {"softmax"},
    "losses": {"loss_slopes", "loss_terms", "sample_deltas", "sample_losses", "times_output_derivative"},
}
"""Functions of the reference whose arguments carry axes but which are not operations."""


@EVERY_DTYPE
@EVERY_OPERATION
def test_values_and_effects(backend: ModuleType, operation: Operation, dtype: str) -> None:
    check_operation(getattr(getattr(backend, operation.module), operation.name), operation, dtype)


@EVERY_DTYPE
@pytest.mark.parametrize("name", POISON)
def test_nan_propagates(backend: ModuleType, name: str, dtype: str) -> None:
    operation = BY_NAME[name]
    check_propagates_nan(getattr(getattr(backend, operation.module), name), operation, dtype)


@EVERY_DTYPE
@pytest.mark.parametrize("name", ["activate", "dense_forward"])
def test_empty_batch(backend: ModuleType, name: str, dtype: str) -> None:
    operation = BY_NAME[name]
    check_empty_batch(getattr(getattr(backend, operation.module), name), operation, dtype)


SATURATION = {
    "identity": (-np.inf, np.inf),
    "sigmoid": (0, 1),
    "tanh": (-1, 1),
    "relu": (0, np.inf),
    "leaky_relu": (-np.inf, np.inf),
    "elu": (-1, np.inf),
    "softplus": (0, np.inf),
}
"""Limits of the activations at -inf and +inf; silu's at -inf is 0 * inf, and softmax's depend on the other outputs."""


@EVERY_DTYPE
@pytest.mark.parametrize("activation", SATURATION)
def test_activation_takes_its_limits_at_infinity(backend: ModuleType, activation: str, dtype: str) -> None:
    z = np.array([[-np.inf, np.inf], [-1e30, 1e30]], dtype)
    a = np.full_like(z, np.nan)
    backend.activations.activate(activation, z, a)
    np.testing.assert_array_equal(a[0], np.array(SATURATION[activation], dtype))
    if np.isfinite(SATURATION[activation][0]):
        assert a[1, 0] == SATURATION[activation][0]


@pytest.mark.parametrize("epoch", [0, 3])
def test_shuffle_is_a_permutation_for_every_length(backend: ModuleType, epoch: int) -> None:
    for n in range(1, 40):
        order = np.full(n, -1, np.int64)
        backend.order.shuffle(9, epoch, order)
        assert sorted(order) == list(range(n))
