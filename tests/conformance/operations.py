"""Checks of one operation of a backend, as plain functions that raise AssertionError.

They take the function to check, so that `test_can_fail` can pass wrong ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from cases import HIGH, outputs_for
from conformance.arguments import (
    SIZES,
    Arguments,
    Choices,
    Guarded,
    choices_of,
    derive_activations,
    draw_arguments,
    guard,
)
from conformance.scales import SCALES
from nanostep.backends import reference
from nanostep.backends.contract import Operation
from nanostep.losses import Loss

Function = Callable[..., Any]

POISON: Mapping[str, tuple[str, ...]] = {
    "activate": ("z__bo",),
    "dense_forward": ("x__bi", "w__oi", "b__o"),
    "dense_backward_input": ("d__bo", "w__oi"),
    "dense_backward_weights": ("d__bo", "x__bi"),
    "loss_value": ("z__bo",),
    "loss_derivative": ("a__bo",),
    "output_delta": ("z__bo",),
    "update": ("grad__p", "slots__sp"),
    "apply": ("grad__p", "slots__sp"),
}
"""Arguments of each operation that contain NaN once a run has diverged."""


def reference_function(operation: Operation) -> Function:
    """Return the reference's implementation."""
    return getattr(getattr(reference, operation.module), operation.name)


def check_operation(function: Function, operation: Operation, dtype: str) -> None:
    """Check values and effects of `function` for every choice and size that the contract's row allows."""
    for number, choices in enumerate(choices_of(operation)):
        for sizes in SIZES:
            if not is_defined(choices, sizes):
                continue
            rng = np.random.default_rng([number, *sizes.values()])
            arguments = draw_arguments(operation, choices, sizes, np.dtype(dtype), rng)
            check_call(function, operation, arguments, f"{operation.name}({describe(choices)}), {sizes}, {dtype}")


def check_call(function: Function, operation: Operation, arguments: Arguments, what: str) -> None:
    """Check the results of one call against the reference in high precision, and that all else is unchanged."""
    expected = evaluate(operation, arguments)
    scales = SCALES[operation.name](**_high(arguments))
    guarded = {name: guard(value) for name, value in arguments.items() if isinstance(value, np.ndarray)}
    returned = function(*(guarded[name].array if name in guarded else value for name, value in arguments.items()))

    if operation.returns:
        assert isinstance(returned, float), f"{what}: returned {returned!r}, not a float"
    else:
        assert returned is None, f"{what}: returned {returned!r}, not None"
    for name, area in guarded.items():
        assert area.intact(), f"{what}: wrote beyond {name}"
    dtype = _real_dtype(arguments)
    for argument in operation.arguments:
        if argument.name in guarded and argument.direction == "in":
            same = guarded[argument.name].array.tobytes() == arguments[argument.name].tobytes()
            assert same, f"{what}: changed its input {argument.name}"
    for name, value in _results(operation, guarded, returned).items():
        tolerance = operation.ulps * _sum_length(operation, arguments) * np.finfo(dtype).eps * scales[name]
        assert_close(value, expected[name], tolerance + operation.ulps * np.finfo(dtype).smallest_subnormal, what, name)


def check_propagates_nan(function: Function, operation: Operation, dtype: str) -> None:
    """Check that NaN in an argument makes NaN in the same results as in the reference, and nowhere else."""
    for choices in choices_of(operation):
        outputs = outputs_for(choices.get("loss", ""), 5)
        sizes = {"b": 3, "i": 4, "o": outputs, "p": 12, "n": 3 * outputs}
        rng = np.random.default_rng(5)
        clean = draw_arguments(operation, choices, sizes, np.dtype(dtype), rng)
        for poisoned in POISON[operation.name]:
            arguments = {
                name: value.copy() if isinstance(value, np.ndarray) else value for name, value in clean.items()
            }
            if not arguments[poisoned].size:
                continue  # an optimiser without slots
            arguments[poisoned].flat[arguments[poisoned].size // 2] = np.nan
            derive_activations(operation, choices, arguments)
            with np.errstate(all="ignore"):
                expected = evaluate(operation, arguments)
                returned = function(*arguments.values())
            got = _results(operation, {n: v for n, v in arguments.items() if isinstance(v, np.ndarray)}, returned)
            for name, value in got.items():
                np.testing.assert_array_equal(
                    np.isnan(value), np.isnan(expected[name]), f"{operation.name}({describe(choices)}): {name}"
                )


def check_empty_batch(function: Function, operation: Operation, dtype: str) -> None:
    """Check that an operation takes a batch of no rows, and then writes nothing."""
    for choices in choices_of(operation):
        sizes = {"b": 0, "i": 3, "o": 2}
        arguments = draw_arguments(operation, choices, sizes, np.dtype(dtype), np.random.default_rng(0))
        guarded = {name: guard(value) for name, value in arguments.items() if isinstance(value, np.ndarray)}
        function(*(guarded[name].array if name in guarded else value for name, value in arguments.items()))
        for name, area in guarded.items():
            assert area.intact(), f"{operation.name}: wrote beyond {name}"
            assert area.array.tobytes() == arguments[name].tobytes(), f"{operation.name}: changed {name}"


def is_defined(choices: Choices, sizes: Mapping[str, int]) -> bool:
    """Return False where L is infinite whatever z is: one class has probability 1, and the targets include others; and
    where the outputs are no multiple of those of a target."""
    if isinstance(loss := choices.get("loss"), Loss) and sizes["o"] % loss.outputs_per_target:
        return False
    return not (choices.get("loss") == "binary_cross_entropy" and choices["output"] == "softmax" and sizes["o"] == 1)


def evaluate(operation: Operation, arguments: Arguments) -> Mapping[str, Any]:
    """Return the results of the reference in high precision; `arguments` are not changed."""
    high = _high(arguments)
    returned = reference_function(operation)(*high.values())
    return _results(operation, high, returned)


def assert_close(got: Any, expected: Any, tolerance: Any, what: str, name: str) -> None:
    """Raise AssertionError with the worst entry if |got - expected| > tolerance anywhere, or anything is not finite."""
    got, expected = np.asarray(got), np.asarray(expected)
    assert np.isfinite(got).all(), (
        f"{what}: {name} is not finite (or not written) at {np.argwhere(~np.isfinite(got))[0]}"
    )
    error = np.abs(got - expected)
    excess = np.atleast_1d(error - tolerance)
    if (excess > 0).any():
        worst = np.unravel_index(np.argmax(excess), excess.shape)
        pair = [np.atleast_1d(np.broadcast_to(v, error.shape))[worst] for v in (got, expected, tolerance)]
        raise AssertionError(f"{what}: {name}{[int(i) for i in worst]} is {pair[0]!r}, not {pair[1]} +- {pair[2]:.3g}")


def describe(choices: Choices) -> str:
    return ", ".join(f"{name}={value}" for name, value in choices.items())


def _high(arguments: Arguments) -> Arguments:
    return {
        name: value.astype(HIGH if value.dtype.kind == "f" else value.dtype) if isinstance(value, np.ndarray) else value
        for name, value in arguments.items()
    }


def _results(operation: Operation, areas: Mapping[str, Any], returned: Any) -> Mapping[str, Any]:
    """Return the results of a call: its out and inout arrays, and the number it returned if it returns one."""
    results = {a.name: areas[a.name] for a in operation.arguments if a.direction != "in"}
    results = {name: area.array if isinstance(area, Guarded) else area for name, area in results.items()}
    if operation.returns:
        results["return"] = returned
    return results


def _real_dtype(arguments: Arguments) -> np.dtype:
    kinds = [v.dtype for v in arguments.values() if isinstance(v, np.ndarray) and v.dtype.kind == "f"]
    return kinds[0] if kinds else np.dtype(np.float64)


def _sum_length(operation: Operation, arguments: Arguments) -> int:
    """Return the number of terms in each sum of a reduction."""
    length = 1
    for axis in operation.reduction:
        owner = next(argument for argument in operation.arguments if axis in argument.axes)
        length *= arguments[owner.name].shape[owner.axes.index(axis)]
    return length
