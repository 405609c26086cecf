"""The estimators with scikit-learn's tools: frames, pipelines, searches, routing, callbacks, pickles, parameters."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import sklearn
from cases import REQUIRED
from nanostep.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 4))
LABELS = np.array(["no", "perhaps", "yes"])[RNG.integers(0, 3, 60)]
VALUES = X @ [1.0, -2.0, 0.5, 0.0]


def classifier(**parameters: Any) -> MLPClassifier:
    return MLPClassifier(
        **{"hidden_layer_sizes": (6,), "max_iter": 5, "random_state": 0, "backend": "numpy", **parameters}
    )


def regressor(**parameters: Any) -> MLPRegressor:
    return MLPRegressor(
        **{"hidden_layer_sizes": (6,), "max_iter": 5, "random_state": 0, "backend": "numpy", **parameters}
    )


# -- predictions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("backend", "dtype"),
    [
        (backend, dtype)
        for backend in REQUIRED
        for dtype in ("float32", "float64")
        if (backend, dtype) != ("numba", "float64")
    ],
)
def test_the_short_way_gives_what_the_long_way_gives(backend: str, dtype: str) -> None:
    """Lists go through scikit-learn's validation; plain arrays skip it, and a single row skips the gate too."""
    plain = X.astype(dtype)
    targets = (LABELS, LABELS == "yes", np.c_[LABELS == "yes", LABELS == "no"].astype(int))
    fitted = [classifier(backend=backend, dtype=dtype).fit(plain, y) for y in targets]
    fitted += [regressor(backend=backend, dtype=dtype).fit(plain, y) for y in (VALUES, np.c_[VALUES, VALUES])]
    fitted.append(regressor(backend=backend, dtype=dtype, loss="poisson").fit(plain, VALUES**2))
    for estimator in fitted:
        methods = ("predict", *(m for m in ("predict_proba", "predict_log_proba") if hasattr(estimator, m)))
        for call in (getattr(estimator, method) for method in methods):
            long = call(plain.tolist())
            for check in (True, False):
                short = call(plain, check_input=check)
                assert short.dtype == long.dtype
                np.testing.assert_array_equal(short, long)
                row = call(plain[3:4], check_input=check)
                assert row.shape == (1, *long.shape[1:])
                assert row.dtype == long.dtype
                if row.dtype.kind == "f":
                    np.testing.assert_allclose(row, long[3:4], rtol=1e-4 if dtype == "float32" else 1e-12)
                else:
                    np.testing.assert_array_equal(row, long[3:4])
    strided = np.asfortranarray(plain)
    np.testing.assert_array_equal(fitted[0].predict_proba(strided), fitted[0].predict_proba(plain))


@pytest.mark.parametrize("rows", [1, 3])
def test_input_is_searched_for_nan_unless_asked_not_to(rows: int) -> None:
    fitted = regressor(backend=REQUIRED[0]).fit(X, VALUES)
    bad = X[:rows].copy()
    bad[-1, 2] = np.nan
    with pytest.raises(ValueError, match="contains NaN"):
        fitted.predict(bad)
    assert np.isnan(fitted.predict(bad, check_input=False)[-1])
    with sklearn.config_context(assume_finite=True):
        assert np.isnan(fitted.predict(bad)[-1])
    large = np.full((rows, 4), 1e308)
    assert fitted.predict(large).shape == (rows,)


def test_wrong_widths_are_refused_whatever_is_asked() -> None:
    fitted = regressor().fit(X, VALUES)
    for check in (True, False):
        for bad in (X[:, :3], X[0], np.zeros((0, 4))):
            with pytest.raises(ValueError):
                fitted.predict(bad, check_input=check)


def test_predictions_before_a_fit_are_refused() -> None:
    for call in (classifier().predict, classifier().predict_proba, regressor().predict):
        with pytest.raises(NotFittedError, match="not fitted"):
            call(X)
    with pytest.raises(AttributeError, match="network_"):
        classifier().network_  # noqa: B018
    assert not hasattr(classifier(solver="lbfgs"), "partial_fit")


# -- parameters as arrays --------------------------------------------------------------------------------------------


def test_coefs_are_views_that_may_be_written_or_exchanged() -> None:
    fitted = regressor().fit(X, VALUES)
    assert [c.shape for c in fitted.coefs_] == [(4, 6), (6, 1)]
    fitted.coefs_[0][1, 2] = 7.0
    assert fitted.network_.weights[0][2, 1] == 7.0
    fitted.coefs_[1] = np.zeros((6, 1))
    fitted.intercepts_ = [np.zeros(6), [2.5]]
    np.testing.assert_array_equal(fitted.predict(X), np.full(60, 2.5))
    assert fitted.coefs_[1].base is not None
    fitted.network_.weights[1][...] = 1.0
    np.testing.assert_array_equal(fitted.coefs_[1], np.ones((6, 1)))
    other = regressor(random_state=1).fit(X, VALUES)
    fitted.coefs_, fitted.intercepts_ = other.coefs_, other.intercepts_
    np.testing.assert_array_equal(fitted.predict(X[:1]), other.predict(X[:1]))
    fitted.coefs_.append(np.zeros((1, 1)))
    with pytest.raises(ValueError, match="coefs_ must keep its shapes"):
        fitted.predict(X[:1])
    fitted.coefs_.pop()
    fitted.coefs_[0] = np.zeros((3, 6))
    with pytest.raises(ValueError, match=r"coefs_ must keep its shapes, \[\(4, 6\), \(6, 1\)\]"):
        fitted.predict(X)


def test_what_is_assigned_is_where_the_next_fit_goes_on() -> None:
    fitted = regressor(solver="sgd", learning_rate_init=1e-12).fit(X, VALUES)
    fitted.coefs_ = [np.ones((4, 6)), np.ones((6, 1))]
    fitted.partial_fit(X, VALUES)
    np.testing.assert_allclose(fitted.coefs_[0], 1.0)


@pytest.mark.parametrize("copied", [lambda e: pickle.loads(pickle.dumps(e)), copy.deepcopy], ids=["pickle", "deepcopy"])
def test_copies_are_whole_and_apart(copied: Any) -> None:
    fitted = classifier(early_stopping=True).fit(X, LABELS)
    fitted.coefs_[0] = fitted.coefs_[0] * 2
    other = copied(fitted)
    np.testing.assert_array_equal(other.predict_proba(X), fitted.predict_proba(X))
    other.coefs_[0][...] = 0.0
    assert not other.network_.weights[0].any()
    assert fitted.network_.weights[0].all()
    part = regressor().partial_fit(X, VALUES)
    goes_on = copied(part).partial_fit(X, VALUES)
    np.testing.assert_array_equal(goes_on.network_.theta, part.partial_fit(X, VALUES).network_.theta)


def test_clone_forgets_the_fit() -> None:
    fitted = classifier(dropout=0.1, class_weight="balanced", dtype="float32").fit(X, LABELS)
    other = clone(fitted)
    assert other.get_params() == fitted.get_params()
    assert not hasattr(other, "coefs_")


# -- tools -----------------------------------------------------------------------------------------------------------


def test_frames_give_feature_names() -> None:
    frame = pd.DataFrame(X, columns=list("abcd"))
    fitted = regressor().fit(frame, pd.Series(VALUES))
    assert fitted.feature_names_in_.tolist() == list("abcd")
    np.testing.assert_array_equal(fitted.predict(frame), regressor().fit(X, VALUES).predict(X))
    with pytest.warns(UserWarning, match="feature names"):
        fitted.predict(X)
    with pytest.raises(ValueError, match="feature names"):
        fitted.predict(frame.rename(columns={"a": "z"}))
    pipeline = make_pipeline(StandardScaler(), regressor()).set_output(transform="pandas").fit(frame, VALUES)
    assert pipeline[-1].feature_names_in_.tolist() == list("abcd")


def test_a_search_finds_what_it_finds_with_scikit_learn() -> None:
    from sklearn.neural_network import MLPClassifier as Theirs

    grid = {"alpha": [1e-4, 1.0], "learning_rate_init": [0.001, 0.05], "hidden_layer_sizes": [(6,), (4, 3)]}
    shared: dict[str, Any] = {"max_iter": 10, "random_state": 0, "batch_size": 20}
    mine, theirs = (
        GridSearchCV(estimator, grid, cv=3).fit(X, LABELS)
        for estimator in (MLPClassifier(**shared, backend="numpy"), Theirs(**shared))
    )
    np.testing.assert_allclose(mine.cv_results_["mean_test_score"], theirs.cv_results_["mean_test_score"])
    assert mine.best_params_ == theirs.best_params_


def test_weights_are_routed() -> None:
    weight = RNG.random(60)
    with sklearn.config_context(enable_metadata_routing=True):
        estimator = regressor().set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        search = GridSearchCV(estimator, {"alpha": [0.1]}, cv=2).fit(X, VALUES, sample_weight=weight)
        scores = cross_validate(estimator, X, VALUES, params={"sample_weight": weight}, cv=2)["test_score"]
    np.testing.assert_array_equal(
        search.best_estimator_.coefs_[0], regressor(alpha=0.1).fit(X, VALUES, weight).coefs_[0]
    )
    assert len(scores) == 2
    assert "check_input" not in str(regressor().get_metadata_routing())


def test_importing_nanostep_does_not_import_scikit_learn() -> None:
    code = "import nanostep, sys; sys.exit(any(m in sys.modules for m in ('sklearn', 'scipy', 'pandas', 'joblib')))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_without_scikit_learn_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [m for m in sys.modules if m == "nanostep.sklearn" or m.startswith("nanostep.sklearn.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match=r'pip install "nanostep\[sklearn\]"'):
        import nanostep.sklearn  # noqa: F401


# -- callbacks, which scikit-learn has from 1.9 on -------------------------------------------------------------------


class Recorder:
    """A callback that records its calls, and ends the fit after some iterations."""

    def __init__(self, iterations: int | None = None) -> None:
        self.iterations, self.events, self.estimators = iterations, [], []

    def setup(self, estimator: Any, context: Any) -> None:
        self.events.append("setup")

    def teardown(self, estimator: Any, context: Any) -> None:
        self.events.append("teardown")

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        self.events.append(f"begin {context.task_name}")

    def on_fit_task_end(
        self, estimator: Any, context: Any, *, X: Any, y: Any, metadata: Any, fitted_estimator: Any
    ) -> bool:
        self.events.append(f"end {context.task_name}")
        self.estimators.append((fitted_estimator, fitted_estimator.score(X, y, **metadata)))
        return self.iterations is not None and self.events.count("end iteration") == self.iterations


@pytest.mark.parametrize("parameters", [{}, {"early_stopping": True}, {"solver": "lbfgs"}])
def test_callbacks_are_told_of_every_iteration(parameters: dict[str, Any]) -> None:
    recorder = Recorder()
    estimator = classifier(max_iter=3, **parameters).set_callbacks(recorder)
    weight = RNG.random(60)
    estimator.fit(X, LABELS, weight)
    iteration = ["begin iteration", "end iteration"]
    assert recorder.events == ["setup", "begin fit", *iteration * 3, "end fit", "teardown"]
    plain = classifier(max_iter=1).fit(X, LABELS, weight)
    copies = [fitted for fitted, _ in recorder.estimators]
    assert copies[-1].predict_proba(X).tolist() == estimator.predict_proba(X).tolist()
    assert copies[0].network_ is not estimator.network_
    if not parameters:
        assert [len(fitted.loss_curve_) for fitted in copies] == [1, 2, 3, 3]
        np.testing.assert_array_equal(copies[0].coefs_[0], plain.coefs_[0])


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_a_callback_may_end_the_fit(solver: str) -> None:
    estimator = regressor(max_iter=50, solver=solver).set_callbacks(Recorder(2)).fit(X, VALUES)
    assert estimator.n_iter_ == 2


def test_scikit_learns_callbacks(capsys: pytest.CaptureFixture[str]) -> None:
    from sklearn.callback import ProgressBar, ScoringMonitor

    monitor = ScoringMonitor(scoring="accuracy")
    estimator = classifier().set_callbacks(ProgressBar(), monitor).fit(X, LABELS)
    log = monitor.get_logs().data
    assert [row["accuracy"] for row in log][-1] == estimator.score(X, LABELS)
    assert len(log) == 6
    assert "100%" in capsys.readouterr().out
    search = GridSearchCV(classifier(), {"alpha": [0.1, 1.0]}, cv=2).set_callbacks(
        ProgressBar(max_propagation_depth=None)
    )
    search.fit(X, LABELS)
    assert "MLPClassifier" in capsys.readouterr().out
