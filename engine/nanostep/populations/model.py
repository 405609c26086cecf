"""`PopulationModel`: many dense networks of one architecture as functions; `nanostep.Population` adds what learns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from nanostep._base_model import BaseModel, check_dtype
from nanostep._checks import check_integer
from nanostep._pull_back import PopulationPullBack
from nanostep.architecture import Architecture, make_architecture
from nanostep.backends.own_loss import population_engine_of
from nanostep.backends.population_contract import PopulationEngine
from nanostep.initialization import initialize_each
from nanostep.losses import Loss
from nanostep.populations.data import (
    check_inputs_of_networks,
    check_samples_of_networks,
    check_seeds,
    weighted_as_given,
)
from nanostep.populations.optimizer_state import check_population_memory


class PopulationModel(BaseModel):
    """K networks: everything of `nanostep.Population`, whose arguments it takes, that does not learn."""

    _engine: PopulationEngine
    _seconds_per_flop: float | None
    """Speed of the last call of the engine, by which the next run sizes its first; None before there was one."""

    def __init__(
        self,
        sizes: Iterable[int],
        size: int,
        *,
        activation: str | Sequence[str] = "sigmoid",
        output: str = "sigmoid",
        loss: str | Loss = "half_squared_error",
        dtype: DTypeLike = "float64",
        backend: str = "auto",
        seed: int | ArrayLike | None = 0,
    ) -> None:
        architecture = make_architecture(sizes, activation, output, loss)
        count, checked_dtype = check_integer("size", size, 1), check_dtype(dtype)
        check_population_memory(count, architecture.parameter_count, checked_dtype)
        seeds = check_seeds(seed, count, consecutive=True)
        self._set_up(architecture, checked_dtype, backend, count)
        initialize_each(architecture, self._theta, seeds)

    def _set_up(self, architecture: Architecture, dtype: np.dtype, backend: str, size: int) -> None:
        package = self._allocate(architecture, dtype, backend, (size,))
        self._engine = population_engine_of(package, architecture, dtype)
        self._seconds_per_flop = None

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

    def __repr__(self) -> str:
        return self._describe(f"size={len(self)}")

    # -- one call -----------------------------------------------------------------------------------------------------

    def predict(self, X: ArrayLike, *, rows: ArrayLike | None = None) -> np.ndarray:
        """Return the outputs of every network, shape (K, n, outputs).

        Parameters
        ----------
        X : array-like, shape (n, inputs), (inputs,), or (K, n, inputs)
            Rows for all networks, or for each its own.
        rows : array-like of int, shape (K, m), optional
            The rows of X (n, inputs) for which each network gives outputs, of shape (K, m, outputs).
        """
        x, index = check_inputs_of_networks(self, X, rows)
        count = x.shape[-2] if index is None else index.shape[1]
        a = np.empty((len(self), count, self._architecture.outputs), self._dtype)
        self._engine.predict(self._theta, x, a, rows__mn=index)
        return a

    def loss(
        self,
        X: ArrayLike,
        Y: ArrayLike,
        *,
        rows: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        nan_targets: str = "raise",
    ) -> np.ndarray:
        """Return the mean of weight * loss of every network, shape (K,).

        Parameters
        ----------
        X, Y, rows : array-like
            As in `train`.
        sample_weight : array-like, shape (K, n), or (n,), optional
            Factors of the loss of each sample, of any sign, used as they are given (see `Network.loss`).
        nan_targets : {"raise", "ignore"}, default="raise"
            As in `Network.loss`.
        """
        data = check_samples_of_networks(self, X, Y, rows, nan_targets=nan_targets)
        data = weighted_as_given(data, sample_weight, len(self))
        losses = np.empty(len(self))
        self._engine.loss(self._theta, data, losses)
        return losses

    def gradient(
        self,
        X: ArrayLike,
        Y: ArrayLike,
        *,
        rows: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        nan_targets: str = "raise",
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean of weight * loss of every network, and its gradient.

        Parameters
        ----------
        X, Y, rows, sample_weight, nan_targets
            As in `loss`.

        Returns
        -------
        loss : ndarray of float64, shape (K,)
        gradient : ndarray, shape (K, parameters)
            Laid out as `theta`; a new array.
        """
        data = check_samples_of_networks(self, X, Y, rows, nan_targets=nan_targets)
        data = weighted_as_given(data, sample_weight, len(self))
        losses, gradient = np.empty(len(self)), np.empty_like(self._theta)
        self._engine.gradient(self._theta, data, losses, gradient)
        return losses, gradient

    def vjp(self, X: ArrayLike) -> tuple[np.ndarray, PopulationPullBack]:
        """Return the outputs of every network, and a function that pulls gradients back through all of them.

        For losses of your own, as `Network.vjp`.

        Parameters
        ----------
        X : array-like, shape (n, inputs), (inputs,), or (K, n, inputs)
            Rows for all networks, or for each its own; n may be 0. It is copied.

        Returns
        -------
        out : ndarray, shape (K, n, outputs)
            The same bits as those of `predict`.
        pull : callable
            ``pull(dout, *, inputs=False, params=True, wrt="out")``, as of a network, with dout of the shape of `out`:
            it returns dL/d(theta), (K, parameters), the sums over each network's rows, and dL/dX, (K, n, inputs), also
            where networks share X.

        Examples
        --------
        >>> import nanostep as ns
        >>> population = ns.Population([2, 1], size=2, output="identity", backend="numpy")
        >>> out, pull = population.vjp([[1, 2], [3, 4]])
        >>> pull([[[1], [1]], [[0], [2]]]).tolist()
        [[4.0, 6.0, 2.0], [6.0, 8.0, 2.0]]
        """
        x, _ = check_inputs_of_networks(self, X, None)
        x, theta = x.copy(), self._theta.copy()  # the caller's may change before the backward pass
        out = self.predict(x)
        return out, PopulationPullBack(self._engine, self._theta, theta, x, out.shape)
