"""`PullBack`: the backward pass of `Network.vjp` and `Population.vjp`, for losses of the caller's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, overload

import numpy as np
from numpy.typing import ArrayLike

from nanostep._arrays import convert
from nanostep._checks import check_bool, check_choice


@dataclass(frozen=True, eq=False, repr=False)
class PullBack:
    """What `vjp` returns beside the outputs: a function from their gradient to that of parameters and inputs.

    It has copies of the inputs and of theta, and no tape: each call computes the activations again, tile by tile, on
    the way to the gradient.
    """

    _run: Callable[[np.ndarray, np.ndarray, bool, np.ndarray | None, np.ndarray | None], None]
    """``run(theta, dout, of_z, grad, dx)``: the engine's `vjp` at the inputs of the forward pass."""
    _theta: np.ndarray
    """The network's parameters, or those of a population."""
    _kept: np.ndarray
    """Their values in the forward pass."""
    _shape: tuple[int, ...]
    """Of the outputs, as they were returned."""
    _dx_shape: tuple[int, ...]
    """Of dX."""

    @overload
    def __call__(
        self, dout: ArrayLike, *, inputs: Literal[False] = ..., params: Literal[True] = ..., wrt: str = ...
    ) -> np.ndarray: ...
    @overload
    def __call__(
        self, dout: ArrayLike, *, inputs: Literal[True], params: Literal[True] = ..., wrt: str = ...
    ) -> tuple[np.ndarray, np.ndarray]: ...
    @overload
    def __call__(
        self, dout: ArrayLike, *, inputs: bool = ..., params: Literal[False], wrt: str = ...
    ) -> np.ndarray: ...

    def __call__(
        self, dout: ArrayLike, *, inputs: bool = False, params: bool = True, wrt: str = "out"
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Return the gradient of a loss, given its derivatives by the network's outputs; any number of times.

        Neither dropout nor penalties take part.

        Parameters
        ----------
        dout : array-like, shape (n, outputs), or (outputs,) after one 1-D sample; (K, n, outputs) of a population
            dL/d(out), finite. Gradients are sums over the rows: for a mean, divide dout by n.
        inputs : bool, default=False
            Return dL/dX as well.
        params : bool, default=True
            False returns dL/dX alone.
        wrt : {"out", "z"}, default="out"
            "z": dout is dL/dz of the output layer, before its activation.

        Returns
        -------
        gradient : ndarray, shape (parameters,), or (K, parameters)
            dL/d(theta), laid out as `theta`; a new array.
        dX : ndarray, shape (n, inputs), or (inputs,) after one 1-D sample, or (K, n, inputs)

        Raises
        ------
        TypeError, ValueError
            An argument is not acceptable.
        RuntimeError
            Theta is not what it was in the forward pass: the gradient would be that of neither.
        """
        dtype, wants_dx, wants_grad = self._kept.dtype, check_bool("inputs", inputs), check_bool("params", params)
        of_z = check_choice("wrt", wrt, ("out", "z")) == "z"
        d = convert("dout", dout, dtype)
        if d.shape != self._shape:
            raise ValueError(f"dout must have the shape of the outputs, {self._shape}; got {d.shape}")
        # by bits, so that NaN is equal to itself
        bits = f"u{dtype.itemsize}"
        if not np.array_equal(self._theta.view(bits), self._kept.view(bits)):
            raise RuntimeError("theta has changed since the forward pass; call net.vjp(X) again")
        grad = np.empty_like(self._kept) if wants_grad else None
        dx = np.empty(self._dx_shape, dtype) if wants_dx or not wants_grad else None
        self._run(self._kept, d, of_z, grad, dx)
        if grad is None or dx is None:
            return dx if grad is None else grad  # type: ignore[return-value]
        return grad, dx
