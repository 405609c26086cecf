"""CSV files and the encoding of their columns as numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from nanostep.errors import FileFormatError
from nanostep.io.tables import Encoder, Table, read_table


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "data.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_reading(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, '\ufeffa, b ,c\n1, x ,"p, q"\n\n2,y,r\n'))
    assert table.columns == {"a": ["1", "2"], "b": ["x", "y"], "c": ["p, q", "r"]}
    assert table.rows == 2
    assert table.take([1]).columns == {"a": ["2"], "b": ["y"], "c": ["r"]}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "header"),
        ("a,b\n", "at least one row"),
        ("a,a\n1,2\n", "'a' twice"),
        ("a,\n1,2\n", "without a name"),
        ("a,b\n1,2\n3\n", "row 2 has 1 cells"),
        ("a,b\n1,2,3\n", "row 1 has 3 cells"),
        ("a,b\n1,\n", "row 1 has no value in column 'b'"),
        ('a,b\n1,"2\n', "not a CSV file"),
    ],
)
def test_bad_files_say_what_is_wrong_and_where(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=words):
        read_table(write(tmp_path, text))


def table(**columns: list[str]) -> Table:
    return Table("data.csv", columns)


def test_missing_and_binary_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_table(tmp_path / "none.csv")
    (tmp_path / "image").write_bytes(b"\xff\xfe\x00\x80" * 20)
    with pytest.raises(FileFormatError, match="not a CSV file"):
        read_table(tmp_path / "image")


@pytest.mark.parametrize(
    ("target", "task"),
    [
        (["red", "blue", "red", "blue"], "classification"),
        (["0", "1", "0", "1"], "classification"),
        (["1.5", "2.5", "3", "9"], "regression"),
        ([str(i) for i in range(100)], "regression"),
    ],
)
def test_task_is_chosen_by_the_target_and_can_be_overridden(target: list[str], task: str) -> None:
    data = table(x=[str(i) for i in range(len(target))], y=target)
    encoder = Encoder.fit(data, "y")
    assert encoder.task == task
    assert "'y'" in encoder.reason
    assert Encoder.fit(data, "y", "classification").task == "classification"


def test_numbers_are_standardised_and_text_becomes_one_hot() -> None:
    data = table(
        size=["1", "2", "3"], colour=["red", "blue", "red"], constant=["7", "7", "7"], price=["10", "20", "60"]
    )
    encoder = Encoder.fit(data, "price", "regression")
    X, Y = encoder.transform_inputs(data), encoder.transform_target(data)
    assert (encoder.inputs, encoder.outputs) == (4, 1)
    np.testing.assert_allclose(X[:, 0], np.array([-1, 0, 1]) * np.sqrt(1.5))
    np.testing.assert_array_equal(X[:, 1:3], [[0, 1], [1, 0], [0, 1]])  # blue, red
    np.testing.assert_array_equal(X[:, 3], 0)
    np.testing.assert_allclose([Y.mean(), Y.std()], [0, 1], atol=1e-12)
    np.testing.assert_allclose(encoder.inverse_target(Y), [10, 20, 60])


def test_moments_can_be_those_of_the_training_rows() -> None:
    data = table(x=["0", "2", "100"], y=["1.5", "3.5", "99"])
    encoder = Encoder.fit(data, "y").with_moments_of(data.take([0, 1]))
    np.testing.assert_allclose(encoder.transform_inputs(data).ravel(), [-1, 1, 99])
    np.testing.assert_allclose(encoder.transform_target(data)[:2].ravel(), [-1, 1])


def test_classes_are_in_order_and_come_back() -> None:
    data = table(x=["1", "2", "3", "4"], y=["10", "9", "10", "2"])
    encoder = Encoder.fit(data, "y", "classification")
    assert encoder.classes == ("2", "9", "10")
    labels = encoder.transform_target(data)
    assert labels.tolist() == [2, 1, 2, 0]
    assert encoder.inverse_target(np.eye(3)[labels]) == ["10", "9", "10", "2"]


def test_ways_to_write_a_number_are_one_class() -> None:
    data = table(x=["1", "2", "3"], y=["1", "2", "1.0"])
    encoder = Encoder.fit(data, "y")
    assert encoder.classes == ("1", "2")
    assert encoder.transform_target(data).tolist() == [0, 1, 0]
    with pytest.raises(ValueError, match="row 1 has target '3'; known classes are: 1, 2"):
        encoder.transform_target(table(y=["3"]))


@pytest.mark.parametrize("cell", ["NA", "nan", "n/a", "null", "?", "inf", "-Infinity", "1e999"])
def test_missing_and_infinite_numbers_are_refused_not_taken_for_text(cell: str) -> None:
    numbers = ["1.5", "2.5", cell, "4"]
    for columns in ({"x": numbers, "y": list("abab")}, {"x": list("abab"), "y": numbers}):
        with pytest.raises(ValueError, match=r"data.csv: row 3 has .* in column '[xy]', whose other values are num"):
            Encoder.fit(table(**columns), "y")


def test_the_same_words_are_values_of_a_text_column() -> None:
    encoder = Encoder.fit(table(x=["gravel", "none", "7", "?"], y=["1.5", "2.5", "3.5", "4.5"]), "y")
    assert encoder.features[0].levels == ("7", "?", "gravel", "none")


def test_numbers_too_large_to_be_standardised_are_refused() -> None:
    with pytest.raises(ValueError, match="'x' are too large"):
        Encoder.fit(table(x=["1e300", "-1e300"], y=["a", "b"]), "y")


def test_encoder_survives_json() -> None:
    data = table(a=["1", "2"], b=["p", "q"], y=["u", "v"])
    encoder = Encoder.fit(data, "y")
    again = Encoder.from_json(json.loads(json.dumps(encoder.to_json())))
    assert again == encoder
    np.testing.assert_array_equal(again.transform_inputs(data), encoder.transform_inputs(data))


def test_columns_are_found_by_name_and_others_ignored() -> None:
    encoder = Encoder.fit(table(a=["1", "2"], b=["p", "q"], y=["u", "v"]), "y")
    X = encoder.transform_inputs(table(extra=["?"], b=["q"], a=["1"]))
    np.testing.assert_array_equal(X, [[-1, 0, 1]])


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"a": ["1"]}, "no column 'b'"),
        ({"a": ["one"], "b": ["p"]}, "row 1 has 'one' in column 'a'"),
        ({"a": ["nan"], "b": ["p"]}, "finite number"),
        ({"a": ["1"], "b": ["z"]}, "known are: p, q"),
    ],
)
def test_tables_that_do_not_fit_say_where(columns: dict[str, list[str]], words: str) -> None:
    encoder = Encoder.fit(table(a=["1", "2"], b=["p", "q"], y=["u", "v"]), "y")
    with pytest.raises(ValueError, match=words):
        encoder.transform_inputs(table(**columns))


@pytest.mark.parametrize(
    ("columns", "task", "words"),
    [
        ({"x": ["1", "2"]}, "auto", "no column 'y'; it has: x"),
        ({"y": ["1", "2"]}, "auto", "no column beside"),
        ({"x": ["1", "2"], "y": ["a", "a"]}, "auto", "only one value"),
        ({"x": ["1", "2"], "y": ["a", "b"]}, "regression", "'a' in column 'y'"),
        ({"x": ["1", "2"], "y": ["a", "b"]}, "ranking", "ranking"),
    ],
)
def test_targets_that_cannot_be_learned(columns: dict[str, list[str]], task: str, words: str) -> None:
    data = table(**columns)
    with pytest.raises(ValueError, match=words):
        Encoder.fit(data, "y", task).with_moments_of(data)
