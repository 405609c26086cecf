"""Arguments for every operation, made from its row in the contract: values, choices, sizes, and guard words around."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cases import ALL_PAIRS, HIGH, OPTIMIZERS, draw_targets
from nanostep.architecture import ACTIVATIONS, HIDDEN_ACTIVATIONS
from nanostep.backends.contract import Argument, Operation
from nanostep.backends.reference.activations import FUNCTIONS
from nanostep.backends.reference.losses import JOINED
from nanostep.optimizers import Optimizer

Choices = Mapping[str, Any]
Arguments = dict[str, Any]

GUARD = 11
"""Guard words on each side: more than a vector register, and an odd number, so that arrays start at odd addresses."""

SIZES: tuple[dict[str, int], ...] = tuple(
    {"b": b, "i": i, "o": o, "p": b * i, "n": b * o}
    for b, i, o in [(1, 1, 1), (1, 2, 3), (3, 1, 1), (2, 5, 7), (7, 3, 2), (5, 17, 33), (17, 33, 9), (65, 70, 16)]
)
"""Lengths of the axes: one-wide, batch 1, odd, around the widths of vector registers, and beyond tiles."""


SCALE = (1.0, 0.5, 0.0, 2.5, 0.0)
"""Factors of the change of theta, repeated."""


@dataclass
class Guarded:
    """An array inside a larger buffer with known guard words around it."""

    buffer: np.ndarray
    array: np.ndarray

    def intact(self) -> bool:
        """True if the words before and after the array are unchanged."""
        fill = _fill(self.buffer.dtype)
        ends = np.concatenate([self.buffer[:GUARD], self.buffer[GUARD + self.array.size :]])
        return ends.tobytes() == np.full(2 * GUARD, fill, self.buffer.dtype).tobytes()


def _fill(dtype: np.dtype) -> float:
    return -77 if dtype.kind == "i" else -77.25


def guard(array: np.ndarray) -> Guarded:
    """Return a copy of `array` between guard words."""
    buffer = np.full(array.size + 2 * GUARD, _fill(array.dtype), array.dtype)
    inner = buffer[GUARD : GUARD + array.size].reshape(array.shape)
    inner[...] = array
    return Guarded(buffer, inner)


def choices_of(operation: Operation) -> Iterator[Choices]:
    """Return every combination of the names and numbers that an operation takes."""
    kinds = {argument.values for argument in operation.arguments}
    if "loss" in kinds:
        return ({"loss": loss, "output": output} for loss, output in ALL_PAIRS)
    if "activation" in kinds:
        return ({"activation": name} for name in ACTIVATIONS)
    if "hidden_activation" in kinds:
        return ({"activation": name} for name in HIDDEN_ACTIVATIONS)
    if "optimizer" in kinds:
        return ({"optimizer": optimizer, "t": t} for optimizer in OPTIMIZERS.values() for t in (1, 2, 1000))
    if "seed" in kinds:
        return ({"seed": seed, "epoch": epoch} for seed in (0, 1, 2**64 - 1) for epoch in (0, 1, 2**40))
    return iter(({},))


def draw_arguments(
    operation: Operation, choices: Choices, sizes: Mapping[str, int], dtype: np.dtype, rng: np.random.Generator
) -> Arguments:
    """Return the arguments of one call in order; out arrays hold what no result can be (NaN, or -1 for indices)."""
    arguments: Arguments = {}
    for argument in operation.arguments:
        if not argument.axes:
            arguments[argument.name] = choices[argument.name]
        else:
            arguments[argument.name] = _draw(argument, arguments, choices, sizes, dtype, rng)
    return arguments


def derive_activations(operation: Operation, choices: Choices, arguments: Arguments) -> None:
    """Recompute every argument that is the activation of another one."""
    for argument in operation.arguments:
        if _source(argument) in arguments:
            with np.errstate(invalid="ignore"):
                arguments[argument.name][...] = _activate(choices, arguments[_source(argument)])


def _source(argument: Argument) -> str:
    """Return the name of the z whose activation the argument is, or ""."""
    return argument.values.removeprefix("activation:") if argument.values.startswith("activation:") else ""


def _activate(choices: Choices, z: np.ndarray) -> np.ndarray:
    """Return the rounded activation of z."""
    return FUNCTIONS[choices.get("activation", choices.get("output"))](z.astype(HIGH)).astype(z.dtype)


def _draw(
    argument: Argument,
    earlier: Arguments,
    choices: Choices,
    sizes: Mapping[str, int],
    dtype: np.dtype,
    rng: np.random.Generator,
) -> np.ndarray:
    if argument.values == "slots":
        return _draw_slots(choices["optimizer"], sizes["p"]).astype(dtype)
    shape = tuple(sizes[axis] for axis in argument.axes)
    if argument.values == "scale":
        return np.resize(SCALE, shape).astype(dtype)
    if argument.values == "index":
        return np.full(shape, -1, np.int64)
    if argument.direction == "out":
        return np.full(shape, np.nan, dtype)
    if argument.values == "target":
        return draw_targets(choices["loss"], (shape[0], shape[1]), rng).astype(dtype)
    if argument.values.startswith("activation:"):
        z = earlier.get(_source(argument))
        return _activate(choices, rng.standard_normal(shape).astype(dtype) if z is None else z)
    return _draw_real(shape, choices, rng).astype(dtype)


def _draw_real(shape: tuple[int, ...], choices: Choices, rng: np.random.Generator) -> np.ndarray:
    """Return normal numbers, of very different sizes if the operation must be accurate for all real numbers."""
    real = rng.standard_normal(shape)
    if "loss" not in choices or (choices["loss"], choices["output"]) in JOINED:
        real *= 10.0 ** rng.integers(-3, 2, shape)
    return real


def _draw_slots(optimizer: Optimizer, p: int) -> np.ndarray:
    rng = np.random.default_rng(p)
    drawn = {name: rng.standard_normal(p) for name in optimizer.slots}
    for name in drawn:
        if name.endswith("_sq") or name == "square_avg":
            # a mean square is at least the square of the mean
            drawn[name] = drawn[name] ** 2 + 2 * drawn.get("grad_avg", np.zeros(p)) ** 2 + 0.01
    return np.array([drawn[name] for name in optimizer.slots]).reshape(len(drawn), p)
