"""`MLPClassifier`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metadata_routing import UNUSED
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target

from nanostep.sklearn._base import BaseMLP, Validation, is_stochastic
from nanostep.sklearn._dataset import Dataset
from nanostep.sklearn._documentation import documented
from nanostep.sklearn._objective import Objective, elementwise_objective
from nanostep.sklearn._parameters import CONSTRAINTS
from nanostep.sklearn._targets import Classes, classes_of, find_classes


@documented(full_batch='"lbfgs"', dense_solver="all solvers")
class MLPClassifier(ClassifierMixin, BaseMLP):
    """Multi-layer perceptron classifier with the interface of ``sklearn.neural_network.MLPClassifier``.

    Parameters
    ----------
    {network_parameters}
    solver : {"adam", "sgd", "lbfgs"}, default="adam"
        "lbfgs" is SciPy's L-BFGS-B on all samples at once.
    {shared_parameters}
    class_weight : dict, "balanced", list of dict or None, default=None
        Weight of each class; "balanced" makes them inversely proportional to the classes' frequencies. `sample_weight`
        is multiplied by them. A list has a dict for each label of multilabel targets.
    loss : {"log_loss", "squared_error", "absolute_error", "huber"}, default="log_loss"
        All but "log_loss" compare probabilities with 0 and 1; "squared_error" is half the squared error.

    Attributes
    ----------
    classes_ : ndarray, shape (n_classes,)
    {shared_attributes}

    Notes
    -----
    {shared_notes}

    Examples
    --------
    >>> from nanostep.sklearn import MLPClassifier
    >>> X, y = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [0, 1, 1, 0]
    >>> classifier = MLPClassifier((8,), solver="lbfgs", random_state=0).fit(X, y)
    >>> classifier.predict([[0.0, 1.0], [1.0, 1.0]])
    array([1, 0])
    """

    _parameter_constraints: ClassVar[dict] = {
        **CONSTRAINTS,
        "solver": [StrOptions({"lbfgs", "sgd", "adam"})],
        "class_weight": [StrOptions({"balanced"}), dict, list, None],
        "loss": [StrOptions({"log_loss", "squared_error", "absolute_error", "huber"})],
    }
    classes_: np.ndarray

    __metadata_request__predict: ClassVar = {"check_input": UNUSED}
    __metadata_request__predict_proba: ClassVar = {"check_input": UNUSED}
    __metadata_request__predict_log_proba: ClassVar = {"check_input": UNUSED}

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: str = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        backend: str = "auto",
        threads: int | None = None,
        dropout: Any = 0.0,
        clip: float | None = None,
        dtype: Any = None,
        nan_targets: str = "raise",
        class_weight: Any = None,
        loss: str = "log_loss",
    ) -> None:
        self._store(locals())

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Self:
        """Fit the network to X and y.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)
        y : array-like, shape (n_samples,), or indicator matrix (n_samples, n_labels), which may be sparse
        sample_weight : array-like, shape (n_samples,), optional
            Weight of each sample, >= 0; a batch is divided by the sum of its weights.
        X_val, y_val : as X and y, optional
            Data to score on after each epoch, in place of a share of X; only recorded without `early_stopping`.
        sample_weight_val : array-like, optional

        Returns
        -------
        self
        """
        self._fit(X, y, sample_weight, Validation(X_val, y_val, sample_weight_val), incremental=False)
        return self

    @available_if(is_stochastic)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Self:
        """Make one epoch over X and y from the current weights and optimiser state; for "sgd" and "adam".

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.
        classes : array-like, shape (n_classes,)
            All classes that may occur; required in the first call.

        Returns
        -------
        self
        """
        if _check_partial_fit_first_call(self, classes):
            multilabel = type_of_target(y).startswith("multilabel")
            self._classes = find_classes(y) if multilabel else classes_of(self.classes_)
        self._fit(X, y, sample_weight, Validation(), incremental=True)
        return self

    def predict(self, X: Any, check_input: bool = True) -> Any:
        """Return the class of every row of X.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)
        check_input : bool, default=True
            Check for NaN and infinity.

        Returns
        -------
        ndarray, shape (n_samples,), or indicator matrix (n_samples, n_labels)
        """
        a__no = self._outputs(X, check_input)
        return self._classes.decode(a__no)

    def predict_proba(self, X: Any, check_input: bool = True) -> np.ndarray:
        """Return the probability of every class in the order of `classes_`, or of every label for multilabel targets.

        Parameters
        ----------
        X, check_input
            As in `predict`.

        Returns
        -------
        ndarray, shape (n_samples, n_classes)
        """
        a__no = self._outputs(X, check_input)
        if a__no.shape[1] > 1:
            return a__no
        both__nc = np.empty((len(a__no), 2), a__no.dtype)
        both__nc[:, 1] = a__no[:, 0]
        np.subtract(1, a__no[:, 0], out=both__nc[:, 0])
        return both__nc

    def predict_log_proba(self, X: Any, check_input: bool = True) -> np.ndarray:
        """Return the logarithm of `predict_proba`."""
        probabilities = self.predict_proba(X, check_input)
        return np.log(probabilities, out=probabilities)

    def _learn_targets(self, y: Any, *, first_pass: bool, incremental: bool) -> None:
        found = find_classes(y)
        if incremental or not first_pass:
            self._check_classes("y", found, all_of_them=not incremental)
        else:
            self._classes = found
        self.classes_ = self._classes.labels

    def _check_held_out(self, y: Any) -> None:
        self._check_classes("y_val", find_classes(y), all_of_them=False)

    def _check_classes(self, name: str, found: Classes, *, all_of_them: bool) -> None:
        """Raise ValueError unless the classes found in targets are the known ones, or some of them."""
        known = self._classes
        new = np.setdiff1d(found.labels, known.labels)
        if (found.kind == "multilabel") != (known.kind == "multilabel"):
            raise ValueError(f"{name} is {found.kind}; what is fitted is {known.kind}")
        if len(new) or (all_of_them and len(found.labels) != len(known.labels)):
            raise ValueError(f"{name} has the classes {found.labels}; those that are fitted are {known.labels}")

    def _make_objective(self) -> tuple[Objective, int]:
        kind, outputs = self._classes.kind, self._classes.outputs
        output, out_activation = ("softmax", "softmax") if kind == "multiclass" else ("sigmoid", "logistic")
        if self.loss != "log_loss":
            return elementwise_objective(self.loss, output, out_activation, outputs), outputs
        if kind == "multiclass":
            return Objective("cross_entropy", output, out_activation), outputs
        return Objective("binary_cross_entropy", output, out_activation, outputs, outputs), outputs

    def _encode(self, y: Any, dtype: np.dtype) -> dict[str, Any]:
        known = self._classes
        encoded = known.encode(y)
        if known.kind == "multiclass" and self.loss == "log_loss":
            return {"labels": encoded}
        if known.kind == "multiclass":
            return {"y": np.eye(known.outputs, dtype=dtype)[encoded]}
        return {"y": np.ascontiguousarray(encoded.reshape(len(encoded), known.outputs), dtype)}

    def _weigh(self, y: Any, weight: np.ndarray | None, *, incremental: bool) -> np.ndarray | None:
        if self.class_weight is None:
            return weight
        if incremental and isinstance(self.class_weight, str):
            raise ValueError("class_weight='balanced' needs all samples at once; give partial_fit a dict of weights")
        by_class = compute_sample_weight(self.class_weight, y)
        weight = by_class if weight is None else weight * by_class
        if weight.max() <= 0:
            raise ValueError(f"class_weight={self.class_weight!r} leaves every sample a weight of zero")
        return weight

    def _measure(self, a__no: np.ndarray, data: Dataset) -> float:
        """Return the accuracy; for multilabel targets the share of rows in which all labels are right."""
        if data.has_missing:
            known = np.ones(len(data), bool) if data.weight is None else data.weight != 0
            known &= True if data.y is None else ~np.isnan(data.y).any(axis=1)
            if not known.any():
                return float("nan")
            return self._measure(a__no[known], replace(data.take(known), has_missing=False))
        decide = self._classes.decide
        right = decide(a__no) == (data.labels if data.y is None else decide(data.y))
        return float(np.average(right if right.ndim == 1 else right.all(axis=1), weights=data.weight))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
