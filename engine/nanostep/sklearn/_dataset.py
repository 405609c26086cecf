"""The samples of a fit, dense or sparse, which the engine gets as dense rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import sparse

from nanostep._arrays import Samples, convert

DENSE_BYTES = 2**26
"""A sparse matrix whose dense form is no larger than this is made dense once; a larger one, block by block."""

BLOCK_BYTES = 2**22
"""Size of the dense form of a block of a larger sparse matrix: about that of an L2 cache, and enough for long calls."""


@dataclass(frozen=True)
class Dataset:
    """Checked samples.

    Attributes
    ----------
    x : ndarray, shape (n, inputs), C-contiguous, or CSR matrix
        In the network's dtype.
    y, labels, weight : ndarray or None
    has_missing : bool
        As in `nanostep._arrays.Samples`.
    """

    x: Any
    y: np.ndarray | None = None
    labels: np.ndarray | None = None
    weight: np.ndarray | None = None
    has_missing: bool = False

    def __len__(self) -> int:
        return int(self.x.shape[0])

    @property
    def is_dense(self) -> bool:
        return not sparse.issparse(self.x)

    def take(self, rows: np.ndarray | slice) -> Dataset:
        """Return some of the samples."""
        parts = {name: value[rows] for name, value in vars(self).items() if name != "has_missing" and value is not None}
        return replace(self, **parts)

    def samples(self) -> Samples:
        """Return all samples, dense.

        Raises
        ------
        MemoryError
            The dense form of a sparse matrix does not fit into memory.
        """
        x = self.x if self.is_dense else _dense(self.x)
        return Samples(x, self.y, self.labels, self.weight, self.has_missing)

    def blocks(self, order: np.ndarray | None = None, multiple: int = 1) -> Iterator[Samples]:
        """Yield the samples in `order`, dense: all at once if x is dense, else in blocks of k * `multiple` rows."""
        if self.is_dense:
            yield (self if order is None else self.take(order)).samples()
            return
        for rows in self._block_rows(multiple):
            yield self.take(rows if order is None else order[rows]).samples()

    def inputs(self) -> Iterator[np.ndarray]:
        """Yield x dense, in blocks if it is sparse."""
        if self.is_dense:
            yield self.x
            return
        for rows in self._block_rows(1):
            yield _dense(self.x[rows])

    def _block_rows(self, multiple: int) -> Iterator[slice]:
        row_bytes = max(1, self.x.shape[1] * self.x.dtype.itemsize)
        step = multiple * max(1, BLOCK_BYTES // (row_bytes * multiple))
        for start in range(0, len(self), step):
            yield slice(start, start + step)


def engine_rows(x: Any, dtype: np.dtype) -> Any:
    """Return validated x, dense or sparse, in the network's dtype: C-contiguous, or CSR if it is large and sparse.

    Raises
    ------
    ValueError
        A value is not finite in `dtype`.
    """
    if not sparse.issparse(x):
        return x if x.dtype == dtype and x.flags.c_contiguous and x.flags.aligned else convert("X", x, dtype)
    x = x.tocsr()
    if x.dtype != dtype:
        values = convert("X", x.data, dtype)
        x = type(x)((values, x.indices, x.indptr), shape=x.shape)
    return _dense(x) if x.shape[0] * x.shape[1] * dtype.itemsize <= DENSE_BYTES else x


def _dense(x: Any) -> np.ndarray:
    try:
        return np.ascontiguousarray(x.toarray())
    except MemoryError:
        gib = x.shape[0] * x.shape[1] * x.dtype.itemsize / 2**30
        raise MemoryError(
            f"X is sparse, {x.shape[0]} x {x.shape[1]}, and takes {gib:.1f} GiB as dense rows, which this solver needs "
            'at once; solver="sgd", "adam" and "lbfgs" work through it by blocks'
        ) from None
