"""Every value of a forward and a backward pass, and an estimate of the rounding errors of the gradient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nanostep.architecture import Architecture
from nanostep.backends.reference.losses import JOINED

Array = np.ndarray


@dataclass(frozen=True)
class Trace:
    """Values of a forward and a backward pass of one sample; lists by layer.

    Rows have shape (1, o), except those of ``df``: (o,), or (o, o) for softmax. ``a`` begins with the input:
    ``a[l + 1] = f(z[l])``. ``grad`` is laid out as theta.
    """

    z: list[Array]
    a: list[Array]
    y: Array
    loss: float
    da: list[Array]
    df: list[Array]
    d: list[Array]
    grad: Array


def rounding_errors(architecture: Architecture, theta: Array, trace: Trace) -> tuple[Array, float]:
    """Return the error that one rounding per value makes in each gradient entry (parameters,), and in the loss.

    The first is in units of the gradient and includes the eps of its dtype; the second is in units of eps. Errors of
    z, a and the deltas are relative to the sums of the absolute values of their terms, because cancellation does not
    reduce them, and add up from layer to layer in quadrature, as independent errors do.
    """
    eps = float(np.finfo(theta.dtype).eps)
    weights, biases = architecture.views(theta.astype(np.float64))
    x = [row[0].astype(np.float64) for row in trace.a]
    d = [row[0].astype(np.float64) for row in trace.d]
    # sums of |terms| of z; 1 stands for the derivative and the curvature of f, which are of that order or smaller
    size = [1.0 + np.abs(w) @ np.abs(x[l]) + np.abs(b) for l, (w, b) in enumerate(zip(weights, biases, strict=True))]
    y = np.abs(trace.y[0]).astype(np.float64)
    output = np.abs(d[-1]).max() + np.abs(x[-1]).max() + y.max()
    loss = abs(trace.loss) + np.abs(d[-1]) @ size[-1] + np.abs(x[-1]) @ y + 1.0
    if (architecture.loss, architecture.output) not in JOINED:
        da = np.abs(trace.da[-1][0]).astype(np.float64)
        output += da.max()
        loss += np.abs(x[-1]) @ da

    errors = np.empty(len(theta))
    error_weights, error_biases = architecture.views(errors)
    delta = size[-1].max() * np.full(len(d[-1]), output)
    for l in reversed(range(len(weights))):
        entering = size[l - 1] if l > 0 else np.abs(x[0])
        error_weights[l][...] = eps * (np.outer(delta, np.abs(x[l])) + np.outer(np.abs(d[l]), entering))
        error_biases[l][...] = eps * delta
        if l > 0:
            terms = np.abs(d[l]) @ np.abs(weights[l])
            df = np.abs(trace.df[l - 1]).astype(np.float64)
            delta = df * np.sqrt(delta**2 @ weights[l] ** 2) + size[l - 1] * terms
    return errors, float(loss)
