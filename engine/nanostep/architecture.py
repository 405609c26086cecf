"""The shape of a network: sizes, activations, loss, and the place of each parameter in theta.

The layout of theta is defined here and nowhere else in Python: for each layer in order, W (out x in, row-major), then b
(out). The names of activations and losses are defined here, too. A name's position in its tuple is the identifier that
the jit kernels switch on; the C library has its own enumeration, looked up by name (``NST_ACTIVATION_TANH``), so no
number is written twice.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nanostep._checks import check_choice

HIDDEN_ACTIVATIONS = ("identity", "sigmoid", "tanh", "relu", "leaky_relu", "elu", "softplus", "silu")
"""Elementwise activations: allowed in every layer."""

ACTIVATIONS = (*HIDDEN_ACTIVATIONS, "softmax")
"""All activations; softmax is for the output layer only."""

LOSSES = (
    "half_squared_error",
    "squared_error",
    "absolute_error",
    "huber",
    "binary_cross_entropy",
    "cross_entropy",
    "poisson",
)
"""All losses."""

SUMMED_OVER_OUTPUTS = frozenset({"half_squared_error", "cross_entropy"})
"""Losses that are the sum of a term of each output; the others are the mean."""

LOSS_OUTPUTS: dict[str, tuple[str, ...]] = {
    "binary_cross_entropy": ("sigmoid", "softmax"),
    "cross_entropy": ("softmax",),
}
"""Losses that take probabilities, and the outputs that give them. Every other loss takes any output."""

MAX_WIDTH = 2**31 - 1
"""Largest width of a layer; keeps every product of two widths inside 64 bits."""

MAX_PARAMETERS = 2**56
"""Largest number of parameters; keeps every byte count inside 63 bits."""


@dataclass(frozen=True)
class Layer:
    """One dense layer: its shape, its activation and its place in theta.

    Attributes
    ----------
    inputs, outputs : int
        W has shape (outputs, inputs), b has shape (outputs,).
    activation : str
        Name of f in a = f(W x + b).
    weights, biases : slice
        Places of W (row-major) and b in theta.
    """

    inputs: int
    outputs: int
    activation: str
    weights: slice
    biases: slice


@dataclass(frozen=True)
class Architecture:
    """Sizes, one activation per weight layer (output included), and the loss.

    Build it with `make_architecture`, which checks its arguments.
    """

    sizes: tuple[int, ...]
    activations: tuple[str, ...]
    loss: str

    @property
    def inputs(self) -> int:
        return self.sizes[0]

    @property
    def outputs(self) -> int:
        return self.sizes[-1]

    @property
    def output(self) -> str:
        """Activation of the output layer."""
        return self.activations[-1]

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        layers = []
        offset = 0
        for fan_in, fan_out, activation in zip(self.sizes, self.sizes[1:], self.activations, strict=False):
            end = offset + fan_in * fan_out
            layers.append(Layer(fan_in, fan_out, activation, slice(offset, end), slice(end, end + fan_out)))
            offset = end + fan_out
        return tuple(layers)

    @cached_property
    def parameter_count(self) -> int:
        return sum(a * b + b for a, b in zip(self.sizes, self.sizes[1:], strict=False))

    def views(self, theta: np.ndarray) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
        """Return the weights, shapes (out, in), and the biases, shapes (out,), as views into `theta`."""
        weights = tuple(theta[layer.weights].reshape(layer.outputs, layer.inputs) for layer in self.layers)
        return weights, tuple(theta[layer.biases] for layer in self.layers)

    def by_layer(self, values: Sequence[float] | np.ndarray) -> np.ndarray:
        """Return an array laid out as theta with one of the `values` for each layer of weights, W and b."""
        return np.repeat(np.asarray(values), [(layer.inputs + 1) * layer.outputs for layer in self.layers])

    def __str__(self) -> str:
        return "-".join(map(str, self.sizes))


def make_architecture(sizes: Iterable[int], activation: str | Sequence[str], output: str, loss: str) -> Architecture:
    """Check the arguments of `Network` and return the architecture they describe.

    Raises
    ------
    TypeError
        A size is not an integer, or a name is not a string.
    ValueError
        Fewer than two sizes, a size out of range, an unknown name, a list of activations of the wrong length, or an
        output that the loss cannot take.
    """
    checked = _check_sizes(sizes)
    hidden_layers = len(checked) - 2
    if isinstance(activation, str):
        hidden = (check_choice("activation", activation, HIDDEN_ACTIVATIONS),) * hidden_layers
    else:
        if not isinstance(activation, Iterable):
            raise TypeError(f"activation must be a name or a list of names; got {type(activation).__name__}")
        hidden = tuple(check_choice(f"activation[{i}]", a, HIDDEN_ACTIVATIONS) for i, a in enumerate(activation))
        if len(hidden) != hidden_layers:
            raise ValueError(
                f"activation has {len(hidden)} names for {hidden_layers} hidden layers; "
                "give one name for all or one per hidden layer"
            )
    check_choice("output", output, ACTIVATIONS)
    check_choice("loss", loss, LOSSES)
    accepted = LOSS_OUTPUTS.get(loss, ACTIVATIONS)
    if output not in accepted:
        raise ValueError(
            f"loss={loss!r} takes probabilities, which output={output!r} does not give; "
            f"use output={' or '.join(map(repr, accepted))}"
        )
    architecture = Architecture(checked, (*hidden, output), loss)
    if architecture.parameter_count > MAX_PARAMETERS:
        raise ValueError(f"sizes={list(checked)} make {architecture.parameter_count:.3g} parameters, more than fit")
    return architecture


def _check_sizes(sizes: Iterable[int]) -> tuple[int, ...]:
    if isinstance(sizes, (str, bytes)) or not isinstance(sizes, Iterable):
        raise TypeError(f"sizes must be a sequence of layer widths such as [2, 2, 1]; got {type(sizes).__name__}")
    checked = []
    for i, size in enumerate(sizes):
        if isinstance(size, (bool, np.bool_)):
            raise TypeError(f"sizes[{i}] must be an integer; got a bool")
        try:
            value = operator.index(size)
        except TypeError:
            raise TypeError(f"sizes[{i}] must be an integer; got {size!r} ({type(size).__name__})") from None
        if not 1 <= value <= MAX_WIDTH:
            raise ValueError(f"sizes[{i}]={value} is not a layer width; accepted are 1 to {MAX_WIDTH}")
        checked.append(value)
    if len(checked) < 2:
        raise ValueError(f"sizes={checked} needs at least two widths: inputs and outputs")
    return tuple(checked)
