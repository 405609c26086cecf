"""``nanostep worksheet``: one SGD step, every number shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import numpy as np

from nanostep.architecture import ACTIVATIONS, HIDDEN_ACTIVATIONS, LOSSES
from nanostep.cli import _options
from nanostep.network import Network

EXAMPLE: dict[str, Any] = {
    "sizes": [2, 2, 1],
    "theta": [0.15, 0.20, 0.25, 0.30, 0.35, 0.35, 0.40, 0.45, 0.60],
    "x": [0.05, 0.10],
    "y": [0.01],
}
"""The worked example of the notes on which nanostep is based."""


@click.command("worksheet")
@click.option("--sizes", type=_options.NumberList(int), help="Widths, such as 2,2,1.")
@click.option(
    "--theta", type=_options.NumberList(float), help="Parameters: W and b layer by layer.  [default: by --seed]"
)
@click.option("--x", type=_options.NumberList(float), help="One sample.")
@click.option("--y", type=_options.NumberList(float), help="Its target; a class number for cross_entropy.")
@click.option("--activation", type=click.Choice(HIDDEN_ACTIVATIONS), default="sigmoid", show_default=True)
@click.option("--output-activation", type=click.Choice(ACTIVATIONS), default="sigmoid", show_default=True)
@click.option("--loss", type=click.Choice(LOSSES), default="half_squared_error", show_default=True)
@click.option("--lr", type=float, default=0.5, show_default=True, help="Learning rate.")
@click.option("--biases", type=click.Choice(["trained", "frozen"]), default="trained", show_default=True)
@click.option("--digits", type=int, default=6, show_default=True, help="Significant digits.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the weights, without --theta.")
@click.option(
    "--format", "style", type=click.Choice(["text", "latex", "html", "json"]), default="text", show_default=True
)
@click.option("--output", type=_options.NEW_FILE, metavar="FILE", help="File to write.  [default: print]")
@_options.backend
def command(
    *,
    sizes: list[int] | None,
    theta: list[float] | None,
    x: list[float] | None,
    y: list[float] | None,
    activation: str,
    output_activation: str,
    loss: str,
    lr: float,
    biases: str,
    digits: int,
    seed: int,
    style: str,
    output: Path | None,
    backend: str,
) -> None:
    """Work one SGD step through and show every intermediate value.

    Without --sizes, --theta, --x and --y this is the worked example: 2-2-1, all sigmoid, half squared error.
    """
    given: dict[str, Any] = {"sizes": sizes, "theta": theta, "x": x, "y": y}
    if all(value is None for value in given.values()):
        given = EXAMPLE
    missing = [f"--{name}" for name in ("sizes", "x", "y") if given[name] is None]
    if missing:
        raise click.UsageError(f"give {', '.join(missing)} too, or none of --sizes, --theta, --x and --y")
    net = Network(
        given["sizes"] or [],
        activation=activation,
        output=output_activation,
        loss=loss,
        dtype="float64",
        backend=backend,
        seed=seed,
    )
    if given["theta"] is not None:
        net.theta = np.array(given["theta"])
    target = given["y"] or []
    is_label = loss == "cross_entropy" and len(target) == 1
    sheet = net.worksheet(
        given["x"] or [], target[0] if is_label else target, lr, biases="frozen" if biases == "frozen" else "trained",
        digits=digits,
    )  # fmt: skip
    if style == "latex":
        text = sheet.to_latex(document=True)
    elif style == "html":
        text = sheet.to_html(document=True)
    else:
        text = json.dumps(sheet.to_dict(), indent=2) if style == "json" else sheet.to_text()
    if output is None:
        click.echo(text)
    else:
        output.write_text(text, encoding="utf-8")
        click.echo(f"wrote {output}")
