"""The digits that come with the package."""

from __future__ import annotations

from importlib.resources import files

import numpy as np

from nanostep.data import load_digits


def test_digits_are_the_ones_known() -> None:
    X, labels = load_digits()
    assert X.shape == (1797, 64)
    assert X.dtype == np.float64
    assert labels.dtype == np.int64
    assert X.min() == 0
    assert X.max() == 16
    # class counts and total as published with the data set's test part
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert X.sum() == 561718
    assert X[0, :8].tolist() == [0, 0, 5, 13, 9, 1, 0, 0]


def test_calls_share_no_memory() -> None:
    first, second = load_digits()[0], load_digits()[0]
    first[:] = -1
    assert second.min() == 0


def test_licence_and_attribution_are_beside_the_data() -> None:
    text = files("nanostep.data").joinpath("LICENSE.digits.txt").read_text(encoding="utf-8")
    assert "Alpaydin" in text
    assert "Creative Commons Attribution 4.0" in text
