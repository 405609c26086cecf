"""The values of one worked step and the checks of its gradients, which are all that the renderers read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nanostep._checks import check_integer
from nanostep.architecture import Architecture
from nanostep.worksheet.differences import Check

Array = np.ndarray

MAX_DIGITS = 17
"""Digits that distinguish any two float64 numbers."""


@dataclass(frozen=True)
class LayerSheet:
    """Values of one layer during the step; o runs over its outputs, i over its inputs. Named as in the contract.

    Attributes
    ----------
    activation : str
        Name of f.
    w, b : ndarray, shapes (o, i) and (o,)
        Parameters before the step.
    z, a : ndarray, shape (o,)
        ``z = W a_prev + b`` and ``a = f(z)``, where a_prev is the layer's input.
    da : ndarray, shape (o,)
        dL/da: the derivative of the loss in the output layer, ``W_next^T d_next`` in the others.
    df : ndarray, shape (o,), or (o, o) for softmax
        f'(z). Each output of softmax depends on all z, so for it this is the Jacobian ``diag(a) - a a^T``.
    d : ndarray, shape (o,)
        Delta, dL/dz. Computed with the old parameters of all layers.
    dw, db : ndarray, shapes (o, i) and (o,)
        Gradients.
    w_new, b_new, z_new, a_new : ndarray
        Parameters after the step, and the forward pass with them.
    dw_check, db_check : Check
        Finite-difference check of every entry of dw and db.
    """

    activation: str
    w: Array
    b: Array
    z: Array
    a: Array
    da: Array
    df: Array
    d: Array
    dw: Array
    db: Array
    w_new: Array
    b_new: Array
    z_new: Array
    a_new: Array
    dw_check: Check
    db_check: Check

    def to_dict(self) -> dict[str, Any]:
        """Return all values as lists of floats at full precision."""
        arrays = {name: value.tolist() for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        checks = {"dw_check": self.dw_check.to_dict(), "db_check": self.db_check.to_dict()}
        return {"activation": self.activation, **arrays, **checks}


@dataclass(frozen=True, repr=False)
class StepValues:
    """Every value of one SGD step of one sample.

    Attributes
    ----------
    architecture : Architecture
    dtype : numpy.dtype
        Precision of all values except the differences of the checks, which are float64.
    backend : str
        The backend whose operations computed the values.
    lr : float
    biases : {"trained", "frozen"}
    digits : int
        Significant digits that renderings show unless told otherwise.
    x, y : ndarray, shapes (inputs,) and (outputs,)
        The sample; a class label becomes a one-hot row.
    loss, loss_new : float
        Before and after the step.
    layers : tuple of LayerSheet
        First hidden layer first.
    """

    architecture: Architecture
    dtype: np.dtype
    backend: str
    lr: float
    biases: str
    digits: int
    x: Array
    y: Array
    loss: float
    loss_new: float
    layers: tuple[LayerSheet, ...]

    @property
    def checks(self) -> tuple[Check, ...]:
        """The finite-difference checks of all gradient blocks: W and b of each layer in order."""
        return tuple(check for layer in self.layers for check in (layer.dw_check, layer.db_check))

    @property
    def ok(self) -> bool:
        """True if every gradient entry that was checked agrees with its finite difference."""
        return all(bool(check.ok[check.taken].all()) for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain numbers, strings and lists, complete and at full precision."""
        return {
            "sizes": list(self.architecture.sizes),
            "loss_name": self.architecture.loss,
            "dtype": self.dtype.name,
            "backend": self.backend,
            "lr": self.lr,
            "biases": self.biases,
            "x": self.x.tolist(),
            "y": self.y.tolist(),
            "loss": self.loss,
            "loss_new": self.loss_new,
            "ok": self.ok,
            "layers": [layer.to_dict() for layer in self.layers],
        }


def check_digits(value: object) -> int:
    """Return `value` as a number of significant digits."""
    return check_integer("digits", value, 1, MAX_DIGITS)
