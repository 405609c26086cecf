"""Kernels behind the methods of a `JittedNetwork`, which is their static argument: for rows and for batches."""

from __future__ import annotations

from typing import Any

from nanostep.backends.jit._compile import FASTMATH
from nanostep.backends.jit._kernel import kernel
from nanostep.backends.jit.arguments import Data, Hyperparameters
from nanostep.backends.jit.batch import Batch
from nanostep.backends.jit.gradient import unpack
from nanostep.backends.jit.layout import Net
from nanostep.backends.jit.optimizers import LR, Update, apply_rule, gradient_factor, hyperparameter, static_flags
from nanostep.backends.jit.passes import batch_gradient, load_parameters, loss_of
from nanostep.backends.jit.row import row_backward, row_forward, row_output, row_step


@kernel(fastmath=FASTMATH)
def forward_row(m: Any, fns: Any, theta: Any, x: Any, out: Any, work: Any) -> None:
    """See `JittedNetwork.forward`"""
    row_output(m, fns.net, row_forward(m, fns.net, theta, x, work), out)


@kernel(fastmath=FASTMATH)
def backward_row(m: Any, fns: Any, theta: Any, x: Any, gradients: Any, work: Any) -> None:
    """See `JittedNetwork.backward`: a row"""
    row_backward(m, fns.net, theta, x, gradients, work)


@kernel(fastmath=FASTMATH, returns="double")
def step_row(m: Any, fns: Any, theta: Any, x: Any, y: Any, lr: Any, work: Any) -> Any:
    """See `JittedNetwork.step`: a row"""
    return row_step(m, fns.net, theta, x, y, None, m.splat(m.rounded(lr)), work)


@kernel(fastmath=FASTMATH, returns="double")
def step_label(m: Any, fns: Any, theta: Any, x: Any, y: Any, lr: Any, work: Any) -> Any:
    """See `JittedNetwork.step`: a row and a class number"""
    return row_step(m, fns.net, theta, x, None, y, m.splat(m.rounded(lr)), work)


def data_of(n: Any, x: Any, y: Any, labelled: bool) -> Data:
    """n samples in the order in which they are stored; y holds class numbers if `labelled`."""
    return Data(n, x, x if labelled else y, y, None, False, labelled)


def mean_gradient(m: Any, net: Net, theta: Any, data: Data, grad: Any, work: Any) -> Any:
    """grad = gradient of the mean loss; return that loss."""
    load_parameters(m, net, theta, work)
    total = batch_gradient(m, Batch(net, work, data, m.index(0), data.n))
    share = 1.0 / m.double_of(data.n)
    unpack(m, net, work + net.grad, share, grad)
    return total * share


def mean_loss(m: Any, net: Net, theta: Any, data: Data, work: Any) -> Any:
    """The mean loss"""
    return loss_of(m, net, theta, data, work) / m.double_of(data.n)


def batch_step(m: Any, net: Net, theta: Any, data: Data, lr: Any, work: Any) -> Any:
    """theta -= lr * gradient of the mean loss; return the loss before it."""
    grad, rate = work + net.memory_size(0), m.splat(m.rounded(lr))
    loss = mean_gradient(m, net, theta, data, grad, work)
    count = net.architecture.parameter_count
    whole = count // m.lanes * m.lanes

    def vector(i: Any, part: Any = None) -> None:
        m.store_part(theta + i, part, m.load_part(theta + i, part) - rate * m.load_part(grad + i, part))

    m.loop(0, whole, m.lanes, vector)
    if whole < count:
        vector(whole, count - whole)
    return loss


@kernel(fastmath=FASTMATH, returns="double")
def step_batch(m: Any, net: Net, theta: Any, n: Any, x: Any, y: Any, lr: Any, work: Any) -> Any:
    """See `JittedNetwork.step`: a batch"""
    return batch_step(m, net, theta, data_of(n, x, y, False), lr, work)


@kernel(fastmath=FASTMATH, returns="double")
def step_labels(m: Any, net: Net, theta: Any, n: Any, x: Any, y: Any, lr: Any, work: Any) -> Any:
    """See `JittedNetwork.step`: a batch with class numbers"""
    return batch_step(m, net, theta, data_of(n, x, y, True), lr, work)


@kernel(fastmath=FASTMATH, returns="double")
def loss_batch(m: Any, net: Net, theta: Any, n: Any, x: Any, y: Any, work: Any) -> Any:
    """See `JittedNetwork.loss`"""
    return mean_loss(m, net, theta, data_of(n, x, y, False), work)


@kernel(fastmath=FASTMATH, returns="double")
def loss_labels(m: Any, net: Net, theta: Any, n: Any, x: Any, y: Any, work: Any) -> Any:
    """See `JittedNetwork.loss`: with class numbers"""
    return mean_loss(m, net, theta, data_of(n, x, y, True), work)


@kernel(fastmath=FASTMATH, returns="double")
def gradient_batch(m: Any, net: Net, theta: Any, n: Any, x: Any, y: Any, grad: Any, work: Any) -> Any:
    """See `JittedNetwork.gradient`"""
    return mean_gradient(m, net, theta, data_of(n, x, y, False), grad, work)


@kernel(fastmath=FASTMATH, returns="double")
def gradient_labels(m: Any, net: Net, theta: Any, n: Any, x: Any, y: Any, grad: Any, work: Any) -> Any:
    """See `JittedNetwork.gradient`: with class numbers"""
    return mean_gradient(m, net, theta, data_of(n, x, y, True), grad, work)


@kernel(fastmath=FASTMATH)
def update_all(m: Any, fns: Any, theta: Any, grad: Any, slots: Any, t: Any, lr: Any) -> None:
    """See `JittedNetwork.update`; lr is the optimiser's if it is None"""
    count, h = fns.parameter_count, Hyperparameters(fns.hyperparameters, fns.kind == "adamw")
    flags = static_flags(fns.hyperparameters)
    factor = gradient_factor(m, h, flags, m.index(count), grad)
    rate = hyperparameter(m, h, LR) if lr is None else m.double(lr)
    update = Update(m, h, flags, rate, t, factor, count, count, theta, grad, slots)
    apply_rule(update, {"adamw": "adam"}.get(fns.kind, fns.kind))
