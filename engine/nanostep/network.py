"""`Network`: a small dense neural network on one flat parameter vector."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from nanostep._arrays import Samples, check_inputs, check_samples
from nanostep._checks import check_seed, physical_memory
from nanostep._online import Online
from nanostep.architecture import Architecture, make_architecture
from nanostep.backends import load, resolve
from nanostep.initialization import initialize
from nanostep.model import Model
from nanostep.optimizers import SGD, Optimizer, check_optimizer
from nanostep.training.history import History
from nanostep.training.optimizer_state import OptimizerState, fresh_state
from nanostep.training.sample_weights import check_weight, weighted

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from nanostep.jit import JittedNetwork
    from nanostep.worksheet import Worksheet

DTYPES = ("float32", "float64")


class Network(Online, Model):
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
    loss : str, default="half_squared_error"
        "half_squared_error" (half the sum over outputs), "squared_error", "absolute_error", "huber" (delta 1),
        "binary_cross_entropy" (output sigmoid or softmax) and "poisson" (the output is the logarithm of the rate),
        which are means over outputs as in PyTorch, and "cross_entropy" (output softmax). A batch takes the mean over
        samples.
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

    def __init__(
        self,
        sizes: Iterable[int],
        activation: str | Sequence[str] = "sigmoid",
        output: str = "sigmoid",
        loss: str = "half_squared_error",
        dtype: DTypeLike = "float64",
        backend: str = "auto",
        seed: int | None = 0,
    ) -> None:
        architecture = make_architecture(sizes, activation, output, loss)
        checked_dtype = check_dtype(dtype)
        checked_seed = None if seed is None else check_seed(seed)
        _check_memory(architecture, checked_dtype)
        self._set_up(architecture, checked_dtype, backend)
        initialize(architecture, self._theta, checked_seed)

    def _set_up(self, architecture: Architecture, dtype: np.dtype, backend: str) -> None:
        name, package = resolve(backend)
        self._architecture = architecture
        self._dtype = dtype
        self._backend = name
        self._requested_backend = backend
        self._engine = package.networks.Engine(architecture, dtype)
        # theta is a view, so that no user can resize the memory under the kernels
        self._theta = np.zeros(architecture.parameter_count, dtype)[:]
        self._weights, self._biases = architecture.views(self._theta)
        self._state = fresh_state(SGD(lr=0.1), architecture.parameter_count, dtype)
        self._history = None
        # of `nanostep.training.engine_call`: which number of threads was fastest, by what a run is like
        self._thread_trials = {}

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

    @property
    def optimizer(self) -> Optimizer:
        """The optimiser whose state the network holds: the last one trained with, at first ``SGD(lr=0.1)``."""
        return self._state.optimizer

    @property
    def history(self) -> History | None:
        """Record of the latest `train` call, also of one that was interrupted; None before the first."""
        return self._history

    def __repr__(self) -> str:
        return self._described()

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
        row = self._engine.predict_row(self._theta, X)
        if row is not None:
            return row
        x = check_inputs(self._architecture, self._dtype, X)
        a = np.empty((len(x), self._architecture.outputs), self._dtype)
        self._engine.predict(self._theta, x, a)
        return a[0] if np.ndim(X) == 1 else a

    def loss(self, X: ArrayLike, Y: ArrayLike, *, sample_weight: ArrayLike | None = None) -> float:
        """Return the mean loss over the samples, the weighted mean if there are weights.

        Parameters
        ----------
        X : array-like, shape (n, inputs) or (inputs,)
        Y : array-like, shape (n, outputs)
            (n,) will do for one output. For "cross_entropy": class labels (n,), or rows of probabilities (n, outputs).
        sample_weight : array-like, shape (n,), optional
            What each sample counts, >= 0, not all zero; normalised to mean 1.
        """
        return self._engine.loss(self._theta, self._weighted_samples(X, Y, sample_weight))

    def gradient(
        self, X: ArrayLike, Y: ArrayLike, *, sample_weight: ArrayLike | None = None
    ) -> tuple[float, np.ndarray]:
        """Return the mean loss over the samples and its gradient.

        Parameters
        ----------
        X, Y, sample_weight : array-like
            As in `loss`.

        Returns
        -------
        loss : float
        gradient : ndarray, shape (parameters,)
            Laid out as `theta`; a new array.
        """
        samples = self._weighted_samples(X, Y, sample_weight)
        gradient = np.empty_like(self._theta)
        return self._engine.gradient(self._theta, samples, gradient), gradient

    def _weighted_samples(self, X: ArrayLike, Y: ArrayLike, sample_weight: ArrayLike | None) -> Samples:
        samples = check_samples(self._architecture, self._dtype, X, Y)
        if sample_weight is None:
            return samples
        return weighted(samples, check_weight("sample_weight", sample_weight, len(samples)))

    def plot(self, ax: Axes | None = None, *, most: int = 16) -> Axes:
        """Draw layers, weights and biases; see `nanostep.plots.plot_network`."""
        from nanostep.plots import plot_network

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

    def save(self, path: str | Path, *, metadata: dict[str, Any] | None = None) -> None:
        """Write the network, with the optimiser's state, to a safetensors file; see `nanostep.load`.

        The file is complete or not there: it is written beside `path` and moved into place.

        Parameters
        ----------
        path : str or path-like
        metadata : dict, optional
            Anything JSON can hold; `nanostep.io.read_metadata` gives it back.
        """
        from nanostep.io._format import save

        save(self, path, metadata)

    def __getstate__(self) -> dict[str, Any]:
        return {
            "architecture": self._architecture,
            "dtype": self._dtype.name,
            "backend": self._requested_backend,  # "auto" chooses again where the pickle is read
            "theta": self._theta.copy(),
            "state": replace(self._state, slots=self._state.slots.copy()),  # copies share nothing that changes
            "history": self._history,
        }

    def __setstate__(self, values: dict[str, Any]) -> None:
        self._set_up(values["architecture"], np.dtype(values["dtype"]), values["backend"])
        self._theta[...] = values["theta"]
        self._state = values["state"]
        self._history = values["history"]


def check_dtype(dtype: DTypeLike) -> np.dtype:
    try:
        checked = np.dtype(dtype)
    except TypeError:
        raise TypeError(f"dtype={dtype!r} is not a NumPy dtype; use {' or '.join(DTYPES)}") from None
    if dtype is None or checked.name not in DTYPES or not checked.isnative:
        raise ValueError(f"dtype={dtype!r} is not supported; use {' or '.join(DTYPES)}")
    return checked


def _check_memory(architecture: Architecture, dtype: np.dtype) -> None:
    needed, memory = architecture.parameter_count * dtype.itemsize, physical_memory()
    if memory is not None and needed > memory:
        raise MemoryError(
            f"sizes={list(architecture.sizes)} make {architecture.parameter_count} parameters "
            f"= {needed / 2**30:.1f} GiB, more than this machine's {memory / 2**30:.1f} GiB"
        )
