"""``nanostep demo``: training on the handwritten digits of the package, with every backend."""

from __future__ import annotations

import time
from dataclasses import dataclass

import click
import numpy as np
import plotext
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from nanostep.backends import PACKAGES, load
from nanostep.cli._options import NameList
from nanostep.data import load_digits
from nanostep.errors import BackendUnavailable
from nanostep.network import Network
from nanostep.optimizers import SGD
from nanostep.training.callbacks import EpochEnd
from nanostep.training.history import History

REQUIRED_ACCURACY = 0.96
HELD_OUT = 360
"""Digits kept for testing: a fifth."""


@dataclass(frozen=True)
class Split:
    """Inputs in [0, 1] and labels, for training and held out."""

    train: tuple[np.ndarray, np.ndarray]
    held_out: tuple[np.ndarray, np.ndarray]


def split_digits(seed: int) -> Split:
    """Shuffle the digits and keep `HELD_OUT` of them for testing."""
    X, labels = load_digits()
    X = (X / 16).astype(np.float32)
    order = np.random.default_rng(seed).permutation(len(X))
    kept, used = order[:HELD_OUT], order[HELD_OUT:]
    return Split((X[used], labels[used]), (X[kept], labels[kept]))


def make_network(backend: str, seed: int) -> Network:
    return Network(
        [64, 32, 10],
        activation="relu",
        output="softmax",
        loss="cross_entropy",
        dtype="float32",
        backend=backend,
        seed=seed,
    )


def run_backend(backend: str, split: Split, epochs: int, seed: int, progress: Progress) -> tuple[History, float, float]:
    """Train on one backend; return its history, held-out accuracy, and the seconds of a first epoch with start-up."""
    started = time.perf_counter()
    # a first epoch with a network that is discarded: the numba backend compiles, or reads its cache, here
    make_network(backend, seed).train(*split.train, epochs=1, batch_size=32, optimizer=SGD(lr=0.1))
    warm = time.perf_counter() - started
    task = progress.add_task(f"{backend:<6}", total=epochs)

    def advance(event: EpochEnd) -> None:
        progress.update(task, completed=event.epoch)

    net = make_network(backend, seed)
    optimizer = SGD(lr=0.1, momentum=0.9)
    history = net.train(
        *split.train,
        epochs=epochs,
        batch_size=32,
        optimizer=optimizer,
        validation=split.held_out,
        callbacks=advance,
        seed=seed,
    )
    accuracy = float((net.predict(split.held_out[0]).argmax(axis=1) == split.held_out[1]).mean())
    return history, accuracy, warm


def steps_per_second(backend: str, split: Split, seconds: float = 0.3) -> float:
    """Return updates per second of plain training, without the demo's validation after every epoch."""
    net, optimizer = make_network(backend, 0), SGD(lr=0.01)
    epochs, history = 1, History()
    while history.seconds < seconds:
        history = net.train(*split.train, epochs=epochs, batch_size=32, optimizer=optimizer)
        epochs = max(epochs + 1, int(epochs * 1.2 * seconds / max(history.seconds, 1e-6)))
    return history.steps / history.seconds


def draw_losses(history: History, backend: str, width: int) -> str:
    """Return a text plot of the training and the held-out loss, on a logarithmic scale."""
    epochs = list(range(1, history.epochs + 1))
    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plot_size(min(width, 90), 16)
    plotext.plot(epochs, history.loss, label="training", marker="dot")
    plotext.plot(epochs, history.validation_loss, label="held out", marker="x")
    plotext.yscale("log")
    plotext.xticks(sorted({round(tick) for tick in np.linspace(1, history.epochs, 5)}))
    plotext.title(f"cross-entropy, {backend}")
    plotext.xlabel("epoch")
    return plotext.build()


@click.command("demo")
@click.option(
    "--backend",
    "--backends",
    "backends",
    type=NameList(),
    help="Backends to run, such as c,numba.  [default: all that are available]",
)
@click.option("--epochs", type=click.IntRange(1), default=40, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of split, weights and order.")
def command(backends: list[str] | None, epochs: int, seed: int) -> None:
    """Train a 64-32-10 network on 1,797 handwritten digits with every backend.

    Shows held-out accuracy, steps per second and the loss. Ends with an error if a backend stays below 96 %. The 360
    held-out digits tell the accuracy to about 1 %, so that one --seed in about fifteen ends just below.
    """
    console = Console()
    chosen = []
    for name in backends if backends is not None else PACKAGES:
        if name not in PACKAGES:
            raise ValueError(f"--backend: {name!r} is not known; choose from: {', '.join(PACKAGES)}")
        try:
            load(name)
            chosen.append(name)
        except BackendUnavailable as error:
            if backends is not None:
                raise
            console.print(f"[yellow]skipped[/yellow] {escape(str(error))}")
    split = split_digits(seed)
    console.print(
        f"{len(split.train[0])} digits to learn from, {HELD_OUT} held out; 64-32-10, relu, softmax, cross-entropy, "
        "float32; SGD with momentum, batches of 32"
    )
    results = {}
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        for name in chosen:
            history, accuracy, warm = run_backend(name, split, epochs, seed, progress)
            results[name] = (history, accuracy, warm, steps_per_second(name, split))
    table = Table("backend", "ISA", "held-out accuracy", "loss", "steps/s", "us/step", "first use")
    for name, (history, accuracy, warm, rate) in results.items():
        table.add_row(
            name, history.isa, f"{accuracy:.1%}", f"{history.validation_loss[-1]:.4f}", f"{rate:,.0f}",
            f"{1e6 / rate:.1f}", f"{warm:.2f} s",
        )  # fmt: skip
    first = next(iter(results))
    click.echo(draw_losses(results[first][0], first, console.width))
    console.print(table)
    console.print("first use: one epoch including start-up; the numba backend compiles once, then reads its disk cache")
    below = [name for name, result in results.items() if result[1] < REQUIRED_ACCURACY]
    if below:
        raise click.ClickException(f"below {REQUIRED_ACCURACY:.0%} on: {', '.join(below)}")
