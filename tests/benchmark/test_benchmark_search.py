"""``nanostep bench search``: the same grid for all searches, compared fit by fit."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from nanostep.benchmark import search
from nanostep.cli import main


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "QUICK", {"alpha": [0.001, 1.0]})
    monkeypatch.setattr(search, "CASES", {"one epoch": {"max_iter": 1}})
    # without worker processes, which take seconds to start
    here = {name: (kind, estimator, None) for name, (kind, estimator, _) in search.contenders().items()}
    monkeypatch.setattr(search, "contenders", lambda: here)


def test_figures_come_through_the_file(tmp_path: Any) -> None:
    path = tmp_path / "search.json"
    result = CliRunner().invoke(main, ["bench", "search", "--quick", "--json", str(path)])
    assert result.exit_code == 0, result.output
    assert "10: one epoch" in result.output
    found = json.loads(path.read_text())["searches"]
    assert [one["name"] for one in found] == list(search.contenders())
    assert all(np.array(one["scores"]).shape == (2, 5) and one["seconds"] > 0 for one in found)
    assert all(one["scores"] == found[0]["scores"] for one in found)


def test_scores_that_differ_are_counted() -> None:
    found = [search.Searched("case", name, 1.0, scores, 0.5) for name, scores in
             (("a", [[0.5, 0.5]]), ("b", [[0.5, 0.75]]))]  # fmt: skip
    cells = [column._cells for column in search.make_table(found).columns]
    assert cells[-1] == ["0 of 2", "1 of 2, by at most 0.2500"]
    assert [len(values) for values in search.SETTINGS.values()] == [8, 8, 2, 2]
