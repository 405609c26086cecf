"""`Model`: a dense network as a function of its inputs and parameters; `nanostep.Network` adds what learns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from nanostep._arrays import Samples, check_inputs, check_samples, weighted_as_given
from nanostep._base_model import BaseModel, check_dtype
from nanostep._checks import check_memory, check_seed
from nanostep._pull_back import PullBack
from nanostep.architecture import Architecture, make_architecture
from nanostep.backends.contract import Engine
from nanostep.backends.own_loss import engine_of
from nanostep.initialization import initialize
from nanostep.losses import Loss


class Model(BaseModel):
    """A dense feed-forward network: everything of `nanostep.Network`, whose arguments it takes, that does not learn."""

    _engine: Engine
    _weights: tuple[np.ndarray, ...]
    _biases: tuple[np.ndarray, ...]
    _thread_tuners: dict[tuple[object, ...], Any]
    """Which number of threads was fastest, by what a run is like; see `nanostep.training.threads`."""

    def __init__(
        self,
        sizes: Iterable[int],
        *,
        activation: str | Sequence[str] = "sigmoid",
        output: str = "sigmoid",
        loss: str | Loss = "half_squared_error",
        dtype: DTypeLike = "float64",
        backend: str = "auto",
        seed: int | None = 0,
    ) -> None:
        architecture = make_architecture(sizes, activation, output, loss)
        checked_dtype = check_dtype(dtype)
        checked_seed = None if seed is None else check_seed(seed)
        count = architecture.parameter_count
        check_memory(f"sizes={list(architecture.sizes)} make {count} parameters =", count * checked_dtype.itemsize)
        self._set_up(architecture, checked_dtype, backend)
        initialize(architecture, self._theta, checked_seed)

    def _set_up(self, architecture: Architecture, dtype: np.dtype, backend: str) -> None:
        package = self._allocate(architecture, dtype, backend)
        self._engine = engine_of(package, architecture, dtype)
        self._weights, self._biases = architecture.views(self._theta)
        self._thread_tuners = {}

    # -- what it is ---------------------------------------------------------------------------------------------------

    @property
    def isa(self) -> str:
        """Instruction set the last call ran with, as its kernel reported it; "" if the backend does not say."""
        return self._engine.isa

    @property
    def weights(self) -> tuple[np.ndarray, ...]:
        """Views into theta, one per layer, shapes (out, in)."""
        return self._weights

    @property
    def biases(self) -> tuple[np.ndarray, ...]:
        """Views into theta, one per layer, shapes (out,)."""
        return self._biases

    def __repr__(self) -> str:
        return self._describe()

    # -- one call -----------------------------------------------------------------------------------------------------

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Return the outputs for every row of X.

        Parameters
        ----------
        X : array-like, shape (n, inputs) or (inputs,)
            n may be 0.

        Returns
        -------
        ndarray, shape (n, outputs), or (outputs,) for one 1-D sample
        """
        outputs = self._engine.predict_row(self._theta, X)
        if outputs is None:
            outputs = self._engine.prepared_predict(self._theta, X)
        if outputs is not None:
            return outputs
        x = check_inputs(self._architecture, self._dtype, X)
        a = np.empty((len(x), self._architecture.outputs), self._dtype)
        self._engine.predict(self._theta, x, a)
        return a[0] if np.ndim(X) == 1 else a

    def predict_one(self, x: ArrayLike) -> np.ndarray:
        """Return the outputs for one sample, shape (outputs,).

        Parameters
        ----------
        x : array-like, shape (inputs,) or (1, inputs)
        """
        row = self._engine.predict_row(self._theta, x)
        if row is not None:
            return row
        checked = check_inputs(self._architecture, self._dtype, x, name="x")
        if len(checked) != 1:
            raise ValueError(f"predict_one takes one sample; got {len(checked)}: use predict")
        a = np.empty((1, self._architecture.outputs), self._dtype)
        self._engine.predict(self._theta, checked, a)
        return a[0]

    def loss(
        self, X: ArrayLike, Y: ArrayLike, *, sample_weight: ArrayLike | None = None, nan_targets: str = "raise"
    ) -> float:
        """Return the mean over the samples of weight * loss.

        Parameters
        ----------
        X : array-like, shape (n, inputs) or (inputs,)
        Y : array-like, shape (n, outputs)
            (n,) will do for one output. For "cross_entropy": class labels (n,), or rows of probabilities (n, outputs).
        sample_weight : array-like, shape (n,), optional
            Factor of the loss of each sample, of any sign, used as it is given: the sum is divided by n, not by the sum
            of the weights. (`train` normalises weights to mean 1.)
        nan_targets : {"raise", "ignore"}, default="raise"
            "ignore" takes NaN in Y for missing targets, which add nothing; what the sum is divided by stays as it is,
            n and the number of outputs. For "cross_entropy" a row is missing as a whole, or its label is NaN or -1.
        """
        if sample_weight is None and nan_targets == "raise":
            loss = self._engine.prepared_loss(self._theta, X, Y)
            if loss is not None:
                return loss
        return self._engine.loss(self._theta, self._given_samples(X, Y, sample_weight, nan_targets))

    def gradient(
        self, X: ArrayLike, Y: ArrayLike, *, sample_weight: ArrayLike | None = None, nan_targets: str = "raise"
    ) -> tuple[float, np.ndarray]:
        """Return the mean over the samples of weight * loss, and its gradient.

        Parameters
        ----------
        X, Y, sample_weight, nan_targets
            As in `loss`.

        Returns
        -------
        loss : float
        gradient : ndarray, shape (parameters,)
            Laid out as `theta`; a new array.
        """
        if sample_weight is None and nan_targets == "raise":
            made = self._engine.prepared_gradient(self._theta, X, Y)
            if made is not None:
                return made
        samples = self._given_samples(X, Y, sample_weight, nan_targets)
        gradient = np.empty_like(self._theta)
        return self._engine.gradient(self._theta, samples, gradient), gradient

    def vjp(self, X: ArrayLike) -> tuple[np.ndarray, PullBack]:
        """Return the outputs for every row of X, and a function that pulls a gradient back through the network.

        For losses of your own: compute the derivatives of the loss with respect to the outputs, and `pull` returns
        those with respect to theta and X (the vector-Jacobian product, as by ``jax.vjp``). Neither dropout nor
        penalties take part.

        Parameters
        ----------
        X : array-like, shape (n, inputs) or (inputs,)
            n may be 0. It is copied.

        Returns
        -------
        out : ndarray, shape (n, outputs), or (outputs,) for one 1-D sample
            The same bits as those of `predict`.
        pull : callable
            ``pull(dout, *, inputs=False, params=True, wrt="out")``, see below.

        Raises
        ------
        TypeError, ValueError
            X is not acceptable.

        Notes
        -----
        ``pull(dout)`` takes dL/d(out), of the shape of `out` and finite, and returns dL/d(theta), a new array
        (parameters,), laid out as `theta`. It is the sum over the rows: for a mean, divide dout by n.
        ``pull(dout, inputs=True)`` returns dL/d(theta) and dL/dX, of the shape of X; ``pull(dout, params=False)``
        returns dL/dX alone. ``wrt="z"`` takes dL/dz of the output layer, before its activation.

        It may be called any number of times, with the same bits, until theta changes: after any change, be it through
        a view, it raises RuntimeError. Unacceptable arguments raise TypeError or ValueError.

        Examples
        --------
        >>> import nanostep as ns
        >>> net = ns.Network([2, 1], output="identity", backend="numpy", seed=1)
        >>> out, pull = net.vjp([[1, 2], [3, 4]])
        >>> pull([[1], [1]]).tolist()
        [4.0, 6.0, 2.0]
        """
        made = self._engine.prepared_forward(self._theta, X)
        if made is not None:
            out, x, theta, tape, prepared = made
            return out, PullBack(self._engine, self._theta, theta, x, out.shape, prepared, tape)
        x = check_inputs(self._architecture, self._dtype, X).copy()  # the caller's may change before the backward pass
        theta = self._theta.copy()
        out = self.predict(x[0] if np.ndim(X) == 1 else x)
        return out, PullBack(self._engine, self._theta, theta, x, out.shape)

    def _given_samples(self, X: ArrayLike, Y: ArrayLike, sample_weight: ArrayLike | None, nan_targets: str) -> Samples:
        samples = check_samples(self._architecture, self._dtype, X, Y, nan_targets=nan_targets)
        return weighted_as_given(samples, "sample_weight", sample_weight)
