"""`Model`: what a network and a population have in common, which is what they are but not what they do."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from nanostep._arrays import convert
from nanostep.architecture import Architecture


class Model:
    """Mixin of `nanostep.Network` and `nanostep.Population`, which set these up."""

    _architecture: Architecture
    _dtype: np.dtype
    _backend: str
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

    def _described(self, *more: str) -> str:
        """Return the class and the arguments that would make one like this, with `more` after the sizes."""
        hidden = self._architecture.activations[:-1]
        activation: object = hidden[0] if len(set(hidden)) == 1 else list(hidden)
        parts = [f"{list(self.sizes)}", *more]
        if hidden:
            parts.append(f"activation={activation!r}")
        parts += [f"output={self._architecture.output!r}", f"loss={self.loss_name!r}", f"dtype={self._dtype.name!r}"]
        return f"{type(self).__name__}({', '.join(parts)}, backend={self._backend!r})"
