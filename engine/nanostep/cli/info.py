"""``nanostep info``: what is installed and what can run."""

from __future__ import annotations

import importlib.metadata
import json
import platform

import click

from nanostep._version import __version__
from nanostep.backends import PACKAGES, load, resolve
from nanostep.benchmark.machine import cpu_model
from nanostep.errors import BackendUnavailable

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
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(as_json: bool) -> None:
    """Show versions, which backends can run (and why not), and the instruction sets of the C library."""
    sections = collect()
    if as_json:
        click.echo(json.dumps(sections, indent=2))
        return
    for section, values in sections.items():
        if values:
            click.secho(section, bold=True)
        for name, value in values.items():
            click.echo(f"  {name:<15} {value}")
