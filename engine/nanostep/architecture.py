"""The shape of a network: sizes, activations, loss, and the place of each parameter in theta.

The layout of theta is defined here and nowhere else in Python: for each layer in order, W (out x in, row-major), then b
(out). The names of activations and losses are defined here, too. A name's position in its tuple is the identifier that
the jit kernels switch on; the C library has its own enumeration, looked up by name (``NST_ACTIVATION_TANH``), so no
number is written twice.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from nanostep._checks import check_choice
from nanostep.losses import KINDS, Custom, Huber, Loss

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
"""The losses that a name stands for; others are objects of `nanostep.losses`."""

SUMMED_OVER_OUTPUTS = frozenset({"half_squared_error", "cross_entropy"})
"""Losses that are the sum of a term of each output; the others are the mean."""

LOSS_OUTPUTS: dict[str, tuple[str, ...]] = {
    "binary_cross_entropy": ("sigmoid", "softmax"),
    "cross_entropy": ("softmax",),
    "gaussian_nll": ("identity",),
}
"""Losses that do not take every output, and the outputs that they take: those that give probabilities, or none."""

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


@dataclass(frozen=True, repr=False)
class Architecture:
    """Sizes, one activation per weight layer (output included), and the loss: its name, and its options unless they are
    the defaults.

    Build it with `make_architecture`, which checks its arguments.
    """

    sizes: tuple[int, ...]
    activations: tuple[str, ...]
    loss: str
    loss_options: Loss | None = None

    @property
    def criterion(self) -> str | Loss:
        """The loss: its name where that says all, otherwise an object."""
        return self.loss if self.loss_options is None else self.loss_options

    @property
    def targets(self) -> int:
        """Columns of Y: outputs, fewer if the loss takes several outputs for a target."""
        return self.outputs // _outputs_per_target(self.criterion)

    def repeated(self, y__nt: np.ndarray) -> np.ndarray:
        """Return targets (n, targets) as (n, outputs): for each output its target."""
        return y__nt if self.loss_options is None else self.loss_options.repeated(y__nt)

    def with_loss(self, loss: Callable[..., Any] | Loss) -> Architecture:
        """Return the same with the function of a loss that a file does not keep."""
        if self.loss != Custom.name:
            raise ValueError(f"loss is for networks whose loss is a function; this one has loss={self.criterion!r}")
        return replace(self, loss_options=loss if isinstance(loss, Custom) else Custom(loss))  # type: ignore[arg-type]

    def unrepeated(self, y__no: np.ndarray) -> np.ndarray:
        """Return targets (n, outputs) as (n, targets): the inverse of `repeated`."""
        return y__no if self.loss_options is None else self.loss_options.unrepeated(y__no)

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

    def __repr__(self) -> str:
        options = "" if self.loss_options is None else f", loss_options={self.loss_options!r}"
        return f"Architecture(sizes={self.sizes!r}, activations={self.activations!r}, loss={self.loss!r}{options})"

    def __str__(self) -> str:
        return "-".join(map(str, self.sizes))


def _outputs_per_target(loss: str | Loss) -> int:
    return 1 if isinstance(loss, str) else loss.outputs_per_target


def make_architecture(
    sizes: Iterable[int], activation: str | Sequence[str], output: str, loss: str | Loss
) -> Architecture:
    """Check the arguments of `Network` and return the architecture they describe.

    Raises
    ------
    TypeError
        A size is not an integer, a name is not a string, or `loss` is neither a name nor a loss.
    ValueError
        Fewer than two sizes, a size out of range, an unknown name, a list of activations of the wrong length, or an
        output or a number of outputs that the loss cannot take.
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
    name, options = _check_loss(loss)
    accepted = LOSS_OUTPUTS.get(name, ACTIVATIONS)
    if output not in accepted:
        taken = "means and logarithms of variances" if accepted == ("identity",) else "probabilities"
        raise ValueError(
            f"loss={loss!r} takes {taken}, which output={output!r} does not give; "
            f"use output={' or '.join(map(repr, accepted))}"
        )
    per_target = _outputs_per_target(loss)
    if checked[-1] % per_target:
        raise ValueError(
            f"loss={loss!r} takes {per_target} outputs for each target; sizes={list(checked)} has {checked[-1]} "
            f"outputs, which is no multiple of {per_target}"
        )
    architecture = Architecture(checked, (*hidden, output), name, options)
    if architecture.parameter_count > MAX_PARAMETERS:
        raise ValueError(f"sizes={list(checked)} make {architecture.parameter_count:.3g} parameters, more than fit")
    return architecture


def _check_loss(loss: object) -> tuple[str, Loss | None]:
    """Return the name of a loss, and its options unless they are the defaults."""
    if isinstance(loss, Loss):
        return loss.name, None if loss == Huber() else loss
    if not isinstance(loss, str):
        raise TypeError(f"loss must be a name or an object of nanostep.losses; got {loss!r} ({type(loss).__name__})")
    if loss in KINDS and loss not in LOSSES:
        raise ValueError(f"loss={loss!r} is given as an object: loss=nanostep.losses.{KINDS[loss].__name__}(...)")
    return check_choice("loss", loss, LOSSES), None


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
