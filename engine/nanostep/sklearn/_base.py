"""`BaseMLP`: the steps of a fit that the classifier and the regressor share."""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from copy import copy
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_array, check_consistent_length, check_random_state, column_or_1d
from sklearn.utils.validation import _check_sample_weight, validate_data

from nanostep._arrays import convert
from nanostep.losses import Loss
from nanostep.network import Network
from nanostep.sklearn._callbacks import CallbackSupportMixin, FitTask
from nanostep.sklearn._dataset import Dataset, engine_rows
from nanostep.sklearn._fit_cache import CachedFit, find_cached_fit
from nanostep.sklearn._full_batch import fit_lbfgs, fit_lm
from nanostep.sklearn._objective import Objective
from nanostep.sklearn._parameters import (
    ACTIVATIONS,
    STOCHASTIC_SOLVERS,
    hidden_widths,
    make_optimizer,
)
from nanostep.sklearn._predictions import Predictions
from nanostep.sklearn._stochastic import fit_stochastic
from nanostep.training.arguments import check_dropout
from nanostep.training.optimizer_state import fresh_state


def is_stochastic(estimator: Any) -> bool:
    """Return True, or raise AttributeError for a solver without `partial_fit`, which hides the method."""
    if estimator.solver not in STOCHASTIC_SOLVERS:
        raise AttributeError(f"partial_fit is for solver='sgd' and 'adam', not for solver={estimator.solver!r}")
    return True


class Validation(NamedTuple):
    """Held-out data as given to `fit`; all None if there are none."""

    X: Any = None
    y: Any = None
    sample_weight: Any = None


NO_VALIDATION = Validation()


class BaseMLP(Predictions, CallbackSupportMixin, BaseEstimator, ABC):
    """Base of `MLPClassifier` and `MLPRegressor`."""

    def _store(self, parameters: dict[str, Any]) -> None:
        """Set the constructor's parameters, its ``locals()``, as attributes, unchanged."""
        self.__dict__ |= {name: value for name, value in parameters.items() if name != "self"}

    # -- to be defined by subclasses ----------------------------------------------------------------------------------

    @abstractmethod
    def _learn_targets(self, y: Any, *, first_pass: bool, incremental: bool) -> None:
        """Learn the classes or the number of outputs from y, or check that y agrees with those of the last fit."""

    @abstractmethod
    def _check_held_out(self, y: Any) -> None:
        """Raise ValueError if the network could not predict the targets of held-out data."""

    @abstractmethod
    def _make_objective(self) -> tuple[Objective, int]:
        """Return the objective and the number of outputs."""

    @abstractmethod
    def _encode(self, y: Any, dtype: np.dtype) -> dict[str, Any]:
        """Return y in the engine's form: `y` or `labels` of a `Dataset`."""

    @abstractmethod
    def _weigh(self, y: Any, weight: np.ndarray | None, *, incremental: bool) -> np.ndarray | None:
        """Return the weight of each sample, given the user's sample weights."""

    @abstractmethod
    def _measure(self, a__no: np.ndarray, data: Dataset) -> float:
        """Return the score of outputs for held-out data."""

    # -- fit ----------------------------------------------------------------------------------------------------------

    def _fit(self, X: Any, y: Any, sample_weight: Any, validation: Validation, *, incremental: bool) -> BaseMLP:
        if not incremental and sample_weight is None and validation.X is None:
            cached = find_cached_fit(self, X, y)
            if cached is not None:
                return self._copy_fit(cached)
        data, generator, task = self._begin(X, y, sample_weight, validation, incremental=incremental, is_fit=True)
        if self.solver in STOCHASTIC_SOLVERS:
            self._fit_stochastic(data, validation, generator, task, incremental)
        else:
            self._fit_full_batch(data, task)
        self._end(task)
        return self

    def _begin(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        validation: Validation = NO_VALIDATION,
        *,
        incremental: bool = False,
        is_fit: bool = False,
    ) -> tuple[Dataset, np.random.RandomState, FitTask]:
        """Check everything and prepare the network; return the data, the random generator and the task.

        `is_fit` is True within `fit` and `partial_fit`, where scikit-learn's callbacks are called.
        """
        first_pass = not self.__sklearn_is_fitted__() or not (self.warm_start or incremental)
        widths = hidden_widths(self.hidden_layer_sizes)
        self._check_combinations(widths, validation, incremental)
        X, y = self._validate(X, y, reset=first_pass)
        if sample_weight is not None:
            sample_weight = _checked_weights("sample_weight", sample_weight, X)
        y, unknown = self._split_missing(y)
        self._learn_targets(y, first_pass=first_pass, incremental=incremental)
        generator = check_random_state(self.random_state)
        self._prepare_network(X, widths, first_pass, generator)

        dtype = self._network.dtype
        weight = self._weigh(y, sample_weight, incremental=incremental)
        if weight is not None:
            weight = convert("sample_weight", weight, dtype)
        data = Dataset(engine_rows(X, dtype), **self._encode(y, dtype), weight=weight)
        data = _without_targets(data, unknown, self.loss)
        iterations = 1 if incremental else self.max_iter
        task = FitTask(self, X, y, sample_weight, iterations, self._fitted_attributes, is_fit=is_fit)
        return data, generator, task

    def _copy_fit(self, cached: CachedFit) -> BaseMLP:
        """Copy the result of a precomputed fit, with its warnings or its error."""
        for message in cached.messages:
            warnings.warn(message, stacklevel=5)
        if cached.error is not None:
            raise cached.error
        parameters = self.get_params(deep=False)
        self.__dict__ |= {name: value for name, value in vars(cached.estimator).items() if name not in parameters}
        return self

    def _end(self, task: FitTask) -> None:
        if not np.isfinite(self._network.theta).all():
            raise ValueError(
                "The fit has produced weights that are not finite; scale the data or use a smaller learning rate"
            )
        task.end()

    def _check_combinations(self, widths: tuple[int, ...], validation: Validation, incremental: bool) -> None:
        """Raise ValueError for parameters that cannot be combined."""
        if (validation.X is None) != (validation.y is None):
            raise ValueError("X_val and y_val belong together; got one of them")
        if validation.X is None and validation.sample_weight is not None:
            raise ValueError("sample_weight_val is for X_val and y_val, which are not given")
        if incremental and self.early_stopping:
            raise ValueError("partial_fit makes one epoch and takes no early_stopping=True")
        dropped = check_dropout(len(widths), self.dropout)
        if self.solver in STOCHASTIC_SOLVERS:
            return
        for name, used in (("dropout", dropped), ("clip", self.clip is not None), ("X_val", validation.X is not None)):
            if used:
                raise ValueError(f"{name} is for solver='sgd' and 'adam'; solver={self.solver!r} does without it")

    def _validate(self, X: Any, y: Any, *, reset: bool) -> tuple[Any, Any]:
        how: dict[str, Any] = {
            "accept_sparse": ["csr", "csc"],
            "dtype": (np.float64, np.float32),
            "order": "C",
            "reset": reset,
        }
        if self.nan_targets == "ignore" and not sparse.issparse(y):
            X = validate_data(self, X, **how)
            y = check_array(y, dtype=None, ensure_2d=False, ensure_all_finite=False, input_name="y")
            check_consistent_length(X, y)
            if y.dtype.kind == "O" and not is_classifier(self):
                y = y.astype(np.float64)
            if y.dtype.kind == "f" and np.isinf(y).any():
                raise ValueError("Input y contains infinity; nan_targets='ignore' lets NaN through")
        else:
            X, y = validate_data(self, X, y, multi_output=True, y_numeric=not is_classifier(self), **how)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        return X, y

    def _split_missing(self, y: Any) -> tuple[Any, np.ndarray | None]:
        """Return targets with those that are missing filled in by a known one, and which are missing or None."""
        if self.nan_targets == "raise" or sparse.issparse(y) or y.dtype.kind not in "fO":
            return y, None
        unknown = y != y  # NaN, in arrays of objects too
        if y.dtype.kind == "O":
            unknown |= np.array([value is None for value in y.flat]).reshape(y.shape)
        if not unknown.any():
            return y, None
        if unknown.all():
            raise ValueError("y is missing for all samples; at least one target is needed")
        known = y[~unknown]
        filled = np.where(unknown, known.flat[0], y)
        if y.dtype.kind == "O":
            filled = np.asarray(filled.tolist())
        return filled, unknown.astype(bool)

    def _prepare_network(
        self, X: Any, widths: tuple[int, ...], first_pass: bool, generator: np.random.RandomState
    ) -> None:
        """Make the network of a first pass, or continue with the existing one."""
        self._objective, self.n_outputs_ = self._make_objective()
        self.out_activation_ = self._objective.out_activation
        sizes = (X.shape[1], *widths, self.n_outputs_)
        if first_pass:
            network = self._make_network(sizes, X.dtype if self.dtype is None else self.dtype)
            _draw_parameters(network, self.activation, generator)
            self._adopt(network)
            self._start_record()
            return
        last = self.network_
        if last.sizes != sizes:
            raise ValueError(
                f"going on with the last fit needs layers of the same widths; they were {list(last.sizes)} "
                f"and would now be {list(sizes)}"
            )
        network = self._make_network(sizes, last.dtype if self.dtype is None else self.dtype)
        if (network.architecture, network.dtype, network.backend) != (last.architecture, last.dtype, last.backend):
            network.theta = last.theta
            self._adopt(network)

    def _make_network(self, sizes: tuple[int, ...], dtype: Any) -> Network:
        objective = self._objective
        return Network(
            sizes,
            activation=ACTIVATIONS[self.activation],
            output=objective.output,
            loss=objective.loss,
            dtype=dtype,
            backend=self.backend,
        )

    def _start_record(self) -> None:
        """Set the attributes that describe a fit to their values before the first iteration."""
        self.n_layers_ = len(self._network.sizes)
        self.n_iter_ = self.t_ = self._no_improvement_count = 0
        self._optimizer_settings: Any = None
        if self.solver in STOCHASTIC_SOLVERS:
            self.loss_curve_: list[float] = []
            self.best_loss_: float | None = None if self.early_stopping else np.inf
            self.validation_scores_: list[float] | None = None
            self.best_validation_score_: float | None = None

    def _prepare_optimizer(self) -> None:
        """Keep the optimiser's state if its parameters are those of the last fit; otherwise start with a fresh state.

        A first pass has no last fit.
        """
        optimizer = make_optimizer(self)
        settings = (copy(optimizer), self.learning_rate, self.power_t)
        if settings != self._optimizer_settings:
            network = self._network
            network._state = fresh_state(optimizer, len(network.theta), network.dtype)
            self._optimizer_settings = settings

    def _fit_stochastic(
        self,
        data: Dataset,
        validation: Validation,
        generator: np.random.RandomState,
        task: FitTask,
        incremental: bool,
    ) -> None:
        self._prepare_optimizer()
        data, held_out = self._hold_out(data, validation, generator)
        if held_out is not None and self.validation_scores_ is None:
            self.validation_scores_, self.best_validation_score_ = [], -np.inf
            self._best_theta = self._network.theta.copy()
        if not self.early_stopping and self.best_loss_ is None:
            self.best_loss_ = np.inf
        score = None if held_out is None else lambda: self._score_of(held_out)
        epochs = 1 if incremental else self.max_iter
        used_up = fit_stochastic(self, data, score, generator, epochs=epochs, task=task)
        if self.early_stopping:
            self._network.theta = self._best_theta
        if used_up and not incremental:
            warnings.warn(no_convergence(epochs), stacklevel=4)

    def _hold_out(
        self, data: Dataset, validation: Validation, generator: np.random.RandomState
    ) -> tuple[Dataset, Dataset | None]:
        """Return the samples to train on, and those to score on or None."""
        if validation.X is not None:
            X, y = self._validate(validation.X, validation.y, reset=False)
            y, unknown = self._split_missing(y)
            self._check_held_out(y)
            weight = None
            if validation.sample_weight is not None:
                weight = _checked_weights("sample_weight_val", validation.sample_weight, X)
            dtype = self._network.dtype
            held_out = Dataset(engine_rows(X, dtype), **self._encode(y, dtype), weight=weight)
            return data, _without_targets(held_out, unknown, self.loss)
        if not self.early_stopping:
            return data, None
        # as in scikit-learn, stratified for two classes only
        strata = None
        if is_classifier(self) and self.n_outputs_ == 1 and data.y is not None:
            strata = np.nan_to_num(data.y[:, 0], nan=-1)
        rows, held_out = train_test_split(
            np.arange(len(data)), random_state=generator, test_size=self.validation_fraction, stratify=strata
        )
        if len(held_out) < 2:
            raise ValueError(
                f"validation_fraction={self.validation_fraction} of {len(data)} samples is {len(held_out)}; "
                "at least 2 are needed to score on"
            )
        return data.take(rows), data.take(held_out)

    def _fit_full_batch(self, data: Dataset, task: FitTask) -> None:
        (fit_lm if self.solver == "lm" else fit_lbfgs)(self, data, task)

    def _fitted_attributes(self) -> dict[str, Any]:
        """Return the attributes that a copy of this estimator needs, as if the fit had ended now."""
        network = copy(self._network)
        if self.early_stopping and self.solver in STOCHASTIC_SOLVERS:
            network.theta = self._best_theta
        lists = ("loss_curve_", "validation_scores_")
        return {
            **self._view_attributes(network),
            **{name: copy(vars(self)[name]) for name in lists if name in vars(self)},
        }

    def _score_of(self, data: Dataset) -> float:
        a__no = self._outputs_of(data)
        return self._measure(a__no, data) if np.isfinite(a__no).all() else math.nan

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _without_targets(data: Dataset, unknown: np.ndarray | None, loss: str | Loss) -> Dataset:
    """Return `data` without the targets that are unknown, shape (n,) or (n, targets)."""
    if unknown is None:
        return data
    if data.y is not None:
        y = data.y.copy()
        y[loss.repeated(unknown) if isinstance(loss, Loss) and unknown.ndim == 2 else unknown] = np.nan
        return replace(data, y=y, has_missing=True)
    weight = np.ones(len(data), data.x.dtype) if data.weight is None else data.weight.copy()
    weight[unknown] = 0
    return replace(data, weight=weight, has_missing=True)


def no_convergence(epochs: int) -> ConvergenceWarning:
    """Return the warning that a fit has used up its epochs."""
    return ConvergenceWarning(
        f"max_iter={epochs} epochs were made and the loss has not settled (see tol and n_iter_no_change)"
    )


def _draw_parameters(network: Network, activation: str, generator: np.random.RandomState) -> None:
    """Draw initial weights and biases as scikit-learn does: with Glorot's limit, or a smaller one for "logistic".

    Source: Glorot & Bengio, 2010, "Understanding the difficulty of training deep feedforward neural networks"; numbers
    are drawn in the order of scikit-learn's ``MLPClassifier`` 1.9, W (in x out) before b, layer by layer.
    """
    factor = 2.0 if ACTIVATIONS[activation] == "sigmoid" else 6.0
    for w__oi, b__o in zip(network.weights, network.biases, strict=True):
        outputs, inputs = w__oi.shape
        limit = math.sqrt(factor / (inputs + outputs))
        w__oi.T[...] = generator.uniform(-limit, limit, (inputs, outputs))
        b__o[...] = generator.uniform(-limit, limit, outputs)


def _checked_weights(name: str, value: Any, X: Any) -> np.ndarray:
    weight = _check_sample_weight(value, X, dtype=np.float64)
    if weight.min() < 0:
        raise ValueError(f"{name} must not be negative; got {weight.min():g}")
    if weight.max() == 0:
        raise ValueError(f"all weights in {name} are zero; at least one must not be")
    return weight
