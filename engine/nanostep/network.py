"""`Network`: a small dense neural network on one flat parameter vector, and how it learns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike

from nanostep._arrays import (
    Samples,
    check_chosen_outputs,
    check_nan_targets,
    check_samples,
    check_scale,
    weighted_as_given,
)
from nanostep._checks import check_real
from nanostep.architecture import Architecture
from nanostep.backends import load
from nanostep.model import Model
from nanostep.optimizers import SGD, Optimizer, check_optimizer
from nanostep.schedules.base import Schedule
from nanostep.solvers.base import Solver
from nanostep.solvers.run import refuse, solve
from nanostep.streams import Pairs
from nanostep.training import run
from nanostep.training.arguments import TrainArguments, check
from nanostep.training.callbacks import Callback, EveryNSteps
from nanostep.training.checkpoints import Checkpoint
from nanostep.training.early_stopping import EarlyStopping
from nanostep.training.history import History
from nanostep.training.metrics import MetricFunction
from nanostep.training.optimizer_state import OptimizerState, continued, fresh_state
from nanostep.training.resume import begin
from nanostep.training.stepper import Stepper

if TYPE_CHECKING:
    from os import PathLike

    from matplotlib.axes import Axes

    from nanostep.jit import JittedNetwork
    from nanostep.worksheet import Worksheet


class Network(Model):
    """A dense feed-forward network that is trained by repeated SGD steps.

    Layer l computes ``z = W a + b`` and ``a = f(z)``.

    Parameters
    ----------
    sizes : sequence of int
        Widths: inputs, hidden layers (none or more), outputs; each >= 1.
    activation : str or list of str, default="sigmoid"
        Hidden activation, one name for all hidden layers or a list with one per hidden layer: "identity", "sigmoid",
        "tanh", "relu", "leaky_relu" (slope 0.01), "elu" (alpha 1), "softplus", "silu".
    output : str, default="sigmoid"
        Activation of the output layer: one of those, or "softmax".
    loss : str or Loss, default="half_squared_error"
        "half_squared_error" (half the sum over outputs), "squared_error", "absolute_error", "huber" (delta 1),
        "binary_cross_entropy" (output sigmoid or softmax) and "poisson" (the output is the logarithm of the rate),
        which are means over outputs as in PyTorch, and "cross_entropy" (output softmax). Or an object of
        `nanostep.losses`: ``Huber(delta)``, ``Quantile(quantiles)``, ``GaussianNLL()``, ``Custom(f)``. A batch takes
        the mean over samples.
    dtype : {"float64", "float32"} or NumPy dtype, default="float64"
    backend : {"auto", "c", "numba", "numpy"}, default="auto"
        "auto" takes the environment variable NANOSTEP_BACKEND if set, otherwise the first that can run here.
    seed : int or None, default=0
        Of the initial weights (see `nanostep.initialization`): the same on every backend. None draws one.

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong type or out of range.
    BackendUnavailable
        The backend asked for cannot run here.
    MemoryError
        The parameters would not fit into this machine's memory.

    Examples
    --------
    >>> import nanostep as ns
    >>> net = ns.Network([2, 3, 1], activation="tanh", backend="numpy")
    >>> history = net.train([[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0], epochs=2000, optimizer=ns.SGD(lr=0.5))
    >>> net.predict([[0, 1], [1, 1]]).round().ravel().tolist()
    [1.0, 0.0]
    """

    _state: OptimizerState
    _history: History | None

    def _set_up(self, architecture: Architecture, dtype: np.dtype, backend: str) -> None:
        super()._set_up(architecture, dtype, backend)
        self._state = fresh_state(SGD(lr=0.1), architecture.parameter_count, dtype)
        self._history = None

    @classmethod
    def _restored(
        cls, architecture: Architecture, dtype: np.dtype, backend: str, theta: np.ndarray, state: OptimizerState
    ) -> Self:
        """Return a network with a copy of these parameters, which may be NaN, and this state."""
        net = cls.__new__(cls)
        net._set_up(architecture, dtype, backend)
        net._theta[...] = theta
        net._state = state
        return net

    @property
    def optimizer(self) -> Optimizer:
        """The optimiser whose state the network holds: the last one trained with, at first ``SGD(lr=0.1)``.

        Setting it to another object starts that one's state afresh; setting it to this object changes nothing.
        """
        return self._state.optimizer

    @optimizer.setter
    def optimizer(self, value: Optimizer) -> None:
        self._state = continued(self._state, check_optimizer(value))

    @property
    def history(self) -> History | None:
        """Record of the latest `train` call, also of one that was interrupted; None before the first."""
        return self._history

    # -- single updates -----------------------------------------------------------------------------------------------

    def step(
        self,
        X: ArrayLike,
        Y: ArrayLike,
        lr: float | None = None,
        *,
        optimizer: Optimizer | None = None,
        outputs: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        nan_targets: str = "raise",
    ) -> float:
        """Make one update from the mean gradient over all samples given, and return the loss before it.

        Parameters
        ----------
        X, Y, sample_weight, nan_targets
            One sample or a batch, as in `loss`.
        lr : float, optional
            Learning rate of a plain SGD step, > 0, which leaves the optimiser's state alone.
        optimizer : Optimizer, optional
            Make its update instead; its state goes on if it is the optimiser of the last call (see `optimizer`),
            otherwise it starts afresh. Without `lr` and `optimizer`, the network's `optimizer` is used.
        outputs : array-like of int, shape (n,), optional
            The output of each row that counts, with the loss of it alone; Y is (n,), their targets. This is the update
            of deep Q-learning, where a row is a state and an output the value of an action. The sum over the rows is
            divided by n. With x of one sample, outputs and Y may be numbers.
        """
        complete = nan_targets == "raise"
        if lr is not None:
            if optimizer is None:
                loss = None
                if outputs is None and sample_weight is None and complete:
                    loss = self._engine.step_row(self._theta, X, Y, lr)
                if loss is None and complete:
                    loss = self._engine.prepared_descent(self._theta, X, Y, lr, outputs, sample_weight)
                if loss is not None:
                    return loss
            else:
                raise TypeError("give lr or optimizer, not both; to change an optimiser's rate set optimizer.lr")
            check_real("lr", lr, 0.0, open_low=True)
        else:
            if complete and (optimizer is None or optimizer is self._state.optimizer):
                loss = self._engine.prepared_update(self._theta, self._state, X, Y, outputs, sample_weight)
                if loss is not None:
                    return loss
            if optimizer is not None:
                check_optimizer(optimizer)
        if outputs is None:
            samples = check_samples(self._architecture, self._dtype, X, Y, nan_targets=nan_targets)
        else:
            check_nan_targets(nan_targets)
            samples = check_chosen_outputs(self._architecture, self._dtype, X, Y, outputs)
        samples = weighted_as_given(samples, "sample_weight", sample_weight).without_aliasing(self._theta)
        self._check_writable()
        if lr is not None:
            loss = self._step_of_one_row(samples, lr)
            if loss is not None:
                return loss
            return run.step(self, fresh_state(SGD(lr=lr), len(self._theta), self._dtype), samples)
        self._state = continued(self._state, optimizer)
        return self._update(samples)

    def _step_of_one_row(self, samples: Samples, lr: float) -> float | None:
        """Make a plain SGD step if the engine has a kernel for it: one row gives the same bits however it is given."""
        if len(samples) != 1 or samples.y is None or samples.weight is not None or samples.has_missing:
            return None
        return self._engine.step_row(self._theta, samples.x[0], samples.y[0], float(lr))

    def _update(self, samples: Samples) -> float:
        """Make one update by the network's optimiser, which is checked, and return the loss before it."""
        optimizer = self._state.optimizer
        if isinstance(optimizer, SGD) and optimizer.is_plain:
            loss = self._step_of_one_row(samples, optimizer.lr)
            if loss is not None:
                self._state.updates += 1
                return loss
        return run.step(self, self._state, samples)

    def stepper(
        self, n: int, optimizer: Optimizer | None = None, *, outputs: bool = False, sample_weight: bool = False
    ) -> Stepper:
        """Return a `step` for n rows with arrays of its own, which are filled in place.

        Parameters
        ----------
        n : int
            Rows of every update, >= 1.
        optimizer : Optimizer, optional
            As in `step`; its rate may change between updates. None: the network's `optimizer` at each update.
        outputs, sample_weight : bool, default=False
            Have arrays for these arguments of `step`.

        Returns
        -------
        Stepper
            ``step = net.stepper(64, adam)`` has ``step.X`` and ``step.Y`` (and, if wished, ``step.outputs`` and
            ``step.sample_weight``); ``step()`` makes one update from them and returns the loss before it, with the
            same bits as ``net.step``; ``step(X, Y)`` takes other arrays of n rows. One thread at a time: a second one
            gets a RuntimeError.

        Examples
        --------
        >>> import nanostep as ns
        >>> net = ns.Network([2, 1], output="identity", backend="numpy", seed=1)
        >>> step = net.stepper(2, ns.SGD(lr=0.1))
        >>> step.X[...], step.Y[...] = [[1, 2], [3, 4]], [[1], [2]]
        >>> step() > step()
        True
        """
        return Stepper(
            self.step, self._architecture, self._dtype, n, optimizer, outputs=outputs, sample_weight=sample_weight
        )  # fmt: skip

    def learn_one(self, x: ArrayLike, y: ArrayLike) -> float:
        """Make one update from one sample with the network's `optimizer`, and return the loss before it.

        With plain SGD (no momentum, penalty or clipping) and arrays of the network's dtype this takes a short cut.

        Parameters
        ----------
        x : array-like, shape (inputs,) or (1, inputs)
        y : array-like
            As in `loss`.
        """
        optimizer = self._state.optimizer
        plain = isinstance(optimizer, SGD) and optimizer.is_plain
        if plain:
            loss = self._engine.step_row(self._theta, x, y, optimizer.lr)
            if loss is not None:
                self._state.updates += 1
                return loss
        elif isinstance(x, np.ndarray) and x.ndim == 1:
            loss = self._engine.prepared_update(self._theta, self._state, x, y)
            if loss is not None:
                return loss
        samples = check_samples(self._architecture, self._dtype, x, y, names=("x", "y")).without_aliasing(self._theta)
        if len(samples) != 1:
            raise ValueError(f"learn_one takes one sample; got {len(samples)}: use partial_fit")
        self._check_writable()
        self._state = continued(self._state, None)
        return self._update(samples)

    # -- runs ---------------------------------------------------------------------------------------------------------

    def train(
        self,
        X: ArrayLike | Pairs | Callable[[], Pairs],
        Y: ArrayLike | None = None,
        *,
        epochs: int = 10,
        batch_size: int = 1,
        optimizer: Optimizer | Solver | None = None,
        shuffle: bool = True,
        seed: int | None = 0,
        validation: tuple[ArrayLike, ArrayLike] | tuple[ArrayLike, ArrayLike, ArrayLike] | None = None,
        threads: int | None = None,
        callbacks: Callback | EveryNSteps | Sequence[Callback | EveryNSteps] = (),
        progress: bool = False,
        schedule: Schedule | None = None,
        dropout: float | Sequence[float] = 0.0,
        sample_weight: ArrayLike | None = None,
        class_weight: Mapping[int, float] | str | None = None,
        label_smoothing: float = 0.0,
        validation_split: float = 0.0,
        metrics: str | MetricFunction | Sequence[str | MetricFunction] = (),
        early_stopping: EarlyStopping | None = None,
        checkpoint: Checkpoint | None = None,
        nan_targets: str = "raise",
        layer_rates: ArrayLike | None = None,
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
        nan_targets : {"raise", "ignore"}, default="raise"
            As in `loss`, for the validation data too. Metrics are averages over the targets that are there.
        layer_rates : array-like, shape (layers,), optional
            Factors >= 0 of the change of each layer of weights (W and b) in every update: learning rates by layer, as
            `scale` of `apply_gradient`. A layer whose factor is 0 stays as it is, and so do its slots.

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
        given = TrainArguments(
            X, Y, epochs=epochs, batch_size=batch_size, shuffle=shuffle, seed=seed, validation=validation,
            threads=threads, callbacks=callbacks, progress=progress, schedule=schedule, dropout=dropout,
            sample_weight=sample_weight, class_weight=class_weight, label_smoothing=label_smoothing,
            validation_split=validation_split, metrics=metrics, early_stopping=early_stopping, checkpoint=checkpoint,
            nan_targets=nan_targets, layer_rates=layer_rates,
        )  # fmt: skip
        data, config = check(self, given)
        self._check_writable()
        if isinstance(optimizer, Solver):
            refuse(optimizer, given, config, data)
            optimizer.check_architecture(self._architecture)
            run_state = begin(self, self._state, data, config, drawn=False)[2]
            self._history = run_state.history
            solve(self, optimizer, data, config, run_state)
            return self._history
        if optimizer is not None:
            check_optimizer(optimizer)
        state = continued(self._state, optimizer)
        self._state, config, run_state = begin(self, state, data, config, drawn=seed is None)
        self._history = run_state.history
        kind = run.ArrayRun if data.stream is None else run.StreamRun
        kind(self, self._state, data, config, run_state).execute()
        return self._history

    def partial_fit(
        self,
        X: ArrayLike,
        Y: ArrayLike,
        *,
        batch_size: int = 1,
        shuffle: bool = True,
        seed: int | None = 0,
        sample_weight: ArrayLike | None = None,
        nan_targets: str = "raise",
    ) -> History:
        """Go through the samples once with the network's `optimizer`, whose state goes on.

        Parameters
        ----------
        X, Y, batch_size, shuffle, seed, sample_weight, nan_targets
            As in `train`.

        Returns
        -------
        History
            Of this pass.
        """
        return self.train(
            X, Y, epochs=1, batch_size=batch_size, shuffle=shuffle, seed=seed, sample_weight=sample_weight,
            nan_targets=nan_targets,
        )  # fmt: skip

    def apply_gradient(
        self, grad: ArrayLike, *, optimizer: Optimizer | None = None, scale: ArrayLike | None = None
    ) -> None:
        """Make one update from a given gradient, such as that of a loss of your own (see `vjp`).

        ``loss, grad = net.gradient(X, Y)`` and ``net.apply_gradient(grad)`` do what ``net.step(X, Y)`` does, but for
        rounding.

        Parameters
        ----------
        grad : array-like, shape (parameters,)
            Laid out as `theta`, finite. It is clipped, and enters the optimiser's slots, as it is given.
        optimizer : Optimizer, optional
            As in `step`; the default is the network's `optimizer`, whose state goes on.
        scale : array-like, shape (layers,) or (parameters,), optional
            Factors >= 0 of the change of theta, decoupled penalties included: a learning rate for each layer of weights
            (W and b), or for each parameter. Where it is 0, theta and slots stay as they are, bit for bit, and the
            gradient does not count in the norm that is clipped.

        Raises
        ------
        TypeError, ValueError
            Before anything is changed.
        """
        own = optimizer is None or optimizer is self._state.optimizer
        if own and scale is None and self._engine.prepared_apply(self._theta, self._state, grad):
            return
        if optimizer is not None:
            check_optimizer(optimizer)
        gradient = self._check_gradient(grad)
        scales = None if scale is None else check_scale(self._architecture, self._dtype, scale)
        self._check_writable()
        self._state = continued(self._state, optimizer)
        run.apply(self, self._state, gradient, scales)

    def reset_optimizer(self) -> None:
        """Forget the optimiser's running state (slots, number of updates, epochs); keep its hyper-parameters."""
        self._state = fresh_state(self._state.optimizer, len(self._theta), self._dtype)

    # -- views of it --------------------------------------------------------------------------------------------------

    def plot(self, ax: Axes | None = None, *, most: int = 16) -> Axes:
        """Draw layers, weights and biases; see `nanostep.plots.plot_network`."""
        from nanostep.plots.network import plot_network

        return plot_network(self, ax, most=most)

    def jit(self, optimizer: Optimizer | None = None) -> JittedNetwork:
        """Return functions on plain arrays, with this architecture compiled in, for code of yours that Numba compiles.

        Parameters
        ----------
        optimizer : Optimizer, default=SGD(lr=0.1)
            What `JittedNetwork.update` does; its hyper-parameters are compiled in.

        Returns
        -------
        JittedNetwork
            Its methods `forward`, `step`, `loss`, `gradient` and `update` take theta, a copy of `theta` for example,
            and memory. The network itself is not changed by them, whatever its backend is.

        Raises
        ------
        BackendUnavailable
            Numba cannot run here.
        """
        load("numba")
        if self._architecture.loss == "custom":
            raise ValueError(
                f"jit compiles losses that are known here; this network has {self._architecture.criterion!r}"
            )
        from nanostep.jit import make_jitted

        chosen = SGD(lr=0.1) if optimizer is None else check_optimizer(optimizer)
        return make_jitted(self._architecture, self._dtype, chosen)

    def worksheet(
        self,
        x: ArrayLike,
        y: ArrayLike,
        lr: float = 0.5,
        *,
        biases: Literal["trained", "frozen"] = "trained",
        digits: int = 6,
    ) -> Worksheet:
        """Work one SGD step through and return every intermediate value; theta is left as it is.

        Parameters
        ----------
        x, y : array-like
            One sample, as in `loss`.
        lr : float, default=0.5
        biases : {"trained", "frozen"}, default="trained"
            "frozen" shows the gradients of the biases but does not apply them.
        digits : int, default=6
            Significant digits shown.
        """
        from nanostep.worksheet import make_worksheet

        return make_worksheet(self, x, y, lr, biases=biases, digits=digits)

    # -- copies and files ---------------------------------------------------------------------------------------------

    def save(self, path: str | PathLike[str], *, metadata: Mapping[str, Any] | None = None) -> None:
        """Write the network, with the optimiser's state, to a safetensors file; see `nanostep.load`.

        The file is complete or not there: it is written beside `path` and moved into place.

        Parameters
        ----------
        path : str or path-like
        metadata : dict, optional
            Anything JSON can hold; `nanostep.io.read_metadata` gives it back.
        """
        from nanostep.io._format import check_metadata, encode, write_atomically

        # hyper-parameters may have changed since the last step: the state that the next one would start from is saved
        state, more = continued(self._state, None), {"metadata": check_metadata(metadata)}
        write_atomically(path, encode(self._architecture, self._theta, state, more))

    def copy(self) -> Self:
        """Return a network that goes on as this one would: copies of theta and of the optimiser's state.

        Nothing that changes is shared. The optimiser object is the same one, so that it goes on with the copy too.
        """
        net = self._restored(self._architecture, self._dtype, self._requested_backend, self._theta, self._state.copy())
        net._history = self._history
        return net

    __copy__ = copy

    def __getstate__(self) -> dict[str, Any]:
        return {
            "architecture": self._architecture,
            "dtype": self._dtype.name,
            "backend": self._requested_backend,  # "auto" chooses again where the pickle is read
            "theta": self._theta.copy(),
            "state": self._state.copy(),  # copies share nothing that changes
            "history": self._history,
        }

    def __setstate__(self, values: dict[str, Any]) -> None:
        self._set_up(values["architecture"], np.dtype(values["dtype"]), values["backend"])
        self._theta[...] = values["theta"]
        self._state = values["state"]
        self._history = values["history"]
