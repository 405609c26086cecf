"""`BaseModel`: what a network and a population have in common, which is what they are and not what they do."""

from __future__ import annotations

from types import ModuleType

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from nanostep._arrays import convert
from nanostep.architecture import Architecture
from nanostep.backends import resolve

DTYPES = ("float32", "float64")


class BaseModel:
    """What a network and a population have in common: an architecture, a dtype, a backend and theta.

    Base of `nanostep.model.Model` and `nanostep.populations.model.PopulationModel`.
    """

    _architecture: Architecture
    _dtype: np.dtype
    _backend: str
    _requested_backend: str
    _theta: np.ndarray

    @property
    def architecture(self) -> Architecture:
        """Sizes, activations, loss, and where each parameter of a network stands in its theta."""
        return self._architecture

    @property
    def sizes(self) -> tuple[int, ...]:
        """Widths of all layers, inputs first."""
        return self._architecture.sizes

    @property
    def loss_name(self) -> str:
        """Name of the loss."""
        return self._architecture.loss

    @property
    def dtype(self) -> np.dtype:
        """float32 or float64."""
        return self._dtype

    @property
    def backend(self) -> str:
        """Name of the backend that runs: "c", "numba" or "numpy"."""
        return self._backend

    @property
    def theta(self) -> np.ndarray:
        """All parameters as one contiguous, writable array: for each layer W (out x in, row-major), then b.

        Shape (parameters,) of a network, (K, parameters) of a population. Assigning to it copies the values in.
        """
        return self._theta[:]

    @theta.setter
    def theta(self, values: ArrayLike) -> None:
        array = convert("theta", values, self._dtype)
        if array.shape != self._theta.shape:
            raise ValueError(f"theta must have shape {self._theta.shape}; got {array.shape}")
        self._theta[...] = array

    def _allocate(
        self, architecture: Architecture, dtype: np.dtype, backend: str, networks: tuple[int, ...] = ()
    ) -> ModuleType:
        """Set up the attributes above, with theta of zeros for a network or (K,) networks; return the backend."""
        name, package = resolve(backend)
        self._architecture, self._dtype = architecture, dtype
        self._backend, self._requested_backend = name, backend
        # a view, so that no user can resize the memory under the kernels
        self._theta = np.zeros((*networks, architecture.parameter_count), dtype)[:]
        return package

    def _check_gradient(self, grad: ArrayLike) -> np.ndarray:
        """Return a gradient laid out as theta, in the dtype and finite."""
        gradient = convert("grad", grad, self._dtype)
        if gradient.shape != self._theta.shape:
            raise ValueError(f"grad must have shape {self._theta.shape}, as theta; got {gradient.shape}")
        return gradient

    def _check_writable(self) -> None:
        if not self._theta.flags.writeable:
            raise ValueError("theta is read-only; call net.theta.setflags(write=True) first")

    def _describe(self, *more: str) -> str:
        """Return the class and the arguments that would make an object like this, with `more` after the sizes."""
        hidden = self._architecture.activations[:-1]
        activation: object = hidden[0] if len(set(hidden)) == 1 else list(hidden)
        parts = [f"{list(self.sizes)}", *more]
        if hidden:
            parts.append(f"activation={activation!r}")
        parts += [
            f"output={self._architecture.output!r}",
            f"loss={self._architecture.criterion!r}",
            f"dtype={self._dtype.name!r}",
        ]
        return f"{type(self).__name__}({', '.join(parts)}, backend={self._backend!r})"


def check_dtype(dtype: DTypeLike) -> np.dtype:
    """Return `dtype` as a NumPy dtype that networks can have."""
    try:
        checked = np.dtype(dtype)
    except TypeError:
        raise TypeError(f"dtype={dtype!r} is not a NumPy dtype; use {' or '.join(DTYPES)}") from None
    if dtype is None or checked.name not in DTYPES or not checked.isnative:
        raise ValueError(f"dtype={dtype!r} is not supported; use {' or '.join(DTYPES)}")
    return checked
