"""`Population`: many networks of one architecture, trained at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike

from nanostep._arrays import check_scale_of_networks
from nanostep._checks import check_integer
from nanostep.architecture import Architecture
from nanostep.backends import resolve
from nanostep.losses import Custom
from nanostep.network import Network
from nanostep.optimizers import SGD, Hyper, Optimizer
from nanostep.populations.arguments import PopulationTrainArguments, check, check_optimizer_of_networks
from nanostep.populations.callbacks import PopulationCallback
from nanostep.populations.calls import apply, step
from nanostep.populations.data import check_samples_of_networks, weighted_as_given
from nanostep.populations.history import PopulationHistory
from nanostep.populations.model import PopulationModel
from nanostep.populations.optimizer_state import (
    PopulationOptimizerState,
    check_population_memory,
    continued,
    fresh_state,
)
from nanostep.populations.rates import check_takes_arrays
from nanostep.populations.run import PopulationRun
from nanostep.schedules.base import Schedule
from nanostep.training.early_stopping import EarlyStopping

if TYPE_CHECKING:
    from os import PathLike


class Population(PopulationModel):
    """K dense networks of one architecture that are trained at once, each as if it were alone.

    For sweeps over seeds and hyper-parameters, ensembles, models per sensor or user, and evolution. The C and Numba
    backends put a network into each lane of a vector: small networks take a small part of the time that they take one
    by one.

    Parameters
    ----------
    sizes, activation, output, loss, dtype, backend
        See `nanostep.Network`.
    size : int
        K, the number of networks, >= 1.
    seed : int, array-like of K ints or None, default=0
        Of the initial weights. Network i begins like ``Network(sizes, ..., seed=seed + i)``, or with ``seed[i]`` of an
        array. None draws one.

    Raises
    ------
    TypeError, ValueError, BackendUnavailable
        As `nanostep.Network`.
    MemoryError
        K networks would not fit into this machine's memory; nothing has been allocated.

    Examples
    --------
    >>> import numpy as np, nanostep as ns
    >>> rates = np.array([0.01, 0.1, 1.0, 5.0])
    >>> population = ns.Population([2, 3, 1], size=4, activation="tanh", seed=[0, 0, 0, 0])
    >>> x, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    >>> history = population.train(x, y, epochs=500, optimizer=ns.SGD(lr=rates))
    >>> history.loss.shape
    (4, 500)
    >>> population.best().predict([0, 1]).round()
    array([1.])
    """

    _state: PopulationOptimizerState
    _history: PopulationHistory | None

    def _set_up(self, architecture: Architecture, dtype: np.dtype, backend: str, size: int) -> None:
        super()._set_up(architecture, dtype, backend, size)
        self._state = fresh_state(SGD(lr=0.1), self)
        self._history = None

    @classmethod
    def _restored(
        cls, architecture: Architecture, backend: str, theta: np.ndarray, state: PopulationOptimizerState
    ) -> Self:
        """Return a population with a copy of these parameters, which may be NaN, and this state."""
        population = cls.__new__(cls)
        population._set_up(architecture, theta.dtype, backend, len(theta))
        population._theta[...] = theta
        population._state = state
        return population

    @classmethod
    def stack(cls, networks: Sequence[Network], backend: str = "auto") -> Self:
        """Return the population of copies of some networks; optimisers start afresh.

        Raises
        ------
        ValueError
            There is none, or they differ in architecture or dtype.
        """
        if not networks or not all(isinstance(net, Network) for net in networks):
            raise ValueError(f"networks must be one or more ns.Network objects; got {networks!r}")
        first = networks[0]
        for i, net in enumerate(networks):
            if net.architecture != first.architecture or net.dtype != first.dtype:
                raise ValueError(f"networks[{i}] is {net!r}, which differs from networks[0], {first!r}")
        check_population_memory(len(networks), first.architecture.parameter_count, first.dtype)
        population = cls.__new__(cls)
        population._set_up(first.architecture, first.dtype, backend, len(networks))
        population._theta[...] = [net.theta for net in networks]
        return population

    @property
    def optimizer(self) -> Optimizer:
        """The optimiser whose state the networks hold: the last one trained with, at first ``SGD(lr=0.1)``.

        Setting it to another object starts that one's state afresh; setting it to this object changes nothing.
        """
        return self._state.optimizer

    @optimizer.setter
    def optimizer(self, value: Optimizer) -> None:
        self._state = continued(self._state, check_optimizer_of_networks(value, len(self)), self)

    @property
    def history(self) -> PopulationHistory | None:
        """Record of the latest `train` call, also of one that was interrupted; None before the first."""
        return self._history

    # -- learning -----------------------------------------------------------------------------------------------------

    def step(
        self,
        X: ArrayLike,
        Y: ArrayLike,
        lr: Hyper | None = None,
        *,
        optimizer: Optimizer | None = None,
        outputs: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        nan_targets: str = "raise",
        rows: ArrayLike | None = None,
    ) -> np.ndarray:
        """Make one update of every network, each as `Network.step` would, and return the losses before it.

        Parameters
        ----------
        X, Y, rows : array-like
            One sample or a batch, for all networks or for each its own, as in `train`.
        outputs : array-like of int, shape (n,), or (K, n), optional
            The output of each row of X that counts, as in `Network.step`; Y has the same shape.
        sample_weight, nan_targets
            As in `loss`.
        lr : float or ndarray, shape (K,), optional
            Learning rate of a plain SGD step, > 0, which leaves the optimisers' states alone.
        optimizer : Optimizer, optional
            Make its update instead; its state goes on if it is the population's `optimizer`, otherwise it starts
            afresh. Without `lr` and `optimizer`, the population's `optimizer` is used.

        Returns
        -------
        ndarray of float64, shape (K,)

        Raises
        ------
        KeyboardInterrupt
            Ctrl-C. Some networks may have made the update, the others are as they were.
        """
        if lr is not None and optimizer is not None:
            raise TypeError("give lr or optimizer, not both; to change an optimiser's rate set optimizer.lr")
        given = optimizer if lr is None else SGD(lr=lr)
        chosen = check_optimizer_of_networks(self.optimizer if given is None else given, len(self))
        data = check_samples_of_networks(self, X, Y, rows, nan_targets=nan_targets, outputs=outputs)
        data = weighted_as_given(data, sample_weight, len(self))
        self._check_writable()
        if lr is not None:
            return step(self, data, fresh_state(chosen, self))
        self._state = continued(self._state, chosen, self)
        return step(self, data, self._state)

    def apply_gradient(
        self, grad: ArrayLike, *, optimizer: Optimizer | None = None, scale: ArrayLike | None = None
    ) -> None:
        """Make one update of every network from a given gradient, each as `Network.apply_gradient` would.

        Parameters
        ----------
        grad : array-like, shape (K, parameters)
            Laid out as `theta`, finite.
        optimizer : Optimizer, optional
            As in `step`; the default is the population's `optimizer`, whose state goes on.
        scale : array-like, shape (layers,) or (parameters,), or (K, layers) or (K, parameters), optional
            As of a network, for all networks or for each.

        Raises
        ------
        TypeError, ValueError
            Before anything is changed.
        """
        chosen = check_optimizer_of_networks(self.optimizer if optimizer is None else optimizer, len(self))
        gradient = self._check_gradient(grad)
        scales = None
        if scale is not None:
            scales = check_scale_of_networks(self._architecture, self._dtype, scale, len(self))
        self._check_writable()
        self._state = continued(self._state, chosen, self)
        apply(self, self._state, gradient, scales)

    def train(
        self,
        X: ArrayLike,
        Y: ArrayLike,
        *,
        epochs: int = 10,
        batch_size: int = 1,
        optimizer: Optimizer | None = None,
        shuffle: bool = True,
        seed: int | ArrayLike | None = 0,
        validation: tuple[ArrayLike, ArrayLike] | None = None,
        threads: int | None = None,
        callbacks: PopulationCallback | Sequence[PopulationCallback] = (),
        progress: bool = False,
        schedule: Schedule | None = None,
        dropout: float | ArrayLike = 0.0,
        sample_weight: ArrayLike | None = None,
        label_smoothing: float = 0.0,
        early_stopping: EarlyStopping | None = None,
        nan_targets: str = "raise",
        layer_rates: ArrayLike | None = None,
        rows: ArrayLike | None = None,
        validation_rows: ArrayLike | None = None,
    ) -> PopulationHistory:
        """Train all networks, each as `Network.train` would.

        Parameters
        ----------
        X : array-like, shape (n, inputs), or (K, n, inputs)
            Samples that all networks see, or of each its own.
        Y : array-like
            As in `Network.loss`, or with a first axis of K like X.
        epochs, batch_size, shuffle, label_smoothing
            As in `Network.train`.
        optimizer : Optimizer, optional
            Every hyper-parameter that is a number may be an array of K, one for each network. Defaults to the
            population's `optimizer`; as with a network, the same object goes on and another starts afresh.
        seed : int, array-like of K ints or None, default=0
            Of the sample orders and of dropout. One for all gives all networks the same order, which is fastest.
        validation : (Xv, Yv), optional
            Data, for all or for each, on which the loss of every network is measured after every epoch.
        threads : int, optional
            Most threads, 1 to 65536; None takes as many as there are processors.
        callbacks : callable or a sequence of them
            Called with a `PopulationEpochEnd` after every epoch. Returning True or raising `StopTraining` ends the run,
            returning an array of K bools ends it for some networks; setting ``event.lr`` changes the rates.
        progress : bool, default=False
            As in `Network.train`; of the losses it shows the median and the best.
        rows : array-like of int, shape (K, m), optional
            The rows of X (n, inputs) that each network uses, for bagging or folds without copies.
        validation_rows : array-like of int, shape (K, m), optional
            The rows of Xv (n, inputs) on which each network is measured; without `validation`, rows of X, such as those
            that `rows` leaves out.
        sample_weight : array-like, shape (K, n), or (n,), optional
            As in `Network.train`, of each network or of all; n are the samples of each, or all rows of X.
        schedule : Schedule, optional
            As in `Network.train`, from the optimiser's lr of each network; a `ReduceLROnPlateau` looks at the
            "validation_loss" or "loss" of each by itself.
        dropout : float or array-like, default=0
            One probability, K of them, or shape (K, hidden layers).
        early_stopping : EarlyStopping, optional
            For each network by itself, on "validation_loss" or "loss". Those that have stopped cost nothing more.
        nan_targets, layer_rates
            As in `Network.train`, for all networks, which are then trained one by one and not in lanes.

        Returns
        -------
        PopulationHistory

        Raises
        ------
        KeyboardInterrupt
            Ctrl-C. Every network stands at the end of an epoch; `history` has what was made.
        """
        given = PopulationTrainArguments(
            X, Y, epochs=epochs, batch_size=batch_size, shuffle=shuffle, seed=seed, validation=validation,
            threads=threads, callbacks=callbacks, progress=progress, rows=rows, validation_rows=validation_rows,
            sample_weight=sample_weight, schedule=schedule, dropout=dropout, label_smoothing=label_smoothing,
            early_stopping=early_stopping, nan_targets=nan_targets, layer_rates=layer_rates,
        )  # fmt: skip
        config = check(self, given)
        chosen = check_optimizer_of_networks(self.optimizer if optimizer is None else optimizer, len(self))
        check_takes_arrays(schedule, chosen)
        self._check_writable()
        self._state = continued(self._state, chosen, self)
        run = PopulationRun(self, self._state, config)
        self._history = run.history
        return run.run()

    # -- some of them -------------------------------------------------------------------------------------------------

    def take(self, networks: ArrayLike) -> Population:
        """Return a population of copies of some networks, with the states of their optimiser; the history stays here.

        For evolution, where the best replace others, and for going on with the best.

        Parameters
        ----------
        networks : array-like of int, or of K bools
            Their numbers, each as often as it is wanted, or which of them; at least one.

        Raises
        ------
        IndexError, TypeError, ValueError
            A number is out of range, or there is none.
        """
        chosen = np.asarray(networks)
        if chosen.dtype == bool and chosen.shape == (len(self),):
            chosen = np.flatnonzero(chosen)
        if chosen.ndim != 1 or chosen.dtype.kind not in "iu" or len(chosen) == 0:
            raise ValueError(
                f"networks must be numbers of one or more networks, or {len(self)} bools; "
                f"got shape {chosen.shape} and dtype {chosen.dtype}"
            )
        if chosen.min() < -len(self) or chosen.max() >= len(self):
            raise IndexError(f"networks has {chosen.min()} to {chosen.max()}; there are {len(self)}")
        check_population_memory(len(chosen), self._theta.shape[1], self._dtype, len(self.optimizer.slots))
        state = self._state.take(chosen)
        return type(self)._restored(self._architecture, self._requested_backend, self._theta[chosen], state)

    # -- single networks ----------------------------------------------------------------------------------------------

    def __getitem__(self, i: int) -> Network:
        """Return a copy of network `i`, with the state of its optimiser."""
        number = range(len(self))[check_integer("network", i, -len(self), len(self) - 1)]
        theta, state = self._theta[number], self._state.of(number)
        return Network._restored(self._architecture, self._dtype, self._requested_backend, theta, state)

    def __iter__(self) -> Iterator[Network]:
        return (self[i] for i in range(len(self)))

    def best(self, X: ArrayLike | None = None, Y: ArrayLike | None = None) -> Network:
        """Return a copy of the network with the least loss on (X, Y); without data, of the least validation (or else
        training) loss at the end of the last `train` call. NaN counts as worst.
        """
        if (X is None) != (Y is None):
            raise ValueError("give X and Y, or neither")
        if X is not None and Y is not None:
            losses = self.loss(X, Y)
        elif self._history is not None:
            losses = self._history.final()
        else:
            raise ValueError("there is no history yet: train first, or give X and Y")
        return self[int(np.argmin(np.where(np.isnan(losses), np.inf, losses)))]

    # -- copies and files ---------------------------------------------------------------------------------------------

    def save(self, path: str | PathLike[str]) -> None:
        """Write all networks, with the optimisers' states, to one safetensors file; `load` reads it."""
        from nanostep.io import populations

        populations.write(path, self._architecture, self._theta, self._state)

    @classmethod
    def load(
        cls, path: str | PathLike[str], backend: str = "auto", *, loss: Callable[..., Any] | Custom | None = None
    ) -> Self:
        """Return the population in a file that `save` wrote; `loss` as in `nanostep.load`.

        Raises
        ------
        FileNotFoundError
        FileFormatError
            The file is damaged, or holds no population.
        """
        from nanostep.io import populations

        resolve(backend)  # so that a wrong backend is not taken for a wrong file
        architecture, theta, state = populations.read(path)
        if loss is not None:
            architecture = architecture.with_loss(loss)
        return cls._restored(architecture, backend, theta, state)

    def copy(self) -> Self:
        """Return a population that goes on as this one would: copies of theta and of the optimisers' state.

        Nothing that changes is shared. The optimiser object is the same one, so that it goes on with the copy too.
        """
        population = self._restored(self._architecture, self._requested_backend, self._theta, self._state.copy())
        population._history = self._history
        return population

    __copy__ = copy

    def __getstate__(self) -> dict[str, Any]:
        return {
            "architecture": self._architecture,
            "backend": self._requested_backend,  # "auto" chooses again where the pickle is read
            "theta": self._theta.copy(),
            "state": self._state.copy(),  # copies share nothing that changes
            "history": self._history,
        }

    def __setstate__(self, values: dict[str, Any]) -> None:
        theta = values["theta"]
        self._set_up(values["architecture"], theta.dtype, values["backend"], len(theta))
        self._theta[...] = theta
        self._state = values["state"]
        self._history = values["history"]
