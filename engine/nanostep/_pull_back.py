"""`PullBack`: the backward pass of `Network.vjp` and `Population.vjp`, for losses of the caller's own."""

from __future__ import annotations

from typing import Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike

from nanostep._arrays import convert
from nanostep._checks import check_bool, check_choice
from nanostep.backends.contract import PreparedPull


class PullBack:
    """What `Network.vjp` returns beside the outputs: a function from their gradient to that of parameters and inputs.

    It has copies of the inputs and of theta. The activations are computed again, tile by tile, on the way to the
    gradient, unless the engine still has them.
    """

    __slots__ = ("_engine", "_kept", "_prepared", "_shape", "_tape", "_theta", "_x")

    def __init__(
        self,
        engine: Any,
        theta: np.ndarray,
        kept: np.ndarray,
        x: np.ndarray,
        shape: tuple[int, ...],
        prepared: PreparedPull | None = None,
        tape: int = 0,
    ) -> None:
        self._engine = engine  # the backend's, of networks or of populations
        self._theta = theta  # the network's parameters
        self._kept = kept  # their values in the forward pass
        self._x = x  # copy of the inputs, (n, inputs)
        self._shape = shape  # of the outputs, as they were returned
        self._prepared, self._tape = prepared, tape  # see Engine.prepared_forward

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
        wants_grad = params is True or check_bool("params", params)
        wants_dx = inputs is True or check_bool("inputs", inputs) or not wants_grad
        of_z = wrt != "out" and check_choice("wrt", wrt, ("out", "z")) == "z"
        if self._prepared is not None:
            made = self._prepared.pull(
                dout, len(self._shape), self._x, self._kept, self._tape, of_z, wants_grad, wants_dx
            )  # fmt: skip
            if made is not None:
                return made
        dtype = self._kept.dtype
        d = convert("dout", dout, dtype)
        if d.shape != self._shape:
            raise ValueError(f"dout must have the shape of the outputs, {self._shape}; got {d.shape}")
        # by bits, so that NaN is equal to itself
        bits = f"u{dtype.itemsize}"
        if not np.array_equal(self._theta.view(bits), self._kept.view(bits)):
            raise RuntimeError("theta has changed since the forward pass; call net.vjp(X) again")
        grad = np.empty_like(self._kept) if wants_grad else None
        dx = self._pull(d, of_z, grad, wants_dx)
        if grad is None or dx is None:
            return dx if grad is None else grad  # type: ignore[return-value]
        return grad, dx

    def _pull(self, dout: np.ndarray, of_z: bool, grad: np.ndarray | None, wants_dx: bool) -> np.ndarray | None:
        """Write the gradient, unless it is None, and return dX if it is wanted."""
        dx = np.empty_like(self._x) if wants_dx else None
        self._engine.vjp(self._kept, self._x, np.atleast_2d(dout), of_z=of_z, grad__p=grad, dx__ni=dx)
        return dx[0] if dx is not None and len(self._shape) == 1 else dx


class PopulationPullBack(PullBack):
    """What `Population.vjp` returns beside the outputs: the same for all networks of a population."""

    __slots__ = ()

    def _pull(self, dout: np.ndarray, of_z: bool, grad: np.ndarray | None, wants_dx: bool) -> np.ndarray | None:
        dx = np.empty((len(self._kept), *self._x.shape[-2:]), self._kept.dtype) if wants_dx else None
        self._engine.vjp(self._kept, self._x, dout, of_z=of_z, grad__mp=grad, dx__mni=dx)
        return dx
