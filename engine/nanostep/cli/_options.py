"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from nanostep.backends import PACKAGES

BACKENDS = ("auto", *PACKAGES)

EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
NEW_FILE = click.Path(dir_okay=False, writable=True, path_type=Path)
"""A file to write, made or replaced."""


def check_not_input(option: str, output: Path | None, *inputs: Path) -> None:
    """Raise a usage error if the file to write is also an input, which would be overwritten."""
    for path in inputs:
        if output is not None and output.exists() and output.samefile(path):
            raise click.UsageError(f"{option} names {path}, which this command reads; choose another file")


class NumberList(click.ParamType):
    """Numbers separated by commas, such as 32,16."""

    def __init__(self, kind: type[int] | type[float]) -> None:
        self.kind = kind
        self.name = "LIST"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Sequence[float]:
        if not isinstance(value, str):
            return value
        try:
            return [self.kind(part) for part in value.split(",") if part.strip()]
        except ValueError:
            example = "32,16" if self.kind is int else "0.05,0.1"
            self.fail(f"{value!r} is not a list of {self.kind.__name__} values such as {example}", param, ctx)


class NameList(click.ParamType):
    """Names separated by commas; None if the option is not given."""

    name = "LIST"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        if not isinstance(value, str):
            return value
        names = [part.strip() for part in value.split(",") if part.strip()]
        if not names:
            self.fail("names nothing; leave the option out for all", param, ctx)
        return names


backend = click.option(
    "--backend", type=click.Choice(BACKENDS), default="auto", show_default=True, help="Backend to run on."
)
