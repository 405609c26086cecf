"""docs/numerics.md: the largest errors of the C library's functions, as csrc/test/accuracy.c prints them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pages import here, table

COMMAND = "cmake -S csrc -B build && cmake --build build && build/accuracy --exhaustive > {raw}"


def build(raw: Path) -> dict[str, Any]:
    return {**here(), "figures": {"errors": make(raw.read_text(encoding="utf-8"))}}


def make(output: str) -> dict[str, Any]:
    """Return a row for each function: largest error in float32 and in float64, and the limit, in ulp."""
    errors: dict[str, dict[str, str]] = {}
    for line in output.splitlines():
        words = line.split()
        if len(words) > 5 and words[1] in ("float32", "float64"):
            errors.setdefault(words[0], {})[words[1]] = f"{float(words[3]):.2f}"
            errors[words[0]]["limit"] = f"{float(words[5]):g}"
    rows = [[name, found["float32"], found.get("float64", "-"), found["limit"]] for name, found in errors.items()]
    return table(["function", "float32", "float64", "limit in the tests"], rows)
