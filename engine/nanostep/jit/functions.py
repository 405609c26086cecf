"""What the methods of a `JittedNetwork` do: kernels that take it as the static argument, for rows and for batches."""

from __future__ import annotations

from typing import Any

from nanostep.backends.jit._compile import FASTMATH
from nanostep.backends.jit._kernel import kernel
from nanostep.backends.jit.arguments import Data
from nanostep.backends.jit.gradient import unpack
from nanostep.backends.jit.optimizers import LR, Update, apply, given, gradient_factor, marks_of
from nanostep.backends.jit.passes import batch_gradient, enter, loss_of
from nanostep.backends.jit.row import row_forward, row_output, row_step


@kernel(fastmath=FASTMATH)
def forward_row(m: Any, fns: Any, theta: Any, x: Any, out: Any, work: Any) -> None:
    """See `JittedNetwork.forward`"""
    row_output(m, fns.net, row_forward(m, fns.net, theta, x, work), out)


@kernel(fastmath=FASTMATH, returns="double")
def step_row(m: Any, fns: Any, theta: Any, x: Any, y: Any, lr: Any, work: Any) -> Any:
    """See `JittedNetwork.step`: a row"""
    return row_step(m, fns.net, theta, x, y, None, m.splat(m.rounded(lr)), work)


@kernel(fastmath=FASTMATH, returns="double")
def step_label(m: Any, fns: Any, theta: Any, x: Any, y: Any, lr: Any, work: Any) -> Any:
    """See `JittedNetwork.step`: a row and a class number"""
    return row_step(m, fns.net, theta, x, None, y, m.splat(m.rounded(lr)), work)


def data_of(x: Any, y: Any, labelled: bool) -> Data:
    """Samples as they stand; y holds class numbers if `labelled`."""
    return Data(x, x if labelled else y, y, None, False, labelled)


def mean_gradient(m: Any, fns: Any, theta: Any, n: Any, x: Any, y: Any, labelled: bool, grad: Any, work: Any) -> Any:
    """grad = gradient of the mean loss; return that loss."""
    net = fns.net
    enter(m, net, theta, work)
    total = batch_gradient(m, net, work, m.index(0), n, data_of(x, y, labelled))
    share = 1.0 / m.double_of(n)
    unpack(m, net, work + net.grad, share, grad)
    return total * share


def mean_loss(m: Any, fns: Any, theta: Any, n: Any, x: Any, y: Any, labelled: bool, work: Any) -> Any:
    """The mean loss"""
    return loss_of(m, fns.net, theta, n, data_of(x, y, labelled), work) / m.double_of(n)


def batch_step(m: Any, fns: Any, theta: Any, n: Any, x: Any, y: Any, labelled: bool, lr: Any, work: Any) -> Any:
    """theta -= lr * gradient of the mean loss; return the loss before it."""
    grad, rate = work + fns.net.memory_size(0), m.splat(m.rounded(lr))
    loss = mean_gradient(m, fns, theta, n, x, y, labelled, grad, work)
    count = fns.parameter_count
    whole = count // m.lanes * m.lanes

    def vector(i: Any, part: Any = None) -> None:
        m.store_part(theta + i, part, m.load_part(theta + i, part) - rate * m.load_part(grad + i, part))

    m.loop(0, whole, m.lanes, vector)
    if whole < count:
        vector(whole, count - whole)
    return loss


@kernel(fastmath=FASTMATH, returns="double")
def step_batch(m: Any, fns: Any, theta: Any, n: Any, x: Any, y: Any, lr: Any, work: Any) -> Any:
    """See `JittedNetwork.step`: a batch"""
    return batch_step(m, fns, theta, n, x, y, False, lr, work)


@kernel(fastmath=FASTMATH, returns="double")
def step_labels(m: Any, fns: Any, theta: Any, n: Any, x: Any, y: Any, lr: Any, work: Any) -> Any:
    """See `JittedNetwork.step`: a batch with class numbers"""
    return batch_step(m, fns, theta, n, x, y, True, lr, work)


@kernel(fastmath=FASTMATH, returns="double")
def loss_batch(m: Any, fns: Any, theta: Any, n: Any, x: Any, y: Any, work: Any) -> Any:
    """See `JittedNetwork.loss`"""
    return mean_loss(m, fns, theta, n, x, y, False, work)


@kernel(fastmath=FASTMATH, returns="double")
def loss_labels(m: Any, fns: Any, theta: Any, n: Any, x: Any, y: Any, work: Any) -> Any:
    """See `JittedNetwork.loss`: with class numbers"""
    return mean_loss(m, fns, theta, n, x, y, True, work)


@kernel(fastmath=FASTMATH, returns="double")
def gradient_batch(m: Any, fns: Any, theta: Any, n: Any, x: Any, y: Any, grad: Any, work: Any) -> Any:
    """See `JittedNetwork.gradient`"""
    return mean_gradient(m, fns, theta, n, x, y, False, grad, work)


@kernel(fastmath=FASTMATH, returns="double")
def gradient_labels(m: Any, fns: Any, theta: Any, n: Any, x: Any, y: Any, grad: Any, work: Any) -> Any:
    """See `JittedNetwork.gradient`: with class numbers"""
    return mean_gradient(m, fns, theta, n, x, y, True, grad, work)


@kernel(fastmath=FASTMATH)
def update_all(m: Any, fns: Any, theta: Any, grad: Any, slots: Any, t: Any) -> None:
    """See `JittedNetwork.update`"""
    count, h = fns.parameter_count, fns.hyperparameters
    marks = marks_of(h)
    factor = gradient_factor(m, h, marks, m.index(count), grad)
    update = Update(m, h, marks, given(m, h, LR), t, factor, count, count, theta, grad, slots)
    apply(update, {"adamw": "adam"}.get(fns.kind, fns.kind), fns.kind == "adamw")
