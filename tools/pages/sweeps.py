"""docs/sweeps.md: how long the examples take, which each of them prints."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pages import here

EXAMPLES = ("rates", "sensors", "ensemble", "evolution")
COMMAND = f'for name in {" ".join(EXAMPLES)}; do echo "== $name"; python examples/$name.py; done > {{raw}}'


def build(raw: Path) -> dict[str, Any]:
    return {**here(), "figures": make(raw.read_text(encoding="utf-8"))}


def make(output: str) -> dict[str, str]:
    """Return for each example the sum of the seconds that it has printed."""
    parts = re.split(r"^== (\w+)\n", output, flags=re.MULTILINE)[1:]
    seconds = {
        name: sum(float(number) for number in re.findall(r"([\d.]+) s\b", text))
        for name, text in zip(parts[::2], parts[1::2], strict=True)
    }
    return {name: f"{seconds[name]:.1f} s" for name in EXAMPLES}
