"""Fits of many estimators to the same data at once, as one population; each becomes what its own `fit` makes it."""

from __future__ import annotations

import time
import warnings
from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import clone

from nanostep.backends import resolve
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
from nanostep.sklearn._fit_cache import ReadyFit
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
"""Parameters in which fits of one population agree. Rates, penalties and what ends a fit may differ."""


ORDERED = 1 << 18
"""Entries of the sample orders of a call: 2 MiB."""


def group_key(estimator: Any) -> Hashable | None:
    """Return what fits that can be made together have in common, or None if this one goes alone.

    Raises
    ------
    TypeError, ValueError
        hidden_layer_sizes is not acceptable.
    """
    e = estimator
    plain = not (e.early_stopping or e.warm_start or e.verbose or hasattr(e, "_skl_callbacks"))
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


def fit_together(estimators: Sequence[BaseMLP], X: Any, y: Any) -> list[ReadyFit]:
    """Fit estimators of one `group_key` in place; return what came of each. One by one where that is no slower.

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
            estimator._ready_optimizer()
        together = Together(estimators, data, generator)
    if not together.pays:
        return [fit_alone(clone(estimator), X, y) for estimator in estimators]
    used_up = together.run()
    seconds = (time.perf_counter() - started) / len(estimators)
    common = [message.message for message in caught]
    results = []
    for k, (estimator, (_, _, task)) in enumerate(zip(estimators, begun, strict=True)):
        messages = [*common, no_convergence(estimator.max_iter)] if used_up[k] else common
        results.append(ReadyFit(estimator, _end(estimator, task), messages, seconds))
    return results


def fit_alone(estimator: Any, X: Any, y: Any) -> ReadyFit:
    """Fit one estimator and return what came of it."""
    started, error = time.perf_counter(), None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            estimator.fit(X, y)
        except Exception as raised:  # raised again where the fit is asked for
            error = raised
    return ReadyFit(estimator, error, [message.message for message in caught], time.perf_counter() - started)


def _end(estimator: BaseMLP, task: Any) -> Exception | None:
    try:
        estimator._end(task)
    except ValueError as error:
        return error
    return None


class Together:
    """The epochs of solvers "sgd" and "adam" for estimators that are ready for them, side by side.

    Formulas are those of `_stochastic.fit_stochastic`, for arrays with an entry for each estimator.

    Parameters
    ----------
    estimators : sequence of BaseMLP
        Of one `group_key`.
    data : Dataset
        Of all of them.
    generator : RandomState
        Draws the order of each epoch.
    weight : ndarray, shape (estimators, n), optional
        What each sample counts to each of them, in place of the weights in `data`.
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
        one = make_run_config(first, data, generator)
        count = len(estimators)
        alpha = self._of_each("alpha")
        self._config = PopulationRunConfig(
            one.batch,
            shuffle=False,
            seeds=np.zeros(count, np.uint64),
            threads=one.threads,
            custom_order=one.custom_order,
            alpha=alpha if alpha.any() else None,
            scale=one.scale,
            batch_mean=True,
            log_clip_min=one.log_clip_min,
        )
        self._optimizer = stacked([network.optimizer for network in self._networks])
        network = self._networks[0]
        _, package = resolve(network.backend)
        self._engine: PopulationEngine = package.populations.Engine(network.architecture, network.dtype)
        if weight is None and data.weight is not None:
            weight = np.broadcast_to(data.weight, (count, len(data)))
        self._data, self._weight = data, weight
        #: True if it is faster than one after another
        self.pays = data.is_dense and self._engine.trains_in_parallel(count, self._optimizer, self._config)

    def _of_each(self, name: str) -> np.ndarray:
        return np.array([float(getattr(estimator, name)) for estimator in self._estimators])

    def run(self) -> np.ndarray:
        """Make the epochs, and give every estimator what its fit has come to; True for those that used up theirs."""
        estimators, n, config = self._estimators, len(self._data), self._config
        first: Any = estimators[0]
        theta__kp = np.stack([network.theta for network in self._networks])
        slots__ksp = np.zeros((len(estimators), len(self._optimizer.slots), theta__kp.shape[1]), theta__kp.dtype)
        samples = PopulationSamples(replace(self._data, weight=None).samples(), weight=self._lanes_of_weights())
        training = PopulationTraining(theta__kp, slots__ksp, samples, self._optimizer, config)
        reported = ReportedLoss(first._objective, self._data, config.batch)
        course = _Course(self)
        order = np.arange(n, dtype=np.int64) if config.custom_order else None
        steps, epoch, seconds = -(-n // config.batch), 0, 0.0
        while len(course.active):
            count = course.epochs_before_a_stop()
            orders = []
            for _ in range(count):
                if first.shuffle:
                    drawn = self._generator.permutation(n)
                    order = None if order is None else order[drawn]
                if order is not None:
                    orders.append(order)
            task = PopulationTask(
                course.active, epoch, epoch * steps, count, order=np.stack(orders, dtype=np.int64) if orders else None
            )
            started = time.perf_counter()
            self._call(training, task, is_long=seconds * count > LONG_CALL_SECONDS)
            seconds = (time.perf_counter() - started) / count
            for e in range(count):
                epoch += 1
                used = orders[e] if orders else None
                course.note(reported((task.loss[:, e], task.penalty[:, e]), used), epoch)
        for k, estimator in enumerate(estimators):
            self._hand_over(k, estimator, theta__kp[k], slots__ksp[k], steps, course)
        return ~course.over

    def _lanes_of_weights(self) -> np.ndarray | None:
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

    def _hand_over(
        self, k: int, estimator: Any, theta__p: np.ndarray, slots__sp: np.ndarray, steps: int, course: _Course
    ) -> None:
        network, epochs = estimator._network, int(course.n_iter[k])
        network._theta[...] = theta__p  # also where it is not finite, which the end of a fit finds
        optimizer = self._optimizer.of(k)
        network._state = OptimizerState(optimizer, slots__sp.copy(), epochs * steps, epochs)
        estimator.n_iter_, estimator.t_ = epochs, epochs * len(self._data)
        estimator.loss_curve_ = course.curve[:epochs, k].tolist()
        estimator.loss_ = estimator.loss_curve_[-1]
        estimator.best_loss_ = float(course.best[k])
        estimator._no_improvement_count = int(course.stalled[k])


class _Course:
    """Where each fit stands: its rate, how long its loss has stalled, and whether it is over."""

    def __init__(self, together: Together) -> None:
        self._rates: np.ndarray = np.asarray(together._optimizer.lr)  # of the optimiser itself: they change there
        self._n = len(together._data)
        first: Any = together._estimators[0]
        self._rate = together._of_each("learning_rate_init")
        self._power, self._tol = together._of_each("power_t"), together._of_each("tol")
        self._patience = together._of_each("n_iter_no_change")
        self._most = together._of_each("max_iter")
        policies = np.array([estimator.learning_rate for estimator in together._estimators])
        self._adaptive = (policies == "adaptive") & (first.solver == "sgd")
        self._invscaling = (policies == "invscaling") & (first.solver == "sgd")
        count = len(self._rate)
        self.active = np.arange(count)
        self.curve = np.full((int(self._most.max()), count), np.nan)
        self.best = np.full(count, np.inf)
        self.stalled, self.n_iter = np.zeros(count, np.int64), np.zeros(count, np.int64)
        self.over = np.zeros(count, bool)

    def epochs_before_a_stop(self) -> int:
        """Return how many epochs can be made in one go: after fewer, no fit ends and no rate changes."""
        who = self.active
        if self._invscaling[who].any():
            return 1
        left = min((self._most[who] - self.n_iter[who]).min(), (self._patience[who] - self.stalled[who]).min() + 1)
        return int(max(1, min(left, max(1, ORDERED // self._n))))

    def note(self, loss: np.ndarray, epoch: int) -> None:
        """Take in the losses of the active fits after an epoch; those that have ended are no longer active."""
        who, rates = self.active, self._rates
        self.curve[epoch - 1, who], self.n_iter[who] = loss, epoch
        stalls = loss > self.best[who] - self._tol[who]
        self.stalled[who] = np.where(stalls, self.stalled[who] + 1, 0)
        self.best[who] = np.fmin(self.best[who], loss)
        scaled = who[self._invscaling[who]]
        rates[scaled] = self._rate[scaled] / (epoch * self._n + 1) ** self._power[scaled]
        settled = self.stalled[who] > self._patience[who]
        slows = settled & self._adaptive[who] & (rates[who] > LOWEST_RATE)
        rates[who[slows]] /= 5.0
        self.stalled[who[slows]] = 0
        self.over[who] = settled & ~slows
        self.active = who[~self.over[who] & (epoch < self._most[who])]
