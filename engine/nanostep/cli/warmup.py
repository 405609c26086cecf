"""``nanostep warmup``: compile the Numba backend's code for a network ahead of time."""

from __future__ import annotations

import click

from nanostep.architecture import ACTIVATIONS, HIDDEN_ACTIVATIONS, LOSSES
from nanostep.cli import _options
from nanostep.compilation import warmup
from nanostep.optimizers import OPTIMIZERS


@click.command("warmup")
@click.argument("sizes", type=_options.NumberList(int))
@click.option("--activation", type=click.Choice(HIDDEN_ACTIVATIONS), default="sigmoid", show_default=True)
@click.option("--output", type=click.Choice(ACTIVATIONS), default="sigmoid", show_default=True)
@click.option("--loss", type=click.Choice(LOSSES), default="half_squared_error", show_default=True)
@click.option("--dtype", type=click.Choice(["float32", "float64"]), default="float64", show_default=True)
@click.option("--batch-size", type=click.IntRange(1), default=1, show_default=True)
@click.option("--optimizer", type=click.Choice(list(OPTIMIZERS)), default="sgd", show_default=True)
def command(
    sizes: list[int], activation: str, output: str, loss: str, dtype: str, batch_size: int, optimizer: str
) -> None:
    """Compile the Numba backend's code for a network of SIZES, such as 784,128,10, and keep it on disk.

    Options are those of the network and its training. Other backends need no compilation.
    """
    seconds = warmup(sizes, activation, output, loss, dtype, batch_size, OPTIMIZERS[optimizer]())
    click.echo(
        f"ready after {seconds:.2f} s: {'-'.join(map(str, sizes))}, {dtype}, {optimizer}, batches of {batch_size}"
    )
