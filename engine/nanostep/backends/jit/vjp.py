"""A gradient with respect to the outputs, pulled back to parameters and inputs: a forward and a backward pass, tile by
tile."""

from __future__ import annotations

from typing import Any, NamedTuple

from numba import njit

from nanostep.backends.jit._compile import FASTMATH, OPTIONS
from nanostep.backends.jit._kernel import kernel
from nanostep.backends.jit.activations import activate_rows, over_vectors, times_derivative
from nanostep.backends.jit.arguments import Data
from nanostep.backends.jit.batch import Batch, forward, propagate
from nanostep.backends.jit.gradient import tile_gradient, unpack
from nanostep.backends.jit.layout import Net
from nanostep.backends.jit.passes import load_parameters, over_tiles
from nanostep.backends.jit.vector import sum_lanes


class Pull(NamedTuple):
    """What is pulled back, and where to.

    Attributes
    ----------
    dout : flat array
        dL/da of the outputs, or dL/dz of the last layer if `of_z`.
    grad, dx : flat arrays
        dL/dtheta and dL/dx; empty unless `wants_grad` and `wants_dx`.
    of_z, wants_grad, wants_dx : bool
    """

    dout: Any
    grad: Any
    dx: Any
    of_z: Any
    wants_grad: Any
    wants_dx: Any


def times_softmax_jacobian(m: Any, rows: Any, width: int, stride: int, a: Any, d: Any) -> None:
    """d = d (diag(a) - a a^T) for every row"""

    def row(b: Any) -> None:
        ab, db = a + b * stride, d + b * stride
        (total,) = over_vectors(
            m, width, lambda o, part, t: [m.load_part(db + o, part) * m.load_part(ab + o, part) + t], [m.zero()]
        )  # fmt: skip
        mean = sum_lanes(m, total)
        over_vectors(
            m, width,
            lambda o, part: m.store_part(
                db + o, part, m.load_part(ab + o, part) * (m.load_part(db + o, part) - mean)
            ),
        )  # fmt: skip

    m.loop(0, rows, 1, row)


def output_deltas(m: Any, net: Net, memory: Any, rows: Any, dout: Any, of_z: Any) -> None:
    """d of the last layer, from the rows of dout that belong to the tile."""
    s = net.layers[-1]
    z, a, d = (memory + at for at in (s.z, s.a, s.d))

    def row(b: Any) -> None:
        for o in range(0, s.outputs, m.lanes):
            count = s.outputs - o
            m.store(d + b * s.row + o, m.keep_part(m.load_part(dout + b * s.outputs + o, count), count))

    def derive() -> None:
        activate_rows(m, s.f, rows, s.outputs, s.row, z, a)
        if s.f == "softmax":
            times_softmax_jacobian(m, rows, s.outputs, s.row, a, d)
        else:
            times_derivative(m, s.f, rows * s.row, z, a, d)

    m.loop(0, rows, 1, row)
    m.when(of_z, lambda: None, derive)


def input_gradient(m: Any, net: Net, memory: Any, theta: Any, rows: Any, dx: Any) -> None:
    """dx = d W of the first layer. W is read from theta, because w is not kept for this layer."""
    s = net.layers[0]

    def row(b: Any) -> None:
        d, to = memory + s.d + b * s.row, dx + b * s.inputs

        def columns(i: Any, part: Any) -> None:
            def step(o: Any, total: Any) -> list[Any]:
                return [m.splat(m.load_number(d + o)) * m.load_part(theta + o * s.inputs + i, part) + total]

            (total,) = m.loop(0, s.outputs, 1, step, [m.zero()])
            m.store_part(to + i, part, total)

        over_vectors(m, s.inputs, columns)

    m.loop(0, rows, 1, row)


@kernel(fastmath=FASTMATH)
def vjp_kernel(m: Any, net: Net, theta: Any, n: Any, x: Any, p: Pull, memory: Any) -> None:
    """See `vjp_rows`"""
    load_parameters(m, net, theta, memory)

    def tile(done: Any, rows: Any) -> None:
        t = Batch(net, memory, Data(n, x), done, rows)
        forward(m, t)
        output_deltas(m, net, memory, rows, p.dout + done * net.outputs, p.of_z)
        propagate(m, t, 0, rows)
        m.when(p.wants_grad, lambda: tile_gradient(m, t, done > 0))
        m.when(p.wants_dx, lambda: input_gradient(m, net, memory, theta, rows, p.dx + done * net.inputs))

    over_tiles(m, net, n, tile)
    m.when(p.wants_grad, lambda: unpack(m, net, memory + net.grad, m.double(1.0), p.grad))


@njit(fastmath=FASTMATH, **OPTIONS)
def vjp_rows(net, theta, n, x__ni, pull, memory):
    """Write dL/dtheta, the sum over n >= 1 rows, laid out as theta, and dL/dx"""
    vjp_kernel(net, theta, n, x__ni, pull, memory)
