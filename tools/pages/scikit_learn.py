"""docs/scikit-learn.md: one grid by PopulationSearchCV and by GridSearchCV."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from pages import about, table

COMMAND = "nanostep bench search --json {raw}"
CASE = "defaults"
NAMES = {
    "PopulationSearchCV": "`PopulationSearchCV`",
    "GridSearchCV, nanostep": "`GridSearchCV` with nanostep's `MLPClassifier`",
    "GridSearchCV, scikit-learn": "`GridSearchCV` with scikit-learn's `MLPClassifier`",
}


def build(raw: Path) -> dict[str, Any]:
    values = json.loads(raw.read_text(encoding="utf-8"))
    return {
        **about(values["machine"], {"scikit-learn": version("scikit-learn")}),
        "figures": {"searches": make(values["searches"])},
    }


def make(searches: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a row for each search of the case with the defaults: seconds, over the first's, scores that differ."""
    found = {one["name"]: one for one in searches if one["case"] == CASE}
    first, rows = found["PopulationSearchCV"], []
    for search, name in NAMES.items():
        different = np.count_nonzero(np.array(found[search]["scores"]) - np.array(first["scores"]))
        number = f"{different or 'none'} of {np.size(first['scores']):,}"
        seconds = found[search]["seconds"]
        rows.append(
            [
                name,
                f"{seconds:.3g}",
                f"{seconds / first['seconds']:.2g}",
                "" if search == "PopulationSearchCV" else number,
            ]
        )
    return table(["search", "seconds", "over the first", "scores that differ"], rows)
