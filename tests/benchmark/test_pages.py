"""From the output of a benchmark to the figures of its page; those of README and the backends are tested elsewhere."""

from __future__ import annotations

import importlib
import json
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from nanostep.benchmark import fit, search
from nanostep.benchmark.local_sgd import Curve, Times
from nanostep.benchmark.machine import describe
from nanostep.benchmark.results import Results, Row

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(path.stem for path in (ROOT / "docs" / "figures").glob("*.json"))


@pytest.fixture(autouse=True)
def _tools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))


def builder(page: str) -> ModuleType:
    return importlib.import_module(f"pages.{page.lower().replace('-', '_')}")


@pytest.mark.parametrize("page", PAGES)
def test_every_page_with_figures_has_a_benchmark(page: str) -> None:
    assert "{raw}" in builder(page).COMMAND
    command = json.loads((ROOT / "docs" / "figures" / f"{page}.json").read_text(encoding="utf-8"))["command"]
    assert command.startswith(builder(page).COMMAND.format(raw="raw"))
    assert command.endswith(f"python tools/figures.py --from raw {page}")


def test_every_benchmark_has_a_page() -> None:
    modules = {path.stem for path in (ROOT / "tools" / "pages").glob("*.py")} - {"__init__"}
    assert modules == {page.lower().replace("-", "_") for page in PAGES}


def test_machine_and_date() -> None:
    described = describe()
    about = importlib.import_module("pages").about(described, {"jax": "1.2"})
    assert about["date"] == described["time"][:10]
    assert about["machine"].startswith(described["cpu"])
    assert about["machine"].endswith(", jax 1.2")


def test_a_file_is_made_and_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = importlib.import_module("figures")
    monkeypatch.setattr(figures, "FIGURES", tmp_path)
    monkeypatch.setattr(figures, "path_of", lambda page: tmp_path / f"{page}.md")
    monkeypatch.setattr(figures, "ROOT", tmp_path)
    monkeypatch.setattr(figures, "commit", lambda: "abcdef0")
    case = fit.Figures(fit.Case("wine", "defaults"), [0.1], [0.4], [1.0, 1.0], [3, 3])
    fit.save(tmp_path / "raw", [case])
    figures.build("fit", tmp_path / "raw")
    page = tmp_path / "fit.md"
    page.write_text("x <!--fig:run--><!--/fig-->\n\n<!--fig:table-->\n<!--/fig-->\n", encoding="utf-8")
    assert figures.write(check=True) == ["fit"]
    assert figures.write(check=False) == ["fit"]
    assert figures.write(check=True) == []
    text = page.read_text(encoding="utf-8")
    assert "| wine | defaults | 100 | 400 | 4.0 | 1.000 | 3 |\n<!--/fig-->" in text
    assert "commit abcdef0" in text
    page.write_text(text.replace("| 4.0 |", "| 5.0 |"), encoding="utf-8")
    assert figures.write(check=True) == ["fit"]


def test_populations() -> None:
    task = {"title": "4 networks half_squared_error", "unit": "ns/network/step", "workload": {"rows": 64, "batch": 2}}
    rows = [
        Row("P1", "c", 1, "", "timed", values=[1.0, 2.0, 3.0], floor=1.0),
        Row("P1", "numba", 1, "", "timed", values=[4.0]),
        Row("P1", "jax", 1, "", "timed", values=[9.0]),
        Row("P1", "c", 2, "", "timed", values=[1.25]),
        Row("P2", "c", 1, "", "timed", values=[2000.0]),
        Row("P2", "jax", 1, "", "failed"),
    ]
    results = Results({}, {}, {"P1": task, "P2": task}, {}, rows=rows)
    made = builder("populations").make(results)
    first = ["P1", "4 networks half squared error", "32", "2", "4", "9", "4.5", "50 %", "100 %"]
    assert made["table"]["rows"][0] == first
    assert made["table"]["rows"][1][3:8] == ["2,000", "-", "-", "-", "-"]
    assert made["second_thread"] == "1.60 to 1.60 times"


def test_searches() -> None:
    first, second, third, _ = search.contenders()
    searches = [
        asdict(search.Searched(builder("scikit-learn").CASE, name, seconds, scores, 0.5))
        for name, seconds, scores in (
            (first, 2.0, [[0.5, 1.0]]),
            (second, 5.0, [[0.5, 1.0]]),
            (third, 9.0, [[0.5, 0.9]]),
        )
    ]
    rows = builder("scikit-learn").make(searches)["rows"]
    assert [row[1:] for row in rows] == [["2", "1", ""], ["5", "2.5", "none of 2"], ["9", "4.5", "1 of 2"]]


def test_local_sgd() -> None:
    times = [Times(1, [0.04, 0.05, 0.03], [0.06], [0.05])]
    curves = [
        Curve(shards, epochs, lr, [1.0] * before + [loss] * (20 // epochs - before))
        for shards, epochs, lr, before, loss in (
            (1, 1, 0.1, 1, 0.9), (1, 1, 0.2, 0, 0.98), (2, 1, 0.1, 2, 0.9),
            (2, 1, 0.2, 0, 0.97), (4, 1, 0.2, 0, 0.96), (2, 4, 0.1, 0, 0.9),
        )
    ]  # fmt: skip
    made: dict[str, Any] = builder("scaling").make(times, curves)
    assert made["rounds"]["rows"] == [["1", "40 ms", "60 ms", "50 ms", "1.20", "0.80", "50 %"]]
    assert [row[3] for row in made["convergence"]["rows"]] == ["2", "3", "not reached", "4"]
    assert (made["two_shards"], made["four_shards"], made["fourth_pass"]) == ("1.5 times", "- times", "1.3 times")
    assert made["loss_at_rate"] == "0.980, 0.970, 0.960"
    assert (made["round_alone"], made["round_steps"]) == ("20 ms", "3,125")
    assert (made["goal_alone"], made["goal_two"]) == ("0.1 s", "0.2 s")


def test_examples() -> None:
    parts = [
        f"== {name}\nmade in {k}.04 s, done in 0.10 s: 3 ns\n95 % so\n"
        for k, name in enumerate(builder("sweeps").EXAMPLES)
    ]
    assert list(builder("sweeps").make("".join(parts)).values()) == ["0.1 s", "1.1 s", "2.1 s", "3.1 s"]


def test_errors_of_functions() -> None:
    output = (
        "function  type     isa         max ulp at                 limit  max drop  limit\n"
        "exp       float32  avx2          1.108 -87.3               2     0.000      0\n"
        "exp       float64  avx2          1.091 -700.1              2     0.000      0\n"
        "log       float32  avx2          0.940 1.5                 2     0.000      0\n"
        "log       float64: no long double wider than double here, not measured\n"
    )
    assert builder("numerics").make(output)["rows"] == [["exp", "1.11", "1.09", "2"], ["log", "0.94", "-", "2"]]


def test_reinforcement_learning(tmp_path: Path) -> None:
    curve = [[200 * i, -1000.0 + 10 * i] for i in range(1, 51)]
    runs = [
        {"algorithm": algorithm, "library": library, "seed": seed, "steps": 10_000, "curve": curve, **result}
        for algorithm, library, results in (
            ("sac", "ours", [(-100, 2), (-300, 3), (-150, 4)]),
            ("sac", "torch", [(-120.4, 30)]),
            ("sac_jit", "ours", [(-90, 0.5)]),
        )
        for seed, (score, seconds) in enumerate(results)
        for result in [{"score": score, "seconds": seconds}]
    ]
    raw = tmp_path / "raw.json"
    raw.write_text(json.dumps({"machine": describe(), "versions": {"torch": "2"}, "runs": runs}), encoding="utf-8")
    page = builder("reinforcement-learning")
    page.PICTURE = tmp_path / "curves.png"
    made = page.build(raw)
    assert made["machine"].endswith("torch 2")
    assert [row[1:] for row in made["figures"]["scores"]["rows"]] == [
        ["nanostep", "10,000", "3", "-200", "-150", "-300 to -100", "3.0", "1.0"],
        ["PyTorch", "10,000", "1", "-200", "-120", "-120 to -120", "30.0", "10.0"],
        ["nanostep", "10,000", "1", "-200", "-90", "-90 to -90", "0.5", "1.0"],
    ]
    assert page.PICTURE.stat().st_size > 5000
