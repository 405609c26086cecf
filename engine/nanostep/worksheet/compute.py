"""`make_worksheet` works through one SGD step, operation by operation, with the network's own backend."""

from __future__ import annotations

from types import ModuleType

import numpy as np
from numpy.typing import ArrayLike

from nanostep._arrays import check_inputs, check_samples
from nanostep._checks import check_choice, check_real
from nanostep.architecture import Architecture
from nanostep.backends import load
from nanostep.backends.reference.networks import targets
from nanostep.model import Model
from nanostep.optimizers import SGD
from nanostep.worksheet.differences import check_gradient
from nanostep.worksheet.sheet import Worksheet
from nanostep.worksheet.trace import Trace
from nanostep.worksheet.values import LayerSheet, check_digits

Array = np.ndarray


def make_worksheet(
    net: Model, x: ArrayLike, y: ArrayLike, lr: float, *, biases: str = "trained", digits: int = 6
) -> Worksheet:
    """Work through one SGD step of `net`; theta is left unchanged.

    Parameters
    ----------
    net : Model
    x, y : array-like
        One sample, as in `Network.loss`: 1-D, or 2-D with one row.
    lr : float
        Learning rate, > 0.
    biases : {"trained", "frozen"}, default="trained"
        "frozen" shows the gradients of the biases but does not apply them.
    digits : int, default=6
        Significant digits shown, 1 to 17.

    Returns
    -------
    Worksheet

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong type or out of range, or there is more than one sample.
    """
    if net.architecture.loss == "custom":
        raise ValueError(
            f"a worksheet shows losses that are known here; the network has {net.architecture.criterion!r}"
        )
    rate = check_real("lr", lr, 0.0, open_low=True)
    check_choice("biases", biases, ("trained", "frozen"))
    shown = check_digits(digits)
    architecture, dtype = net.architecture, net.dtype
    rows = len(check_inputs(architecture, dtype, x, name="x"))
    if rows != 1:
        raise ValueError(f"a worksheet takes one sample; x has {rows} rows: pass one of them, such as x[0]")
    samples = check_samples(architecture, dtype, x, y, names=("x", "y"))
    x__bi, y__bo = samples.x, targets(samples, slice(None), architecture.outputs)
    theta = net.theta.copy()

    backend = load(net.backend)
    # without warnings, because values that overflow are shown as they are with every backend
    with np.errstate(all="ignore"):
        trace = _trace(backend, architecture, theta, x__bi, y__bo)
        theta_new = theta.copy()
        _update(backend, architecture, theta_new, trace.grad, rate, frozen=biases == "frozen")
        z_new, a_new = _forward(backend, architecture, theta_new, x__bi)
        loss_new = backend.losses.loss_value(architecture.criterion, architecture.output, z_new[-1], a_new[-1], y__bo)
        check = check_gradient(architecture, theta, trace)

    w, b = architecture.views(theta)
    dw, db = architecture.views(trace.grad)
    w_new, b_new = architecture.views(theta_new)
    dw_check, db_check = check.views(architecture)
    layers = tuple(
        LayerSheet(
            activation, w=w[l], b=b[l], z=trace.z[l][0], a=trace.a[l + 1][0],
            da=trace.da[l][0], df=trace.df[l], d=trace.d[l][0], dw=dw[l], db=db[l],
            w_new=w_new[l], b_new=b_new[l], z_new=z_new[l][0], a_new=a_new[l + 1][0],
            dw_check=dw_check[l], db_check=db_check[l],
        )
        for l, activation in enumerate(architecture.activations)
    )  # fmt: skip
    return Worksheet(
        architecture, dtype, net.backend, lr=rate, biases=biases, digits=shown,
        x=x__bi[0].copy(), y=y__bo[0].copy(), loss=trace.loss, loss_new=loss_new, layers=layers,
    )  # fmt: skip


def _forward(
    backend: ModuleType, architecture: Architecture, theta: Array, x__bi: Array
) -> tuple[list[Array], list[Array]]:
    """Return z and a of every layer; a begins with the input: a[l + 1] = f(z[l])."""
    z, a = [], [x__bi]
    for layer, w__oi, b__o in zip(architecture.layers, *architecture.views(theta), strict=True):
        z.append(np.empty((len(x__bi), layer.outputs), theta.dtype))
        backend.layers.dense_forward(a[-1], w__oi, b__o, z[-1])
        a.append(np.empty_like(z[-1]))
        backend.activations.activate(layer.activation, z[-1], a[-1])
    return z, a


def _trace(backend: ModuleType, architecture: Architecture, theta: Array, x__bi: Array, y__bo: Array) -> Trace:
    """Return every value of the forward and the backward pass."""
    z, a = _forward(backend, architecture, theta, x__bi)
    loss, output = architecture.criterion, architecture.output
    value = backend.losses.loss_value(loss, output, z[-1], a[-1], y__bo)
    weights, _ = architecture.views(theta)
    da = [np.empty_like(z__bo) for z__bo in z]
    d = [np.empty_like(z__bo) for z__bo in z]
    df = [_derivative(backend, f, z[l], a[l + 1]) for l, f in enumerate(architecture.activations)]
    backend.losses.loss_derivative(loss, a[-1], y__bo, da[-1])
    backend.losses.output_delta(loss, output, z[-1], a[-1], y__bo, d[-1])
    for l in reversed(range(len(z) - 1)):
        backend.layers.dense_backward_input(d[l + 1], weights[l + 1], da[l])
        d[l] = da[l] * df[l]
    grad = np.empty_like(theta)
    for l, (dw__oi, db__o) in enumerate(zip(*architecture.views(grad), strict=True)):
        backend.layers.dense_backward_weights(d[l], a[l], dw__oi, db__o)
    return Trace(z, a, y__bo, value, da, df, d, grad)


def _derivative(backend: ModuleType, activation: str, z__bo: Array, a__bo: Array) -> Array:
    """Return f'(z), shape (o,), or the Jacobian of softmax, shape (o, o)."""
    if activation == "softmax":
        return np.diag(a__bo[0]) - np.outer(a__bo[0], a__bo[0])
    df__bo = np.empty_like(z__bo)
    backend.activations.activation_derivative(activation, z__bo, a__bo, df__bo)
    return df__bo[0]


def _update(
    backend: ModuleType, architecture: Architecture, theta: Array, grad: Array, lr: float, *, frozen: bool
) -> None:
    """Make the SGD update in place; frozen biases get a gradient of zero."""
    applied = grad.copy()
    if frozen:
        for layer in architecture.layers:
            applied[layer.biases] = 0.0
    backend.optimizers.update(SGD(lr=lr), 1, theta, applied, np.empty((0, len(theta)), theta.dtype))
