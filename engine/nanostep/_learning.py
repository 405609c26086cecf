"""`Learning`: the methods of `nanostep.Network` that change its parameters by training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import ArrayLike

from nanostep._arrays import check_samples
from nanostep._checks import check_real
from nanostep.architecture import Architecture
from nanostep.backends.contract import Engine
from nanostep.optimizers import SGD, Optimizer, check_optimizer
from nanostep.schedules.base import Schedule
from nanostep.solvers.problem import Solver
from nanostep.solvers.run import refuse, solve
from nanostep.streams import Pairs
from nanostep.training import arguments, run
from nanostep.training.callbacks import Callback, EveryNSteps
from nanostep.training.checkpoints import Checkpoint, begin
from nanostep.training.early_stopping import EarlyStopping
from nanostep.training.engine_call import ThreadTrial
from nanostep.training.history import History
from nanostep.training.metrics import MetricFunction
from nanostep.training.optimizer_state import OptimizerState, continued, fresh_state
from nanostep.training.sample_weights import check_smoothing

if TYPE_CHECKING:
    from nanostep.network import Network


class Learning:
    """Mixin of `Network`, which sets these up."""

    _architecture: Architecture
    _dtype: np.dtype
    _backend: str
    _engine: Engine
    _theta: np.ndarray
    _state: OptimizerState
    _history: History | None
    _thread_trials: dict[tuple, ThreadTrial]

    def step(self, X: ArrayLike, Y: ArrayLike, lr: float | None = None, *, optimizer: Optimizer | None = None) -> float:
        """Make one update from the mean gradient over all samples given, and return the loss before it.

        Parameters
        ----------
        X, Y : array-like
            One sample or a batch, as in `loss`.
        lr : float, optional
            Learning rate of a plain SGD step, > 0, which leaves the optimiser's state alone.
        optimizer : Optimizer, optional
            Make its update instead; its state goes on if it is the optimiser of the last call (see `optimizer`),
            otherwise it starts afresh. Without `lr` and `optimizer`, the network's `optimizer` is used.
        """
        if lr is not None:
            if optimizer is None:
                loss = self._engine.step_row(self._theta, X, Y, lr)
                if loss is not None:
                    return loss
            else:
                raise TypeError("give lr or optimizer, not both; to change an optimiser's rate set optimizer.lr")
            check_real("lr", lr, 0.0, open_low=True)
        elif optimizer is not None:
            check_optimizer(optimizer)
        samples = check_samples(self._architecture, self._dtype, X, Y).apart_from(self._theta)
        self._check_writable()
        if lr is not None:
            if len(samples) == 1 and samples.y is not None:
                # one row gives the same bits however it was handed in
                loss = self._engine.step_row(self._theta, samples.x[0], samples.y[0], float(lr))
                if loss is not None:
                    return loss
            return run.step(self._net, fresh_state(SGD(lr=lr), len(self._theta), self._dtype), samples)
        self._state = continued(self._state, optimizer)
        return run.step(self._net, self._state, samples)

    def train(
        self,
        X: ArrayLike | Pairs | Callable[[], Pairs],
        Y: ArrayLike | None = None,
        epochs: int = 10,
        batch_size: int = 1,
        optimizer: Optimizer | Solver | None = None,
        shuffle: bool = True,
        seed: int | None = 0,
        validation: tuple[ArrayLike, ArrayLike] | tuple[ArrayLike, ArrayLike, ArrayLike] | None = None,
        threads: int | None = None,
        callbacks: Callback | EveryNSteps | Sequence[Callback | EveryNSteps] = (),
        progress: bool = False,
        *,
        schedule: Schedule | None = None,
        dropout: float | Sequence[float] = 0.0,
        sample_weight: ArrayLike | None = None,
        class_weight: Mapping[int, float] | str | None = None,
        label_smoothing: float = 0.0,
        validation_split: float = 0.0,
        metrics: str | MetricFunction | Sequence[str | MetricFunction] = (),
        early_stopping: EarlyStopping | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> History:
        """Train for a number of epochs.

        Parameters
        ----------
        X : array-like, shape (n, inputs), or a stream
            A stream gives pairs (X, Y), one chunk at a time, see `nanostep.streams`; then Y is left out. Samples are
            shuffled within their chunk, and batches end with it. A `numpy.memmap` of the network's dtype in C order is
            used in place; another one is read as ``streams.Chunks(X, Y)``.
        Y : array-like
            As in `loss`.
        epochs : int, default=10
            Passes over the data, >= 0.
        batch_size : int, default=1
            Samples per update, >= 1; the last batch of an epoch takes what is left; more than n means all of them.
        optimizer : Optimizer or Solver, optional
            Defaults to the network's `optimizer`. The same object as in the last call goes on where it was: two calls
            of 5 epochs make the same bits as one of 10. Another object starts afresh. A solver (`nanostep.LBFGS`,
            `nanostep.LevenbergMarquardt`) uses all samples at each of its iterations, which count as epochs; it takes
            no batch_size, threads, schedule, dropout, label_smoothing, checkpoint or `EveryNSteps`.
        shuffle : bool, default=True
            Draw a new sample order for each epoch.
        seed : int or None, default=0
            Of the sample orders and of dropout, the same on every backend; None draws one.
        validation : (Xv, Yv) or (Xv, Yv, wv), optional
            Data on which to measure the loss and the metrics after every epoch, wv are sample weights. They are
            measured without dropout and label smoothing.
        threads : int, optional
            Most threads the backend may use, 1 to 65536, the calling one included. None lets it choose: no more than
            there are processors. The environment variable NANOSTEP_THREADS, if set, limits both.
        callbacks : callable, EveryNSteps or a sequence of them
            A callable gets an `EpochEnd` after every epoch, that of an `EveryNSteps` a `StepEnd` after every n updates.
            Returning True or raising `StopTraining` ends the run; setting ``event.lr`` changes the rate.
        progress : bool, default=False
            Show epoch, losses, steps per second and the time left on a terminal or in a notebook; elsewhere nothing.
            Drawing takes at most 1 % of the run.
        schedule : Schedule, optional
            Learning rate of each update: one of `nanostep.schedules`, counted since the optimiser's state was fresh.
            None: the optimiser's lr.
        dropout : float or sequence of float, default=0
            Probability in [0, 1) that a hidden unit is dropped in an update, for all hidden layers or for each; what is
            kept is multiplied by ``1 / (1 - p)``. Which units are dropped depends on the seed, the number of the
            update, layer, row of the batch and unit, and not on the backend.
        sample_weight : array-like, shape (n,), optional
            What each sample counts, >= 0. Weights are normalised to mean 1 over the samples trained with; the gradient
            of a batch is ``sum(weight * gradient of the sample) / rows of the batch``.
        class_weight : dict or "balanced", optional
            Weights by class number, 1 for a class that is left out, which multiply `sample_weight`; or
            ``n / (classes * samples of the class)``. For "cross_entropy" with labels or one-hot rows, and for
            "binary_cross_entropy" with one output and targets 0 or 1.
        label_smoothing : float, default=0
            In [0, 1), for "cross_entropy": targets become ``(1 - s) * y + s / outputs``.
        validation_split : float, default=0
            In [0, 1): this share of the samples, the last rows as they stand, before any shuffling, is held out and
            used as `validation`. Class weights do not count there, sample weights do.
        metrics : str, callable or sequence of them
            Measured after every epoch on the training data, without dropout and smoothing, which costs a pass over
            them, and on the validation data; see `History`. "loss", "accuracy" (largest output of a softmax, or on the
            right side of 0.5), "mae", "rmse", "r2" (the mean over outputs), "auc" (needs scikit-learn), all with sample
            weights; or ``f(y_true, y_pred) -> float``, with y_true (n, outputs), or (n,) for class labels.
        early_stopping : EarlyStopping, optional
            End the run when a measure no longer improves.
        checkpoint : Checkpoint, optional
            Write the run to a file from time to time, and go on from it.

        Returns
        -------
        History

        Raises
        ------
        TypeError, ValueError
            Before anything is changed.
        KeyboardInterrupt
            Ctrl-C: theta holds what was learned until then, and `history` the record.
        """
        net, smoothing = self._net, check_smoothing(self._architecture, label_smoothing)
        data = arguments.check_data(net, X, Y, sample_weight, class_weight, smoothing, validation, validation_split)
        plan = arguments.check_plan(net, data, batch_size, shuffle, seed, threads, dropout, smoothing)
        request = arguments.check_request(
            net, data, epochs, plan, callbacks, metrics, early_stopping, schedule, checkpoint, progress
        )
        self._check_writable()
        if isinstance(optimizer, Solver):
            refuse(
                optimizer, batch_size=(batch_size, 1), threads=(threads, None), schedule=(schedule, None),
                dropout=(plan.dropout, ()), label_smoothing=(smoothing, 0.0), checkpoint=(checkpoint, None),
                EveryNSteps=(request.every_n_steps, ()), **{"a stream": (data.stream, None)},
            )  # fmt: skip
            optimizer.check_architecture(self._architecture)
            position = begin(net, self._state, data, request, drawn=False)[2]
            self._history = position.history
            solve(net, optimizer, data, request, position)
            return self._history
        if optimizer is not None:
            check_optimizer(optimizer)
        state = continued(self._state, optimizer)
        self._state, request, position = begin(net, state, data, request, drawn=seed is None)
        self._history = position.history
        kind = run.ArrayRun if data.stream is None else run.StreamRun
        kind(net, self._state, data, request, position).execute()
        return self._history

    def reset_optimizer(self) -> None:
        """Forget the optimiser's running state (slots, number of updates, epochs); keep its hyper-parameters."""
        self._state = fresh_state(self._state.optimizer, len(self._theta), self._dtype)

    # -- guards -------------------------------------------------------------------------------------------------------

    @property
    def _net(self) -> Network:
        return cast("Network", self)

    def _check_writable(self) -> None:
        if not self._theta.flags.writeable:
            raise ValueError("theta is read-only; call net.theta.setflags(write=True) first")
