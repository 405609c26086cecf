"""`MLPRegressor`."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import RegressorMixin, _fit_context
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metadata_routing import UNUSED
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from nanostep._arrays import convert
from nanostep.backends.reference.losses import sample_losses
from nanostep.losses import Custom, Loss, Quantile
from nanostep.sklearn._base import BaseMLP, Validation, _without_targets, is_stochastic
from nanostep.sklearn._dataset import Dataset
from nanostep.sklearn._documentation import documented
from nanostep.sklearn._objective import Objective, elementwise_objective
from nanostep.sklearn._parameters import CONSTRAINTS
from nanostep.training.metrics import of_known, r2


@documented(full_batch='"lbfgs" and "lm"', dense_solver='all solvers but "lm"')
class MLPRegressor(RegressorMixin, BaseMLP):
    """Multi-layer perceptron regressor with the interface of ``sklearn.neural_network.MLPRegressor``.

    Parameters
    ----------
    loss : {"squared_error", "poisson", "absolute_error", "huber"} or Loss, default="squared_error"
        "squared_error" is half the squared error; "poisson" is half the Poisson deviance of the exponential of the
        output, for y >= 0; "huber" has delta 1. The gradient is that of the sum over outputs; the reported loss is the
        mean over outputs, for "poisson" the sum. Or an object of `nanostep.losses`. With several outputs for each
        target (``Quantile``, ``GaussianNLL``), `predict` returns all outputs, and `score` is minus the mean loss.
    {network_parameters}
    solver : {"adam", "sgd", "lbfgs", "lm"}, default="adam"
        "lbfgs" is SciPy's L-BFGS-B on all samples at once. "lm" is the method of Levenberg and Marquardt
        (`nanostep.LevenbergMarquardt`), also on all samples, for "squared_error" and up to some hundred parameters.
    {shared_parameters}

    Attributes
    ----------
    {shared_attributes}

    Notes
    -----
    {shared_notes}

    Examples
    --------
    >>> from nanostep.sklearn import MLPRegressor
    >>> X, y = [[0.0], [0.5], [1.0]], [0.0, 0.25, 1.0]
    >>> regressor = MLPRegressor((8,), activation="tanh", solver="lbfgs", random_state=0).fit(X, y)
    >>> regressor.predict([[0.5]]).round(2)
    array([0.25])
    """

    _parameter_constraints: ClassVar[dict] = {
        **CONSTRAINTS,
        "loss": [StrOptions({"squared_error", "poisson", "absolute_error", "huber"}), Loss],
        "solver": [StrOptions({"lbfgs", "lm", "sgd", "adam"})],
    }
    __metadata_request__predict: ClassVar = {"check_input": UNUSED}

    def __init__(
        self,
        loss: str | Loss = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: str = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        backend: str = "auto",
        threads: int | None = None,
        dropout: Any = 0.0,
        clip: float | None = None,
        dtype: Any = None,
        nan_targets: str = "raise",
    ) -> None:
        self._store(locals())

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Self:
        """Fit the network to X and y.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)
        y : array-like, shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like, shape (n_samples,), optional
            Weight of each sample, >= 0; a batch is divided by the sum of its weights.
        X_val, y_val : as X and y, optional
            Data to score on after each epoch, in place of a share of X; only recorded without `early_stopping`.
        sample_weight_val : array-like, optional

        Returns
        -------
        self
        """
        self._fit(X, y, sample_weight, Validation(X_val, y_val, sample_weight_val), incremental=False)
        return self

    @available_if(is_stochastic)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Make one epoch over X and y from the current weights and optimiser state; for "sgd" and "adam".

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.

        Returns
        -------
        self
        """
        self._fit(X, y, sample_weight, Validation(), incremental=True)
        return self

    def predict(self, X: Any, check_input: bool = True) -> np.ndarray:
        """Return the prediction for every row of X.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)
        check_input : bool, default=True
            Check for NaN and infinity.

        Returns
        -------
        ndarray, shape (n_samples,), or (n_samples, n_outputs) for more than one output
        """
        a__no = self._outputs(X, check_input)
        return a__no[:, 0] if a__no.shape[1] == 1 else a__no

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return R2 of `predict`, or minus the mean loss if the loss takes several outputs for each target.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.
        """
        if not isinstance(self.loss, Loss) or self.loss.outputs_per_target == 1:
            return super().score(X, y, sample_weight)
        check_is_fitted(self)
        X, y = self._validate(X, y, reset=False)
        y, unknown = self._split_missing(y)
        self._check_held_out(y, "y")
        dtype = self.network_.dtype
        weight = None if sample_weight is None else _check_sample_weight(sample_weight, X, dtype=np.float64)
        data = Dataset(X, **self._encode(y, dtype), weight=weight)
        return self._measure(self._outputs(X, True), _without_targets(data, unknown, self.loss))

    def _check_combinations(self, widths: tuple[int, ...], validation: Validation, incremental: bool) -> None:
        super()._check_combinations(widths, validation, incremental)
        if self.solver == "lm" and self.loss != "squared_error":
            raise ValueError(f"solver='lm' is for loss='squared_error'; got {self.loss!r}")
        if self.solver == "lm" and self.nan_targets == "ignore":
            raise ValueError("solver='lm' needs all targets; nan_targets='ignore' is for the other solvers")

    def _learn_targets(self, y: Any, *, first_pass: bool, incremental: bool) -> None:
        self._target_count = y.shape[1] if y.ndim == 2 else 1

    def _check_held_out(self, y: Any, name: str = "y_val") -> None:
        outputs = y.shape[1] if y.ndim == 2 else 1
        if outputs != self._target_count:
            raise ValueError(f"{name} has {outputs} outputs; y of the fit has {self._target_count}")

    def _make_objective(self) -> tuple[Objective, int]:
        outputs = self._target_count
        if self.loss == "poisson":
            return Objective("poisson", "identity", "exp", outputs, outputs), outputs
        if isinstance(self.loss, Loss):
            per_target = self.loss.outputs_per_target
            if isinstance(self.loss, Custom):
                return Objective(self.loss, "identity", "identity"), outputs
            means = 1 if isinstance(self.loss, Quantile) else per_target  # outputs for each term of the mean
            return Objective(self.loss, "identity", "identity", outputs * per_target / means), outputs * per_target
        return elementwise_objective(self.loss, "identity", "identity", outputs), outputs

    def _encode(self, y: Any, dtype: np.dtype) -> dict[str, Any]:
        if self.loss == "poisson" and y.min() < 0:
            raise ValueError(f"loss='poisson' needs y >= 0; got {y.min():g}")
        targets = convert("y", y.reshape(len(y), self._target_count), dtype)
        return {"y": self.loss.repeated(targets) if isinstance(self.loss, Loss) else targets}

    def _weigh(self, y: Any, weight: np.ndarray | None, *, incremental: bool) -> np.ndarray | None:
        return weight

    def _measure(self, a__no: np.ndarray, data: Dataset) -> float:
        """Return R2, as the mean over outputs; see `score`."""
        assert data.y is not None
        if isinstance(self.loss, Loss) and self.loss.outputs_per_target > 1:
            missing__no = np.isnan(data.y) if data.has_missing else None
            losses = sample_losses(self.loss, "identity", a__no, a__no, data.y, missing__bo=missing__no)
            return -float(np.average(losses.astype(np.float64), weights=data.weight))
        return of_known(r2, data.y, a__no, data.weight) if data.has_missing else r2(data.y, a__no, data.weight)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
