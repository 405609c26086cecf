"""scikit-learn's own checks of an estimator, on every backend, and the interface of its estimators."""

from __future__ import annotations

import inspect
import os
from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.utils.estimator_checks import check_estimator, estimator_checks_generator, parametrize_with_checks

from cases import REQUIRED
from nanostep import sklearn as ours
from nanostep.sklearn import MLPClassifier, MLPRegressor
from sklearn import neural_network

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

NOT_FOR_US = {
    "check_array_api_input",  # needs SCIPY_ARRAY_API in the environment of the whole process
    "check_classifiers_multilabel_output_format_decision_function",  # scikit-learn's MLPClassifier has none either
}


ON_NUMBA = {
    "check_estimators_pickle",
    "check_fit_idempotent",
    "check_methods_subset_invariance",
    "check_sample_weight_equivalence_on_dense_data",
}
"""Checks of fits and predictions on data of few shapes, because Numba compiles for a second for each shape. With
NANOSTEP_TEST_ALL_CHECKS=1 all checks run, which takes a minute."""

WHOLE = [b for b in REQUIRED if b == "numpy" or (b == "numba" and "NANOSTEP_TEST_ALL_CHECKS" in os.environ)]

KINDS = pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])


@KINDS
@pytest.mark.parametrize("backend", WHOLE)
def test_check_estimator(backend: str, kind: type[BaseEstimator]) -> None:
    results = check_estimator(kind(backend=backend), on_fail="raise", on_skip=None)
    assert {result["check_name"] for result in results if result["status"] != "passed"} <= NOT_FOR_US
    assert len(results) > 50


@KINDS
@pytest.mark.parametrize("backend", [backend for backend in REQUIRED if backend == "numba"])
def test_some_checks(backend: str, kind: type[BaseEstimator]) -> None:
    estimator = kind(hidden_layer_sizes=(4,), learning_rate_init=0.02, backend=backend)
    made = [check for _, check in estimator_checks_generator(estimator) if check.func.__name__ in ON_NUMBA]
    for check in made:
        check(estimator)
    assert {check.func.__name__ for check in made} == ON_NUMBA


@parametrize_with_checks([MLPClassifier(), MLPRegressor()])
def test_parametrize_with_checks(estimator: BaseEstimator, check: Any) -> None:
    """The default estimators, on the backend that "auto" stands for."""
    if check.func.__name__ not in NOT_FOR_US:
        check(estimator)


class Forgetful(MLPClassifier):
    """Breaks a rule, since `fit` changes a parameter."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Forgetful:
        self.max_iter = 1
        return super().fit(X, y, sample_weight)


def test_a_wrong_estimator_fails() -> None:
    with pytest.raises(AssertionError, match="max_iter"):
        check_estimator(Forgetful(backend="numpy"), on_fail="raise", on_skip=None)


@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_the_interface_is_that_of_scikit_learn(name: str) -> None:
    """Parameters come first, in the same order, with the same defaults and kinds; methods take the same arguments."""
    theirs, mine = getattr(neural_network, name), getattr(ours, name)
    for method in ("__init__", "fit", "partial_fit", "predict", "score", *(
        ["predict_proba", "predict_log_proba"] if name == "MLPClassifier" else []
    )):  # fmt: skip
        expected = list(inspect.signature(getattr(theirs, method)).parameters.values())
        got = list(inspect.signature(getattr(mine, method)).parameters.values())[: len(expected)]
        assert [(p.name, p.default, p.kind) for p in got] == [(p.name, p.default, p.kind) for p in expected], method
    public = {attribute for attribute in dir(theirs) if not attribute.startswith("_")}
    assert public <= set(dir(mine))


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_the_attributes_are_those_of_scikit_learn(name: str, solver: str, early_stopping: bool) -> None:
    X, y = np.random.default_rng(0).standard_normal((40, 3)), np.arange(40) % 2
    arguments: dict[str, Any] = {"solver": solver, "early_stopping": early_stopping, "max_iter": 3, "random_state": 0}
    theirs = getattr(neural_network, name)(**arguments).fit(X, y)
    mine = getattr(ours, name)(**arguments, backend="numpy").fit(X, y)
    fitted = {attribute for attribute in vars(theirs) if attribute.endswith("_") and not attribute.startswith("_")}
    assert fitted <= set(vars(mine))
    for attribute in fitted:
        assert (getattr(mine, attribute) is None) == (getattr(theirs, attribute) is None), attribute
