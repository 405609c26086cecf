"""``nanostep bench local-sgd``: convergence and speed of local SGD on a Dask cluster.

One network learns to classify samples that another one has labelled, on one and on two worker processes of one thread
each. The timed runs are checked: those on one and on two workers must end with the same bits. Needs Dask.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np

import nanostep as ns
from nanostep.benchmark.machine import describe

RATES = (0.05, 0.1, 0.2, 0.4)
SHARDS = (1, 2, 4, 8)
PASSES = 20
"""Passes over the data in the measurement of convergence."""

GOAL = 0.95
"""Loss on held-out rows that counts as reached; the network that made the labels has 0.863."""

EPOCHS = (1, 4, 16)
"""Local epochs of a round in the measurement of time."""


@dataclass(frozen=True)
class Problem:
    """Rows to train on, held-out rows, and the network: 64-64-10, tanh, softmax, float32, batch 32."""

    x: np.ndarray
    labels: np.ndarray
    held_out: tuple[np.ndarray, np.ndarray]

    def network(self) -> ns.Network:
        return ns.Network(
            [self.x.shape[1], 64, 10], activation="tanh", output="softmax", loss="cross_entropy", dtype="float32"
        )

    def write(self, directory: Path, parts: int) -> list[Path]:
        """Write the rows into `parts` chunk files."""
        paths = []
        for k in range(parts):
            rows = slice(k * len(self.x) // parts, (k + 1) * len(self.x) // parts)
            paths.append(directory / f"{k}-of-{parts}.npz")
            np.savez(paths[-1], X=self.x[rows], Y=self.labels[rows])
        return paths


def make_problem(rows: int, held_out: int, inputs: int = 64) -> Problem:
    """Return standard normal rows with labels drawn from the outputs of a network with thrice the usual weights."""
    rng = np.random.default_rng(0)
    teacher = ns.Network(
        [inputs, 64, 10], activation="tanh", output="softmax", loss="cross_entropy", dtype="float32", seed=7
    )
    teacher.theta *= 3
    x = rng.standard_normal((rows + held_out, inputs)).astype(np.float32)
    cumulative = teacher.predict(x).astype(np.float64).cumsum(axis=1)
    labels = (rng.random((len(x), 1)) * cumulative[:, -1:] > cumulative).sum(axis=1)
    return Problem(x[:rows], labels[:rows], (x[rows:], labels[rows:]))


@dataclass(frozen=True)
class Curve:
    """Loss on the held-out rows after each round."""

    shards: int
    epochs: int
    lr: float
    loss: list[float]

    @property
    def passes(self) -> int | None:
        """Passes over the data until the goal is reached; None if it is not reached."""
        return next((self.epochs * round_ for round_, loss in enumerate(self.loss, 1) if loss <= GOAL), None)


def converge(client: Any, problem: Problem, directory: Path, rates: Sequence[float] = RATES) -> Iterator[Curve]:
    """Train with several numbers of shards, averaging after each pass, and with two shards after every four passes."""
    import nanostep.dask

    for shards, epochs in [*((shards, 1) for shards in SHARDS), (2, 4)]:
        files = problem.write(directory, shards)
        for lr in rates:
            history = nanostep.dask.train(
                problem.network(), files, client=client, rounds=PASSES // epochs, epochs=epochs, optimizer=ns.SGD(lr),
                validation=problem.held_out,
            )  # fmt: skip
            yield Curve(shards, epochs, lr, history.validation_loss)


@dataclass(frozen=True)
class Times:
    """Seconds of rounds of some local epochs.

    Attributes
    ----------
    epochs : int
    alone : list of float
        Seconds of the same number of epochs of ``net.train`` in this process, on one thread.
    one, two : list of float
        Seconds of a round of two shards on one and on two workers.
    """

    epochs: int
    alone: list[float] = field(default_factory=list)
    one: list[float] = field(default_factory=list)
    two: list[float] = field(default_factory=list)


def measure(
    one: Any, two: Any, problem: Problem, directory: Path, *, repeats: int, epochs: Sequence[int] = EPOCHS
) -> Iterator[Times]:
    """Time rounds on two clusters and without any, in turns."""
    import nanostep.dask

    files, optimizer = problem.write(directory, 2), ns.SGD(0.1)
    for count in epochs:
        times = Times(count)
        for _ in range(repeats):
            net = problem.network()
            started = time.perf_counter()
            net.train(problem.x, problem.labels, epochs=count, batch_size=32, optimizer=optimizer, threads=1)
            times.alone.append(time.perf_counter() - started)
            ends = []
            for client, seconds in ((one, times.one), (two, times.two)):
                net = problem.network()
                history = nanostep.dask.train(net, files, client=client, rounds=4, epochs=count, optimizer=optimizer)
                seconds += history.round_seconds[1:]
                ends.append(net.theta)
            if not np.array_equal(ends[0], ends[1]):
                raise RuntimeError("one and two workers ended with different parameters")
        yield times


def convergence_lines(curves: Sequence[Curve]) -> Iterator[str]:
    """Yield the lines of a Markdown table: for each number of shards its best rate."""
    yield "| shards | epochs between averages | best rate | passes to the goal | loss after 5, 10, 20 passes |"
    yield "| ---: | ---: | ---: | ---: | ---: |"
    for key in dict.fromkeys((curve.shards, curve.epochs) for curve in curves):
        those = [curve for curve in curves if (curve.shards, curve.epochs) == key]
        best = min(those, key=lambda curve: (curve.passes or np.inf, min(curve.loss)))
        after = (best.loss[at // best.epochs - 1] if at % best.epochs == 0 else None for at in (5, 10, 20))
        losses = ", ".join("-" if loss is None else f"{loss:.3f}" for loss in after)
        yield f"| {key[0]} | {key[1]} | {best.lr} | {best.passes or 'not reached'} | {losses} |"


def time_lines(measured: Sequence[Times]) -> Iterator[str]:
    """Yield the lines of a Markdown table of medians in milliseconds."""
    yield (
        "| epochs of a round | `net.train` alone | 1 worker | 2 workers | 1 worker / 2 workers | alone / 2 workers "
        "| spread |"
    )
    yield "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    for times in measured:
        alone, one, two = (statistics.median(seconds) for seconds in (times.alone, times.one, times.two))
        spread = max((max(s) - min(s)) / statistics.median(s) for s in (times.alone, times.one, times.two))
        yield (
            f"| {times.epochs} | {1e3 * alone:.0f} ms | {1e3 * one:.0f} ms | {1e3 * two:.0f} ms | {one / two:.2f} "
            f"| {alone / two:.2f} | {100 * spread:.0f} % |"
        )


@contextmanager
def clusters() -> Iterator[list[Any]]:
    """Yield clients of a cluster of one worker process and of one of two, with one thread each."""
    from dask.distributed import Client, LocalCluster

    with ExitStack() as stack:
        clients = []
        for workers in (1, 2):
            options = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": ":0"}
            cluster = stack.enter_context(LocalCluster(processes=True, **options))
            clients.append(stack.enter_context(Client(cluster, set_as_default=False)))
        yield clients


def run_local_sgd(quick: bool, json_path: Path | None) -> None:
    """Measure, print the tables and write the figures."""
    problem = make_problem(20_000 if quick else 200_000, 2_000 if quick else 20_000)
    with clusters() as (one, two), tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        measured = list(measure(one, two, problem, directory, repeats=1 if quick else 5))
        click.echo("\n".join(time_lines(measured)) + "\n")
        curves = list(converge(two, problem, directory, RATES[1:2] if quick else RATES))
        click.echo("\n".join(convergence_lines(curves)))
    if json_path is not None:
        figures = {"times": [asdict(each) for each in measured], "curves": [asdict(each) for each in curves]}
        json_path.write_text(json.dumps({"machine": describe(), **figures}, indent=1))
