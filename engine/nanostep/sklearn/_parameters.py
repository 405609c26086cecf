"""The constructor's parameters: their constraints, and their translation for the engine."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils._param_validation import Interval, Options, StrOptions

from nanostep._checks import check_integer
from nanostep.architecture import HIDDEN_ACTIVATIONS
from nanostep.backends import PACKAGES
from nanostep.optimizers import SGD, Adam

STOCHASTIC_SOLVERS = ("sgd", "adam")

ACTIVATIONS = {"logistic": "sigmoid", **{name: name for name in HIDDEN_ACTIVATIONS}}
"""Name of each hidden activation in the engine."""

AUTO_BATCH = 200
"""Largest batch that ``batch_size="auto"`` stands for."""

CONSTRAINTS: dict[str, Any] = {
    "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
    "activation": [StrOptions(set(ACTIVATIONS))],
    "alpha": [Interval(Real, 0, None, closed="left")],
    "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
    "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
    "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
    "power_t": [Interval(Real, 0, None, closed="left")],
    "max_iter": [Interval(Integral, 1, None, closed="left")],
    "shuffle": ["boolean"],
    "random_state": ["random_state"],
    "tol": [Interval(Real, 0, None, closed="left")],
    "verbose": ["verbose"],
    "warm_start": ["boolean"],
    "momentum": [Interval(Real, 0, 1, closed="both")],
    "nesterovs_momentum": ["boolean"],
    "early_stopping": ["boolean"],
    "validation_fraction": [Interval(Real, 0, 1, closed="left")],
    "beta_1": [Interval(Real, 0, 1, closed="left")],
    "beta_2": [Interval(Real, 0, 1, closed="left")],
    "epsilon": [Interval(Real, 0, None, closed="neither")],
    "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
    "max_fun": [Interval(Integral, 1, None, closed="left")],
    "backend": [StrOptions({"auto", *PACKAGES})],
    "threads": [Interval(Integral, 1, 2**16, closed="both"), None],
    "dropout": [Interval(Real, 0, 1, closed="left"), "array-like"],
    "clip": [Interval(Real, 0, None, closed="neither"), None],
    "dtype": "no_validation",
    "nan_targets": [StrOptions({"raise", "ignore"})],
}
"""Constraints of the parameters that classifier and regressor share; violations raise InvalidParameterError."""


def hidden_widths(value: object) -> tuple[int, ...]:
    """Return `hidden_layer_sizes`, one width or a sequence of them, as a tuple."""
    widths = value if isinstance(value, Iterable) else (value,)
    return tuple(check_integer(f"hidden_layer_sizes[{i}]", width, 1) for i, width in enumerate(widths))


def make_optimizer(estimator: Any) -> SGD | Adam:
    """Return the engine's optimiser for ``solver="sgd"`` or ``"adam"``, in the forms that scikit-learn uses."""
    lr, clip = float(estimator.learning_rate_init), estimator.clip
    if estimator.solver == "sgd":
        momentum = float(estimator.momentum)
        nesterov = bool(estimator.nesterovs_momentum) and momentum > 0
        return SGD(lr, momentum, nesterov, velocity_with_rate=momentum > 0, clip_norm=clip)
    betas = (float(estimator.beta_1), float(estimator.beta_2))
    return Adam(lr, betas, float(estimator.epsilon), epsilon_hat=True, clip_norm=clip)
