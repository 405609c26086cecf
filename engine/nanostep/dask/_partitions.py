"""Data on a cluster: the caller's X and Y become one future of checked samples for each partition."""

from __future__ import annotations

import time
import warnings
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
from dask.distributed import Client, Future, futures_of, wait
from dask.utils import is_dataframe_like, is_series_like

import dask
from nanostep.architecture import Architecture
from nanostep.dask._files import check_columns, check_files, is_paths, read
from nanostep.dask._tasks import Recipe, count, prepare

HOW_TO_SPREAD = "dask.array.from_array(X, chunks=(rows, -1)) makes one of an array"


PATIENCE_SECONDS = 5.0
"""Wait before checking whether there are any workers."""


@dataclass(frozen=True)
class Source:
    """The arguments X and Y, checked as far as possible without reading the data.

    Attributes
    ----------
    collections : (X, Y) or None
        Two Dask collections with the same number of partitions.
    files : list of (str, target) or None
        Chunk files.
    names : (str, str)
        Names of X and Y in error messages.
    """

    collections: tuple[Any, Any] | None
    files: list[tuple[str, Any]] | None
    names: tuple[str, str]

    @property
    def partitions(self) -> int:
        if self.files is not None:
            return len(self.files)
        assert self.collections is not None
        return int(self.collections[0].npartitions)


@dataclass(frozen=True)
class Partitions:
    """Data that are distributed over a cluster.

    Attributes
    ----------
    samples : list of Future
        The samples of each partition that has rows, in order.
    numbers : list of int
        The number of each of them among all partitions.
    rows : list of int
        The number of rows of each.
    """

    samples: list[Future]
    numbers: list[int]
    rows: list[int]


def check_source(architecture: Architecture, X: Any, Y: Any, names: tuple[str, str] = ("X", "Y")) -> Source:
    """Check the data of a call; nothing is computed."""
    if is_paths(X):
        return Source(None, check_files(X, Y), names)
    name = names[0]
    if isinstance(X, da.Array):
        if X.ndim != 2:
            raise ValueError(f"{name} must have shape (n, {architecture.inputs}); got {X.ndim} dimensions")
        width = X.shape[1]
    elif is_dask_frame(X):
        if isinstance(Y, (str, list, tuple)):
            X, Y = _split(name, X, check_columns(Y))
        width = len(X.columns)
    else:
        raise TypeError(
            f"{name} must be a dask array, a dask DataFrame or a list of chunk files; got {type(X).__name__}; "
            + HOW_TO_SPREAD
        )
    if not isinstance(Y, da.Array) and not is_dask_frame(Y, series=True):
        raise TypeError(f"{names[1]} must be a dask array, DataFrame or Series like {name}; got {type(Y).__name__}")
    if not np.isnan(width) and width != architecture.inputs:
        raise ValueError(f"{name} must have {architecture.inputs} columns, the inputs of the network; got {width}")
    for each, array in zip(names, (X, Y), strict=True):
        if isinstance(array, da.Array) and array.ndim > 1 and array.numblocks[1] > 1:
            raise ValueError(
                f"{each} is cut along its columns, chunks={array.chunks}; rows must be whole: "
                f"{each}.rechunk({{1: -1}}) makes them so"
            )
    _check_rows(X, Y, names)
    return Source((X, Y), None, names)


def is_dask_frame(value: Any, *, series: bool = False) -> bool:
    """True for a dask DataFrame, or a Series if `series`."""
    like = is_dataframe_like(value) or (series and is_series_like(value))
    return like and dask.is_dask_collection(value)


def _split(name: str, frame: Any, columns: str | list[str]) -> tuple[Any, Any]:
    names = [columns] if isinstance(columns, str) else columns
    for column in names:
        if column not in frame.columns:
            raise ValueError(f"{name} has no column {column!r}; it has: {', '.join(map(str, frame.columns))}")
    return frame[[column for column in frame.columns if column not in names]], frame[columns]


def _check_rows(X: Any, Y: Any, names: tuple[str, str]) -> None:
    """Refuse partitions that do not match. Lengths that are not known yet are compared when the data are read."""
    if isinstance(X, da.Array) and isinstance(Y, da.Array):
        x, y = (np.array(array.chunks[0], float) for array in (X, Y))
        if not np.isnan(x).any() and not np.isnan(y).any() and x.sum() != y.sum():
            raise ValueError(f"{names[0]} and {names[1]} must have the same number of rows; got {len(X)} and {len(Y)}")
        known = len(x) == len(y) and not (np.isnan(x) | np.isnan(y)).any()
        if len(x) != len(y) or (known and (x != y).any()):
            raise ValueError(
                f"{names[0]} and {names[1]} must be cut at the same rows; got chunks of {X.chunks[0]} and "
                f"{Y.chunks[0]}: {names[1]}.rechunk({{0: {names[0]}.chunks[0]}}) makes them so"
            )
    elif X.npartitions != Y.npartitions:
        raise ValueError(
            f"{names[0]} and {names[1]} must have the same number of partitions; got {X.npartitions} and "
            f"{Y.npartitions}"
        )


def load(client: Client, recipe: Recipe, source: Source) -> Partitions:
    """Let the workers read and check the data and keep them in memory; return the partitions.

    Partitions that are in memory already are checked where they are. Others are computed where Dask chooses; files are
    distributed evenly over the workers.

    Raises
    ------
    TypeError, ValueError
        A worker found an error in a partition, or there are no rows.
    """
    futures = _read_files(client, recipe, source) if source.files is not None else _prepare(client, recipe, source)
    wait_for(client, futures)
    raise_first_error(futures)
    rows = client.gather(client.map(count, futures, pure=False))
    kept = [k for k, n in enumerate(rows) if n > 0]
    if not kept:
        raise ValueError(f"{source.names[0]} has no samples; at least one is needed")
    return Partitions([futures[k] for k in kept], kept, [rows[k] for k in kept])


def _read_files(client: Client, recipe: Recipe, source: Source) -> list[Future]:
    assert source.files is not None
    workers, n = sorted(client.nthreads()), len(source.files)
    futures = []
    for k, (path, target) in enumerate(source.files):
        # neighbouring files, which are likely to be in one shard, go to one worker
        where = [workers[k * len(workers) // n]] if workers else None
        futures.append(
            client.submit(
                read, recipe, k, source.names, path, target,
                workers=where, allow_other_workers=where is not None, pure=False,
            )
        )  # fmt: skip
    return futures


def _prepare(client: Client, recipe: Recipe, source: Source) -> list[Future]:
    assert source.collections is not None
    X, Y = source.collections
    held = {future.key: future for future in futures_of(X, client=client)}
    places = client.who_has(list(held.values())) if held else {}
    tasks = []
    for k, (x, y) in enumerate(zip(_delayed(X), _delayed(Y), strict=True)):
        where = list(places.get(x.key, ()))
        with dask.annotate(**({"workers": where, "allow_other_workers": True} if where else {})):
            tasks.append(dask.delayed(prepare, pure=False)(recipe, k, source.names, x, y))
    return list(client.compute(tasks, optimize_graph=False))


def _delayed(collection: Any) -> list[Any]:
    """Return the partitions of a collection in the order of its rows."""
    return list(np.ravel(collection.to_delayed()))


def wait_for(client: Client, futures: list[Future]) -> None:
    """Wait until all futures have a result or an error; warn if the wait is due to a lack of workers."""
    try:
        wait(futures, timeout=PATIENCE_SECONDS)
    except TimeoutError:
        if not client.nthreads():
            warnings.warn("the Dask cluster has no workers; waiting for the first", RuntimeWarning, stacklevel=4)
        wait(futures)


def raise_first_error(futures: list[Future]) -> None:
    for future in futures:
        if future.status == "error":
            future.result()


def places(client: Client, samples: list[Future]) -> list[str]:
    """Return the worker that holds each partition, after waiting until all of them are in memory.

    Raises
    ------
    RuntimeError
        A partition was lost with its worker, and cannot be computed again.
    """
    while True:
        try:
            wait_for(client, samples)
        except CancelledError:
            raise RuntimeError(
                "a partition of the data was lost with its worker and cannot be computed again, as is the case for "
                "data that were scattered; Dask collections that are persisted can"
            ) from None
        raise_first_error(samples)
        holders = client.who_has(samples)
        found = [sorted(holders.get(future.key, ())) for future in samples]
        if all(found):
            return [addresses[0] for addresses in found]
        time.sleep(0.05)  # a partition was lost, of which the client has not been notified yet
