"""Checks of an engine's short cuts for one row, as plain functions that raise AssertionError.

A short cut may decline (return None), and must then have changed nothing; otherwise it must do the same as the
general path.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cases import cast
from conformance.arguments import guard
from conformance.comparisons import TOLERANCE, assert_blocks, assert_norm
from conformance.runs import EngineType, RunCase, make
from nanostep._arrays import Samples
from nanostep.backends.contract import Cursor, RunConfig
from nanostep.optimizers import SGD

LR = 0.125


def check_rows(engine_type: EngineType, case: RunCase, dtype: str) -> None:
    """Check that `predict_row` and `step_row` do the same as `predict` and `train`, with several parameter vectors."""
    drawn, samples = make(case)
    data = cast(samples, np.dtype(dtype))
    assert data.y is not None
    engine = engine_type(case.architecture, np.dtype(dtype))
    general = [drawn.astype(dtype), (drawn / 2).astype(dtype)]
    short = [guard(theta) for theta in general]
    for row in range(case.n):
        theta, area = general[row % 2], short[row % 2]  # an engine may serve many networks
        x, y = guard(data.x[row]), guard(data.y[row])
        expected = np.empty((1, case.architecture.outputs), dtype)
        engine.predict(theta, data.x[row : row + 1], expected)
        output = engine.predict_row(area.array, x.array)
        if output is not None:
            assert output.dtype == np.dtype(dtype)
            assert output.shape == (case.architecture.outputs,)
            assert_norm(output, expected[0], TOLERANCE[dtype], f"{case}: predict_row")

        loss = engine.step_row(area.array, x.array, y.array, LR)
        if loss is None:
            assert area.array.tobytes() == theta.tobytes(), f"{case}: step_row returned None but changed theta"
            continue
        expected_loss = _step(engine_type, case, theta, Samples(data.x[row : row + 1], data.y[row : row + 1], None))
        assert_norm(np.array(loss), np.array(expected_loss), TOLERANCE[dtype], f"{case}: loss of step_row")
        assert_blocks(case.architecture, area.array, theta, TOLERANCE[dtype], f"{case}: theta after step_row")
        theta[...] = area.array
        assert area.intact(), f"{case}: step_row wrote beyond theta"
        for name, argument, value in (("x", x, data.x[row]), ("y", y, data.y[row])):
            assert argument.intact(), f"{case}: step_row wrote beyond {name}"
            assert argument.array.tobytes() == value.tobytes(), f"{case}: step_row changed {name}"


def _step(engine_type: EngineType, case: RunCase, theta: np.ndarray, sample: Samples) -> float:
    loss = np.empty(1)
    slots, cursor = np.empty((0, len(theta)), theta.dtype), Cursor(np.empty(0, np.int64))
    plan = RunConfig(batch=1, shuffle=False, seed=0)
    engine_type(case.architecture, theta.dtype).train(theta, slots, sample, SGD(lr=LR), plan, cursor, 1, loss)
    return float(loss[0])


def check_declined(engine_type: EngineType, case: RunCase, dtype: str) -> None:
    """Check that input which must go through the gate is declined and changes nothing."""
    drawn, samples = make(case)
    data = cast(samples, np.dtype(dtype))
    assert data.y is not None
    engine = engine_type(case.architecture, np.dtype(dtype))
    good_x, good_y = data.x[0], data.y[0]
    theta = drawn.astype(dtype)
    for x in _not_plain(good_x):
        assert engine.predict_row(theta, x) is None, f"{case}: predict_row took x = {x!r}"
        assert engine.step_row(theta, x, good_y, LR) is None, f"{case}: step_row took x = {x!r}"
    for y in [*_not_plain(good_y), *_outside_domain(case.architecture.loss, good_y)]:
        assert engine.step_row(theta, good_x, y, LR) is None, f"{case}: step_row took y = {y!r}"
    for lr in (0.0, -0.5, np.nan, np.inf, "0.1", None, True):
        assert engine.step_row(theta, good_x, good_y, lr) is None, f"{case}: step_row took lr = {lr!r}"
    assert theta.tobytes() == drawn.astype(dtype).tobytes(), f"{case}: a declined step changed theta"
    theta.setflags(write=False)
    assert engine.step_row(theta, good_x, good_y, LR) is None, f"{case}: step_row took a read-only theta"
    assert theta.tobytes() == drawn.astype(dtype).tobytes(), f"{case}: wrote to a read-only theta"


def _not_plain(row: np.ndarray) -> Iterator[object]:
    """Yield objects that are not finite contiguous arrays of the right dtype and shape, made from one that is."""
    other = np.dtype(np.float32 if row.dtype == np.float64 else np.float64)
    yield row.tolist()
    yield row.astype(other)
    yield row.astype(row.dtype.newbyteorder())
    yield row.reshape(1, -1)
    yield np.append(row, row[:1])
    yield row[:-1]
    yield np.ma.masked_array(row)
    yield None
    if len(row) > 1:  # the stride of a single element is arbitrary
        yield np.repeat(row, 2)[::2]
    for value in (np.nan, np.inf, -np.inf):
        bad = row.copy()
        bad[-1] = value
        yield bad


def _outside_domain(loss: str, y: np.ndarray) -> Iterator[np.ndarray]:
    """Yield finite targets that the loss does not accept."""
    if loss in ("binary_cross_entropy", "cross_entropy"):
        yield np.full_like(y, -0.25)
        yield np.full_like(y, 1.25)
    if loss == "cross_entropy":
        yield np.zeros_like(y)
    if loss == "poisson":
        yield np.full_like(y, -1)
