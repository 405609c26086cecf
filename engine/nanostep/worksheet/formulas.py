"""Formulas of the activations and losses, in plain text and in LaTeX.

Symbols are in brackets and are filled in by a notation (see `nanostep.worksheet.notation`): [x] is the input of the
layer, [W] [b] [z] [a] [d] belong to the layer itself, [W+] [d+] to the next layer, [y] is the target and [n] its
length; T after a letter transposes.
"""

from __future__ import annotations

from dataclasses import dataclass

from nanostep.losses import Huber, Loss, Quantile, name_of


@dataclass(frozen=True)
class Formula:
    """One formula with symbols to fill in."""

    text: str
    latex: str


def same(text: str) -> Formula:
    """Return a formula that is written the same in text and in LaTeX."""
    return Formula(text, text)


ACTIVATIONS: dict[str, Formula] = {
    "identity": same("[z]"),
    "sigmoid": Formula("1 / (1 + exp(-[z]))", r"\frac{1}{1 + e^{-[z]}}"),
    "tanh": Formula("tanh([z])", r"\tanh([z])"),
    "relu": Formula("max(0, [z])", r"\max(0, [z])"),
    "leaky_relu": Formula("max(0.01 [z], [z])", r"\max(0.01\,[z], [z])"),
    "elu": Formula("[z] if [z] > 0, else exp([z]) - 1", r"[z] \text{ if } [z] > 0, \text{ else } e^{[z]} - 1"),
    "softplus": Formula("ln(1 + exp([z]))", r"\ln\bigl(1 + e^{[z]}\bigr)"),
    "silu": Formula("[z] / (1 + exp(-[z]))", r"\frac{[z]}{1 + e^{-[z]}}"),
    "softmax": Formula("exp([z]) / sum exp([z])", r"\frac{e^{[z]}}{\sum e^{[z]}}"),
}
"""a = f(z)."""

DERIVATIVES: dict[str, Formula] = {
    "identity": same("1"),
    "sigmoid": Formula("[a] (1 - [a])", r"[a] \odot (1 - [a])"),
    "tanh": Formula("1 - [a] [a]", r"1 - [a] \odot [a]"),
    "relu": Formula("1 if [z] > 0, else 0", r"1 \text{ if } [z] > 0, \text{ else } 0"),
    "leaky_relu": Formula("1 if [z] > 0, else 0.01", r"1 \text{ if } [z] > 0, \text{ else } 0.01"),
    "elu": Formula("1 if [z] > 0, else [a] + 1", r"1 \text{ if } [z] > 0, \text{ else } [a] + 1"),
    "softplus": Formula("1 / (1 + exp(-[z]))", r"\frac{1}{1 + e^{-[z]}}"),
    "silu": Formula(
        "s (1 + [z] (1 - s)), s = 1 / (1 + exp(-[z]))",
        r"s \odot (1 + [z] \odot (1 - s)),\ s = \frac{1}{1 + e^{-[z]}}",
    ),
    "softmax": Formula("diag([a]) - [a] [aT]", r"\operatorname{diag}([a]) - [a] [aT]"),
}
"""f'(z); for softmax its Jacobian."""

LOSSES: dict[str, Formula] = {
    "half_squared_error": Formula("1/2 sum ([a] - [y])^2", r"\tfrac{1}{2} \sum ([a] - [y])^2"),
    "squared_error": Formula("1/[n] sum ([a] - [y])^2", r"\tfrac{1}{[n]} \sum ([a] - [y])^2"),
    "absolute_error": Formula("1/[n] sum |[a] - [y]|", r"\tfrac{1}{[n]} \sum \lvert [a] - [y] \rvert"),
    "huber": Formula(
        "1/[n] sum h([a] - [y]), h(e) = e^2 / 2 if |e| <= 1, else |e| - 1/2",
        r"\tfrac{1}{[n]} \sum h([a] - [y]),\ "
        r"h(e) = \tfrac{1}{2} e^2 \text{ if } \lvert e \rvert \le 1, \text{ else } \lvert e \rvert - \tfrac{1}{2}",
    ),
    "gaussian_nll": Formula(
        "2/[n] sum (s + ([y] - m)^2 exp(-s)) / 2, [a] = (m, s)",
        r"\tfrac{2}{[n]} \sum \tfrac{1}{2} \bigl(s + ([y] - m)^2 e^{-s}\bigr),\ [a] = (m, s)",
    ),
    "binary_cross_entropy": Formula(
        "-1/[n] sum ([y] ln [a] + (1 - [y]) ln(1 - [a]))",
        r"-\tfrac{1}{[n]} \sum \bigl([y] \ln [a] + (1 - [y]) \ln(1 - [a])\bigr)",
    ),
    "cross_entropy": Formula("-sum [y] ln [a]", r"-\sum [y] \ln [a]"),
    "poisson": Formula("1/[n] sum (exp([a]) - [y] [a])", r"\tfrac{1}{[n]} \sum \bigl(e^{[a]} - [y] [a]\bigr)"),
}
"""L of one sample; `loss` has those with options."""

LOSS_DERIVATIVES: dict[str, Formula] = {
    "half_squared_error": same("[a] - [y]"),
    "squared_error": Formula("2/[n] ([a] - [y])", r"\tfrac{2}{[n]} ([a] - [y])"),
    "absolute_error": Formula("1/[n] sign([a] - [y])", r"\tfrac{1}{[n]} \operatorname{sign}([a] - [y])"),
    "huber": Formula("1/[n] clip([a] - [y], -1, 1)", r"\tfrac{1}{[n]} \operatorname{clip}([a] - [y], -1, 1)"),
    "gaussian_nll": Formula(
        "2/[n] ((m - [y]) exp(-s), (1 - (m - [y])^2 exp(-s)) / 2)",
        r"\tfrac{2}{[n]} \bigl((m - [y]) e^{-s},\ \tfrac{1}{2} (1 - (m - [y])^2 e^{-s})\bigr)",
    ),
    "binary_cross_entropy": Formula(
        "1/[n] ([a] - [y]) / ([a] (1 - [a]))", r"\tfrac{1}{[n]} \frac{[a] - [y]}{[a] \odot (1 - [a])}"
    ),
    "cross_entropy": Formula("-[y] / [a]", r"-\frac{[y]}{[a]}"),
    "poisson": Formula("1/[n] (exp([a]) - [y])", r"\tfrac{1}{[n]} \bigl(e^{[a]} - [y]\bigr)"),
}
"""dL/da; `loss_derivative` has those with options."""


def loss(criterion: str | Loss) -> Formula:
    """Return the formula of L of one sample."""
    if isinstance(criterion, Huber):
        d = f"{criterion.delta:g}"
        return Formula(
            f"1/[n] sum h([a] - [y]), h(e) = e^2 / 2 if |e| <= {d}, else {d} (|e| - {d} / 2)",
            r"\tfrac{1}{[n]} \sum h([a] - [y]),\ h(e) = \tfrac{1}{2} e^2 \text{ if } \lvert e \rvert \le "
            rf"{d}, \text{{ else }} {d} (\lvert e \rvert - \tfrac{{1}}{{2}} {d})",
        )
    if isinstance(criterion, Quantile):
        q = ", ".join(f"{value:g}" for value in criterion.quantiles)
        return Formula(
            f"1/[n] sum max(q ([y] - [a]), (q - 1) ([y] - [a])), q = {q}",
            rf"\tfrac{{1}}{{[n]}} \sum \max\bigl(q ([y] - [a]),\ (q - 1) ([y] - [a])\bigr),\ q = {q}",
        )
    return LOSSES[name_of(criterion)]


def loss_derivative(criterion: str | Loss) -> Formula:
    """Return the formula of dL/da."""
    if isinstance(criterion, Huber):
        d = f"{criterion.delta:g}"
        return Formula(
            f"1/[n] clip([a] - [y], -{d}, {d})", rf"\tfrac{{1}}{{[n]}} \operatorname{{clip}}([a] - [y], -{d}, {d})"
        )
    if isinstance(criterion, Quantile):
        return Formula(
            "1/[n] (1 - q if [a] > [y], -q if [a] < [y])",
            r"\tfrac{1}{[n]} \bigl(1 - q \text{ if } [a] > [y],\ -q \text{ if } [a] < [y]\bigr)",
        )
    return LOSS_DERIVATIVES[name_of(criterion)]


JOINED_DELTAS: dict[str, Formula] = {
    "binary_cross_entropy": Formula("1/[n] ([a] - [y])", r"\tfrac{1}{[n]} ([a] - [y])"),
    "cross_entropy": same("[a] - [y]"),
}
"""Output delta where loss and output activation are joined, and dL/da times the derivative of f simplifies."""

PRE_ACTIVATION = same("[W] [x] + [b]")
DELTA = Formula("dL/d[a] * f'([z])", r"\frac{\partial L}{\partial [a]} \odot f'([z])")
JACOBIAN_DELTA = Formula("(d[a]/d[z]) dL/d[a]", r"\frac{\partial [a]}{\partial [z]} \, \frac{\partial L}{\partial [a]}")
PROPAGATED = same("[W+T] [d+]")
WEIGHT_GRADIENT = same("[d] [xT]")
BIAS_GRADIENT = same("[d]")
WEIGHT_UPDATE = Formula("[W] - lr dL/d[W]", r"[W] - \eta \frac{\partial L}{\partial [W]}")
BIAS_UPDATE = Formula("[b] - lr dL/d[b]", r"[b] - \eta \frac{\partial L}{\partial [b]}")
FROZEN = Formula("[b] (frozen)", r"[b] \text{ (frozen)}")

BY_ACTIVATION = Formula("dL/d[a]", r"\frac{\partial L}{\partial [a]}")
BY_WEIGHTS = Formula("dL/d[W]", r"\frac{\partial L}{\partial [W]}")
BY_BIASES = Formula("dL/d[b]", r"\frac{\partial L}{\partial [b]}")
SLOPE = same("f'([z])")
JACOBIAN = Formula("d[a]/d[z]", r"\frac{\partial [a]}{\partial [z]}")
RATE = Formula("lr", r"\eta")
