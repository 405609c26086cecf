"""`Stepper`: one update after another on arrays that stay the same, as `Network.stepper` returns it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from nanostep._arrays import check_chosen_outputs
from nanostep._checks import check_bool, check_integer
from nanostep.architecture import Architecture
from nanostep.optimizers import Optimizer, check_optimizer

MOST_ROWS = 2**32


class Stepper:
    """A `Network.step` for a fixed number of rows: fill the arrays in place, call it, and it makes one update.

    The bits are those of ``net.step``. Made by `Network.stepper`.

    Attributes
    ----------
    X : ndarray, shape (n, inputs)
        Of the network's dtype, zeros at first, as the others.
    Y : ndarray
        (n, targets) of the network's dtype, which are the outputs for most losses; (n,) with `outputs`; for
        "cross_entropy" labels (n,) of int64.
    outputs : ndarray of int64, shape (n,), or None
    sample_weight : ndarray of the network's dtype, shape (n,), or None
        Ones at first.
    """

    def __init__(
        self,
        step: Callable[..., float],
        architecture: Architecture,
        dtype: np.dtype,
        n: int,
        optimizer: Optimizer | None,
        *,
        outputs: bool,
        sample_weight: bool,
    ) -> None:
        rows = check_integer("n", n, 1, MOST_ROWS)
        self._step, self._optimizer = step, None if optimizer is None else check_optimizer(optimizer)
        self._in_use = threading.Lock()
        self.X = np.zeros((rows, architecture.inputs), dtype)
        self.outputs = np.zeros(rows, np.int64) if check_bool("outputs", outputs) else None
        self.sample_weight = np.ones(rows, dtype) if check_bool("sample_weight", sample_weight) else None
        if self.outputs is not None:
            self.Y = np.zeros(rows, dtype)
            check_chosen_outputs(architecture, dtype, self.X, self.Y, self.outputs)  # is the loss one for it?
        elif architecture.loss == "cross_entropy":
            self.Y = np.zeros(rows, np.int64)
        else:
            self.Y = np.zeros((rows, architecture.targets), dtype)

    def __call__(self, X: ArrayLike | None = None, Y: ArrayLike | None = None) -> float:
        """Make one update, and return the loss before it.

        Parameters
        ----------
        X, Y : array-like, optional
            As in `Network.step`, n rows, in place of the attributes; both or none.

        Raises
        ------
        TypeError, ValueError
            As by `Network.step`, or n rows were not given.
        RuntimeError
            Another thread is making an update with this stepper.
        """
        if not self._in_use.acquire(blocking=False):
            raise RuntimeError("another thread is using this stepper; make one for each thread, with its own network")
        try:
            if X is None and Y is None:
                X, Y = self.X, self.Y
            elif X is None or Y is None:
                raise TypeError("give X and Y, or neither to use those of the stepper")
            else:
                self._check_rows(X)
            if self.outputs is None and self.sample_weight is None:
                return self._step(X, Y, optimizer=self._optimizer)
            return self._step(
                X, Y, optimizer=self._optimizer, outputs=self.outputs, sample_weight=self.sample_weight
            )  # fmt: skip
        finally:
            self._in_use.release()

    def _check_rows(self, X: ArrayLike) -> None:
        shape, n = np.shape(X), len(self.X)
        rows = 1 if len(shape) == 1 else shape[0] if shape else 0
        if rows != n:
            raise ValueError(f"this stepper takes {n} rows; X has shape {shape}")
