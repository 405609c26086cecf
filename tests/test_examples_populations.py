"""The examples of populations do what they document."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_rates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rates, solved = example("rates").main(40, 20, str(tmp_path / "rates.png"))
    assert solved[(rates > 0.5) & (rates < 5)].mean() > 0.95
    assert solved[rates < 0.02].mean() < 0.5
    assert (tmp_path / "rates.png").stat().st_size > 5000
    assert "800 networks" in capsys.readouterr().out


def test_sensors() -> None:
    alarm, broken = example("sensors").main(2000)
    assert broken.sum() > 10
    assert (alarm & broken).sum() > 0.9 * broken.sum()
    assert (alarm & ~broken).mean() < 0.005


def test_ensemble() -> None:
    shares, wider = example("ensemble").main(32)
    for level, share in shares.items():
        assert share == pytest.approx(level, abs=0.06)
    assert wider > 2


def test_evolution() -> None:
    evolved, alone = example("evolution").main(32, 12)
    assert np.isfinite(evolved).all()
    assert np.median(evolved) < np.median(alone[np.isfinite(alone)])
    assert evolved.min() < 1.1 * np.nanmin(alone)
