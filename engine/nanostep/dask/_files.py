"""Chunk files: the check of their paths, and how a worker reads one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nanostep._arrays import Samples
from nanostep.dask._tasks import Recipe, prepare
from nanostep.io.tables import read_table
from nanostep.streams import Parquet

SUFFIXES = (".npz", ".npy", ".csv", ".parquet")

Target = str | list[str] | None
"""Columns of Y in a file: one name gives Y as (n,), a list gives (n, columns). Or the path of Y's own file, or None."""


def is_paths(value: object) -> bool:
    """True for a list that contains a path."""
    return isinstance(value, (list, tuple)) and any(isinstance(part, (str, os.PathLike)) for part in value)


def check_files(X: Sequence[Any], Y: Any) -> list[tuple[str, Target]]:
    """Return, for each chunk, the path of its file and the place of its Y.

    Raises
    ------
    TypeError, ValueError
        An entry is not a path, the files are of different or unknown kinds, or Y does not match them.
    """
    paths = _paths("X", X)
    suffixes = sorted({Path(path).suffix for path in paths})
    if len(suffixes) > 1 or suffixes[0] not in SUFFIXES:
        raise ValueError(f"files of X must be all {', all '.join(SUFFIXES)}; got {', '.join(map(repr, suffixes))}")
    kind = suffixes[0]
    if kind == ".npz":
        if Y is not None:
            raise ValueError("files .npz hold an array X and an array Y: leave the argument Y out")
        return [(path, None) for path in paths]
    if kind == ".npy":
        if not isinstance(Y, (list, tuple)):
            raise TypeError(f"Y must be a list of files .npy, one for each of X; got {type(Y).__name__}")
        targets = _paths("Y", Y)
        if len(targets) != len(paths):
            raise ValueError(f"X and Y must have the same number of files; got {len(paths)} and {len(targets)}")
        return list(zip(paths, targets, strict=True))
    columns = check_columns(Y)
    return [(path, columns) for path in paths]


def check_columns(Y: object) -> str | list[str]:
    """Return the name or names of the target's columns."""
    if isinstance(Y, str):
        return Y
    if isinstance(Y, (list, tuple)) and Y and all(isinstance(name, str) for name in Y):
        return list(Y)
    raise TypeError(f"Y must be the name of the target's column, or a list of names; got {Y!r}")


def _paths(name: str, value: Sequence[Any]) -> list[str]:
    for path in value:
        if not isinstance(path, (str, os.PathLike)):
            raise TypeError(f"{name} must be a list of paths of files; it has a {type(path).__name__}")
    return [os.fspath(path) for path in value]


def read(recipe: Recipe, partition: int, names: tuple[str, str], path: str, target: Target) -> Samples | None:
    """Read a chunk, in a task on a worker."""
    try:
        X, Y = _read(path, target)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{error.filename or path} is not there for the worker that was to read partition {partition}: "
            "every worker must see the files under the same paths"
        ) from None
    return prepare(recipe, partition, names, X, Y)


def _read(path: str, target: Target) -> tuple[Any, Any]:
    kind = Path(path).suffix
    if kind == ".npz":
        with np.load(path, allow_pickle=False) as file:
            missing = [name for name in "XY" if name not in file]
            if missing:
                raise ValueError(f"{path} has no array {missing[0]!r}; it has: {', '.join(file)}")
            return file["X"], file["Y"]
    if kind == ".npy":
        return np.load(path, allow_pickle=False), np.load(str(target), allow_pickle=False)
    assert target is not None
    if kind == ".parquet":
        pairs = list(Parquet(path, target))
        if not pairs:
            return (), ()
        X, Y = zip(*pairs, strict=True)
        return np.concatenate(X), np.concatenate(Y)
    table, names = read_table(Path(path)), [target] if isinstance(target, str) else target
    y = [table.numbers(name) for name in names]
    features = [table.numbers(name) for name in table.columns if name not in names]
    if not features:
        raise ValueError(f"{path} has no column beside the target")
    return np.column_stack(features), y[0] if isinstance(target, str) else np.column_stack(y)
