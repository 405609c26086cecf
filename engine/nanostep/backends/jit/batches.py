"""Forward and backward pass of a batch, one tile of rows at a time: a tile goes through all layers while its
activations are in cache, and the gradient is summed over the tiles.

Parameters are packed for the length of a call. The first layer is kept as wt (in x out), which the forward pass reads
along its rows; the others stay as in theta, W (out x in), which the backward pass reads, with a copy wt for the forward
pass. So the gradient of every layer comes from a product whose rows are long, also where outputs are few.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from nanostep.backends.jit._compile import FASTMATH, OPTIONS
from nanostep.backends.jit._layout import ACTIVATION, IN, OUT, THETA, TILE, TILE_AT, WT_AT
from nanostep.backends.jit.activations import activate_rows, times_derivative
from nanostep.backends.jit.layers import add_product, add_rows, fill, repeat_row
from nanostep.backends.jit.losses import delta_rows, sum_losses


@njit(fastmath=FASTMATH, **OPTIONS)
def pack(layout, theta, packed):
    """packed = theta, W of the first layer transposed"""
    fan_in, fan_out = layout[0, IN], layout[0, OUT]
    for i in range(fan_in):
        for o in range(fan_out):
            packed[i * fan_out + o] = theta[o * fan_in + i]
    for i in range(fan_in * fan_out, np.uint64(theta.size)):
        packed[i] = theta[i]


@njit(fastmath=FASTMATH, **OPTIONS)
def unpack(layout, packed, scale, theta):
    """theta = scale * packed"""
    fan_in, fan_out = layout[0, IN], layout[0, OUT]
    for o in range(fan_out):
        for i in range(fan_in):
            theta[o * fan_in + i] = scale * packed[i * fan_out + o]
    for i in range(fan_in * fan_out, np.uint64(theta.size)):
        theta[i] = scale * packed[i]


@njit(fastmath=FASTMATH, **OPTIONS)
def refresh(layout, packed, wt):
    """wt of every layer but the first, in blocks of 16 x 16 so that both sides stay in cache"""
    side = np.uint64(16)
    for l in range(1, layout.shape[0]):
        fan_in, fan_out, at, wt_at = layout[l, IN], layout[l, OUT], layout[l, THETA], layout[l, WT_AT]
        for i0 in range(np.uint64(0), fan_in, side):
            for o0 in range(np.uint64(0), fan_out, side):
                for i in range(i0, min(i0 + side, fan_in)):
                    for o in range(o0, min(o0 + side, fan_out)):
                        wt[wt_at + i * fan_out + o] = packed[at + o * fan_in + i]


@njit(fastmath=FASTMATH, **OPTIONS)
def forward(layout, packed, wt, rows, x_at, x, z, a):
    """z and a of every layer for `rows` <= TILE rows of x"""
    one = np.uint64(1)
    source, source_at = x, x_at
    for l in range(layout.shape[0]):
        fan_in, fan_out, w_at, at = layout[l, IN], layout[l, OUT], layout[l, THETA], layout[l, TILE_AT]
        matrix, matrix_at = (wt, layout[l, WT_AT]) if l > 0 else (packed, w_at)
        repeat_row(rows, fan_out, packed, w_at + fan_in * fan_out, z, at)
        add_product(rows, fan_out, fan_in, source, source_at, fan_in, one, matrix, matrix_at, z, at)
        activate_rows(layout[l, ACTIVATION], fan_out, at, at + rows * fan_out, z, a)
        source, source_at = a, at


@njit(fastmath=FASTMATH, **OPTIONS)
def tile_loss(layout, loss, rows, y_at, y, z, a):
    """The sum of L over the rows of the last forward"""
    last = layout.shape[0] - 1
    return sum_losses(loss, layout[last, ACTIVATION], rows, layout[last, OUT], layout[last, TILE_AT], z, a, y_at, y)


@njit(fastmath=FASTMATH, **OPTIONS)
def backward(layout, loss, packed, rows, x_at, x, y_at, y, z, a, d, grad):
    """grad (packed) += gradient of the sum of L over the rows of the last forward"""
    one, zero = np.uint64(1), d.dtype.type(0)
    last = layout.shape[0] - 1
    delta_rows(loss, layout[last, ACTIVATION], rows, layout[last, OUT], layout[last, TILE_AT], z, a, y_at, y, d)
    for l in range(last, 0, -1):
        fan_in, fan_out, w_at, at = layout[l, IN], layout[l, OUT], layout[l, THETA], layout[l, TILE_AT]
        below = layout[l - 1, TILE_AT]
        end = below + rows * fan_in
        fill(zero, below, end, d)
        add_product(rows, fan_in, fan_out, d, at, fan_out, one, packed, w_at, d, below)
        times_derivative(layout[l - 1, ACTIVATION], below, end, z, a, d)
        add_product(fan_out, fan_in, rows, d, at, one, fan_out, a, below, grad, w_at)
        add_rows(rows, fan_out, d, at, grad, w_at + fan_in * fan_out)
    fan_in, fan_out, at = layout[0, IN], layout[0, OUT], layout[0, TILE_AT]
    add_product(fan_in, fan_out, rows, x, x_at, one, fan_in, d, at, grad, np.uint64(0))
    add_rows(rows, fan_out, d, at, grad, fan_in * fan_out)


@njit(fastmath=FASTMATH, **OPTIONS)
def gather(inputs, outputs, x__ni, y__no, labels__n, order__n, place, rows, x, y):
    """Return where x and y of `rows` samples from `place` of the order begin, and if each was gathered into x or y.

    Samples that stand together are used in place. Labels become one-hot rows.
    """
    shuffled, labelled = order__n.size > 0, labels__n.size > 0
    for r in range(rows):
        index = place + r
        if shuffled:
            index = np.uint64(order__n[index])
            for i in range(inputs):
                x[r * inputs + i] = x__ni[index * inputs + i]
        if labelled:
            for o in range(outputs):
                y[r * outputs + o] = 0
            y[r * outputs + np.uint64(labels__n[index])] = 1
        elif shuffled:
            for o in range(outputs):
                y[r * outputs + o] = y__no[index * outputs + o]
    return shuffled, shuffled or labelled


@njit(fastmath=FASTMATH, **OPTIONS)
def batch_gradient(
    layout, loss, x__ni, y__no, labels__n, order__n, place, rows, packed, grad, wt, z, a, d, x, y
):  # fmt: skip
    """grad (packed) = gradient of the sum of L over `rows` samples from `place`; return that sum"""
    inputs, outputs, tile = layout[0, IN], layout[layout.shape[0] - 1, OUT], np.uint64(TILE)
    zero = np.uint64(0)
    fill(grad.dtype.type(0), zero, np.uint64(grad.size), grad)
    total = 0.0
    for done in range(zero, rows, tile):
        count, at = min(tile, rows - done), place + done
        x_gathered, y_gathered = gather(inputs, outputs, x__ni, y__no, labels__n, order__n, at, count, x, y)
        x_from, x_at = (x, zero) if x_gathered else (x__ni, at * inputs)
        y_from, y_at = (y, zero) if y_gathered else (y__no, at * outputs)
        forward(layout, packed, wt, count, x_at, x_from, z, a)
        total += tile_loss(layout, loss, count, y_at, y_from, z, a)
        backward(layout, loss, packed, count, x_at, x_from, y_at, y_from, z, a, d, grad)
    return total
