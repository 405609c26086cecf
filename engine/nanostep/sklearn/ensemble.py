"""`MLPEnsembleClassifier` and `MLPEnsembleRegressor`: networks trained as one population, their mean and spread."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, RegressorMixin, _fit_context, clone
from sklearn.metrics import r2_score
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted

from nanostep.losses import Loss
from nanostep.sklearn._base import BaseMLP, no_convergence
from nanostep.sklearn._batched_fit import BatchedFit, group_key
from nanostep.sklearn._documentation import documented_ensemble
from nanostep.sklearn.classifier import MLPClassifier
from nanostep.sklearn.regressor import MLPRegressor


class _BaseEnsemble(MetaEstimatorMixin, BaseEstimator, ABC):
    """Base of both ensembles."""

    _parameter_constraints: ClassVar[dict] = {
        "estimator": [HasMethods(["fit", "predict"]), None],
        "n_estimators": [Interval(Integral, 1, None, closed="left")],
        "bootstrap": ["boolean"],
        "oob_score": ["boolean"],
        "random_state": ["random_state"],
        "n_jobs": [Integral, None],
    }
    _member: ClassVar[type[BaseMLP]]

    def __init__(
        self,
        estimator: Any = None,
        n_estimators: int = 10,
        *,
        bootstrap: bool = True,
        oob_score: bool = False,
        random_state: Any = None,
        n_jobs: int | None = None,
    ) -> None:
        self.estimator = estimator
        self.n_estimators = n_estimators
        self.bootstrap = bootstrap
        self.oob_score = oob_score
        self.random_state = random_state
        self.n_jobs = n_jobs

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit all members to X and y.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)
        y : array-like, shape (n_samples,), (n_samples, n_outputs) or (n_samples, n_labels)
            As in the members' `fit`.
        sample_weight : array-like, shape (n_samples,), optional
            Weight of each sample, >= 0; multiplied by the number of times that a member has drawn it.

        Returns
        -------
        self
        """
        base = self._member() if self.estimator is None else self.estimator
        if not isinstance(base, self._member):
            raise TypeError(f"estimator must be a {self._member.__name__} of nanostep.sklearn; got {base!r}")
        if self.oob_score and not self.bootstrap:
            raise ValueError("oob_score=True scores on the samples that a member has not drawn: bootstrap=True")
        loss = getattr(self.estimator, "loss", None)
        if self.oob_score and isinstance(loss, Loss) and loss.outputs_per_target > 1:
            raise ValueError(f"oob_score=True is R2, which loss={loss!r} with several outputs for a target has not")
        generator = check_random_state(self.random_state)
        seeds = generator.randint(2**31 - 1, size=self.n_estimators)
        members = [clone(base).set_params(random_state=int(seed)) for seed in seeds]
        for member in members:
            member._validate_params()
        begun = [member._begin(X, y, sample_weight) for member in members]
        data, orders = begun[0][0], check_random_state(generator.randint(2**31 - 1))
        weight = np.ones(len(data)) if data.weight is None else data.weight.astype(np.float64)
        drawn = self._draw(generator, weight)
        if data.is_dense and group_key(members[0]) is not None:
            for member in members:
                member._prepare_optimizer()
            used_up = BatchedFit(members, data, orders, None if drawn is None else drawn * weight).run()
            for member, (_, _, task) in zip(members, begun, strict=True):
                member._end(task)
            if used_up.any():
                warnings.warn(no_convergence(base.max_iter), stacklevel=3)
        else:
            given = np.ones(len(data)) if sample_weight is None else np.asarray(sample_weight, np.float64)
            weights = [sample_weight] * len(members) if drawn is None else list(drawn * given)
            fit = delayed(_fit_member)
            members = Parallel(n_jobs=self.n_jobs)(
                fit(member, X, y, own) for member, own in zip(members, weights, strict=True)
            )
        self.estimators_ = members
        self.n_features_in_ = members[0].n_features_in_
        if hasattr(members[0], "feature_names_in_"):
            self.feature_names_in_ = members[0].feature_names_in_
        self._copy_common(members[0])
        if self.oob_score:
            assert drawn is not None
            self._score_out_of_bag(X, y, drawn == 0)
        return self

    def _mean(self, X: Any, return_std: bool) -> Any:
        """Return the mean of the members' predictions, with `return_std` also their standard deviation."""
        members = self.predict_members(X)
        return (members.mean(axis=0), members.std(axis=0)) if return_std else members.mean(axis=0)

    def _draw(self, generator: np.random.RandomState, weight: np.ndarray) -> np.ndarray | None:
        """Return how often each member draws each sample, (members, n), in n draws with replacement; or None."""
        if not self.bootstrap:
            return None
        n = len(weight)
        drawn = generator.multinomial(n, np.full(n, 1 / n), size=self.n_estimators).astype(np.float64)
        for counts in drawn:
            while not (counts * weight).any():  # possible if few samples have a weight
                counts[:] = generator.multinomial(n, np.full(n, 1 / n))
        return drawn

    def _score_out_of_bag(self, X: Any, y: Any, left_out: np.ndarray) -> None:
        outputs = np.asarray(self.predict_members(X))
        count = left_out.sum(axis=0)
        if not count.all():
            warnings.warn(
                f"{np.count_nonzero(count == 0)} samples were drawn by every member and have no out-of-bag prediction; "
                "take more n_estimators",
                stacklevel=3,
            )
        shape = left_out.shape + (1,) * (outputs.ndim - 2)
        total = (outputs * left_out.reshape(shape)).sum(axis=0)
        means = total / np.where(count > 0, count, np.nan).reshape(shape[1:])
        self._set_out_of_bag(means, np.asarray(y), count > 0)

    @abstractmethod
    def _copy_common(self, member: Any) -> None:
        """Copy the attributes that are the same for all members."""

    @abstractmethod
    def _set_out_of_bag(self, means: np.ndarray, y: np.ndarray, known: np.ndarray) -> None:
        """Set the attributes of the out-of-bag score."""

    @abstractmethod
    def predict_members(self, X: Any) -> np.ndarray:
        """Return the predictions of each member."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _fit_member(member: Any, X: Any, y: Any, weight: np.ndarray | None) -> Any:
    return member.fit(X, y, sample_weight=weight)


@documented_ensemble("MLPClassifier")
class MLPEnsembleClassifier(ClassifierMixin, _BaseEnsemble):
    """An ensemble of networks that classifies by their mean probabilities, trained as one population.

    Parameters
    ----------
    {ensemble_parameters}

    Attributes
    ----------
    estimators_ : list of MLPClassifier
    classes_ : ndarray, shape (n_classes,)
    n_features_in_ : int
    feature_names_in_ : ndarray, only if X has feature names
    oob_score_ : float
        Accuracy out of bag; with ``oob_score=True``.
    oob_decision_function_ : ndarray, shape (n_samples, n_classes)
        Mean probabilities out of bag, NaN for samples that every member has drawn.

    Examples
    --------
    >>> from nanostep.sklearn import MLPClassifier, MLPEnsembleClassifier
    >>> X, y = [[0.0], [0.2], [0.8], [1.0]], [0, 0, 1, 1]
    >>> member = MLPClassifier((4,), learning_rate_init=0.1, tol=0.01, random_state=0)
    >>> ensemble = MLPEnsembleClassifier(member, bootstrap=False, random_state=0)
    >>> ensemble.fit(X, y).predict([[0.1], [0.9]])
    array([0, 1])
    """

    _member = MLPClassifier

    def predict(self, X: Any) -> Any:
        """Return the class of every row of X by the mean of the members' probabilities.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)

        Returns
        -------
        ndarray, shape (n_samples,), or indicator matrix (n_samples, n_labels)
        """
        check_is_fitted(self)
        outputs = np.mean([member._outputs(X, True) for member in self.estimators_], axis=0)
        return self.estimators_[0]._classes.decode(outputs)

    def predict_proba(self, X: Any, return_std: bool = False) -> Any:
        """Return the mean of the members' probabilities, and with `return_std` their standard deviation.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)
        return_std : bool, default=False

        Returns
        -------
        mean : ndarray, shape (n_samples, n_classes)
        std : ndarray, shape (n_samples, n_classes)
            Standard deviation over the members, with ``return_std=True``.
        """
        return self._mean(X, return_std)

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Return the logarithm of `predict_proba`."""
        return np.log(self.predict_proba(X))

    def predict_members(self, X: Any) -> np.ndarray:
        """Return each member's probabilities, shape (n_estimators, n_samples, n_classes)."""
        check_is_fitted(self)
        return np.stack([member.predict_proba(X) for member in self.estimators_])

    def _copy_common(self, member: Any) -> None:
        self.classes_ = member.classes_

    def _set_out_of_bag(self, means: np.ndarray, y: np.ndarray, known: np.ndarray) -> None:
        self.oob_decision_function_ = means
        classes = self.estimators_[0]._classes
        decided = classes.decode(means[known] if classes.kind != "binary" else means[known][:, 1:])
        right = decided == y[known]
        self.oob_score_ = float(np.mean(right if right.ndim == 1 else right.all(axis=1)))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


@documented_ensemble("MLPRegressor")
class MLPEnsembleRegressor(RegressorMixin, _BaseEnsemble):
    """An ensemble of networks that predicts by their mean, with their spread as uncertainty; trained as one population.

    Parameters
    ----------
    {ensemble_parameters}

    Attributes
    ----------
    estimators_ : list of MLPRegressor
    n_features_in_ : int
    feature_names_in_ : ndarray, only if X has feature names
    oob_score_ : float
        R2 out of bag; with ``oob_score=True``.
    oob_prediction_ : ndarray, shape of y
        Mean predictions out of bag, NaN for samples that every member has drawn.

    Examples
    --------
    >>> from nanostep.sklearn import MLPEnsembleRegressor, MLPRegressor
    >>> X, y = [[0.0], [0.5], [1.0]], [0.0, 0.25, 1.0]
    >>> member = MLPRegressor(hidden_layer_sizes=(8,), learning_rate_init=0.05, tol=0.001)
    >>> ensemble = MLPEnsembleRegressor(member, n_estimators=20, random_state=0)
    >>> mean, std = ensemble.fit(X, y).predict([[0.5], [3.0]], return_std=True)
    >>> bool(std[1] > std[0])
    True
    """

    _member = MLPRegressor

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Return the mean of the members' predictions, and with `return_std` their standard deviation.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)
        return_std : bool, default=False

        Returns
        -------
        mean : ndarray, shape (n_samples,) or (n_samples, n_outputs)
        std : ndarray of that shape
            Standard deviation over the members, with ``return_std=True``: the disagreement of the members, without the
            noise of the targets.
        """
        return self._mean(X, return_std)

    def predict_members(self, X: Any) -> np.ndarray:
        """Return each member's predictions, shape (n_estimators, n_samples) or (n_estimators, n_samples, n_outputs)."""
        check_is_fitted(self)
        return np.stack([member.predict(X) for member in self.estimators_])

    def _copy_common(self, member: Any) -> None:
        """Do nothing: regressors have no classes."""

    def _set_out_of_bag(self, means: np.ndarray, y: np.ndarray, known: np.ndarray) -> None:
        self.oob_prediction_ = means
        self.oob_score_ = float(r2_score(y.reshape(means.shape)[known], means[known]))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
