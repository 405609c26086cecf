"""The loop over epochs of solvers "sgd" and "adam", with scikit-learn's scores, learning rates and stopping rules."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from nanostep.backends.contract import RunConfig
from nanostep.sklearn._callbacks import FitTask
from nanostep.sklearn._dataset import Dataset
from nanostep.sklearn._epochs import EpochRunner
from nanostep.sklearn._objective import ReportedLoss
from nanostep.sklearn._parameters import AUTO_BATCH
from nanostep.training.arguments import check_dropout
from nanostep.training.threads import thread_limit

EPOCHS_AT_ONCE = 100
"""Most epochs in one call."""

LOWEST_RATE = 1e-6
"""``learning_rate="adaptive"`` ends the fit rather than reduce a rate of at most this."""


def fit_stochastic(
    estimator: Any,
    data: Dataset,
    score: Callable[[], float] | None,
    generator: np.random.RandomState,
    *,
    epochs: int,
    task: FitTask,
) -> bool:
    """Train the estimator's network, updating the attributes that describe a fit.

    Parameters
    ----------
    estimator : BaseMLP
    data : Dataset
    score : callable, optional
        Returns the current validation score of the network.
    generator : RandomState
        Draws the order of each epoch, as `sklearn.utils.shuffle` does.
    epochs : int
        Most epochs to make.
    task : FitTask
        Task whose iterations are the epochs.

    Returns
    -------
    bool
        True if all epochs were made and nothing ended the fit.
    """
    n = len(data)
    network, optimizer = estimator._network, estimator._network.optimizer
    config = make_run_config(estimator, data, generator)
    runner = EpochRunner(network, network._state, data, config)
    reported = ReportedLoss(estimator._objective, data, config.batch)
    order = np.arange(n) if config.custom_order else None
    invscaling = estimator.solver == "sgd" and estimator.learning_rate == "invscaling"
    one_by_one = score is not None or task.has_callbacks or invscaling or order is not None
    estimator.n_iter_ = 0
    try:
        while estimator.n_iter_ < epochs:
            count = 1 if one_by_one else min(epochs - estimator.n_iter_, _epochs_until_stop(estimator))
            if estimator.shuffle:
                drawn = [generator.permutation(n) for _ in range(count)]
                order = None if order is None else order[drawn[0]]
            task.begin_iteration()
            for means in runner.run(order, count):
                estimator.loss_ = reported(means, order)
                estimator.n_iter_ += 1
                estimator.t_ += n
                estimator.loss_curve_.append(estimator.loss_)
                if estimator.verbose:
                    print(f"Iteration {estimator.n_iter_}, loss = {estimator.loss_:.8f}")
                _update_progress(estimator, score)
            if invscaling:
                optimizer.lr = estimator.learning_rate_init / (estimator.t_ + 1) ** estimator.power_t
            settled = estimator._no_improvement_count > estimator.n_iter_no_change
            over = settled and _is_over(estimator, optimizer)
            if task.end_iteration() or over:
                return False
    except KeyboardInterrupt:
        warnings.warn("Ctrl-C ended the fit early; what was learned until then is kept", UserWarning, stacklevel=2)
        return False
    return True


def _epochs_until_stop(estimator: Any) -> int:
    """Return how many epochs can be made in one call: in fewer, the loss cannot have stalled long enough."""
    left = estimator.n_iter_no_change - estimator._no_improvement_count
    return EPOCHS_AT_ONCE if left > EPOCHS_AT_ONCE else max(1, math.floor(left) + 1)


def make_run_config(estimator: Any, data: Dataset, generator: np.random.RandomState) -> RunConfig:
    """Return the settings of the engine for a fit."""
    n = len(data)
    batch = AUTO_BATCH if estimator.batch_size == "auto" else int(estimator.batch_size)
    if batch > n and estimator.batch_size != "auto":
        warnings.warn(f"batch_size={batch} is more than the {n} samples there are, which are one batch", stacklevel=2)
    dropout = check_dropout(estimator.n_layers_ - 2, estimator.dropout)
    return RunConfig(
        batch=min(batch, n),
        shuffle=False,
        # with all samples in one batch, their order only affects rounding
        custom_order=bool(estimator.shuffle) and batch < n,
        # drawn only if it is used, because scikit-learn draws none
        seed=int(generator.randint(2**31 - 1)) if dropout else 0,
        threads=thread_limit(estimator.threads),
        dropout=dropout,
        alpha=float(estimator.alpha),
        scale=estimator._objective.gradient_factor,
        batch_mean=True,
        # scikit-learn's log loss clips probabilities at the machine epsilon
        log_clip_min=math.log(np.finfo(estimator._network.dtype).eps),
    )


def _update_progress(estimator: Any, score: Callable[[], float] | None) -> None:
    """Score the network on the validation data, if there are any, and count epochs without improvement."""
    if score is not None:
        value = score()
        estimator.validation_scores_.append(value)
        if estimator.verbose:
            print(f"Validation score: {value:.6f}")
        if estimator.early_stopping:
            # in this form NaN counts as an improvement, as in scikit-learn
            stalled = value < estimator.best_validation_score_ + estimator.tol
            estimator._no_improvement_count = estimator._no_improvement_count + 1 if stalled else 0
        if value > estimator.best_validation_score_:
            estimator.best_validation_score_ = value
            estimator._best_theta = estimator._network.theta.copy()
    if not estimator.early_stopping:
        stalled = estimator.loss_ > estimator.best_loss_ - estimator.tol
        estimator._no_improvement_count = estimator._no_improvement_count + 1 if stalled else 0
        estimator.best_loss_ = min(estimator.best_loss_, estimator.loss_)


def _is_over(estimator: Any, optimizer: Any) -> bool:
    """Return True if a fit that has settled ends; with an adaptive rate it first continues with a fifth of the rate."""
    measure = "validation score" if estimator.early_stopping else "training loss"
    message = f"The {measure} has not improved by tol={estimator.tol:g} in {estimator.n_iter_no_change} epochs"
    over = estimator.solver != "sgd" or estimator.learning_rate != "adaptive" or optimizer.lr <= LOWEST_RATE
    if not over:
        optimizer.lr /= 5.0
        estimator._no_improvement_count = 0
    if estimator.verbose:
        print(f"{message}: " + ("stopping." if over else f"learning rate set to {optimizer.lr:g}."))
    return over
