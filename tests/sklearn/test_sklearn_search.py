"""`PopulationSearchCV` gives GridSearchCV's results, with fits that are made as populations."""

from __future__ import annotations

import itertools
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from nanostep.sklearn import MLPClassifier, MLPRegressor, PopulationSearchCV
from nanostep.sklearn._base import BaseMLP
from nanostep.sklearn._batched_fit import BatchedFit, fit_batch, group_key
from nanostep.sklearn._fit_cache import CachedFit, cached_fits, find_cached_fit, fingerprint, fit_key

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(0)
X = RNG.standard_normal((120, 5))
LABELS = (X[:, 0] + X[:, 1] ** 2 > 0.5).astype(int) + (X[:, 2] > 0.8)
VALUES = np.stack([X[:, 0] * X[:, 1], np.sin(X[:, 2])], axis=1)

CLASSIFIER = MLPClassifier((6,), max_iter=25, random_state=3, batch_size=16, backend="c")
REGRESSOR = MLPRegressor(hidden_layer_sizes=(6,), max_iter=25, random_state=3, backend="c", solver="sgd")
GRID = {"learning_rate_init": [0.003, 0.01, 0.03], "alpha": [0.0, 0.1]}

CASES = {
    "classifier": (CLASSIFIER, GRID, LABELS),
    "two classes": (CLASSIFIER, GRID, LABELS > 0),
    "settles": (clone(CLASSIFIER).set_params(max_iter=200), {"tol": [0.01, 0.05], "n_iter_no_change": [2, 5]}, LABELS),
    "weights of classes": (clone(CLASSIFIER).set_params(class_weight="balanced"), GRID, LABELS),
    "regressor": (REGRESSOR, {**GRID, "momentum": [0.0, 0.5, 0.9]}, VALUES),
    "rates that change": (REGRESSOR, {**GRID, "learning_rate": ["adaptive", "invscaling"], "tol": [0.01]}, VALUES),
    "architectures": (REGRESSOR, {**GRID, "hidden_layer_sizes": [(3,), (4, 3)], "activation": ["tanh"]}, VALUES),
    "clipped": (REGRESSOR, {"clip": [0.1, 0.5]}, VALUES),
    "in order": (clone(REGRESSOR).set_params(shuffle=False, loss="huber"), GRID, VALUES),
    "poisson": (clone(REGRESSOR).set_params(loss="poisson"), GRID, np.abs(VALUES)),
}


def _scores(search: Any) -> np.ndarray:
    names = [f"split{i}_{kind}_score" for i in range(search.n_splits_) for kind in ("test", "train")]
    return np.array([search.cv_results_[name] for name in names])


def _both(estimator: Any, grid: Any, y: np.ndarray, **options: Any) -> tuple[Any, Any]:
    options = {"cv": 3, "return_train_score": True, "refit": False, **options}
    return tuple(kind(estimator, grid, **options).fit(X, y) for kind in (PopulationSearchCV, GridSearchCV))


@pytest.mark.parametrize("name", CASES)
def test_results_are_those_of_grid_search(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    estimator, grid, y = CASES[name]
    want = GridSearchCV(estimator, grid, cv=3, return_train_score=True).fit(X, y)
    runs = itertools.count()
    run = BatchedFit.run
    monkeypatch.setattr(BatchedFit, "run", lambda self: (next(runs), run(self))[1])
    got = PopulationSearchCV(estimator, grid, cv=3, return_train_score=True).fit(X, y)
    assert next(runs) >= 3  # a population for each fold
    np.testing.assert_allclose(_scores(got), _scores(want), atol=1e-9)
    assert got.best_params_ == want.best_params_
    assert list(got.cv_results_) == list(want.cv_results_)
    np.testing.assert_array_equal(got.predict(X[:5]), want.predict(X[:5]))
    assert (got.cv_results_["mean_fit_time"] > 0).all()


def test_all_fits_of_the_search_are_made_together(monkeypatch: pytest.MonkeyPatch) -> None:
    def fit_stochastic(*_: Any) -> None:
        raise AssertionError("one by one")

    monkeypatch.setattr(BaseMLP, "_fit_stochastic", fit_stochastic)
    search = PopulationSearchCV(CLASSIFIER, GRID, cv=3, refit=False, error_score="raise")
    search.fit(X, LABELS)
    pipeline = make_pipeline(StandardScaler(), CLASSIFIER)
    PopulationSearchCV(pipeline, {"mlpclassifier__alpha": [0.1, 1, 2]}, cv=3, refit=False).fit(X, LABELS)
    # splits that are drawn anew at every call, and splits that can be read only once
    PopulationSearchCV(CLASSIFIER, GRID, cv=KFold(3, shuffle=True), refit=False).fit(X, LABELS)
    PopulationSearchCV(CLASSIFIER, GRID, cv=iter(list(KFold(3).split(X))), refit=False).fit(X, LABELS)
    with pytest.raises(AssertionError, match="one by one"):
        GridSearchCV(CLASSIFIER, GRID, cv=3, refit=False, error_score="raise").fit(X, LABELS)
    assert search.cv == 3


@pytest.mark.parametrize("case", ["classifier", "regressor", "rates that change"])
def test_estimators_are_as_if_fitted_alone(case: str) -> None:
    estimator, grid, y = CASES[case]
    rates = [{**{name: values[0] for name, values in grid.items()}, "learning_rate_init": r} for r in (0.01, 0.02, 0.4)]
    together = [clone(estimator).set_params(**rate) for rate in rates]
    fits = fit_batch(together, X, y)
    for fit, rate in zip(fits, rates, strict=True):
        alone = clone(estimator).set_params(**rate).fit(X, y)
        got = fit.estimator
        assert vars(got).keys() == vars(alone).keys()
        assert (got.n_iter_, got.t_) == (alone.n_iter_, alone.t_)
        np.testing.assert_allclose(got.loss_curve_, alone.loss_curve_, rtol=1e-9)
        np.testing.assert_allclose(got.best_loss_, alone.best_loss_, rtol=1e-9)
        # the optimiser's state too: both continue alike
        for one in (got, alone):
            one.partial_fit(X, y)
        np.testing.assert_allclose(got.network_.theta, alone.network_.theta, rtol=1e-7, atol=1e-9)


def test_what_is_not_made_together_is_fitted_all_the_same() -> None:
    for estimator, grid, y in (
        (clone(CLASSIFIER).set_params(random_state=np.random.RandomState(1)), GRID, LABELS),
        (clone(CLASSIFIER).set_params(max_iter=5), {"early_stopping": [False, True], "dropout": [0.0, 0.5]}, LABELS),
        (clone(CLASSIFIER).set_params(max_iter=5), {"solver": ["lbfgs", "sgd"]}, LABELS),
        (clone(CLASSIFIER).set_params(max_iter=3, backend="numpy"), GRID, LABELS),
        (clone(CLASSIFIER).set_params(max_iter=3, hidden_layer_sizes=(70,)), GRID, LABELS),
        (make_pipeline(StandardScaler(), SVC()), {"svc__C": [1, 2]}, LABELS),
    ):
        got, want = _both(estimator, grid, y)
        np.testing.assert_allclose(_scores(got), _scores(want), atol=1e-9)
    weights = np.ones(len(X))
    assert PopulationSearchCV(CLASSIFIER, GRID, cv=3).fit(X, LABELS, sample_weight=weights).best_score_ > 0


def test_joblib_makes_the_populations() -> None:
    here, there = (PopulationSearchCV(CLASSIFIER, GRID, cv=3, n_jobs=n, refit=False) for n in (None, 2))
    with joblib.parallel_config("threading"):
        there.fit(X, LABELS)
    np.testing.assert_array_equal(
        here.fit(X, LABELS).cv_results_["mean_test_score"], there.cv_results_["mean_test_score"]
    )


def test_errors_are_those_of_grid_search() -> None:
    for y, grid in ((LABELS[:-1], GRID), (LABELS, {"alpha": [-1.0, 0.1]}), (LABELS, {"nonsense": [1]})):
        messages = []
        for kind in (PopulationSearchCV, GridSearchCV):
            with pytest.raises(ValueError) as caught:
                kind(CLASSIFIER, grid, cv=3, error_score="raise").fit(X, y)
            messages.append(str(caught.value))
        assert messages[0] == messages[1]
    # a fit that diverges affects its own score only
    huge = {"learning_rate_init": [0.01, 1e300]}
    with pytest.warns(FitFailedWarning, match="3 fits failed"), pytest.warns(UserWarning, match="non-finite"):
        search = PopulationSearchCV(REGRESSOR, huge, cv=3).fit(X, VALUES)
    assert np.isnan(search.cv_results_["mean_test_score"]).tolist() == [False, True]


def test_a_fit_is_found_for_its_own_data_and_parameters_only() -> None:
    fitted = clone(CLASSIFIER).fit(X, LABELS)
    store = {fit_key(CLASSIFIER, fingerprint(X, LABELS)): CachedFit(fitted, None, [], 1.0)}
    assert find_cached_fit(CLASSIFIER, X, LABELS) is None
    with cached_fits(store):
        assert find_cached_fit(clone(CLASSIFIER), X.copy(), LABELS.copy()) is not None
        other = X.copy()
        other[50, 2] += 1e-9
        assert find_cached_fit(CLASSIFIER, other, LABELS) is None
        assert find_cached_fit(CLASSIFIER, X, LABELS[::-1]) is None
        assert find_cached_fit(CLASSIFIER, X.astype(np.float32), LABELS) is None
        assert find_cached_fit(CLASSIFIER, X.reshape(-1, 10), LABELS) is None
        assert find_cached_fit(clone(CLASSIFIER).set_params(alpha=0.5), X, LABELS) is None
        assert find_cached_fit(clone(CLASSIFIER).fit(X, LABELS), X, LABELS) is not None
        weights = np.linspace(0.1, 2, len(X))
        weighted = clone(CLASSIFIER).fit(X, LABELS, sample_weight=weights)
        assert weighted.loss_curve_ != fitted.loss_curve_
    assert find_cached_fit(CLASSIFIER, X, LABELS) is None


def test_groups() -> None:
    for name, value in (("batch_size", 8), ("random_state", 4), ("solver", "sgd"), ("class_weight", {0: 2.0})):
        assert group_key(clone(CLASSIFIER).set_params(**{name: value})) != group_key(CLASSIFIER)
    for name, value in (("alpha", 1.0), ("beta_1", 0.5), ("epsilon", 0.1), ("tol", 0.1), ("max_iter", 3)):
        assert group_key(clone(CLASSIFIER).set_params(**{name: value})) == group_key(CLASSIFIER)
    for name, value in (("early_stopping", True), ("dropout", 0.1), ("random_state", None), ("solver", "lbfgs")):
        assert group_key(clone(CLASSIFIER).set_params(**{name: value})) is None
