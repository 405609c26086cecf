"""Populations beside JAX: time for each network and step. Run as ``python -m nanostep.benchmark.populations``.

P1 is 2-2-1 with all sigmoids, one sample a step; P2 is 4-16-3, batches of 32. All networks see the same samples in the
same order, each has its own weights and learning rate. JAX: ``jit`` and ``vmap`` of ``lax.scan`` over the steps, data
on the device. Both end at the same parameters, which is checked before anything is timed; then they take turns in this
process, on one core, and medians are given. Needs jax.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.table import Table

import nanostep as ns

REPEATS = 5
AGREEMENT = {"float32": 2e-4, "float64": 1e-9}


@dataclass(frozen=True)
class Case:
    """A row; `peer` is False where JAX would take too long."""

    name: str
    sizes: tuple[int, ...]
    dtype: str
    networks: int
    samples: int
    batch: int
    peer: bool = True

    @property
    def steps(self) -> int:
        return self.samples // self.batch


CASES = (
    *(Case("P1", (2, 2, 1), dtype, 1024, 2048, 1) for dtype in ("float32", "float64")),
    *(Case("P1", (2, 2, 1), dtype, 16_384, 512, 1) for dtype in ("float32", "float64")),
    *(Case("P1", (2, 2, 1), dtype, 1_000_000, 512, 1, peer=False) for dtype in ("float32", "float64")),
    Case("P2", (4, 16, 3), "float32", 1024, 2048, 32),
)

Trainer = Callable[[], np.ndarray]
"""Trains from the initial parameters through all samples once; returns those after it, (K, P)."""


def data(case: Case) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return x, y and the rates of the networks."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((case.samples, case.sizes[0])).astype(case.dtype)
    y = rng.random((case.samples, case.sizes[-1])).astype(case.dtype)
    return x, y, np.linspace(0.01, 0.5, case.networks)


def ours(case: Case, backend: str) -> Trainer:
    x, y, rates = data(case)
    optimizer = ns.SGD(lr=rates)
    population = ns.Population(case.sizes, case.networks, dtype=case.dtype, backend=backend)
    start = population.theta.copy()

    def run() -> np.ndarray:
        population.theta[...] = start
        population.train(x, y, 1, case.batch, optimizer, shuffle=False, threads=1)
        return population.theta

    return run


def jax_scan(case: Case) -> Trainer:
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    x, y, rates = data(case)
    layers = ns.Network(case.sizes).architecture.layers
    start = ns.Population(case.sizes, case.networks, dtype=case.dtype).theta

    def loss(theta, x, y):  # type: ignore[no-untyped-def]
        a = x
        for s in layers:
            a = jax.nn.sigmoid(a @ theta[s.weights].reshape(s.outputs, s.inputs).T + theta[s.biases])
        return 0.5 * ((a - y) ** 2).sum() / len(x)

    def train(theta, rate, batches):  # type: ignore[no-untyped-def]
        def step(theta, batch):  # type: ignore[no-untyped-def]
            return theta - rate * jax.grad(loss)(theta, *batch), None

        return jax.lax.scan(step, theta, batches)[0]

    compiled = jax.jit(jax.vmap(train, in_axes=(0, 0, None)))
    batches = tuple(jnp.asarray(v.reshape(case.steps, case.batch, -1)) for v in (x, y))
    theta, lr = jnp.asarray(start), jnp.asarray(rates.astype(case.dtype))
    return lambda: np.asarray(compiled(theta, lr, batches))


def measure(case: Case) -> dict[str, float]:
    """Return the median time for each network and step in ns, by contender.

    Raises
    ------
    AssertionError
        Contenders do not end at the same parameters.
    """
    trainers = {"c": ours(case, "c")}
    if case.peer:
        trainers["jax"] = jax_scan(case)
    ends = [train().copy() for train in trainers.values()]
    for end in ends[1:]:
        np.testing.assert_allclose(end, ends[0], rtol=0, atol=AGREEMENT[case.dtype])
    seconds: dict[str, list[float]] = {name: [] for name in trainers}
    for _ in range(REPEATS):
        for name, train in trainers.items():
            started = time.perf_counter()
            train()
            seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(s) / case.networks / case.steps * 1e9 for name, s in seconds.items()}


def main() -> None:
    """Measure all cases and print a table."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # one core, JAX's threads too
    table = Table("task", "dtype", "networks", "batch", "c ns", "jax ns", "jax/c")
    for case in CASES:
        got = measure(case)
        peer = got.get("jax")
        table.add_row(
            case.name, case.dtype, f"{case.networks:,}", str(case.batch), f"{got['c']:.3g}",
            "-" if peer is None else f"{peer:.3g}", "-" if peer is None else f"{peer / got['c']:.1f}",
        )  # fmt: skip
    Console().print(table)


if __name__ == "__main__":
    main()
