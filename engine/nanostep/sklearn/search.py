"""`PopulationSearchCV`: a GridSearchCV that trains its candidates as populations."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import nullcontext
from typing import Any, Self

import joblib
import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.model_selection import GridSearchCV, ParameterGrid, check_cv
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing, indexable
from sklearn.utils.parallel import Parallel, delayed

from nanostep.sklearn._base import BaseMLP
from nanostep.sklearn._batched_fit import fit_batch, fit_single, group_key
from nanostep.sklearn._fit_cache import CachedFit, cached_fits, fingerprint, fit_key


class PopulationSearchCV(GridSearchCV):
    """`sklearn.model_selection.GridSearchCV` for this package's estimators that trains many candidates at once.

    Parameters, attributes, scores and warnings are those of GridSearchCV. The fits are made in another way: candidates
    that share an architecture, a batch size, a solver and an int `random_state`, and differ in rates, penalties,
    momenta or stopping criteria, are trained as one population on each training set (see `nanostep.Population`), to the
    same weights up to rounding; networks with layers of more than 64 units take a thread each. Other candidates, and
    those with early stopping or dropout, are fitted one by one.

    Parameters
    ----------
    estimator : MLPClassifier, MLPRegressor, or Pipeline that ends with one
        With other estimators, and with `sample_weight` in `fit`, this is a plain GridSearchCV. With
        ``random_state=None`` every candidate has its own order of the samples, so they are trained one by one: give an
        int.
    param_grid, scoring, n_jobs, refit, cv, verbose, pre_dispatch, error_score, return_train_score
        As in GridSearchCV. `n_jobs` populations are trained at a time; each of them uses the estimator's `threads`, by
        default all processors in the main process and one in a worker of joblib.

    Attributes
    ----------
    cv_results_ : dict
        As in GridSearchCV. The fit time of a candidate is its share of the population's.
    best_estimator_, best_score_, best_params_, best_index_, scorer_, n_splits_, refit_time_, multimetric_, classes_, \
n_features_in_, feature_names_in_
        As in GridSearchCV.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from nanostep.sklearn import MLPClassifier, PopulationSearchCV
    >>> X, y = load_iris(return_X_y=True)
    >>> grid = {"learning_rate_init": [0.003, 0.01, 0.03], "alpha": [1e-4, 1e-2]}
    >>> network = MLPClassifier((8,), max_iter=1000, tol=0.001, random_state=0)
    >>> search = PopulationSearchCV(network, grid, cv=3).fit(X / 10, y)
    >>> bool(search.best_score_ > 0.9)
    True
    """

    def fit(self, X: Any, y: Any = None, **params: Any) -> Self:
        """Fit all candidates, and refit the best one to all data.

        Parameters
        ----------
        X, y, **params
            As in GridSearchCV.

        Returns
        -------
        self
        """
        final = self.estimator.steps[-1][1] if isinstance(self.estimator, Pipeline) else self.estimator
        weighted = any(params[name] is not None for name in params if name != "groups")
        if not isinstance(final, BaseMLP) or weighted or y is None:
            super().fit(X, y, **params)
            return self
        X, y = indexable(X, y)
        cv = self.get_params(deep=False)["cv"]
        # split once, because fits are looked up by their training data
        splits = list(check_cv(cv, y, classifier=is_classifier(self.estimator)).split(X, y, params.get("groups")))
        store, seconds = self._fit_ahead(X, y, splits)
        try:
            self.cv = splits
            # sequential, because fits are only looked up
            with cached_fits(store), joblib.parallel_config("sequential") if store else nullcontext():
                super().fit(X, y, **params)
        finally:
            self.cv = cv
        if np.isfinite(seconds).all():
            self.cv_results_["mean_fit_time"], self.cv_results_["std_fit_time"] = seconds.mean(1), seconds.std(1)
        return self

    def _fit_ahead(
        self, X: Any, y: Any, splits: list[tuple[np.ndarray, np.ndarray]]
    ) -> tuple[dict[Hashable, CachedFit], np.ndarray]:
        """Return the fits of all candidates to all training sets, and the seconds of each, (candidates, splits).

        Fits that fail are left out; scikit-learn repeats them and reports the error.
        """
        candidates = [clone(self.estimator).set_params(**clone(c, safe=False)) for c in ParameterGrid(self.param_grid)]
        tasks = (
            (split, *task)
            for split, (train, _) in enumerate(splits)
            for task in _tasks(candidates, _safe_indexing(X, train), _safe_indexing(y, train))
        )
        parallel = Parallel(n_jobs=self.n_jobs, pre_dispatch=self.pre_dispatch)
        store, seconds = {}, np.full((len(candidates), len(splits)), np.nan)
        for split, group, fits in parallel(delayed(_fit_group)(*task) for task in tasks):
            for c, (key, fit) in zip(group, fits, strict=False):
                store[key], seconds[c, split] = fit, fit.seconds
        return store, seconds


def _tasks(candidates: list[Any], X: Any, y: Any) -> Iterator[tuple[list[int], list[BaseMLP], Any, Any]]:
    """Yield the groups of candidates that are fitted together to a training set: indices, final estimators, data."""
    by_transformers: dict[str, list[int]] = {}
    for c, candidate in enumerate(candidates):
        transformers = repr(candidate[:-1].get_params()) if isinstance(candidate, Pipeline) else ""
        by_transformers.setdefault(transformers, []).append(c)
    for indices in by_transformers.values():
        first = candidates[indices[0]]
        rows, finals = X, [candidates[c] for c in indices]
        if isinstance(first, Pipeline):
            finals = [final[-1] for final in finals]
            try:
                rows = clone(first[:-1]).fit_transform(X, y) if len(first) > 1 else X
            except (TypeError, ValueError):
                continue
        groups: dict[Hashable, list[int]] = {}
        for k, final in enumerate(finals):
            key = _group_of(final, k)
            if key is not None:
                groups.setdefault(key, []).append(k)
        for group in groups.values():
            yield [indices[k] for k in group], [finals[k] for k in group], rows, y


def _group_of(final: Any, number: int) -> Hashable | None:
    """Return a key that is equal for estimators that are fitted together; None for one that is not precomputed."""
    if not isinstance(final, BaseMLP) or isinstance(final.random_state, np.random.RandomState):
        return None  # a generator's state changes, so the fit would not be found again
    try:
        final._validate_params()
        key = group_key(final)
    except (TypeError, ValueError):
        return None
    return ("alone", number) if key is None else key


def _fit_group(
    split: int, group: list[int], estimators: list[BaseMLP], X: Any, y: Any
) -> tuple[int, list[int], list[tuple[Hashable, CachedFit]]]:
    """Fit a group of estimators to a training set; return no fits if the data are not acceptable."""
    data = fingerprint(X, y)
    keys = [fit_key(estimator, data) for estimator in estimators]
    try:
        copies = [clone(estimator) for estimator in estimators]
        fits = fit_batch(copies, X, y) if len(copies) > 1 else [fit_single(copies[0], X, y)]
    except (TypeError, ValueError):
        fits = []
    return split, group, list(zip(keys, fits, strict=False))
