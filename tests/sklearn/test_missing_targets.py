"""`nan_targets="ignore"` of the estimators."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nanostep.sklearn import MLPClassifier, MLPRegressor

RNG = np.random.default_rng(4)
X = RNG.standard_normal((80, 3))
NAN = float("nan")
SETTINGS: dict[str, Any] = {
    "hidden_layer_sizes": (6,), "activation": "tanh", "random_state": 0, "max_iter": 30, "learning_rate_init": 0.01,
    "tol": 0, "n_iter_no_change": np.inf, "backend": "numpy",
}  # fmt: skip


def targets() -> np.ndarray:
    return np.stack([np.sin(X[:, 0]), X[:, 1] * X[:, 2]], axis=1)


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_regressor_learns_what_is_there(solver: str) -> None:
    y = targets()
    y[::2, 0] = NAN
    regressor = MLPRegressor(solver=solver, nan_targets="ignore", **{**SETTINGS, "max_iter": 300})
    regressor.fit(X, y)
    error = regressor.predict(X) - targets()
    assert np.abs(error[:, 0]).mean() < np.abs(targets()[:, 0]).mean() / 2
    # what the missing targets are makes no difference: NaN is NaN
    assert np.isfinite(regressor.loss_)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("loss", ["squared_error", "poisson", "huber", "absolute_error"])
def test_rows_without_targets_move_nothing(loss: str) -> None:
    """With all samples in a batch, rows without targets only change what the sum is divided by."""
    y = np.abs(targets())
    half = np.vstack([y[:40], np.full((40, 2), NAN)])
    settings = {**SETTINGS, "batch_size": 80, "shuffle": False, "alpha": 0.0, "solver": "sgd", "momentum": 0.0}
    ignoring = MLPRegressor(loss, nan_targets="ignore", **{**settings, "learning_rate_init": 0.02}).fit(X, half)
    some = MLPRegressor(loss, **{**settings, "batch_size": 40}).fit(X[:40], y[:40])
    np.testing.assert_allclose(ignoring.predict(X), some.predict(X), rtol=1e-9)
    assert ignoring.loss_ == pytest.approx(some.loss_ / 2)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("labels", [["a", "b"], ["a", "b", "c"], [0.0, 1.0]])
def test_a_classifier_learns_from_the_labels_that_are_there(labels: list[Any]) -> None:
    which = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0.5) * (len(labels) == 3)
    y = np.array(labels, object if isinstance(labels[0], str) else float)[which]
    missing = NAN if isinstance(labels[0], float) else None
    partly = y.copy()
    partly[::3] = missing
    classifier = MLPClassifier(nan_targets="ignore", early_stopping=True, **{**SETTINGS, "max_iter": 200}).fit(
        X, partly
    )
    assert classifier.classes_.tolist() == labels
    assert np.mean(classifier.predict(X) == y) > 0.85
    assert all(0 <= score <= 1 for score in classifier.validation_scores_)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_several_labels_of_which_some_are_missing() -> None:
    y = np.stack([X[:, 0] > 0, X[:, 1] > 0], axis=1).astype(float)
    partly = y.copy()
    partly[::2, 0] = NAN
    classifier = MLPClassifier(nan_targets="ignore", **{**SETTINGS, "max_iter": 200}).fit(X, partly)
    assert np.mean(classifier.predict(X) == y) > 0.9


def test_what_is_refused() -> None:
    y = targets()
    y[0, 0] = NAN
    with pytest.raises(ValueError, match="NaN"):
        MLPRegressor(**SETTINGS).fit(X, y)
    with pytest.raises(ValueError, match="solver='lm' needs all targets"):
        MLPRegressor(nan_targets="ignore", **{**SETTINGS, "solver": "lm"}).fit(X, y)
    with pytest.raises(ValueError, match="missing for all samples"):
        MLPRegressor(nan_targets="ignore", **SETTINGS).fit(X, np.full(80, NAN))
    y[1, 1] = np.inf
    with pytest.raises(ValueError, match="infinity"):
        MLPRegressor(nan_targets="ignore", **SETTINGS).fit(X, y)
    with pytest.raises(ValueError, match="nan_targets"):
        MLPRegressor(nan_targets="skip", **SETTINGS).fit(X, targets())
