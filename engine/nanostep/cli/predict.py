"""``nanostep predict``: the predictions of a saved model for a CSV file."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import click

from nanostep.cli import _options
from nanostep.errors import FileFormatError
from nanostep.io.networks import load, read_metadata
from nanostep.io.tables import Encoder, read_table


@click.command("predict")
@click.argument("model", type=_options.EXISTING_FILE)
@click.argument("data", type=_options.EXISTING_FILE)
@click.option("--output", type=_options.NEW_FILE, metavar="FILE", help="CSV file to write.  [default: print]")
@click.option("--probabilities", is_flag=True, help="Add a column for each class.")
@_options.backend
def command(model: Path, data: Path, output: Path | None, probabilities: bool, backend: str) -> None:
    """Predict the target of MODEL (from `nanostep train --save`) for every row of DATA.

    Columns are found by name; others are ignored, the target's among them.
    """
    _options.check_not_input("--output", output, model, data)
    net = load(model, backend)
    described = read_metadata(model).get("table")
    if not isinstance(described, dict):
        raise FileFormatError(f"{model} does not say how to read tables; it was not made by `nanostep train`")
    encoder = Encoder.from_json(described)
    if (encoder.inputs, encoder.outputs) != (net.sizes[0], net.sizes[-1]):
        raise FileFormatError(f"{model}: its description of tables does not fit its network {net.architecture}")
    if probabilities and encoder.task != "classification":
        raise ValueError(f"--probabilities needs a classifier; {model} is a regression")
    outputs = net.predict(encoder.transform_inputs(read_table(data)))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    extra = [f"probability {name}" for name in encoder.classes] if probabilities else []
    writer.writerow([encoder.target, *extra])
    for value, row in zip(encoder.inverse_target(outputs), outputs.tolist(), strict=True):
        shown = value if isinstance(value, str) else f"{value:.9g}"
        writer.writerow([shown, *(f"{p:.6g}" for p in row)] if probabilities else [shown])
    if output is None:
        click.echo(text.getvalue(), nl=False)
    else:
        output.write_text(text.getvalue(), encoding="utf-8")
        click.echo(f"wrote {len(outputs)} predictions to {output}")
