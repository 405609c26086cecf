"""The command line, run in a process of its own, as users run it."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import nanostep as ns
from cases import REQUIRED
from nanostep.cli import main


def start(*arguments: str | Path, **options) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "nanostep", *map(str, arguments)]
    environment = {**os.environ, "COLUMNS": "120", "NO_COLOR": "1"}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def run(*arguments: str | Path, code: int = 0) -> str:
    """Run a command, check its exit code, and return its output, errors included."""
    process = start(*arguments)
    out, err = process.communicate(timeout=300)
    assert process.returncode == code, out + err
    assert "Traceback" not in err
    return out + err


@pytest.fixture(scope="module")
def flowers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV file with three well separated classes, a numeric and a text column, and 150 rows."""
    random = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("data") / "flowers.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["length", "width", "soil", "kind"])
        for i in range(150):
            kind = i % 3
            length, width = random.normal([kind * 3, -kind], 0.4)
            writer.writerow([f"{length:.3f}", f"{width:.3f}", "sand" if random.random() < 0.5 else "clay", "abc"[kind]])
    return path


@pytest.fixture(scope="module")
def prices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV file for regression: price = 100 + 7 area - 3 age, with a little noise."""
    random = np.random.default_rng(1)
    path = tmp_path_factory.mktemp("data") / "prices.csv"
    area, age = random.uniform(20, 200, 200), random.uniform(0, 50, 200)
    price = 100 + 7 * area - 3 * age + random.normal(0, 2, 200)
    rows = zip(area, age, price, strict=True)
    path.write_text("area,age,price\n" + "".join(f"{a:.2f},{b:.2f},{c:.2f}\n" for a, b, c in rows))
    return path


def test_help_is_quick_and_complete() -> None:
    text = run("--help")
    for name in ("bench", "demo", "info", "predict", "train", "worksheet"):
        assert name in text
        assert "--help" in run(name, "--help")
    loaded = "import sys, nanostep.cli; print(sorted({'numba', 'rich', 'plotext', 'safetensors'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_version() -> None:
    assert ns.__version__ in run("--version")


@pytest.mark.parametrize("backend", REQUIRED)
def test_demo_learns_the_digits(backend: str) -> None:
    text = run("demo", "--backend", backend)
    row = next(line for line in text.splitlines() if f" {backend} " in line and "%" in line and "│" in line)
    accuracy = float(row.split("%")[0].split()[-1])
    assert accuracy >= 96
    assert "held out" in text


def test_demo_fails_below_the_required_accuracy() -> None:
    assert "below 96%" in run("demo", "--backend", "numpy", "--epochs", "1", code=1)


def test_classifier_from_csv_to_predictions(flowers: Path, tmp_path: Path) -> None:
    model, output = tmp_path / "model", tmp_path / "predicted.csv"
    text = run("train", flowers, "--target", "kind", "--epochs", "60", "--save", model)
    assert "classification: target 'kind' holds text" in text
    assert "'soil' is text: one input for each of its 2 values" in text
    assert float(text.split("held out: accuracy ")[1].split("%")[0]) > 90
    run("predict", model, flowers, "--output", output, "--probabilities")
    with output.open(newline="") as file:
        predicted = list(csv.DictReader(file))
    with flowers.open(newline="") as file:
        actual = list(csv.DictReader(file))
    assert np.mean([p["kind"] == a["kind"] for p, a in zip(predicted, actual, strict=True)]) > 0.95
    assert sum(float(predicted[0][f"probability {kind}"]) for kind in "abc") == pytest.approx(1, abs=1e-4)


def test_regression_comes_back_in_the_units_of_the_target(prices: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    text = run(
        "train", prices, "--target", "price", "--hidden", "8", "--lr", "0.01", "--epochs", "150", "--save", model
    )
    assert "regression" in text
    assert float(text.split("R2 ")[-1].split()[0]) > 0.95
    (tmp_path / "new.csv").write_text("age,ignored,area\n10,x,100\n")  # columns are found by name, in another order
    header, value = run("predict", model, tmp_path / "new.csv").split()
    assert header == "price"
    assert float(value) == pytest.approx(100 + 700 - 30, rel=0.05)


def test_runs_repeat(flowers: Path) -> None:
    arguments = ("train", flowers, "--target", "kind", "--epochs", "3", "--backend", "numpy")
    first, second = (run(*arguments).split("training: ")[1] for _ in range(2))
    assert first == second


def test_interrupted_training_keeps_what_was_learned(flowers: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    process = start("train", flowers, "--target", "kind", "--epochs", "100000000", "--save", model)
    assert process.stdout is not None
    while "held out" not in process.stdout.readline():  # the line just before training starts
        assert process.poll() is None
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, out + err
    assert "interrupted: going on with what was learned" in err
    assert "Traceback" not in err
    assert ns.load(model).optimizer.kind == "adam"
    assert float(out.split("held out: accuracy ")[1].split("%")[0]) > 90


def test_training_interrupted_before_its_first_step_saves_nothing(
    flowers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*arguments, **options) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ns.Network, "train", interrupt)
    model = tmp_path / "model"
    result = CliRunner().invoke(main, ["train", str(flowers), "--target", "kind", "--save", str(model)])
    assert result.exit_code == 130
    assert "nothing was learned" in result.stderr
    assert not model.exists()


def test_training_that_diverges_says_so_and_saves_nothing(prices: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    arguments = ("--target", "price", "--optimizer", "sgd", "--lr", "1e9", "--epochs", "3", "--save", model)
    text = run("train", prices, *arguments, code=1)
    assert "Warning: the training loss is nan after epoch 1" in text
    assert "Error: the training diverged and nothing is saved" in text
    assert ".py" not in text
    assert not model.exists()


def test_missing_numbers_are_named_by_row_and_column(tmp_path: Path) -> None:
    path = tmp_path / "gaps.csv"
    path.write_text("a,b,y\n" + "".join(f"{i / 3},{'NA' if i == 7 else i / 7},{i / 5}\n" for i in range(20)))
    assert "row 8 has 'NA' in column 'b'" in run("train", path, "--target", "y", code=2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "{flowers}"], "--target"),
        (["train", "none.csv", "--target", "kind"], "none.csv"),
        (["train", "{flowers}", "--target", "colour"], "no column 'colour'; it has: length, width, soil, kind"),
        (["train", "{flowers}", "--target", "kind", "--hidden", "8,x"], "8,x"),
        (["train", "{flowers}", "--target", "kind", "--hidden", "0"], "sizes[1]=0"),
        (["train", "{flowers}", "--target", "kind", "--lr", "-1"], "lr=-1.0"),
        (["train", "{flowers}", "--target", "kind", "--task", "regression"], "'a' in column 'kind'"),
        (["train", "{flowers}", "--target", "kind", "--backend", "cuda"], "cuda"),
        (["train", "{flowers}", "--target", "kind", "--save", "no/such/place"], "no such directory"),
        (["train", "{flowers}", "--target", "kind", "--save", "{flowers}"], "which this command reads"),
        (["train", "{flowers}", "--target", "kind", "--validation", "nan"], "--validation=nan"),
        (["train", "{flowers}", "--target", "kind", "--validation", "1"], "--validation=1.0"),
        (["predict", "{flowers}", "{flowers}"], "not a nanostep model"),
        (["train", "{flowers}", "--target", "kind", "--save", "."], "'.' is a directory"),
        (["predict", "none", "{flowers}"], "'none' does not exist"),
        (["demo", "--backend", "cuda"], "cuda"),
        (["demo", "--backend", ","], "names nothing"),
        (["worksheet", "--sizes", "2,2,1"], "--x"),
        (["worksheet", "--digits", "0"], "digits"),
        (["worksheet", "--sizes", "2,1", "--theta", "1,2", "--x", "1,2", "--y", "1"], "theta must have shape (3,)"),
        (["bench", "--tasks", "W99"], "W99"),
        (["bench", "--contenders", "cuda"], "cuda"),
        (["bench", "--cores", "1000"], "cores='1000'"),
        (["bench", "--quick", "compare", "{flowers}", "{flowers}"], "--quick is for measuring"),
        (["bench", "compare", "{flowers}", "{flowers}"], "not a file of nanostep bench --json"),
        (["fly"], "fly"),
    ],
)
def test_wrong_use_is_one_clear_line(arguments: list[str], words: str, flowers: Path) -> None:
    assert words in run(*(a.format(flowers=flowers) for a in arguments), code=2)


def test_predict_refuses_tables_and_models_that_do_not_fit(flowers: Path, prices: Path, tmp_path: Path) -> None:
    run("train", flowers, "--target", "kind", "--epochs", "1", "--save", tmp_path / "model")
    assert "has no column 'length'" in run("predict", tmp_path / "model", prices, code=2)
    ns.Network([2, 1]).save(tmp_path / "plain")
    assert "was not made by `nanostep train`" in run("predict", tmp_path / "plain", prices, code=2)
    before = (tmp_path / "model").read_bytes()
    arguments = ("predict", tmp_path / "model", flowers, "--output", tmp_path / "model")
    assert "which this command reads" in run(*arguments, code=2)
    assert (tmp_path / "model").read_bytes() == before


def test_worksheet_shows_the_worked_example(tmp_path: Path) -> None:
    text = run("worksheet", "--digits", "8")
    for number in ("0.27481108", "0.2580149", "0.13849856"):
        assert number in text
    values = json.loads(run("worksheet", "--format", "json"))
    assert values["loss"] == pytest.approx(0.274811083176155, abs=1e-14)
    assert run("worksheet", "--format", "latex").startswith("\\documentclass")
    run("worksheet", "--format", "html", "--output", tmp_path / "sheet.html")
    assert "<html" in (tmp_path / "sheet.html").read_text()


def test_info_says_what_can_run() -> None:
    values = json.loads(run("info", "--json"))
    assert values["versions"]["nanostep"] == ns.__version__
    for backend in REQUIRED:
        assert values["backends"][backend] == "available"
    assert values["backends"]["auto"] == ns.Network([1, 1]).backend
    assert values["C library"]["isa"] in run("info")


@pytest.mark.skipif("c" not in REQUIRED, reason="NANOSTEP_TEST_BACKENDS leaves the C backend out")
def test_info_plan_says_which_kernels_would_run() -> None:
    def plan(*arguments: str) -> dict[str, Any]:
        return json.loads(run("info", "--json", "--plan", *arguments))

    assert plan("2,2,1", "--dtype", "float64")["regime"] == "tiny"
    assert plan("2,2,2")["regime"] == plan("2,200,1")["regime"] == "samples"
    assert plan("2,2,1", "--optimizer", "adam")["regime"] == "tiles"
    wide = plan("784,128,10", "--batch", "32", "--threads", "2")
    assert (wide["regime"], wide["threads"], wide["threads_tried"]) == ("tiles", 2, False)
    assert [layer["wide"] for layer in wide["layers"]] == [True, False]
    assert wide["layers"][0]["backward"] == "none"
    large = plan("4,32,16,4", "--batch", "10000", "--optimizer", "adam", "--threads", "1")
    assert (large["regime"], large["blocks"], large["threads"]) == ("blocks", 16, 1)
    assert large["flops"] == 2 * 10000 * (2 * 4 * 32 + 3 * 32 * 16 + 3 * 16 * 4)
    assert "its weights do not fit into L1" in run("info", "--plan", "784,128,10", "--batch", "32")


def test_bench_writes_its_figures(tmp_path: Path) -> None:
    text = run(
        "bench", "--tasks", "W1", "--contenders", "numpy", "--cores", "1", "--seconds", "0.01", "--repeats", "1",
        "--json", tmp_path / "out.json",
    )  # fmt: skip
    assert "W1" in text
    assert json.loads((tmp_path / "out.json").read_text())


def test_an_interrupted_bench_shows_and_writes_what_it_has(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    process = start(
        "bench", "--tasks", "W4", "--contenders", "numpy", "--cores", "1", "--seconds", "60", "--json", path
    )
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    for _ in range(600):  # wait until it has begun and its first worker exists
        if not children.exists() or children.read_text():
            break
        time.sleep(0.1)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, out + err
    assert "interrupted: the table holds what was measured" in out
    assert "Traceback" not in err
    written = json.loads(path.read_text())
    assert not written["complete"]
    assert [row["status"] for row in written["rows"]] == ["interrupted"]


def test_warmup() -> None:
    out = run("warmup", "2,3,1", "--optimizer", "adam", "--batch-size", "4")
    assert out.startswith("ready after ")
    assert out.rstrip().endswith(" s: 2-3-1, float64, adam, batches of 4")
    run("warmup", "2", code=2)
