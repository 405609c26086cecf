"""The command ``nanostep``: a click group with one file per command, which is imported when the command is called."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from typing import Any, TextIO

import click

from nanostep import embedding
from nanostep._version import __version__
from nanostep.errors import NanostepError

COMMANDS = {
    "bench": "Time nanostep and its peers on the standard tasks.",
    "demo": "Train on handwritten digits with every backend.",
    "info": "Show versions, backends and instruction sets.",
    "predict": "Predict with a model that `nanostep train` saved.",
    "train": "Train a network on a CSV file.",
    "warmup": "Compile ahead what the Numba backend runs.",
    "worksheet": "Work one SGD step through, every number shown.",
}
"""Commands, each the function `command` of the module of its name, and their lines in the overview."""

EMBEDDING = {
    "cflags": (embedding.get_cflags, "compiler options"),
    "libs": (embedding.get_libs, "linker options"),
    "includedir": (embedding.get_include, "directory of nanostep.h"),
    "cmakedir": (embedding.get_cmake_dir, "directory for CMake's nanostep_DIR"),
    "pkgconfigdir": (embedding.get_pkgconfig_dir, "directory for PKG_CONFIG_PATH"),
}
"""Options for programs that link the C library in this installation: the function for each value, and its meaning."""


class Failure(click.ClickException):
    """An error of the library, shown as one line, with exit code 2 as for wrong usage."""

    exit_code = 2


class Commands(click.Group):
    """A group that imports a command only when it is called, and turns errors into one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        return importlib.import_module(f"nanostep.cli.{name}").command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _show_warning
                return super().invoke(ctx)
        except BrokenPipeError:
            raise
        except OSError as error:
            named = error.filename is not None and error.strerror
            raise Failure(f"{error.filename}: {error.strerror}" if named else str(error)) from error
        except (NanostepError, ValueError, TypeError, MemoryError) as error:
            raise Failure(str(error) or type(error).__name__) from error


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Show a warning as one line; its place in the code is of no use at the command line."""
    click.echo(f"Warning: {message}", err=True)


def _embedding_options(function: Callable[..., None]) -> Callable[..., None]:
    for name, (_, meaning) in reversed(EMBEDDING.items()):
        function = click.option(f"--{name}", is_flag=True, help=f"C library: print the {meaning}.")(function)
    return function


@click.group(
    cls=Commands,
    invoke_without_command=True,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="nanostep")
@_embedding_options
@click.pass_context
def main(context: click.Context, /, **wanted: bool) -> None:
    """Train small dense neural networks on the CPU, one SGD step after another, fast."""
    names = [name for name in EMBEDDING if wanted[name]]
    if names and context.invoked_subcommand is not None:
        raise click.UsageError(f"--{names[0]} stands alone; the command {context.invoked_subcommand!r} is one too many")
    if names:
        click.echo(" ".join(EMBEDDING[name][0]() for name in names))
