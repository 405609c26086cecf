"""``nanostep bench fit``: the measurement, the comparison and the table."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner
from sklearn.neural_network import MLPClassifier

from nanostep.benchmark import fit
from nanostep.cli import main

SHORT = fit.Case("wine", "one epoch", {"max_iter": 1, "backend": "numpy"})


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """One case of one epoch, which our estimators run on NumPy."""
    made = fit.make

    def make(case: fit.Case, *, ours: bool) -> Any:
        parameters = {k: v for k, v in case.parameters.items() if ours or k != "backend"}
        return made(fit.Case(case.data, case.what, parameters), ours=ours)

    monkeypatch.setattr(fit, "make", make)
    monkeypatch.setattr(fit, "cases", lambda: [SHORT, fit.Case("20,000 x 8", "left out by --quick")])


@pytest.mark.usefixtures("short")
def test_figures_come_through_the_file(tmp_path: Any) -> None:
    path = tmp_path / "fit.json"
    result = CliRunner().invoke(main, ["bench", "fit", "--quick", "--json", str(path)])
    assert result.exit_code == 0, result.output
    assert "wine" in result.output
    machine, (figures,) = fit.read(path)
    assert figures.case == SHORT
    assert len(figures.ours) == len(figures.theirs) == 3
    assert figures.agrees
    assert figures.epochs == [1, 1]
    assert machine["versions"]["scikit-learn"]
    assert json.loads(path.read_text())["fits"][0]["case"]["data"] == "wine"


@pytest.mark.usefixtures("short")
def test_another_result_has_no_ratio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MLPClassifier, "score", lambda *_: 0.5)
    figures = fit.measure(SHORT, 1)
    assert not figures.agrees
    assert fit.rows([figures])[0][4] == "differs"


def test_every_case_can_be_made() -> None:
    made = [fit.make(case, ours=ours) for case in fit.cases() for ours in (True, False)]
    assert len(made) == 2 * len(fit.cases())
    settings = 1
    for values in fit.GRID.values():
        settings *= len(values)
    assert settings == 32
    assert {case.data for case in fit.cases()} == {*fit.SMALL, *fit.LARGE}
