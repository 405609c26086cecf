"""Short cuts for one row that are wrong on purpose; `test_can_fail` requires that each is rejected."""

from __future__ import annotations

from typing import Any

import numpy as np

from nanostep._arrays import Samples
from nanostep.backends.reference import networks

Array = np.ndarray


class _Rows(networks.Engine):
    """Has correct short cuts for one row."""

    def predict_row(self, theta__p: Array, x: Any) -> Any:
        if not self.plain(x, self.architecture.inputs):
            return None
        a = np.empty((1, self.architecture.outputs), self.dtype)
        self.predict(theta__p, x.reshape(1, -1), a)
        return a[0]

    def step_row(self, theta__p: Array, x: Any, y: Any, lr: Any) -> Any:
        architecture = self.architecture
        inside = self.plain(x, architecture.inputs) and self.plain(y, architecture.outputs) and self.takes(y)
        if not (inside and isinstance(lr, float) and 0 < lr < np.inf and theta__p.flags.writeable):
            return None
        grad__p = np.empty_like(theta__p)
        loss = self.gradient(theta__p, Samples(x.reshape(1, -1), y.reshape(1, -1), None), grad__p)
        theta__p -= lr * grad__p
        return loss

    def plain(self, row: Any, width: int) -> bool:
        return (
            type(row) is np.ndarray
            and row.dtype == self.dtype
            and row.dtype.isnative
            and row.shape == (width,)
            and row.flags.c_contiguous
            and bool(np.isfinite(row).all())
        )

    def takes(self, y: Array) -> bool:
        loss = self.architecture.loss
        if loss in ("binary_cross_entropy", "cross_entropy") and ((y < 0) | (y > 1)).any():
            return False
        if loss == "cross_entropy" and abs(y.sum() - 1) > 1e-4:
            return False
        return loss != "poisson" or bool((y >= 0).all())


class RightRows(_Rows):
    """A correct engine, which shows that the variants below are rejected for their changes."""


class StepRowReturnsTheNewLoss(_Rows):
    def step_row(self, theta__p: Array, x: Any, y: Any, lr: Any) -> Any:
        made = super().step_row(theta__p, x, y, lr)
        return None if made is None else self.loss(theta__p, Samples(x.reshape(1, -1), y.reshape(1, -1), None))


class StepRowIgnoresTheRate(_Rows):
    def step_row(self, theta__p: Array, x: Any, y: Any, lr: Any) -> Any:
        return super().step_row(theta__p, x, y, lr * 0.9 if isinstance(lr, float) else lr)


class StepRowMovesThetaAndDeclines(_Rows):
    def step_row(self, theta__p: Array, x: Any, y: Any, lr: Any) -> Any:
        super().step_row(theta__p, x, y, lr)


class RowsOfTheFirstTheta(_Rows):
    """Keeps the first parameter vector it was given, and uses it for all networks."""

    first: Array | None = None

    def predict_row(self, theta__p: Array, x: Any) -> Any:
        self.first = theta__p if self.first is None else self.first
        return super().predict_row(self.first, x)


class RowsTakeNan(_Rows):
    def plain(self, row: Any, width: int) -> bool:
        return super().plain(np.nan_to_num(row) if type(row) is np.ndarray else row, width)


class RowsTakeAnyTarget(_Rows):
    def takes(self, y: Array) -> bool:
        return True


class RowsOfAnyLength(_Rows):
    def predict_row(self, theta__p: Array, x: Any) -> Any:
        return super().predict_row(theta__p, x[: self.architecture.inputs] if type(x) is np.ndarray else x)
