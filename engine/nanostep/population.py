"""`Population`: many networks of one architecture, trained at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from nanostep._checks import check_integer
from nanostep.architecture import Architecture, make_architecture
from nanostep.backends import resolve
from nanostep.model import Model
from nanostep.network import Network, check_dtype
from nanostep.optimizers import SGD, Optimizer
from nanostep.population_initialization import initialize_each
from nanostep.population_learning import PopulationLearning
from nanostep.populations.arguments import (
    check_memory,
    check_population_data,
    check_population_inputs,
    check_seeds,
    with_weight,
)
from nanostep.populations.history import PopulationHistory
from nanostep.training.optimizer_state import OptimizerState

if TYPE_CHECKING:
    from pathlib import Path


class Population(PopulationLearning, Model):
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
        initialize_each(architecture, self._theta, seeds)

    def _set_up(self, architecture: Architecture, dtype: np.dtype, backend: str, size: int) -> None:
        name, package = resolve(backend)
        self._architecture, self._dtype = architecture, dtype
        self._backend, self._requested_backend = name, backend
        self._engine = package.populations.Engine(architecture, dtype)
        # a view, so that no user can resize the memory under the kernels
        self._theta = np.zeros((size, architecture.parameter_count), dtype)[:]
        self._reset(SGD(lr=0.1))
        self._history: PopulationHistory | None = None
        # of `population_calls`: the speed of the last call, by which the next run sizes its first
        self._seconds_per_flop: float | None = None

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

    def predict(self, X: ArrayLike, *, rows: ArrayLike | None = None) -> np.ndarray:
        """Return the outputs of every network, shape (K, n, outputs).

        Parameters
        ----------
        X : array-like, shape (n, inputs), (inputs,), or (K, n, inputs)
            Rows for all networks, or for each its own.
        rows : array-like of int, shape (K, m), optional
            The rows of X (n, inputs) that each network is asked about; the outputs then have shape (K, m, outputs).
        """
        x, index = check_population_inputs(self, X, rows)
        count = x.shape[-2] if index is None else index.shape[1]
        a = np.empty((len(self), count, self._architecture.outputs), self._dtype)
        self._engine.predict(self._theta, x, a, rows__mn=index)
        return a

    def loss(
        self, X: ArrayLike, Y: ArrayLike, *, rows: ArrayLike | None = None, sample_weight: ArrayLike | None = None
    ) -> np.ndarray:
        """Return the mean loss of every network, shape (K,); arguments as in `train`."""
        data = with_weight(check_population_data(self, X, Y, rows), sample_weight, len(self))
        losses = np.empty(len(self))
        self._engine.loss(self._theta, data, losses)
        return losses

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
        check_memory(self._architecture, self._dtype, len(chosen), len(self._optimizer.slots))
        copies = type(self).__new__(type(self))
        copies._set_up(self._architecture, self._dtype, self._requested_backend, len(chosen))
        copies._theta[...] = self._theta[chosen]
        copies._optimizer, copies._slots = self._optimizer.take(chosen), self._slots[chosen]
        copies._updates, copies._epochs = self._updates[chosen], self._epochs[chosen]
        copies._plateau = None if self._plateau is None else (self._plateau[0], self._plateau[1].take(chosen))
        return copies

    # -- single networks ----------------------------------------------------------------------------------------------

    def __getitem__(self, i: int) -> Network:
        """Return a copy of network `i`, with the state of its optimiser."""
        number = range(len(self))[check_integer("network", i, -len(self), len(self) - 1)]
        alone = self._optimizer.of(number)
        slots = self._slots[number][self._optimizer.slot_rows(alone)]
        plateau = None if self._plateau is None else (self._plateau[0], self._plateau[1][number])
        state = OptimizerState(alone, slots, int(self._updates[number]), int(self._epochs[number]), plateau)
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
        names = ("_architecture", "_optimizer", "_plateau", "_history")
        arrays = ("_theta", "_slots", "_updates", "_epochs")
        state = {name: getattr(self, name) for name in names} | {name: getattr(self, name).copy() for name in arrays}
        return {**state, "dtype": self._dtype.name, "backend": self._requested_backend}

    def __setstate__(self, values: dict[str, Any]) -> None:
        rest = dict(values)
        theta = rest.pop("_theta")
        self._set_up(rest.pop("_architecture"), np.dtype(rest.pop("dtype")), rest.pop("backend"), len(theta))
        self._theta[...] = theta
        vars(self).update(rest)
