"""Names of activations and losses, and which of them go together.

The position of a name in its tuple is the identifier that the jit kernels switch on. The C library has its own
enumeration, looked up by name (``NST_ACTIVATION_TANH``), so no number is written twice.
"""

from __future__ import annotations

from collections.abc import Sequence

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

LOSS_OUTPUTS: dict[str, tuple[str, ...]] = {
    "binary_cross_entropy": ("sigmoid", "softmax"),
    "cross_entropy": ("softmax",),
}
"""Losses that take probabilities, and the outputs that give them. Every other loss takes any output."""


def check_choice(argument: str, value: object, accepted: Sequence[str]) -> str:
    """Return `value` if it is one of `accepted`; otherwise raise an error that lists them."""
    if not isinstance(value, str):
        raise TypeError(f"{argument} must be a string, one of {', '.join(accepted)}; got {type(value).__name__}")
    if value not in accepted:
        raise ValueError(f"{argument}={value!r} is not known; choose one of: {', '.join(accepted)}")
    return value
