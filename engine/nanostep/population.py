"""`Population`: many networks of one architecture, trained at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from nanostep._arrays import check_inputs, convert
from nanostep._checks import check_integer
from nanostep._model import Model
from nanostep.architecture import Architecture, make_architecture
from nanostep.backends import resolve
from nanostep.early_stopping import EarlyStopping
from nanostep.initialization import initialize
from nanostep.network import Network, check_dtype
from nanostep.optimizer_state import OptimizerState
from nanostep.optimizers import SGD, Optimizer
from nanostep.population_history import PopulationHistory
from nanostep.population_requests import (
    check_memory,
    check_population_data,
    check_population_optimizer,
    check_population_request,
    check_seeds,
)
from nanostep.population_training import PopulationRun

if TYPE_CHECKING:
    from pathlib import Path


class Population(Model):
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

    def __init__(
        self,
        sizes: Iterable[int],
        size: int,
        activation: str | Sequence[str] = "sigmoid",
        output: str = "sigmoid",
        loss: str = "half_squared_error",
        dtype: DTypeLike = "float64",
        backend: str = "auto",
        seed: int | ArrayLike | None = 0,
    ) -> None:
        architecture = make_architecture(sizes, activation, output, loss)
        count, checked_dtype = check_integer("size", size, 1), check_dtype(dtype)
        check_memory(architecture, checked_dtype, count, slots=0)
        seeds = check_seeds("seed", seed, count, consecutive=True)
        self._set_up(architecture, checked_dtype, backend, count)
        for theta__p, one in zip(self._theta, seeds.tolist(), strict=True):
            initialize(architecture, theta__p, one)

    def _set_up(self, architecture: Architecture, dtype: np.dtype, backend: str, size: int) -> None:
        name, package = resolve(backend)
        self._architecture, self._dtype = architecture, dtype
        self._backend, self._requested_backend = name, backend
        self._engine = package.populations.Engine(architecture, dtype)
        # a view, so that no user can resize the memory under the kernels
        self._theta = np.zeros((size, architecture.parameter_count), dtype)[:]
        self._reset(SGD(lr=0.1))
        self._history: PopulationHistory | None = None
        # of `population_training`: the speed of the last call, by which the next run sizes its first
        self._seconds_per_flop: float | None = None

    def _reset(self, optimizer: Optimizer) -> None:
        """Start the state of an optimiser afresh."""
        size, parameters = self._theta.shape
        slots = len(optimizer.slots)
        check_memory(self._architecture, self._dtype, size, slots)
        self._optimizer = optimizer
        self._slots = np.zeros((size, slots, parameters), self._dtype)
        self._updates, self._epochs = np.zeros(size, np.int64), np.zeros(size, np.int64)

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
        check_memory(first.architecture, first.dtype, len(networks), slots=0)
        population = cls.__new__(cls)
        population._set_up(first.architecture, first.dtype, backend, len(networks))
        population._theta[...] = [net.theta for net in networks]
        return population

    # -- what it is ---------------------------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """K, the number of networks."""
        return len(self._theta)

    def __len__(self) -> int:
        return len(self._theta)

    @property
    def weights(self) -> tuple[np.ndarray, ...]:
        """Views into theta, one per layer, shapes (K, out, in)."""
        layers = self._architecture.layers
        return tuple(self._theta[:, s.weights].reshape(len(self), s.outputs, s.inputs) for s in layers)

    @property
    def biases(self) -> tuple[np.ndarray, ...]:
        """Views into theta, one per layer, shapes (K, out)."""
        return tuple(self._theta[:, s.biases] for s in self._architecture.layers)

    @property
    def optimizer(self) -> Optimizer:
        """The optimiser whose state the networks hold: the last one trained with, at first ``SGD(lr=0.1)``."""
        return self._optimizer

    @property
    def history(self) -> PopulationHistory | None:
        """Record of the latest `train` call, also of one that was interrupted; None before the first."""
        return self._history

    def __repr__(self) -> str:
        return self._described(f"size={len(self)}")

    # -- one call -----------------------------------------------------------------------------------------------------

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Return the outputs of every network, shape (K, n, outputs).

        Parameters
        ----------
        X : array-like, shape (n, inputs), (inputs,), or (K, n, inputs)
            Rows for all networks, or for each its own.
        """
        if np.ndim(X) == 3:
            x = convert("X", X, self._dtype)
            if len(x) != len(self) or x.shape[2] != self._architecture.inputs:
                raise ValueError(f"X must have shape ({len(self)}, n, {self._architecture.inputs}); got {x.shape}")
        else:
            x = check_inputs(self._architecture, self._dtype, X)
        a = np.empty((len(self), x.shape[-2], self._architecture.outputs), self._dtype)
        self._engine.predict(self._theta, x, a)
        return a

    def loss(self, X: ArrayLike, Y: ArrayLike, *, rows: ArrayLike | None = None) -> np.ndarray:
        """Return the mean loss of every network, shape (K,); arguments as in `train`."""
        data = check_population_data(self, X, Y, rows)
        losses = np.empty(len(self))
        self._engine.loss(self._theta, data, losses)
        return losses

    def train(
        self,
        X: ArrayLike,
        Y: ArrayLike,
        epochs: int = 10,
        batch_size: int = 1,
        optimizer: Optimizer | None = None,
        shuffle: bool = True,
        seed: int | ArrayLike | None = 0,
        validation: tuple[ArrayLike, ArrayLike] | None = None,
        threads: int | None = None,
        *,
        rows: ArrayLike | None = None,
        dropout: float | ArrayLike = 0.0,
        label_smoothing: float = 0.0,
        early_stopping: EarlyStopping | None = None,
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
        rows : array-like of int, shape (K, m), optional
            The rows of X (n, inputs) that each network uses, for bagging or folds without copies.
        dropout : float or array-like, default=0
            One probability, K of them, or shape (K, hidden layers).
        early_stopping : EarlyStopping, optional
            For each network by itself, on "validation_loss" or "loss". Those that have stopped cost nothing more.

        Returns
        -------
        PopulationHistory

        Raises
        ------
        KeyboardInterrupt
            Ctrl-C. Every network stands at the end of an epoch; `history` has what was made.
        """
        request = check_population_request(
            self, X, Y, epochs, batch_size, shuffle, seed, validation, threads, rows, dropout, label_smoothing,
            early_stopping,
        )  # fmt: skip
        chosen = check_population_optimizer(self._optimizer if optimizer is None else optimizer, len(self))
        if chosen is not self._optimizer or len(chosen.slots) != self._slots.shape[1]:
            self._reset(chosen)
        run = PopulationRun(self, request)
        self._history = run.history
        return run.run()

    # -- single networks ----------------------------------------------------------------------------------------------

    def __getitem__(self, i: int) -> Network:
        """Return a copy of network `i`, with the state of its optimiser."""
        number = range(len(self))[check_integer("network", i, -len(self), len(self) - 1)]
        alone = self._optimizer.of(number)
        slots = self._slots[number][self._optimizer.slot_rows(alone)]
        state = OptimizerState(alone, slots, int(self._updates[number]), int(self._epochs[number]))
        return Network._restored(self._architecture, self._dtype, self._requested_backend, self._theta[number], state)

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

    def save(self, path: str | Path) -> None:
        """Write all networks, with the optimisers' states, to one safetensors file; `load` reads it."""
        from nanostep.io.populations import save

        save(self, path)

    @classmethod
    def load(cls, path: str | Path, backend: str = "auto") -> Population:
        """Return the population in a file that `save` wrote.

        Raises
        ------
        FileNotFoundError
        FileFormatError
            The file is damaged, or holds no population.
        """
        from nanostep.io.populations import load

        return load(path, backend)

    def __getstate__(self) -> dict[str, Any]:
        names = ("_architecture", "_optimizer", "_history")
        arrays = ("_theta", "_slots", "_updates", "_epochs")
        state = {name: getattr(self, name) for name in names} | {name: getattr(self, name).copy() for name in arrays}
        return {**state, "dtype": self._dtype.name, "backend": self._requested_backend}

    def __setstate__(self, values: dict[str, Any]) -> None:
        rest = dict(values)
        theta = rest.pop("_theta")
        self._set_up(rest.pop("_architecture"), np.dtype(rest.pop("dtype")), rest.pop("backend"), len(theta))
        self._theta[...] = theta
        vars(self).update(rest)
