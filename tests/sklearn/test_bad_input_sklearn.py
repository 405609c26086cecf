"""The table of bad input for the estimators: each call raises with a reason and leaves a fitted estimator unchanged."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from nanostep.sklearn import MLPClassifier, MLPRegressor

NAN, INF = float("nan"), float("inf")
X = np.random.default_rng(0).standard_normal((20, 3))
LABELS = np.arange(20) % 3
VALUES = X[:, 0]

PARAMETERS: list[tuple[dict[str, Any], str]] = [
    ({"hidden_layer_sizes": 0}, "hidden_layer_sizes"),
    ({"hidden_layer_sizes": (3, 0)}, "hidden_layer_sizes[1]=0"),
    ({"hidden_layer_sizes": (3, -1)}, "hidden_layer_sizes[1]=-1"),
    ({"activation": "swish"}, "'activation' parameter"),
    ({"activation": "softmax"}, "'activation' parameter"),
    ({"solver": "newton"}, "'solver' parameter"),
    ({"alpha": -1.0}, "'alpha' parameter"),
    ({"batch_size": 0}, "'batch_size' parameter"),
    ({"batch_size": "all"}, "'batch_size' parameter"),
    ({"learning_rate": "falling"}, "'learning_rate' parameter"),
    ({"learning_rate_init": 0.0}, "'learning_rate_init' parameter"),
    ({"power_t": -1.0}, "'power_t' parameter"),
    ({"max_iter": 0}, "'max_iter' parameter"),
    ({"shuffle": "yes"}, "'shuffle' parameter"),
    ({"random_state": -1}, "'random_state' parameter"),
    ({"tol": -1.0}, "'tol' parameter"),
    ({"momentum": 1.5}, "'momentum' parameter"),
    ({"validation_fraction": 1.0}, "'validation_fraction' parameter"),
    ({"beta_1": 1.0}, "'beta_1' parameter"),
    ({"beta_2": -0.1}, "'beta_2' parameter"),
    ({"epsilon": 0.0}, "'epsilon' parameter"),
    ({"n_iter_no_change": 0}, "'n_iter_no_change' parameter"),
    ({"max_fun": 0}, "'max_fun' parameter"),
    ({"backend": "cuda"}, "'backend' parameter"),
    ({"backend": None}, "'backend' parameter"),
    ({"threads": 0}, "'threads' parameter"),
    ({"threads": 1.5}, "'threads' parameter"),
    ({"dropout": 1.0}, "'dropout' parameter"),
    ({"dropout": -0.1}, "'dropout' parameter"),
    ({"dropout": "half"}, "'dropout' parameter"),
    ({"dropout": [0.1, 0.2]}, "dropout has 2 values for 1 hidden layers"),
    ({"dropout": [1.0]}, "dropout[0]=1.0"),
    ({"dropout": [NAN]}, "dropout[0]=nan"),
    ({"dropout": 0.1, "solver": "lbfgs"}, "dropout is for solver='sgd' and 'adam'"),
    ({"clip": 0.0}, "'clip' parameter"),
    ({"clip": -1.0}, "'clip' parameter"),
    ({"clip": "norm"}, "'clip' parameter"),
    ({"clip": 1.0, "solver": "lbfgs"}, "clip is for solver='sgd' and 'adam'"),
    ({"dtype": "float16"}, "dtype='float16'"),
    ({"dtype": "int64"}, "float32 or float64"),
    ({"early_stopping": True, "validation_fraction": 0.04}, "at least 2"),
    ({"loss": "hinge"}, "'loss' parameter"),
]

CLASSIFIER: list[tuple[dict[str, Any], str]] = [
    ({"class_weight": "even"}, "'class_weight' parameter"),
    ({"class_weight": 2.0}, "'class_weight' parameter"),
    ({"loss": "poisson"}, "'loss' parameter"),
]

DATA: list[tuple[type, dict[str, Any], tuple[Any, ...], dict[str, Any], str]] = [
    (MLPClassifier, {}, (X[:, :0], LABELS), {}, "0 feature"),
    (MLPClassifier, {}, (X[:5], LABELS), {}, "inconsistent numbers of samples"),
    (MLPClassifier, {}, (np.full((20, 3), NAN), LABELS), {}, "NaN"),
    (MLPClassifier, {}, (sparse.csr_matrix(np.full((20, 3), INF)), LABELS), {}, "infinity"),
    (MLPClassifier, {"dtype": "float32"}, (np.full((20, 3), 1e300), LABELS), {}, "X must be finite in float32"),
    (MLPClassifier, {}, (X, VALUES), {}, "Unknown label type"),
    (MLPClassifier, {}, (X, np.c_[LABELS, LABELS]), {}, "several columns of more than two classes"),
    (MLPRegressor, {}, (X, np.full(20, INF)), {}, "infinity"),
    (MLPRegressor, {"dtype": "float32"}, (X, np.full(20, 1e300)), {}, "y must be finite in float32"),
    (MLPRegressor, {"loss": "poisson"}, (X, -np.ones(20)), {}, "loss='poisson' needs y >= 0; got -1"),
    (MLPRegressor, {"solver": "lm", "loss": "huber"}, (X, VALUES), {}, "solver='lm' is for loss='squared_error'"),
    (MLPClassifier, {"solver": "lm"}, (X, LABELS), {}, "'solver' parameter"),
    (MLPRegressor, {}, (X, VALUES), {"sample_weight": -np.ones(20)}, "sample_weight must not be negative; got -1"),
    (MLPRegressor, {}, (X, VALUES), {"sample_weight": np.zeros(20)}, "zero"),
    (MLPRegressor, {"dtype": "float32"}, (X, VALUES), {"sample_weight": np.full(20, 1e300)}, "finite in float32"),
    (MLPClassifier, {"class_weight": {0: 0, 1: 0, 2: 0}}, (X, LABELS), {}, "a weight of zero"),
    (MLPRegressor, {}, (X, VALUES), {"sample_weight": np.full(20, NAN)}, "NaN"),
    (MLPRegressor, {}, (X, VALUES), {"sample_weight": np.ones(19)}, "sample_weight.shape"),
    (MLPRegressor, {}, (X, VALUES), {"X_val": X}, "X_val and y_val belong together"),
    (MLPRegressor, {}, (X, VALUES), {"y_val": VALUES}, "X_val and y_val belong together"),
    (MLPRegressor, {}, (X, VALUES), {"sample_weight_val": VALUES}, "sample_weight_val is for X_val"),
    (MLPRegressor, {}, (X, VALUES), {"X_val": X[:, :2], "y_val": VALUES}, "3 features"),
    (MLPRegressor, {}, (X, VALUES), {"X_val": X, "y_val": VALUES[:5]}, "inconsistent numbers of samples"),
    (MLPRegressor, {}, (X, VALUES), {"X_val": X, "y_val": np.c_[VALUES, VALUES]}, "y_val has 2 outputs"),
    (MLPRegressor, {"solver": "lbfgs"}, (X, VALUES), {"X_val": X, "y_val": VALUES}, "X_val is for solver='sgd'"),
    (MLPClassifier, {}, (X, LABELS), {"X_val": X, "y_val": LABELS + 1}, "y_val has the classes"),
]  # fmt: skip


def refused(
    estimator: Any, arguments: tuple[Any, ...], keywords: dict[str, Any], words: str, method: str = "fit"
) -> None:
    """Check that a call raises an error with this text."""
    with pytest.raises(ValueError) as caught:
        getattr(estimator, method)(*arguments, **keywords)
    assert words in str(caught.value)


@pytest.mark.parametrize(("parameters", "words"), PARAMETERS)
@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_parameters(kind: type, parameters: dict[str, Any], words: str) -> None:
    refused(kind(**{"backend": "numpy", **parameters}), (X, LABELS), {}, words)


@pytest.mark.parametrize(("parameters", "words"), CLASSIFIER)
def test_parameters_of_the_classifier(parameters: dict[str, Any], words: str) -> None:
    refused(MLPClassifier(**parameters, backend="numpy"), (X, LABELS), {}, words)


@pytest.mark.parametrize(("kind", "parameters", "arguments", "keywords", "words"), DATA)
def test_data(
    kind: type, parameters: dict[str, Any], arguments: tuple[Any, ...], keywords: dict[str, Any], words: str
) -> None:
    refused(kind(**parameters, backend="numpy"), arguments, keywords, words)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    ("parameters", "arguments", "keywords", "words"),
    [
        ({"early_stopping": True}, (X, LABELS), {}, "partial_fit makes one epoch"),
        ({"class_weight": "balanced"}, (X, LABELS), {}, "class_weight='balanced' needs all samples at once"),
        ({}, (X, LABELS + 1), {}, "has the classes"),
        ({}, (X, LABELS), {"classes": [0, 1]}, "classes"),
        ({}, (X[:, :2], LABELS), {}, "3 features"),
        ({}, (X, LABELS), {"sample_weight": -np.ones(20)}, "negative"),
        ({"hidden_layer_sizes": (4,)}, (X, LABELS), {}, "widths"),
        ({"dropout": [0.1, 0.1]}, (X, LABELS), {}, "dropout has 2 values"),
    ],
)
def test_a_refused_partial_fit_changes_no_weight(
    parameters: dict[str, Any], arguments: tuple[Any, ...], keywords: dict[str, Any], words: str
) -> None:
    estimator = MLPClassifier((5,), max_iter=2, backend="numpy", random_state=0).fit(X, LABELS)
    theta = pickle.dumps(estimator.network_)
    refused(estimator.set_params(**parameters), arguments, keywords, words, "partial_fit")
    assert pickle.dumps(estimator.network_) == theta
