"""Ensembles: members trained together with bootstrap weights, their mean and their spread."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import check_estimator

from nanostep.sklearn import MLPClassifier, MLPEnsembleClassifier, MLPEnsembleRegressor, MLPRegressor
from nanostep.sklearn._base import BaseMLP
from nanostep.sklearn._batched_fit import BatchedFit

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(1)
X = RNG.uniform(-1, 1, (80, 2))
LABELS = np.array(["low", "mid", "high"])[(X[:, 0] > 0).astype(int) + (X[:, 1] > 0.5)]
VALUES = X[:, 0] ** 2 - X[:, 1]
MEMBER = MLPRegressor(hidden_layer_sizes=(5,), max_iter=20, learning_rate_init=0.02, batch_size=16)

KINDS = pytest.mark.parametrize("kind", [MLPEnsembleClassifier, MLPEnsembleRegressor])


@KINDS
@pytest.mark.parametrize("bootstrap", [True, False])
def test_check_estimator(kind: Any, bootstrap: bool) -> None:
    # draws treat a sample of weight 2 as one sample; without draws, weights and repetitions are the same
    weights = {f"check_sample_weight_equivalence_on_{data}_data": "draws" for data in ("dense", "sparse")}
    member = kind._member(hidden_layer_sizes=(10,), max_iter=60, learning_rate_init=0.02)
    results = check_estimator(
        kind(member, n_estimators=3, bootstrap=bootstrap, random_state=0),
        on_fail="raise",
        on_skip=None,
        expected_failed_checks=weights if bootstrap else None,
    )
    assert len(results) > 50
    failed = {result["check_name"] for result in results if result["status"] == "xfail"}
    assert failed == (set(weights) if bootstrap else set())


def _alone(ensemble: Any, X: Any, y: Any, weight: np.ndarray | None, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return the members fitted singly with the weights that the ensemble has drawn."""
    drawn: list[np.ndarray] = []
    init = BatchedFit.__init__

    def spy(self: Any, estimators: Any, data: Any, generator: Any, weight: Any = None) -> None:
        drawn.append(weight)
        init(self, estimators, data, generator, weight)

    monkeypatch.setattr(BatchedFit, "__init__", spy)
    ensemble.fit(X, y, sample_weight=weight)
    assert len(drawn) == 1
    rows = [None] * len(ensemble.estimators_) if drawn[0] is None else drawn[0]
    return [clone(m).fit(X, y, sample_weight=row) for m, row in zip(ensemble.estimators_, rows, strict=True)]


@pytest.mark.parametrize("weighted", [False, True])
def test_members_are_weighted_networks(weighted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    # with all samples in one batch the order makes no difference, so a member equals its own fit
    member = clone(MEMBER).set_params(batch_size=len(X), alpha=0.01)
    weight = np.linspace(0, 2, len(X)) if weighted else None
    ensemble = MLPEnsembleRegressor(member, n_estimators=11, random_state=5)
    alone = _alone(ensemble, X, VALUES, weight, monkeypatch)
    for got, want in zip(ensemble.estimators_, alone, strict=True):
        np.testing.assert_allclose(got.network_.theta, want.network_.theta, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(got.loss_curve_, want.loss_curve_, rtol=1e-9)
    assert len({m.loss_ for m in ensemble.estimators_}) == 11


def test_bootstrap_draws_as_many_as_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = MLPEnsembleRegressor(n_estimators=200)._draw(np.random.RandomState(0), np.ones(50))
    assert drawn is not None
    assert (drawn.sum(axis=1) == 50).all()
    # the share of the samples that a member leaves out: (1 - 1/50)**50
    assert (drawn == 0).mean() == pytest.approx(0.364, abs=0.02)
    only = np.zeros(50)
    only[7] = 1
    some = MLPEnsembleRegressor(n_estimators=200)._draw(np.random.RandomState(0), only)
    assert some is not None
    assert (some[:, 7] > 0).all()


@pytest.mark.parametrize(
    "change", [{"solver": "lbfgs"}, {"early_stopping": True}, {"dropout": 0.2}, {"hidden_layer_sizes": (70,)}]
)
def test_members_that_are_not_trained_side_by_side(change: dict[str, Any]) -> None:
    member = clone(MEMBER).set_params(max_iter=5, **change)
    ensemble = MLPEnsembleRegressor(member, n_estimators=3, random_state=0).fit(X, VALUES)
    assert ensemble.predict(X).shape == (80,)
    assert len(np.unique([m.network_.theta[0] for m in ensemble.estimators_])) == 3


def test_training_is_one_population(monkeypatch: pytest.MonkeyPatch) -> None:
    def fit_stochastic(*_: Any) -> None:
        raise AssertionError("one by one")

    monkeypatch.setattr(BaseMLP, "_fit_stochastic", fit_stochastic)
    MLPEnsembleRegressor(MEMBER, random_state=0).fit(X, VALUES)
    with pytest.raises(AssertionError, match="one by one"):
        MLPEnsembleRegressor(clone(MEMBER).set_params(dropout=0.1), random_state=0).fit(X, VALUES)


def test_mean_and_spread_of_a_regressor() -> None:
    ensemble = MLPEnsembleRegressor(MEMBER, n_estimators=30, random_state=0, oob_score=True).fit(X, VALUES)
    members = ensemble.predict_members(X)
    mean, std = ensemble.predict(X, return_std=True)
    assert members.shape == (30, 80)
    np.testing.assert_allclose(mean, members.mean(axis=0))
    np.testing.assert_allclose(std, members.std(axis=0))
    np.testing.assert_array_equal(ensemble.predict(X), mean)
    known = np.isfinite(ensemble.oob_prediction_)
    assert ensemble.oob_score_ == pytest.approx(r2_score(VALUES[known], ensemble.oob_prediction_[known]))
    far = ensemble.predict(np.array([[4.0, -4.0]]), return_std=True)[1]
    assert far[0] > 2 * std.mean()
    assert MLPEnsembleRegressor(MEMBER, random_state=0).fit(X, np.stack([VALUES] * 2, 1)).predict(X).shape == (80, 2)


def test_mean_and_spread_of_a_classifier() -> None:
    member = MLPClassifier((6,), max_iter=40, learning_rate_init=0.02)
    ensemble = MLPEnsembleClassifier(member, n_estimators=30, random_state=0, oob_score=True).fit(X, LABELS)
    mean, std = ensemble.predict_proba(X, return_std=True)
    members = ensemble.predict_members(X)
    assert members.shape == (30, 80, 3)
    np.testing.assert_allclose(mean, members.mean(axis=0))
    np.testing.assert_allclose(std, members.std(axis=0))
    np.testing.assert_allclose(np.exp(ensemble.predict_log_proba(X)), mean)
    np.testing.assert_array_equal(ensemble.predict(X), ensemble.classes_[mean.argmax(axis=1)])
    assert ensemble.score(X, LABELS) > 0.85
    assert 0.6 < ensemble.oob_score_ < 1
    assert ensemble.oob_decision_function_.shape == (80, 3)
    two = MLPEnsembleClassifier(member, n_estimators=30, random_state=0, oob_score=True).fit(X, LABELS == "low")
    assert two.oob_score_ > 0.7


def test_search_over_an_ensemble() -> None:
    grid = {"estimator__alpha": [1e-4, 10.0], "n_estimators": [2]}
    search = GridSearchCV(MLPEnsembleRegressor(MEMBER, random_state=0), grid, cv=2).fit(X, VALUES)
    assert search.best_params_["estimator__alpha"] == 1e-4


def test_bad_input() -> None:
    for arguments, kind, message in (
        ({"estimator": MLPClassifier()}, TypeError, "estimator must be a MLPRegressor of nanostep.sklearn"),
        ({"n_estimators": 0}, ValueError, "'n_estimators' parameter"),
        ({"oob_score": True, "bootstrap": False}, ValueError, "bootstrap=True"),
        ({"estimator": MLPRegressor(alpha=-1.0)}, ValueError, "'alpha' parameter"),
    ):
        with pytest.raises(kind, match=message):
            MLPEnsembleRegressor(**arguments).fit(X, VALUES)
    with pytest.raises(ValueError, match="must not be negative"):
        MLPEnsembleRegressor(MEMBER).fit(X, VALUES, sample_weight=np.linspace(-1, 1, 80))
    with pytest.warns(UserWarning, match="drawn by every member"):
        MLPEnsembleRegressor(MEMBER, n_estimators=1, oob_score=True, random_state=0).fit(X, VALUES)
