"""One plain SGD step on one sample, on theta as it stands: true SGD on small networks, where latency is everything."""

from __future__ import annotations

from numba import njit

from nanostep.backends.jit._compile import FASTMATH, OPTIONS
from nanostep.backends.jit.activations import activate_rows, times_derivative
from nanostep.backends.jit.losses import delta_rows, sum_losses

SMALL = 4096
"""Parameters up to which this path is taken: beyond, dot products along rows of W lose against the packed layout."""


@njit(fastmath=FASTMATH, **OPTIONS)
def sample_step(layout, loss, theta, x, y, lr, z, a, d):
    """theta -= lr * gradient of L(x, y); return L before it. Every delta is computed before its weights change."""
    layers = layout.shape[0]
    source = x
    at = 0
    for l in range(layers):
        fan_in, fan_out, w = layout[l, 0], layout[l, 1], layout[l, 3]
        b = w + fan_in * fan_out
        for o in range(fan_out):
            total = theta[b + o]
            for i in range(fan_in):
                total += source[i] * theta[w + o * fan_in + i]
            z[at + o] = total
        activate_rows(layout[l, 2], fan_out, z[at : at + fan_out], a[at : at + fan_out])
        source = a[at : at + fan_out]
        at += fan_out
    fan_out = layout[layers - 1, 1]
    at -= fan_out
    end = at + fan_out
    output = layout[layers - 1, 2]
    value = sum_losses(
        loss, output, z[at:end].reshape((1, fan_out)), a[at:end].reshape((1, fan_out)), y.reshape((1, fan_out))
    )
    delta_rows(loss, output, fan_out, z[at:end], a[at:end], y, d[at:end])
    for o in range(fan_out):
        d[at + o] *= lr  # deltas are linear in this one: they are ready-made updates from here on
    for l in range(layers - 1, -1, -1):
        fan_in, fan_out, w = layout[l, 0], layout[l, 1], layout[l, 3]
        b = w + fan_in * fan_out
        source = x
        below = at - fan_in
        if l > 0:
            source = a[below:at]
            for i in range(fan_in):
                d[below + i] = 0
            for o in range(fan_out):
                delta = d[at + o]
                for i in range(fan_in):
                    d[below + i] += delta * theta[w + o * fan_in + i]
            times_derivative(layout[l - 1, 2], z[below:at], source, d[below:at])
        for o in range(fan_out):
            delta = d[at + o]
            for i in range(fan_in):
                theta[w + o * fan_in + i] -= delta * source[i]
            theta[b + o] -= delta
        at = below
    return value
