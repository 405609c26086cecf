"""G1: how the cost of a step grows with width, batch and rows; each on one core and on all of them."""

from __future__ import annotations

from dataclasses import dataclass

from nanostep.benchmark.contenders import Contender
from nanostep.benchmark.tasks.training import Training
from nanostep.benchmark.workload import Workload

WIDTHS = tuple(2**i for i in range(1, 11))
BATCHES = tuple(2**i for i in range(11))
ROWS = tuple(10**i for i in range(2, 8))
QUICK = {"width": (16, 1024), "batch": (1, 1024), "rows": (100_000,)}


@dataclass(frozen=True)
class Point(Training):
    """One point of a series."""

    def cannot(self, contender: Contender) -> str:
        if not contender.series:
            return f"left out of the series, for which it would compile {len(TASKS)} times"
        return super().cannot(contender)


def _point(axis: str, value: int, network: tuple[int, ...], batch: int, rows: int, **changes: str) -> Point:
    values = {"activation": "relu", "output": "softmax", "loss": "cross_entropy", "dtype": "float32", **changes}
    workload = Workload(f"G1/{axis}={value}", network, batch=batch, optimizer="sgd", lr=1e-3, rows=rows, **values)
    unit = "ns/row" if axis == "rows" else "us/step"
    return Point(workload.name, workload, unit, in_quick=value in QUICK[axis])


def _width(width: int) -> Point:
    """Return two hidden layers of `width` on as many inputs, at batch 32."""
    return _point("width", width, (width, width, width, 10), 32, 1024 if width < 512 else 256)


def _batch(batch: int) -> Point:
    """Return W4's network at another batch."""
    return _point("batch", batch, (64, 32, 10), batch, max(1024, 4 * batch))


def _rows(rows: int) -> Point:
    """Return 4-16-1 in batches of 1,000 over `rows` rows, whose data outgrow one cache after the other."""
    regression = {"activation": "tanh", "output": "identity", "loss": "squared_error"}
    return _point("rows", rows, (4, 16, 1), min(rows, 1000), rows, **regression)


TASKS = (*map(_width, WIDTHS), *map(_batch, BATCHES), *map(_rows, ROWS))
