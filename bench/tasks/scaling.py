"""G1: how the cost of a step grows with width, batch and rows; each on one core and on all of them."""

from __future__ import annotations

from nanostep.benchmark.tasks.training import Training
from nanostep.benchmark.workload import Workload

WIDTHS = tuple(2**i for i in range(1, 11))
BATCHES = tuple(2**i for i in range(11))
ROWS = tuple(10**i for i in range(2, 8))
QUICK = {"width": (16, 1024), "batch": (1, 1024), "rows": (100_000,)}


def _rows(steps: int, batch: int) -> int:
    """Return a number of rows that is a multiple of the batch."""
    return steps * batch


def _point(axis: str, value: int, workload: Workload) -> Training:
    return Training(workload.name, workload, in_quick=value in QUICK[axis])


def _width(width: int) -> Training:
    """Return 2 hidden layers of `width` and as many inputs; batch 32, where frameworks like to be."""
    sizes, rows = (width, width, width, 10), 1024 if width < 512 else 256
    name = f"G1/width={width}"
    return _point(
        "width", width, Workload(name, sizes, "relu", "softmax", "cross_entropy", 32, "float32", "sgd", 1e-3, rows)
    )


def _batch(batch: int) -> Training:
    """Return W4's network at another batch."""
    name, rows = f"G1/batch={batch}", max(1024, 4 * batch)
    return _point(
        "batch",
        batch,
        Workload(name, (64, 32, 10), "relu", "softmax", "cross_entropy", batch, "float32", "sgd", 0.002, rows),
    )


def _size(rows: int) -> Training:
    """Return 4-16-1 at batch 20 over ever more rows, which leave one cache after the other."""
    name = f"G1/rows={rows}"
    return _point(
        "rows", rows, Workload(name, (4, 16, 1), "tanh", "identity", "squared_error", 20, "float32", "sgd", 0.01, rows)
    )


TASKS = (*map(_width, WIDTHS), *map(_batch, BATCHES), *map(_size, ROWS))
