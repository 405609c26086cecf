"""``nanostep info``: what is installed and what can run."""

from __future__ import annotations

import importlib.metadata
import json
import platform

import click

from nanostep._base_model import DTYPES
from nanostep._version import __version__
from nanostep.architecture import ACTIVATIONS, HIDDEN_ACTIVATIONS
from nanostep.backends import PACKAGES, load, resolve
from nanostep.benchmark.machine import cpu_model
from nanostep.cli import _options
from nanostep.cli._plan import make_plan, plan_lines
from nanostep.errors import BackendUnavailable
from nanostep.network import Network
from nanostep.optimizers import OPTIMIZERS

PACKAGES_SHOWN = ("numpy", "numba", "cffi", "safetensors")


def version_of(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def collect() -> dict[str, dict[str, str]]:
    """Return everything that the command shows, by section."""
    backends, library = {}, {}
    for name in PACKAGES:
        try:
            package = load(name)
            backends[name] = "available"
            if name == "c":
                library = dict(package.build_info())
        except BackendUnavailable as error:
            backends[name] = f"not available: {error}"
    try:
        backends["auto"] = resolve("auto")[0]
    except (BackendUnavailable, ValueError) as error:
        backends["auto"] = f"not available: {error}"
    versions = {"nanostep": __version__, "python": platform.python_version()}
    versions |= {name: version_of(name) for name in PACKAGES_SHOWN}
    machine = {"processor": cpu_model(), "system": platform.platform()}
    return {"versions": versions, "backends": backends, "C library": library, "machine": machine}


@click.command("info")
@click.option("--plan", "sizes", type=_options.NumberList(int), help="Show how this network would be trained.")
@click.option("--batch", type=click.IntRange(1), default=1, show_default=True, help="With --plan: samples per update.")
@click.option(
    "--activation", type=click.Choice(HIDDEN_ACTIVATIONS), default="relu", show_default=True, help="With --plan."
)
@click.option("--output", type=click.Choice(ACTIVATIONS), default="identity", show_default=True, help="With --plan.")
@click.option("--dtype", type=click.Choice(DTYPES), default="float32", show_default=True, help="With --plan.")
@click.option("--optimizer", type=click.Choice(list(OPTIMIZERS)), default="sgd", show_default=True, help="With --plan.")
@click.option("--threads", type=click.IntRange(1), default=None, help="With --plan: most threads.  [default: by trial]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    sizes: list[int] | None,
    batch: int,
    activation: str,
    output: str,
    dtype: str,
    optimizer: str,
    threads: int | None,
    as_json: bool,
) -> None:
    """Show versions, which backends can run (and why not), and the instruction sets of the C library.

    With --plan 784,128,10 --batch 32: which of the C library's kernels each layer and pass of such a network uses, and
    why.
    """
    if sizes is not None:
        loss = "cross_entropy" if output == "softmax" else "half_squared_error"
        net = Network(sizes, activation=activation, output=output, loss=loss, dtype=dtype, backend="c")
        plan = make_plan(net, OPTIMIZERS[optimizer](lr=0.01), batch, threads)
        click.echo(json.dumps(plan, indent=2) if as_json else "\n".join(plan_lines(net, plan, batch)))
        return
    sections = collect()
    if as_json:
        click.echo(json.dumps(sections, indent=2))
        return
    for section, values in sections.items():
        if values:
            click.secho(section, bold=True)
        for name, value in values.items():
            click.echo(f"  {name:<15} {value}")
