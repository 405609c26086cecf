"""The uses of the benchmark's figures: comparison, HTML page, README table, judgement of instruction counts."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest
from rich.console import Console

from nanostep.benchmark import compare
from nanostep.benchmark.command import run_compare
from nanostep.benchmark.html import make_page
from nanostep.benchmark.results import Results, Row
from nanostep.benchmark.table import epochs_lines, print_results

ROOT = Path(__file__).resolve().parents[2]


def load(path: Path) -> ModuleType:
    """Import a script that is not part of a package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_results(factor: float = 1.0, peer_factor: float = 1.0, spread: float = 0.01, **changes) -> Results:
    """Return W1 and W4 on 1 and 2 cores: jax takes thrice the time of c, numpy disagrees on W4, and fann is missing."""
    repeats = [1 - spread, 1 - spread / 2, 1.0, 1 + spread / 2, 1 + spread]
    rows = []
    for task, microseconds, cores in (("W1", 0.05, 1), ("W4", 4.0, 1), ("W4", 3.0, 2)):
        ours = [microseconds * factor * r for r in repeats]
        rows.append(
            Row(task, "c", cores, "us/step", "timed", values=ours, floor=microseconds / 2, about={"isa": "avx2"})
        )
        peer = [3 * microseconds * peer_factor * r for r in repeats]
        rows.append(Row(task, "jax", cores, "us/step", "timed", values=peer))
        rows.append(Row(task, "fann", cores, "us/step", "missing", "<libfann> not installed"))
    workload = {
        "sizes": [2, 2, 1],
        "activation": "sigmoid",
        "batch": 1,
        "dtype": "float64",
        "optimizer": "sgd",
        "rows": 4,
    }
    values = {
        "machine": {
            "cpu": "Abacus & Co", "time": "2026", "system": "Linux", "c_library": {"isa": "avx2", "compiler": "gcc 1"},
            "versions": {"nanostep": "0"},
        },
        "settings": {"repeats": 5, "seconds": 0.2, "cores": [1, 2], "quick": False},
        "tasks": {
            name: {"title": f"{name} <net>; batch 1", "unit": "us/step", "series": name, "workload": workload,
                   "steps_per_epoch": 4}
            for name in ("W1", "W4")
        },
        "contenders": {
            "c": {"title": "C", "ours": True},
            "jax": {"title": "JAX", "ours": False, "versions": {"jax": "9"}},
            "fann": {"title": "FANN", "ours": False},
        },
        "floors": {"unavailable": "not built"},
        "rows": rows,
        "complete": True,
    }  # fmt: skip
    return Results(**{**values, **changes})


def write(path: Path, results: Results) -> Path:
    path.write_text(results.to_json(), encoding="utf-8")
    return path


# -- comparison -------------------------------------------------------------------------------------------------------


def test_rank_test_is_exact():
    assert compare.rank_test([1, 2, 3], [4, 5, 6]) == pytest.approx(1 / 20)
    assert compare.rank_test([1, 2, 3, 4, 5], [6, 7, 8, 9, 10]) == pytest.approx(1 / 252)
    assert compare.rank_test([1, 2, 3], [1, 2, 3]) > 0.5
    assert compare.rank_test([4, 5, 6], [1, 2, 3]) == 1
    many = [float(i) for i in range(20)]
    assert compare.rank_test(many, [v + 30 for v in many]) < 1e-6
    assert compare.rank_test(many, many) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    ("factor", "spread", "verdict"),
    [(1.1, 0.01, "slower"), (0.9, 0.01, "faster"), (1.0, 0.01, "noise"), (1.02, 0.5, "noise")],
)
def test_changes_are_judged_against_the_spread(factor, spread, verdict):
    found = compare.changes(make_results(spread=spread), make_results(factor, spread=spread))
    ours = [change for change in found if change.ours]
    assert {change.verdict for change in ours} == {verdict}
    assert ours[0].ratio == pytest.approx(factor)
    assert len(ours) == 3


def test_exit_code_of_compare(tmp_path, capsys):
    before = write(tmp_path / "before.json", make_results())
    slower = write(tmp_path / "slower.json", make_results(1.1))
    noisy = write(tmp_path / "noisy.json", make_results(1.1, spread=0.6))
    drifted = write(tmp_path / "drifted.json", make_results(1.0, peer_factor=1.5))
    assert run_compare(before, slower, None, None) == 0
    assert run_compare(before, slower, None, 5.0) == 1
    assert "c on W1 is 10.0 % slower" in capsys.readouterr().out
    assert run_compare(before, slower, None, 15.0) == 0
    assert run_compare(slower, before, None, 0.0) == 0
    assert run_compare(before, noisy, None, 5.0) == 0
    assert run_compare(before, drifted, None, 5.0) == 0
    assert "moved by a factor of 1.500" in capsys.readouterr().out
    assert run_compare(before, slower, ["jax"], 5.0) == 0
    everything = write(tmp_path / "everything.json", make_results(1.5, peer_factor=1.5))
    assert run_compare(before, everything, None, 5.0) == 0
    assert run_compare(before, everything, ["c"], 5.0) == 1
    with pytest.raises(ValueError, match="no figures in common"):
        run_compare(before, slower, ["fann"], None)


def test_compare_fails_when_figures_are_lost(tmp_path, capsys):
    worse = make_results()
    worse.rows[0].reject("disagrees", "after 16 steps ...")
    before, after = write(tmp_path / "before.json", make_results()), write(tmp_path / "after.json", worse)
    assert run_compare(before, after, None, 5.0) == 1
    worse.rows[0].status = "left out"
    assert run_compare(before, write(after, worse), None, 5.0) == 0
    assert "c on W1 has no figures any more" in capsys.readouterr().out


# -- table and page ---------------------------------------------------------------------------------------------------


def test_table_names_everybody(capsys):
    print_results(make_results(), Console(width=130))
    text = capsys.readouterr().out
    for words in ("W1", "3.00", "jax", "50%", "<libfann> not installed", "no floors: not built", "Abacus & Co"):
        assert words in text
    assert "epochs/s" not in text
    assert epochs_lines(make_results()) == []
    figures = make_results()
    figures.tasks["W4"]["workload"] = {**figures.tasks["W4"]["workload"], "data": "digits"}
    # 4 steps of 4 us each make an epoch
    assert epochs_lines(figures)[0] == "W4 (4 rows), epochs/s on 1 core: c 62,500, jax 20,833"
    print_results(make_results(complete=False), Console(width=130))
    assert "interrupted" in capsys.readouterr().out


class Checker(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tables, self.links = 0, []

    def handle_starttag(self, tag, attributes):
        self.tables += tag == "table"
        self.links += [value for name, value in attributes if name in ("src", "href") and not value.startswith("#")]


def test_page_stands_by_itself(monkeypatch):
    monkeypatch.setattr("nanostep.benchmark.html.importlib.util.find_spec", lambda _: None)
    page = make_page(make_results())
    checker = Checker()
    checker.feed(page)
    assert checker.tables >= 4
    assert checker.links == []
    assert "&lt;libfann&gt; not installed" in page
    assert "<libfann>" not in page
    assert "Abacus &amp; Co" in page
    assert "matplotlib is not installed" in page
    assert "interrupted;" in make_page(make_results(complete=False))


# -- README -----------------------------------------------------------------------------------------------------------


def test_readme_table(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    readme = importlib.import_module("pages.readme")
    figures = readme.make(make_results())
    rows = figures["table"]["rows"]
    assert [row[2] for row in rows] == ["1", "1", "2"]
    assert rows[0][5:] == ["jax 0.15", "3.00", "50 %"]
    assert readme.make(make_results(factor=6.0))["table"]["rows"][0][6] == "0.50"
    assert "fann not available here (W1, W4): <libfann> not installed." in figures["notes"]


# -- instruction counts -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def count() -> ModuleType:
    return load(ROOT / "bench" / "instructions" / "count.py")


@pytest.mark.parametrize(("n", "good"), [(100.0, True), (101.9, True), (102.1, False), (90.0, True)])
def test_instruction_counts_are_judged(count, n, good):
    lines, verdict = count.judge("gcc 1", {"W1": n}, {"gcc 1": {"W1": 100.0}})
    assert verdict is good
    assert ("above the reference" in lines[-1]) is not good
    assert ("--update" in lines[-1]) is (n < 98)


def test_an_unknown_compiler_is_not_judged(count):
    lines, good = count.judge("icc 7", {"W1": 1e9}, {"gcc 1": {"W1": 100.0}})
    assert good
    assert "no reference for icc 7" in lines[-1]
    assert "W1: 1000000000.0" in lines[0]
    assert "none" in count.judge("icc 7", {"W1": 1.0}, {})[0][-1]


def test_wrong_use_of_the_counter(count):
    with pytest.raises(SystemExit, match="--update"):
        count.main(["--what"])


def test_counts_are_of_the_three_tasks(count):
    import json

    for compiler, counts in json.loads(count.COUNTS.read_text(encoding="utf-8")).items():
        assert counts.keys() == count.STEPS.keys(), compiler
    assert sys.version_info >= (3, 11)
