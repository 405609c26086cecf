"""The estimators follow scikit-learn's loss curves, scores, learning rates and stops, with the same random_state."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, make_multilabel_classification

from cases import REQUIRED
from nanostep import sklearn as ours
from sklearn import neural_network

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:A column-vector y"),
]

TOLERANCE = 1e-6
"""Largest difference of losses over 20 epochs, relative to the larger of 1 and the loss."""


def scaled(X: np.ndarray) -> np.ndarray:
    return (X - X.mean(axis=0)) / X.std(axis=0)


@cache
def problem(name: str) -> tuple[str, np.ndarray, np.ndarray]:
    """Return the estimator's class, X and y."""
    if name == "binary":
        X, y = load_breast_cancer(return_X_y=True)
        return "MLPClassifier", scaled(X), y
    if name == "multiclass":
        X, y = load_iris(return_X_y=True)
        return "MLPClassifier", scaled(X), np.array(["setosa", "versicolor", "virginica"])[y]
    if name == "multilabel":
        X, y = make_multilabel_classification(150, random_state=0)
        return "MLPClassifier", scaled(X), y
    X, y = load_diabetes(return_X_y=True)
    if name == "few":
        X, y = X[:60], y[:60]
    X, y = scaled(X), y / 100
    return "MLPRegressor", X, {"regression": y, "few": y, "counts": np.round(y), "outputs": np.c_[y, y**2, -y]}[name]


def on_backends(rows: list[Any], *, compiled: list[int]) -> list[Any]:
    """Return every row on every backend; on Numba, which compiles for each architecture, only the listed rows."""
    return [(backend, row) for backend in REQUIRED for i, row in enumerate(rows) if backend != "numba" or i in compiled]


SMALL: dict[str, Any] = {"hidden_layer_sizes": (8, 5), "batch_size": 32}

RUNS: list[tuple[str, dict[str, Any]]] = [
    ("multiclass", {}),
    ("multiclass", {"solver": "sgd", "learning_rate_init": 0.1}),
    ("binary", SMALL),
    ("binary", {**SMALL, "solver": "sgd", "momentum": 0.0, "learning_rate_init": 0.1}),
    ("binary", {**SMALL, "early_stopping": True, "n_iter_no_change": 3, "tol": 1e-2}),
    ("multiclass", {**SMALL, "activation": "tanh", "alpha": 0.5}),
    ("multiclass", {**SMALL, "activation": "logistic", "shuffle": False}),
    ("multiclass", {**SMALL, "early_stopping": True, "validation_fraction": 0.2}),
    ("multiclass", {**SMALL, "solver": "sgd", "nesterovs_momentum": False, "learning_rate_init": 0.05}),
    ("multiclass", {**SMALL, "solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.5}),
    (
        "multiclass",
        {**SMALL, "solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.5, "tol": 0.05,
         "n_iter_no_change": 2},
    ),
    ("multilabel", SMALL),
    ("multilabel", {**SMALL, "early_stopping": True}),
    ("regression", {**SMALL, "beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3}),
    ("regression", {**SMALL, "early_stopping": True, "solver": "sgd"}),
    ("regression", {**SMALL, "hidden_layer_sizes": ()}),
    ("outputs", SMALL),
    ("outputs", {**SMALL, "activation": "identity", "solver": "sgd"}),
    ("counts", {**SMALL, "loss": "poisson"}),
    ("few", {**SMALL, "batch_size": 1}),
]  # fmt: skip


def compare(backend: str, name: str, parameters: dict[str, Any], weighted: bool) -> None:
    """Fit both for 20 epochs and compare the results."""
    estimator, X, y = problem(name)
    weight = np.random.default_rng(0).random(len(X)) if weighted else None
    arguments = {"random_state": 3, "max_iter": 20, **parameters}
    theirs = getattr(neural_network, estimator)(**arguments).fit(X, y, sample_weight=weight)
    mine = getattr(ours, estimator)(**arguments, backend=backend).fit(X, y, sample_weight=weight)
    for attribute in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(mine, attribute) == getattr(theirs, attribute), attribute
    close = {"rtol": TOLERANCE, "atol": TOLERANCE}
    np.testing.assert_allclose(mine.loss_curve_, theirs.loss_curve_, **close)
    for attribute in ("loss_", "best_loss_", "validation_scores_", "best_validation_score_"):
        expected = getattr(theirs, attribute)
        if expected is None:
            assert getattr(mine, attribute) is None
        else:
            np.testing.assert_allclose(getattr(mine, attribute), expected, **close)
    for attribute in ("coefs_", "intercepts_"):
        for got, expected in zip(getattr(mine, attribute), getattr(theirs, attribute), strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=TOLERANCE)
    np.testing.assert_allclose(mine.score(X, y), theirs.score(X, y), **close)


@pytest.mark.parametrize(("backend", "run"), on_backends(RUNS, compiled=[2, 9, 12, 18]))
def test_the_loss_curve_follows_scikit_learn(backend: str, run: tuple[str, dict[str, Any]]) -> None:
    compare(backend, *run, weighted=False)


@pytest.mark.parametrize(
    ("backend", "name"),
    on_backends(["binary", "multiclass", "multilabel", "regression", "outputs", "counts"], compiled=[4]),
)
def test_it_does_with_weights(backend: str, name: str) -> None:
    compare(backend, name, {**SMALL, **({"loss": "poisson"} if name == "counts" else {})}, weighted=True)


def test_a_wrong_form_of_the_optimiser_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch's forms of Adam and of momentum differ by less than a plot shows, but by more than TOLERANCE."""
    from nanostep.sklearn import _parameters

    for changed, parameters in (
        ({"epsilon_hat": False}, {"epsilon": 1e-5}),
        ({"velocity_with_rate": False}, {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.5}),
    ):
        with monkeypatch.context() as patch:
            name = "SGD" if "solver" in parameters else "Adam"
            made = getattr(_parameters, name)
            patch.setattr(_parameters, name, lambda *a, made=made, changed=changed, **k: made(*a, **{**k, **changed}))
            with pytest.raises(AssertionError, match="Not equal to tolerance"):
                compare("numpy", "multiclass", {**SMALL, **parameters}, weighted=False)


@pytest.mark.parametrize("name", ["binary", "multiclass", "regression"])
def test_partial_fit_follows_scikit_learn(name: str) -> None:
    estimator, X, y = problem(name)
    for parameters in ({}, {"solver": "sgd", "learning_rate": "invscaling"}):
        pair = [
            getattr(neural_network, estimator)(**SMALL, **parameters, random_state=1),
            getattr(ours, estimator)(**SMALL, **parameters, random_state=1, backend="numpy"),
        ]
        classes = {"classes": np.unique(y)} if estimator == "MLPClassifier" else {}
        for rows in (slice(0, 60), slice(60, 100), slice(100, 150), slice(0, 60)):
            for one in pair:
                one.partial_fit(X[rows], y[rows], **classes)
        np.testing.assert_allclose(pair[1].loss_curve_, pair[0].loss_curve_, rtol=TOLERANCE)
        assert pair[1].t_ == pair[0].t_
        assert pair[1].n_iter_ == pair[0].n_iter_ == 1


@pytest.mark.parametrize(("backend", "name"), on_backends(["binary", "multiclass", "counts"], compiled=[0]))
def test_lbfgs_reaches_the_same_minimum(backend: str, name: str) -> None:
    estimator, X, y = problem(name)
    arguments: dict[str, Any] = {
        "hidden_layer_sizes": (3,), "activation": "tanh", "solver": "lbfgs", "alpha": 5.0, "max_iter": 3000,
        "tol": 1e-6, "random_state": 0, **({"loss": "poisson"} if name == "counts" else {}),
    }  # fmt: skip
    weight = np.random.default_rng(0).random(len(X))
    theirs = getattr(neural_network, estimator)(**arguments).fit(X, y, sample_weight=weight)
    mine = getattr(ours, estimator)(**arguments, backend=backend).fit(X, y, sample_weight=weight)
    assert mine.loss_ == pytest.approx(theirs.loss_, rel=1e-5)
    np.testing.assert_allclose(mine.coefs_[0], theirs.coefs_[0], atol=2e-3)
