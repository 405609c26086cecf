"""Fits of many estimators to the same data at once, as one population, with the same results as `fit` of each."""

from __future__ import annotations

import time
import warnings
from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import clone

from nanostep.backends import resolve
from nanostep.backends.own_loss import population_engine_of
from nanostep.backends.population_contract import (
    PopulationEngine,
    PopulationRunConfig,
    PopulationSamples,
    PopulationTask,
    PopulationTraining,
)
from nanostep.optimizers import stacked
from nanostep.sklearn._base import BaseMLP, no_convergence
from nanostep.sklearn._dataset import Dataset
from nanostep.sklearn._fit_cache import CachedFit
from nanostep.sklearn._objective import ReportedLoss
from nanostep.sklearn._parameters import STOCHASTIC_SOLVERS, hidden_widths
from nanostep.sklearn._stochastic import LOWEST_RATE, make_run_config
from nanostep.training.engine_call import LONG_CALL_SECONDS
from nanostep.training.interrupt import interruptible
from nanostep.training.optimizer_state import OptimizerState

SHARED = (
    "activation",
    "solver",
    "batch_size",
    "shuffle",
    "loss",
    "class_weight",
    "backend",
    "threads",
    "dtype",
    "random_state",
)
"""Parameters that are equal for all fits of one population. Rates, penalties and stopping criteria may differ."""


MAX_ORDER_ENTRIES = 1 << 18
"""Most entries of the sample orders of a call: 2 MiB."""


def group_key(estimator: Any) -> Hashable | None:
    """Return a key that is equal for estimators that can be fitted as one population; None for one that cannot.

    Raises
    ------
    TypeError, ValueError
        hidden_layer_sizes is not acceptable.
    """
    e = estimator
    plain = not (e.early_stopping or e.warm_start or e.verbose or hasattr(e, "_skl_callbacks"))
    plain = plain and e.nan_targets == "raise"
    seeded = isinstance(e.random_state, (int, np.integer))
    if e.solver not in STOCHASTIC_SOLVERS or not plain or not seeded or np.any(e.dropout):
        return None
    with_momentum = e.solver == "sgd" and e.momentum > 0
    flags = (with_momentum, with_momentum and bool(e.nesterovs_momentum), e.clip is None)
    return (
        type(e).__name__,
        hidden_widths(e.hidden_layer_sizes),
        flags,
        *(repr(getattr(e, name, None)) for name in SHARED),
    )


def fit_batch(estimators: Sequence[BaseMLP], X: Any, y: Any) -> list[CachedFit]:
    """Fit estimators of one `group_key` and return the fits; one by one where that is not slower.

    Raises
    ------
    TypeError, ValueError
        The data are not acceptable.
    KeyboardInterrupt
        Ctrl-C.
    """
    started = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        begun = [estimator._begin(X, y, None) for estimator in estimators]
        data, generator, _ = begun[0]
        for estimator in estimators:
            estimator._prepare_optimizer()
        batch = BatchedFit(estimators, data, generator)
    if not batch.is_faster:
        return [fit_single(clone(estimator), X, y) for estimator in estimators]
    used_up = batch.run()
    seconds = (time.perf_counter() - started) / len(estimators)
    common = [message.message for message in caught]
    results = []
    for k, (estimator, (_, _, task)) in enumerate(zip(estimators, begun, strict=True)):
        messages = [*common, no_convergence(estimator.max_iter)] if used_up[k] else common
        results.append(CachedFit(estimator, _end(estimator, task), messages, seconds))
    return results


def fit_single(estimator: Any, X: Any, y: Any) -> CachedFit:
    """Fit one estimator and return the fit."""
    started, error = time.perf_counter(), None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            estimator.fit(X, y)
        except Exception as raised:  # raised again when the cached fit is used
            error = raised
    return CachedFit(estimator, error, [message.message for message in caught], time.perf_counter() - started)


def _end(estimator: BaseMLP, task: Any) -> Exception | None:
    try:
        estimator._end(task)
    except ValueError as error:
        return error
    return None


class BatchedFit:
    """The epochs of solvers "sgd" and "adam" for many prepared estimators at once.

    The formulas are those of `_stochastic.fit_stochastic`, for arrays with an entry for each estimator.

    Parameters
    ----------
    estimators : sequence of BaseMLP
        Estimators of one `group_key`.
    data : Dataset
        Samples, the same for all of them.
    generator : RandomState
        Draws the order of each epoch.
    weight : ndarray, shape (estimators, n), optional
        Sample weights of each estimator, in place of those in `data`.

    Attributes
    ----------
    is_faster : bool
        True if this is faster than one fit after another.
    """

    def __init__(
        self,
        estimators: Sequence[BaseMLP],
        data: Dataset,
        generator: np.random.RandomState,
        weight: np.ndarray | None = None,
    ) -> None:
        self._estimators, self._generator = estimators, generator
        first: Any = estimators[0]
        self._networks = [estimator._network for estimator in estimators]
        config = make_run_config(first, data, generator)
        count = len(estimators)
        alpha = self._of_each("alpha")
        self._config = PopulationRunConfig(
            config.batch,
            shuffle=False,
            seeds=np.zeros(count, np.uint64),
            threads=config.threads,
            custom_order=config.custom_order,
            alpha=alpha if alpha.any() else None,
            scale=config.scale,
            batch_mean=True,
            log_clip_min=config.log_clip_min,
        )
        self._optimizer = stacked([network.optimizer for network in self._networks])
        network = self._networks[0]
        _, package = resolve(network.backend)
        self._engine: PopulationEngine = population_engine_of(package, network.architecture, network.dtype)
        if weight is None and data.weight is not None:
            weight = np.broadcast_to(data.weight, (count, len(data)))
        self._data, self._weight = data, weight
        self.is_faster = data.is_dense and self._engine.trains_in_parallel(count, self._optimizer, self._config)

    def _of_each(self, name: str) -> np.ndarray:
        return np.array([float(getattr(estimator, name)) for estimator in self._estimators])

    def run(self) -> np.ndarray:
        """Make the epochs and set the results of every estimator; return True for those that used up their epochs."""
        estimators, n, config = self._estimators, len(self._data), self._config
        first: Any = estimators[0]
        theta__kp = np.stack([network.theta for network in self._networks])
        slots__ksp = np.zeros((len(estimators), len(self._optimizer.slots), theta__kp.shape[1]), theta__kp.dtype)
        samples = PopulationSamples(replace(self._data, weight=None).samples(), weight=self._engine_weights())
        training = PopulationTraining(theta__kp, slots__ksp, samples, self._optimizer, config)
        reported = ReportedLoss(first._objective, self._data, config.batch)
        states = _FitStates(self)
        order = np.arange(n, dtype=np.int64) if config.custom_order else None
        steps, epoch, seconds = -(-n // config.batch), 0, 0.0
        while len(states.active):
            count = states.epochs_until_stop()
            orders = []
            for _ in range(count):
                if first.shuffle:
                    drawn = self._generator.permutation(n)
                    order = None if order is None else order[drawn]
                if order is not None:
                    orders.append(order)
            task = PopulationTask(
                states.active, epoch, epoch * steps, count, order=np.stack(orders, dtype=np.int64) if orders else None
            )
            started = time.perf_counter()
            self._call(training, task, is_long=seconds * count > LONG_CALL_SECONDS)
            seconds = (time.perf_counter() - started) / count
            for e in range(count):
                epoch += 1
                order_used = orders[e] if orders else None
                states.update(reported((task.loss[:, e], task.penalty[:, e]), order_used), epoch)
        for k, estimator in enumerate(estimators):
            self._set_results(k, estimator, theta__kp[k], slots__ksp[k], steps, states)
        return ~states.over

    def _engine_weights(self) -> np.ndarray | None:
        return None if self._weight is None else np.ascontiguousarray(self._weight, self._networks[0].dtype)

    def _call(self, training: PopulationTraining, task: PopulationTask, *, is_long: bool) -> None:
        if not is_long:
            self._engine.train(training, task)
            return
        cancel = np.zeros(1, np.int32)

        def train() -> int:
            self._engine.train(training._replace(config=replace(training.config, cancel=cancel)), task)
            return 0

        _, interrupted = interruptible(train, cancel)
        if interrupted:
            raise KeyboardInterrupt

    def _set_results(
        self, k: int, estimator: Any, theta__p: np.ndarray, slots__sp: np.ndarray, steps: int, states: _FitStates
    ) -> None:
        network, epochs = estimator._network, int(states.n_iter[k])
        network._theta[...] = theta__p  # even if it is not finite, which `BaseMLP._end` checks
        optimizer = self._optimizer.of(k)
        network._state = OptimizerState(optimizer, slots__sp.copy(), epochs * steps, epochs)
        estimator.n_iter_, estimator.t_ = epochs, epochs * len(self._data)
        estimator.loss_curve_ = states.curve[:epochs, k].tolist()
        estimator.loss_ = estimator.loss_curve_[-1]
        estimator.best_loss_ = float(states.best[k])
        estimator._no_improvement_count = int(states.stalled[k])


class _FitStates:
    """The state of each fit: its rate, how many epochs its loss has stalled, and whether it has settled.

    Attributes
    ----------
    active : ndarray of int64
        Indices of the fits that go on.
    curve : ndarray, shape (epochs, fits)
        Loss of each epoch.
    best : ndarray, shape (fits,)
        Least loss.
    stalled, n_iter : ndarray of int64, shape (fits,)
        Epochs without improvement; epochs made.
    over : ndarray of bool, shape (fits,)
        True for fits that ended because they had settled.
    """

    def __init__(self, batch: BatchedFit) -> None:
        self._rates: np.ndarray = np.asarray(batch._optimizer.lr)  # the optimiser's own array, changed in place
        self._n = len(batch._data)
        first: Any = batch._estimators[0]
        self._rate = batch._of_each("learning_rate_init")
        self._power, self._tol = batch._of_each("power_t"), batch._of_each("tol")
        self._patience = batch._of_each("n_iter_no_change")
        self._max_iter = batch._of_each("max_iter")
        policies = np.array([estimator.learning_rate for estimator in batch._estimators])
        self._adaptive = (policies == "adaptive") & (first.solver == "sgd")
        self._invscaling = (policies == "invscaling") & (first.solver == "sgd")
        count = len(self._rate)
        self.active = np.arange(count)
        self.curve = np.full((int(self._max_iter.max()), count), np.nan)
        self.best = np.full(count, np.inf)
        self.stalled, self.n_iter = np.zeros(count, np.int64), np.zeros(count, np.int64)
        self.over = np.zeros(count, bool)

    def epochs_until_stop(self) -> int:
        """Return how many epochs can be made in one call: in fewer, no fit ends and no rate changes."""
        active = self.active
        if self._invscaling[active].any():
            return 1
        epochs_left = (self._max_iter[active] - self.n_iter[active]).min()
        left = min(epochs_left, (self._patience[active] - self.stalled[active]).min() + 1)
        return int(max(1, min(left, max(1, MAX_ORDER_ENTRIES // self._n))))

    def update(self, loss: np.ndarray, epoch: int) -> None:
        """Record the losses of the active fits after an epoch, change their rates, and end those that are over."""
        active, rates = self.active, self._rates
        self.curve[epoch - 1, active], self.n_iter[active] = loss, epoch
        stalls = loss > self.best[active] - self._tol[active]
        self.stalled[active] = np.where(stalls, self.stalled[active] + 1, 0)
        self.best[active] = np.fmin(self.best[active], loss)
        scaled = active[self._invscaling[active]]
        rates[scaled] = self._rate[scaled] / (epoch * self._n + 1) ** self._power[scaled]
        settled = self.stalled[active] > self._patience[active]
        slows = settled & self._adaptive[active] & (rates[active] > LOWEST_RATE)
        rates[active[slows]] /= 5.0
        self.stalled[active[slows]] = 0
        self.over[active] = settled & ~slows
        self.active = active[~self.over[active] & (epoch < self._max_iter[active])]
