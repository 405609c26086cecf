"""`PopulationSearchCV`: GridSearchCV whose fits are made as populations."""

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
from nanostep.sklearn._batched_fit import fit_alone, fit_together, group_key
from nanostep.sklearn._fit_cache import ReadyFit, fingerprint, fit_key, ready_fits


class PopulationSearchCV(GridSearchCV):
    """`sklearn.model_selection.GridSearchCV` for this package's estimators that trains many candidates at once.

    Parameters, attributes, scores and warnings are those of GridSearchCV. What differs is who does the fits: candidates
    that share an architecture, a batch size, a solver and an int `random_state`, and differ in rates, penalties,
    momenta or what ends a fit, are trained as one population on each training set (see `nanostep.Population`), to the
    same weights but for rounding; networks with layers of more than 64 units take a thread each. Other candidates,
    early stopping and dropout are fitted one by one.

    Parameters
    ----------
    estimator : MLPClassifier, MLPRegressor, or Pipeline that ends with one
        With others, and with `sample_weight` in `fit`, it is a GridSearchCV. ``random_state=None`` lets no two
        candidates see the samples in the same order, and so trains them one by one: give an int.
    param_grid, scoring, n_jobs, refit, cv, verbose, pre_dispatch, error_score, return_train_score
        As in GridSearchCV. `n_jobs` populations are trained at a time; each of them uses the estimator's `threads`, by
        default all processors in the main process and one in a worker of joblib.

    Attributes
    ----------
    cv_results_ : dict
        As in GridSearchCV. The fit time of a candidate is its share of that of the population.
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
        """Fit all candidates, and the best one again to all data.

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
        # drawn once: other splits would find none of the fits
        splits = list(check_cv(cv, y, classifier=is_classifier(self.estimator)).split(X, y, params.get("groups")))
        store, seconds = self._fit_ahead(X, y, splits)
        try:
            self.cv = splits
            # no workers for looking up what is there
            with ready_fits(store), joblib.parallel_config("sequential") if store else nullcontext():
                super().fit(X, y, **params)
        finally:
            self.cv = cv
        if np.isfinite(seconds).all():
            self.cv_results_["mean_fit_time"], self.cv_results_["std_fit_time"] = seconds.mean(1), seconds.std(1)
        return self

    def _fit_ahead(
        self, X: Any, y: Any, splits: list[tuple[np.ndarray, np.ndarray]]
    ) -> tuple[dict[Hashable, ReadyFit], np.ndarray]:
        """Return the fits of all candidates to all training sets, and the seconds of each, (candidates, splits).

        Fits that cannot be made are left out: whoever asks for them finds out why.
        """
        candidates = [clone(self.estimator).set_params(**clone(c, safe=False)) for c in ParameterGrid(self.param_grid)]
        tasks = (
            (split, *task)
            for split, (train, _) in enumerate(splits)
            for task in _tasks(candidates, _safe_indexing(X, train), _safe_indexing(y, train))
        )
        parallel = Parallel(n_jobs=self.n_jobs, pre_dispatch=self.pre_dispatch)
        store, seconds = {}, np.full((len(candidates), len(splits)), np.nan)
        for split, members, fits in parallel(delayed(_make)(*task) for task in tasks):
            for c, (key, fit) in zip(members, fits, strict=False):
                store[key], seconds[c, split] = fit, fit.seconds
        return store, seconds


def _tasks(candidates: list[Any], X: Any, y: Any) -> Iterator[tuple[list[int], list[BaseMLP], Any, Any]]:
    """Yield which candidates are fitted together to a training set: their numbers, their networks' estimators, data."""
    heads: dict[str, list[int]] = {}
    for c, candidate in enumerate(candidates):
        head = repr(candidate[:-1].get_params()) if isinstance(candidate, Pipeline) else ""
        heads.setdefault(head, []).append(c)
    for members in heads.values():
        first = candidates[members[0]]
        rows, finals = X, [candidates[c] for c in members]
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
            yield [members[k] for k in group], [finals[k] for k in group], rows, y


def _group_of(final: Any, number: int) -> Hashable | None:
    """Return what is the same for estimators that are fitted together, or None for one that is not fitted ahead."""
    if not isinstance(final, BaseMLP) or isinstance(final.random_state, np.random.RandomState):
        return None  # a generator cannot be known again
    try:
        final._validate_params()
        key = group_key(final)
    except (TypeError, ValueError):
        return None
    return ("alone", number) if key is None else key


def _make(
    split: int, members: list[int], estimators: list[BaseMLP], X: Any, y: Any
) -> tuple[int, list[int], list[tuple[Hashable, ReadyFit]]]:
    """Fit some estimators to a training set; none of them if the data are not acceptable."""
    data = fingerprint(X, y)
    keys = [fit_key(estimator, data) for estimator in estimators]
    try:
        copies = [clone(estimator) for estimator in estimators]
        fits = fit_together(copies, X, y) if len(copies) > 1 else [fit_alone(copies[0], X, y)]
    except (TypeError, ValueError):
        fits = []
    return split, members, list(zip(keys, fits, strict=False))
