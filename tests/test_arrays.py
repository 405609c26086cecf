"""The gate: what it accepts, what it copies, and how it reports the place of a bad value.

Input that it refuses is tested in test_bad_input.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import nanostep as ns
from cases import REQUIRED
from nanostep._arrays import PROBABILITY_TOLERANCE, check_samples, convert
from nanostep.architecture import make_architecture

F32, F64 = np.dtype(np.float32), np.dtype(np.float64)
INTEGERS = np.random.default_rng(0).integers(-8, 8, (12, 3)).astype(np.float64)
"""Whole numbers, so that every dtype below holds them exactly."""


def read_only(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.setflags(write=False)
    return array


def unaligned(array: np.ndarray) -> np.ndarray:
    return np.frombuffer(b"\0" + array.tobytes(), np.uint8)[1:].view(array.dtype).reshape(array.shape)


def forms(array: np.ndarray) -> dict[str, Any]:
    """Return the same numbers in every kind of array-like object."""
    dtypes = ("float16", "float32", "longdouble", "int8", "int64", ">f8", ">f4", ">i2")
    return {
        "list": array.tolist(),
        "tuples": tuple(map(tuple, array.tolist())),
        "rows": list(array),
        "Python integers": array.astype(int).tolist(),
        **{dtype: array.astype(dtype) for dtype in dtypes},
        "Fortran": np.asfortranarray(array),
        "strided": np.repeat(np.repeat(array, 2, axis=0), 3, axis=1)[::2, ::3],
        "negative strides": np.ascontiguousarray(array[::-1, ::-1])[::-1, ::-1],
        "broadcast": np.broadcast_to(array, (2, *array.shape))[1],
        "read-only": read_only(array),
        "unaligned": unaligned(array),
        "matrix row slices": np.hstack([array, array])[:, : array.shape[1]],
        "frame": pd.DataFrame(array, columns=list("abc")[: array.shape[1]]),
        "frame of mixed dtypes": pd.DataFrame(array, columns=list("abc")[: array.shape[1]]).astype({"a": "int16"}),
        "masked array without masked entries": np.ma.masked_array(array),
    }


@pytest.mark.parametrize("backend", REQUIRED)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("form", forms(INTEGERS))
def test_data_and_targets_of_every_form_give_the_same_bits(backend: str, dtype: str, form: str) -> None:
    targets = np.abs(INTEGERS[:, :2])
    results = []
    for X, Y in ((INTEGERS, targets), (forms(INTEGERS)[form], forms(targets)[form])):
        net = ns.Network([3, 4, 2], activation="tanh", output="identity", loss="huber", dtype=dtype, backend=backend)
        history = net.train(X, Y, epochs=2, batch_size=5, validation=(X, Y))
        results.append((net.theta.tobytes(), history.loss, history.validation_loss, net.predict(X).tobytes()))
    assert results[0] == results[1]


@pytest.mark.parametrize("backend", REQUIRED)
def test_memory_mapped_data(backend: str, tmp_path: Path) -> None:
    memory = np.memmap(tmp_path / "x", np.float64, "w+", shape=INTEGERS.shape)
    memory[:] = INTEGERS
    net = ns.Network([3, 4, 2], backend=backend)
    np.testing.assert_array_equal(net.predict(memory), net.predict(INTEGERS))
    assert np.shares_memory(convert("X", memory, F64), memory)


def test_booleans_count_as_zero_and_one() -> None:
    net, flags = ns.Network([3, 2]), INTEGERS > 0
    assert net.loss(flags, flags[:, :2]) == net.loss(flags.astype(float), flags[:, :2].astype(float))


def test_arrays_that_fit_are_used_in_place_and_others_copied_once() -> None:
    large = np.ones((4, 3))
    for fits in (large, large[2:4], read_only(large), np.ma.masked_array(large), np.ones((0, 3))):
        converted = convert("X", fits, F64)
        assert type(converted) is np.ndarray
        assert converted.size == 0 or np.shares_memory(converted, fits)
    for other in (large.astype(F32), large[:, :2], np.asfortranarray(large), large.astype(">f8"), unaligned(large)):
        converted = convert("X", other, F64)
        assert not np.shares_memory(converted, other)
        assert converted.dtype == F64
        assert converted.dtype.isnative
        assert converted.flags.c_contiguous
        assert converted.flags.aligned


def test_numbers_are_rounded_to_nearest() -> None:
    assert convert("X", [2**53 + 1, 2**53 + 3], F64).tolist() == [2.0**53, 2.0**53 + 4]
    assert convert("X", [0.1], F32)[0] == np.float32(0.1)
    assert convert("X", [1e-60], F32)[0] == 0


def test_finite_numbers_whose_sum_overflows_are_finite() -> None:
    array = np.full((3, 2), np.finfo(F64).max)
    assert convert("X", array, F64) is array


def test_a_bad_value_is_placed_and_counted() -> None:
    array = np.zeros((5, 4), F32)
    array[[3, 4], 2] = np.nan, np.inf
    with pytest.raises(ValueError, match=r"X\[3, 2\] is nan \(2 of 20 entries are not finite\)"):
        convert("X", array, F32)
    array[3, 2] = -np.inf  # the sum of both infinities is NaN
    with pytest.raises(ValueError, match=r"X must be finite in float32; X\[3, 2\] is -inf"):
        convert("X", array, F32)


@pytest.mark.parametrize("backend", REQUIRED)
def test_targets_of_one_output_may_be_flat(backend: str) -> None:
    net = ns.Network([3, 4, 1], backend=backend)
    column = np.abs(INTEGERS[:, :1]) / 8
    flat = column.ravel()
    assert len({net.loss(INTEGERS, y) for y in (column, flat, pd.Series(flat), flat.tolist())}) == 1
    assert len({net.loss(INTEGERS[0], y) for y in (column[:1], flat[:1], flat[0], float(flat[0]))}) == 1


@pytest.mark.parametrize("backend", REQUIRED)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_labels_stand_for_one_hot_rows(backend: str, dtype: str) -> None:
    labels = np.array([0, 1, 2] * 4)
    names = ("uint8", "int32", "uint64", ">i4", "float16", "float64")
    spellings = [labels, labels.tolist(), labels[:, None], pd.Series(labels), np.repeat(labels, 2)[::2]]
    results = set()
    for Y in (*spellings, *(labels.astype(name) for name in names), np.eye(3)[labels], np.eye(3, dtype=bool)[labels]):
        net = ns.Network([3, 4, 3], output="softmax", loss="cross_entropy", dtype=dtype, backend=backend)
        loss, gradient = net.gradient(INTEGERS, Y)
        results.add((loss, gradient.tobytes()))
    assert len(results) == 1
    net = ns.Network([3, 4, 3], output="softmax", loss="cross_entropy", dtype=dtype, backend=backend)
    one = INTEGERS[0]
    assert len({net.loss(one, y) for y in (2, np.uint8(2), 2.0, [2], [0, 0, 1], [[0, 0, 1]])}) == 1


def test_two_classes_may_be_booleans() -> None:
    net, positive = ns.Network([3, 2], output="softmax", loss="cross_entropy"), INTEGERS[:, 0] > 0
    assert net.loss(INTEGERS, positive) == net.loss(INTEGERS, positive.astype(int))


def test_a_square_batch_of_rows_is_not_taken_for_labels() -> None:
    """(n,) are labels and (n, outputs) are probabilities, even if n equals the number of outputs."""
    architecture = make_architecture([3, 3], "tanh", "softmax", "cross_entropy")
    rows = check_samples(architecture, F64, INTEGERS[:3], np.eye(3))
    labels = check_samples(architecture, F64, INTEGERS[:3], [0, 1, 2])
    assert rows.labels is None
    assert labels.y is None
    assert labels.labels is not None
    assert labels.labels.dtype == np.int64
    np.testing.assert_array_equal(np.eye(3)[labels.labels], rows.y)


def test_probabilities_may_be_off_by_rounding_but_not_more() -> None:
    architecture = make_architecture([3, 4], "tanh", "softmax", "cross_entropy")
    row = np.full(4, 0.25)
    for error, accepted in ((0.9 * PROBABILITY_TOLERANCE, True), (1.1 * PROBABILITY_TOLERANCE, False)):
        for sign in (-1, 1):
            Y = np.array([row, [*row[:3], 0.25 + sign * error]])
            if accepted:
                assert check_samples(architecture, F64, INTEGERS[:2], Y).y is Y
            else:
                with pytest.raises(ValueError, match="row 1 sums to"):
                    check_samples(architecture, F64, INTEGERS[:2], Y)
