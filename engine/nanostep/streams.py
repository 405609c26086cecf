"""Data in chunks for `Network.train`, which then needs memory for one chunk at a time.

A stream yields pairs (X, Y) of arrays with any number of rows. ``train(stream)`` accepts in place of X and Y:

- an iterator, which can be read once, for ``epochs=1``;
- anything that can be iterated over repeatedly, such as a list of pairs or an object of the classes below;
- a function without arguments that returns an iterator.

Every chunk is checked and converted as X and Y of `train` are, shuffled by itself (the order depends on the seed, the
epoch and the number of the chunk), and cut into batches of its own. Samples do not move from chunk to chunk: where that
matters, shuffle before the chunks are made. A chunk that is refused ends the run with an error; what was learned before
is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nanostep._arrays import Samples, check_samples
from nanostep._checks import check_integer
from nanostep._optional import require
from nanostep.model import Model

if TYPE_CHECKING:
    from os import PathLike

__all__ = ["Chunks", "NpyDirectory", "Parquet"]

ROWS = 65_536
"""Rows of a chunk where they are not given by the files."""

Pairs = Iterable[tuple[Any, Any]]


class Chunks:
    """Slices of two arrays, such as `numpy.memmap` of any dtype and order, or data sets of HDF5 and Zarr.

    Parameters
    ----------
    X, Y : array-like with slices, the same number of rows
    rows : int, default=65536
        Rows of a chunk, >= 1; the last one takes the rest.
    """

    def __init__(self, X: Any, Y: Any, rows: int = ROWS) -> None:
        for name, array in (("X", X), ("Y", Y)):
            if not hasattr(array, "__getitem__") or not hasattr(array, "__len__"):
                raise TypeError(f"{name} must be an array that has slices; got {type(array).__name__}")
        if len(X) != len(Y):
            raise ValueError(f"X and Y must have the same number of rows; got {len(X)} and {len(Y)}")
        self._x, self._y, self._rows = X, Y, check_integer("rows", rows, 1)

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        for start in range(0, len(self._x), self._rows):
            yield self._x[start : start + self._rows], self._y[start : start + self._rows]


class NpyDirectory:
    """Pairs of .npy files: ``x_NAME.npy`` and ``y_NAME.npy`` of every NAME, in the order of the names as text.

    The files are mapped, not read whole.

    Parameters
    ----------
    path : str or path-like
        Directory; it is listed when the object is made.
    rows : int, optional
        Most rows of a chunk, >= 1; larger files are cut. By default each file is one chunk.

    Raises
    ------
    FileNotFoundError
        There is no such directory, no pair in it, or a file without its other half.
    """

    def __init__(self, path: str | PathLike[str], rows: int | None = None) -> None:
        directory = Path(path)
        if not directory.is_dir():
            raise FileNotFoundError(f"no such directory: {directory}")
        names = {kind: {file.name[2:] for file in directory.glob(f"{kind}_*.npy")} for kind in "xy"}
        for kind, other in ("xy", "yx"):
            for name in sorted(names[kind] - names[other]):
                raise FileNotFoundError(f"{directory / f'{kind}_{name}'} has no {other}_{name} beside it")
        if not names["x"]:
            raise FileNotFoundError(f"{directory} has no files x_*.npy and y_*.npy")
        self._files = [(directory / f"x_{name}", directory / f"y_{name}") for name in sorted(names["x"])]
        self._rows = None if rows is None else check_integer("rows", rows, 1)

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        for files in self._files:
            x, y = (np.load(file, mmap_mode="r", allow_pickle=False) for file in files)
            if len(x) != len(y):
                raise ValueError(f"{files[0]} has {len(x)} rows and {files[1]} has {len(y)}")
            yield from Chunks(x, y, self._rows or max(len(x), 1))


class Parquet:
    """Columns of Parquet files, read with pyarrow (extra ``[parquet]``).

    Parameters
    ----------
    path : str or path-like
        A file, or a directory whose ``*.parquet`` files are read in the order of their names.
    target : str or sequence of str
        Column or columns of Y. One column gives Y as (n,), so integers may be class labels.
    features : sequence of str, optional
        Columns of X; by default all others, in the order of the first file.
    rows : int, default=65536
        Most rows of a chunk, >= 1.

    Raises
    ------
    ImportError
        pyarrow is not installed.
    FileNotFoundError
        There is no such file, or none in the directory.
    ValueError
        A column does not exist; while reading, a column holds nulls.
    TypeError
        While reading, a column is not numeric.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        target: str | Sequence[str],
        features: Sequence[str] | None = None,
        rows: int = ROWS,
    ) -> None:
        pq = require("Parquet", "pyarrow", "pyarrow.parquet", "parquet")
        place = Path(path)
        self._files = sorted(place.glob("*.parquet")) if place.is_dir() else [place]
        if not self._files or not self._files[0].exists():
            raise FileNotFoundError(f"no Parquet file at {place}")
        names = pq.read_schema(self._files[0]).names
        self._single = isinstance(target, str)
        self._target = _check_columns("target", [target] if isinstance(target, str) else target, names)
        others = [name for name in names if name not in self._target]
        self._features = others if features is None else _check_columns("features", features, names)
        if not self._features:
            raise ValueError(f"{self._files[0]} has no columns beside the target")
        self._rows = check_integer("rows", rows, 1)

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        import pyarrow.parquet as pq

        for path in self._files:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(self._rows, columns=[*self._features, *self._target]):
                    x = np.column_stack([_numbers(batch, name, path) for name in self._features])
                    y = [_numbers(batch, name, path) for name in self._target]
                    yield x, y[0] if self._single else np.column_stack(y)


def _check_columns(argument: str, given: object, names: list[str]) -> list[str]:
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise TypeError(f"{argument} must be names of columns; got {type(given).__name__}")
    columns = list(given)
    for column in columns:
        if column not in names:
            raise ValueError(f"{argument} has {column!r}, which is no column; there are {', '.join(names)}")
    if not columns:
        raise ValueError(f"{argument} is empty; give at least one column")
    return columns


def _numbers(batch: Any, name: str, path: Path) -> np.ndarray:
    column = batch.column(batch.schema.get_field_index(name))
    if column.null_count:
        raise ValueError(f"column {name!r} of {path} has nulls; fill them first")
    array = column.to_numpy(zero_copy_only=False)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"column {name!r} of {path} must hold real numbers; got {column.type}")
    return np.asarray(array)


class Stream:
    """A checked stream.

    Attributes
    ----------
    once : bool
        True if it can be read only once.
    """

    def __init__(self, source: Pairs | Callable[[], Pairs]) -> None:
        self._source = source
        self.once = isinstance(source, Iterator)

    def samples(self, model: Model, nan_targets: str = "raise") -> Iterator[Samples]:
        """Yield the checked chunks of one pass."""
        source = self._source if isinstance(self._source, Iterable) else self._source()
        if not isinstance(source, Iterable):
            raise TypeError(f"the function given for X must return an iterable of (X, Y); got {type(source).__name__}")
        for k, chunk in enumerate(source):
            if not isinstance(chunk, (tuple, list)) or len(chunk) != 2:
                raise TypeError(f"chunk {k} of the stream must be a pair (X, Y); got {type(chunk).__name__}")
            names = (f"X of chunk {k}", f"Y of chunk {k}")
            samples = check_samples(model.architecture, model.dtype, *chunk, names=names, nan_targets=nan_targets)
            yield samples.without_aliasing(model._theta)


def as_stream(X: Any, Y: Any, dtype: np.dtype) -> Stream | None:
    """Return the stream that the arguments of `train` stand for; None if they are arrays."""
    if Y is not None:
        # a memory map that would have to be converted as a whole
        if isinstance(X, np.memmap) and not (X.dtype == dtype and X.flags.c_contiguous and X.flags.aligned):
            return Stream(Chunks(X, Y))
        return None
    if hasattr(X, "__array__") or not (isinstance(X, Iterable) or callable(X)) or isinstance(X, (str, bytes, dict)):
        raise TypeError(
            "Y is missing; without it X must be a stream: an iterable of pairs (X, Y), or a function that returns one; "
            f"got {type(X).__name__}"
        )
    return Stream(X)
