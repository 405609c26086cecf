"""The derivative of each output with respect to each parameter, for every row: a backward pass for each output."""

from __future__ import annotations

from typing import Any

from numba import njit

from nanostep.backends.jit._compile import FASTMATH, OPTIONS
from nanostep.backends.jit._kernel import kernel
from nanostep.backends.jit.activations import derivative_vector, over_vectors, times_derivative
from nanostep.backends.jit.arguments import Data
from nanostep.backends.jit.batch import Batch, activate_output, forward
from nanostep.backends.jit.layout import LayerLayout, Net
from nanostep.backends.jit.passes import load_parameters, over_tiles
from nanostep.backends.jit.product import Product, multiply


def output_slopes(m: Any, net: Net, memory: Any, rows: Any) -> None:
    """d of the last layer = f'(z) of each output"""
    s = net.layers[-1]
    z, a, d = (memory + at for at in (s.z, s.a, s.d))

    def body(i: Any) -> None:
        m.store(d + i, derivative_vector(m, s.f, m.load(z + i), m.load(a + i)))

    m.loop(0, rows * s.row, m.lanes, body)


def deltas_of_output(m: Any, net: Net, memory: Any, rows: Any, o: Any) -> None:
    """d of all layers but the last = the derivative of output o with respect to z."""
    for l in range(len(net.layers) - 1, 0, -1):
        s, below = net.layers[l], net.layers[l - 1]
        d, w, steps = memory + s.d, memory + s.w, s.outputs
        if l == len(net.layers) - 1:
            d, w, steps = d + o, w + o * s.w_row, 1
        to = memory + below.d
        multiply(m, Product(rows, s.in_pad, steps, d, s.row, 1, w, s.w_row, to, below.row))
        times_derivative(m, below.f, rows * below.row, memory + below.z, memory + below.a, to)


def store_products(m: Any, s: LayerLayout, d: Any, source: Any, only: Any, result: Any) -> None:
    """Write the outer product of d and the input of a layer, and d, to `result`, laid out as theta; `only` is None, or
    the index of the only entry of d that is not 0."""

    def neuron(o: Any) -> None:
        delta = m.load_number(d + o)
        if only is not None:
            delta = m.select(only == o, delta, 0.0)
        line, factor = result + s.theta + o * s.inputs, m.splat(delta)
        over_vectors(
            m, s.inputs, lambda i, part: m.store_part(line + i, part, factor * m.load_part(source + i, part))
        )  # fmt: skip
        m.store_number(result + (s.theta + s.inputs * s.outputs) + o, delta)

    m.loop(0, s.outputs, 1, neuron)


@kernel(fastmath=FASTMATH)
def jacobian_kernel(m: Any, net: Net, theta: Any, n: Any, x: Any, a: Any, result: Any, memory: Any) -> None:
    """See `jacobian_rows`"""
    load_parameters(m, net, theta, memory)
    last = len(net.layers) - 1

    def tile(done: Any, rows: Any) -> None:
        forward(m, Batch(net, memory, Data(n, x), done, rows))
        activate_output(m, net, memory, rows, a + done * net.outputs)
        output_slopes(m, net, memory, rows)

        def output(o: Any) -> None:
            deltas_of_output(m, net, memory, rows, o)

            def row(b: Any) -> None:
                to = result + ((done + b) * net.outputs + o) * net.architecture.parameter_count
                source = x + (done + b) * net.inputs
                for l, s in enumerate(net.layers):
                    store_products(m, s, memory + s.d + b * s.row, source, o if l == last else None, to)
                    source = memory + s.a + b * s.row

            m.loop(0, rows, 1, row)

        m.loop(0, net.outputs, 1, output)

    over_tiles(m, net, n, tile)


@njit(fastmath=FASTMATH, **OPTIONS)
def jacobian_rows(net, theta, n, x__ni, a__no, jac__nop, memory):
    """a__no = output of the network for every row, jac__nop its derivative with respect to each
    parameter, laid out as theta"""
    jacobian_kernel(net, theta, n, x__ni, a__no, jac__nop, memory)
