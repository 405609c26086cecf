"""For each page with figures a module: `COMMAND`, a benchmark, which writes ``{raw}``, and `build`, which reads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> dict[str, Any]:
    """Return a table whose columns but the first `left` are aligned right."""
    return {"head": list(head), "left": left, "rows": [list(cells) for cells in rows]}


def about(machine: dict[str, Any], versions: dict[str, str] | None = None) -> dict[str, str]:
    """Return the date and the machine of a run, from what `nanostep.benchmark.machine.describe` has noted then."""
    library, cores = machine["c_library"], machine.get("usable_cpus") or ()
    parts = [machine["cpu"], f"{len(cores)} cores" if cores else "", library.get("isa", "")]
    listed = ", ".join(f"{name} {version}" for name, version in {**machine["versions"], **(versions or {})}.items())
    hardware = ", ".join(part for part in parts if part)
    return {"date": machine["time"][:10], "machine": f"{hardware}; {library.get('compiler', 'no compiler')}; {listed}"}


def here(*packages: str) -> dict[str, str]:
    """Return the same for a benchmark that has just run in this environment and notes nothing about it."""
    from importlib.metadata import version

    from nanostep.benchmark.machine import describe

    return about(describe(), {name: version(name) for name in packages})


def peers(contenders: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Return the versions of all contenders of a run of ``nanostep bench``."""
    return {name: text for values in contenders.values() for name, text in values.get("versions", {}).items()}
