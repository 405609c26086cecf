"""tools/import_graph.py finds circles, also those of typing and of imports inside functions."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parent.parent / "tools" / "import_graph.py"


def draw(*arguments: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ) if path is None else {**os.environ, "PYTHONPATH": str(path)}
    return subprocess.run(
        [sys.executable, str(TOOL), *arguments], capture_output=True, text=True, env=environment, check=False
    )


def package(folder: Path, **modules: str) -> str:
    """Write a package of these modules; return its name."""
    (folder / "made").mkdir()
    for name, source in {"__init__": "", **modules}.items():
        (folder / "made" / f"{name}.py").write_text(source)
    return "made"


def test_there_is_no_circle() -> None:
    result = draw()
    assert result.returncode == 0, result.stdout + result.stderr
    assert "no circle" in result.stdout


@pytest.mark.parametrize(
    "back",
    [
        "from made import one",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from made.one import f",
        "def f():\n    from made.one import f",
    ],
    ids=["plain", "typing", "function"],
)
def test_a_circle_is_found(back: str, tmp_path: Path) -> None:
    result = draw(package(tmp_path, one="from made import two", two=back), path=tmp_path)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "made.one" in result.stdout
    assert "made.two" in result.stdout


def test_a_chain_is_none(tmp_path: Path) -> None:
    name = package(tmp_path, one="from made import two", two="from made import three", three="")
    result = draw(name, path=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "4 modules, 2 imports between them, 3 floors" in result.stdout
