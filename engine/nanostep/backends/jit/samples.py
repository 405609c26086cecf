"""One plain SGD step on one sample, on theta as it stands: true SGD on small networks, where latency is everything."""

from __future__ import annotations

import numpy as np
from numba import njit

from nanostep.backends.jit._compile import FASTMATH, OPTIONS
from nanostep.backends.jit._layout import ACTIVATION, IN, OUT, THETA
from nanostep.backends.jit.activations import activate_rows, times_derivative
from nanostep.backends.jit.layers import forward_row
from nanostep.backends.jit.losses import delta_rows, sum_losses

SMALL = 4096
"""Parameters up to which this path is taken: beyond, dot products along rows of W lose against the packed layout."""


@njit(fastmath=FASTMATH, **OPTIONS)
def forward_sample(layout, theta, x_at, x, z, a):
    """z and a of all layers, one after the other; return where the last begins."""
    # The first layer stands apart because a name that is bound to one array, then another, costs reference counts.
    at, fan_out = np.uint64(0), layout[0, OUT]
    forward_row(layout[0, IN], fan_out, x, x_at, theta, layout[0, THETA], z, at)
    activate_rows(layout[0, ACTIVATION], fan_out, at, at + fan_out, z, a)
    for l in range(1, layout.shape[0]):
        fan_in, fan_out, below = layout[l, IN], layout[l, OUT], at
        at = below + fan_in
        forward_row(fan_in, fan_out, a, below, theta, layout[l, THETA], z, at)
        activate_rows(layout[l, ACTIVATION], fan_out, at, at + fan_out, z, a)
    return at


@njit(fastmath=FASTMATH, **OPTIONS)
def backward_layer(fan_in, fan_out, w_at, theta, d_at, below, code, z, a, d):
    """d of the layer below, at `below`, from the old weights: W^T d * f'(z)"""
    for i in range(fan_in):
        d[below + i] = 0
    for o in range(fan_out):
        delta, row = d[d_at + o], w_at + o * fan_in
        for i in range(fan_in):
            d[below + i] += delta * theta[row + i]
    times_derivative(code, below, below + fan_in, z, a, d)


@njit(fastmath=FASTMATH, **OPTIONS)
def update_layer(fan_in, fan_out, w_at, theta, d_at, d, source_at, source):
    """W -= d source^T, b -= d"""
    b_at = w_at + fan_in * fan_out
    for o in range(fan_out):
        delta, row = d[d_at + o], w_at + o * fan_in
        for i in range(fan_in):
            theta[row + i] -= delta * source[source_at + i]
        theta[b_at + o] -= delta


@njit(fastmath=FASTMATH, **OPTIONS)
def sample_step(layout, loss, theta, x_at, x, y_at, y, lr, z, a, d):
    """theta -= lr * gradient of L(x, y); return L before it. Every delta is computed before its weights change."""
    one = np.uint64(1)
    at = forward_sample(layout, theta, x_at, x, z, a)
    last = layout.shape[0] - 1
    width, output = layout[last, OUT], layout[last, ACTIVATION]
    value = sum_losses(loss, output, one, width, at, z, a, y_at, y)
    delta_rows(loss, output, one, width, at, z, a, y_at, y, d)
    for o in range(width):
        d[at + o] *= lr  # deltas are linear in this one: they are ready-made updates from here on
    for l in range(last, 0, -1):
        fan_in, fan_out, w_at = layout[l, IN], layout[l, OUT], layout[l, THETA]
        below = at - fan_in
        backward_layer(fan_in, fan_out, w_at, theta, at, below, layout[l - 1, ACTIVATION], z, a, d)
        update_layer(fan_in, fan_out, w_at, theta, at, d, below, a)
        at = below
    update_layer(layout[0, IN], layout[0, OUT], layout[0, THETA], theta, at, d, x_at, x)
    return value
