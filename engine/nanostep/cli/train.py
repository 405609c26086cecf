"""``nanostep train``: a network from a CSV file."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from nanostep._checks import check_real
from nanostep.architecture import HIDDEN_ACTIVATIONS
from nanostep.cli import _options
from nanostep.io.tables import TASKS, Encoder, Table, read_table
from nanostep.network import Network
from nanostep.optimizers import OPTIMIZERS


def split_rows(rows: int, part: float, seed: int) -> tuple[list[int], list[int]]:
    """Return the rows to train on and those to validate on, drawn at random."""
    order = np.random.default_rng(seed).permutation(rows).tolist()
    held_out = round(rows * part)
    if part > 0:
        held_out = min(max(held_out, 1), rows - 1)
    return sorted(order[held_out:]), sorted(order[:held_out])


def describe_quality(net: Network, encoder: Encoder, table: Table) -> str:
    """Return accuracy, or root-mean-square error and R2 in the units of the target."""
    outputs = net.predict(encoder.transform_inputs(table))
    if encoder.task == "classification":
        right = int((outputs.argmax(axis=1) == encoder.transform_target(table)).sum())
        return f"accuracy {right / table.rows:.1%} ({right} of {table.rows})"
    truth = np.array([float(cell) for cell in table.column(encoder.target)])
    errors = truth - np.array(encoder.inverse_target(outputs), np.float64)
    spread = float(((truth - truth.mean()) ** 2).sum())
    r2 = f", R2 {1 - float((errors**2).sum()) / spread:.3f}" if spread > 0 else ""
    return f"RMSE {float(np.sqrt((errors**2).mean())):.4g}{r2}"


@click.command("train")
@click.argument("data", type=_options.EXISTING_FILE)
@click.option("--target", required=True, metavar="COLUMN", help="Column to predict.")
@click.option("--task", type=click.Choice(TASKS), default="auto", show_default=True)
@click.option(
    "--hidden", type=_options.NumberList(int), default="32,16", show_default=True, help="Hidden widths; '' for none."
)
@click.option("--activation", type=click.Choice(HIDDEN_ACTIVATIONS), default="relu", show_default=True)
@click.option("--optimizer", type=click.Choice(list(OPTIMIZERS)), default="adam", show_default=True)
@click.option("--lr", type=float, default=None, help="Learning rate.  [default: the optimiser's, 0.01 for sgd]")
@click.option("--epochs", type=click.IntRange(1), default=100, show_default=True)
@click.option("--batch-size", type=click.IntRange(1), default=32, show_default=True)
@click.option("--validation", type=float, default=0.2, show_default=True, help="Part to hold out: at least 0, below 1.")
@click.option("--dtype", type=click.Choice(["float32", "float64"]), default="float32", show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of split, weights and order.")
@_options.backend
@click.option("--save", "model", type=_options.NEW_FILE, metavar="MODEL", help="File to write the model to.")
def command(
    *,
    data: Path,
    target: str,
    task: str,
    hidden: list[int],
    activation: str,
    optimizer: str,
    lr: float | None,
    epochs: int,
    batch_size: int,
    validation: float,
    dtype: str,
    seed: int,
    backend: str,
    model: Path | None,
) -> None:
    """Train a network on a CSV file with a header.

    A text target, or one of few distinct integers, makes a classifier; any other numbers make a regression. Numeric
    columns are standardised, text columns become one 0/1 input for each value. Ctrl-C ends the training early: the
    model is evaluated and saved as it is then, and the exit code is 130. If the training diverges, nothing is saved and
    the exit code is 1.
    """
    check_real("--validation", validation, 0, 1, open_high=True)
    _options.check_not_input("--save", model, data)
    table = read_table(data)
    if table.rows < 2:
        raise ValueError(f"{data} has one row; at least two are needed")
    used, kept = split_rows(table.rows, validation, seed)
    # classes and levels come from the whole table, so that none is unknown in the held-out rows; means and deviations
    # come from the training rows alone
    encoder = Encoder.fit(table, target, task).with_moments_of(table.take(used))
    if model is not None and not model.resolve().parent.is_dir():
        raise FileNotFoundError(f"--save: no such directory: {model.resolve().parent}")
    classification = encoder.task == "classification"
    net = Network(
        [encoder.inputs, *hidden, encoder.outputs],
        activation=activation,
        output="softmax" if classification else "identity",
        loss="cross_entropy" if classification else "squared_error",
        dtype=dtype,
        backend=backend,
        seed=seed,
    )
    kind = OPTIMIZERS[optimizer]
    chosen = kind(lr=lr) if lr is not None else kind(lr=0.01) if optimizer == "sgd" else kind()
    click.echo(f"{encoder.task}: {encoder.reason} (--task to override)")
    for feature in encoder.features:
        if feature.levels:
            click.echo(f"column {feature.name!r} is text: one input for each of its {len(feature.levels)} values")
    click.echo(f"{len(used)} rows to learn from, {len(kept)} held out; {net} with {chosen}")

    train_rows, held_out = table.take(used), table.take(kept)
    interrupted = False
    try:
        net.train(
            encoder.transform_inputs(train_rows),
            encoder.transform_target(train_rows),
            epochs=epochs,
            batch_size=batch_size,
            optimizer=chosen,
            seed=seed,
            validation=(encoder.transform_inputs(held_out), encoder.transform_target(held_out)) if kept else None,
            progress=True,
        )
    except KeyboardInterrupt:
        interrupted = True
    history = net.history
    if interrupted and (history is None or history.steps == 0):
        click.echo("interrupted before the first step: nothing was learned", err=True)
        raise SystemExit(130)
    if interrupted:
        click.echo("interrupted: going on with what was learned", err=True)
    if not np.isfinite(net.theta).all():
        raise click.ClickException("the training diverged and nothing is saved; a smaller --lr may help")
    if history is not None and history.loss:
        last = f"epoch {history.epochs}: training loss {history.loss[-1]:.4g}"
        if history.validation_loss:
            last += f", held-out loss {history.validation_loss[-1]:.4g}"
        click.echo(f"{last}; {history.steps / history.seconds:,.0f} steps/s on {history.backend}")
    click.echo(f"training: {describe_quality(net, encoder, train_rows)}")
    if kept:
        click.echo(f"held out: {describe_quality(net, encoder, held_out)}")
    if model is not None:
        net.save(model, metadata={"table": encoder.to_json()})
        click.echo(f"saved {model}")
    if interrupted:
        raise SystemExit(130)
