"""``nanostep bench search``: a grid of settings over five folds of the digits, as populations and one by one.

All searches have the same candidates, folds, parameters and random_state. They run one after another in this process,
each with the threads it chooses; scores are compared fit by fit. Needs scikit-learn.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from nanostep.benchmark.machine import describe

FOLDS = 5

SETTINGS: dict[str, list[float]] = {
    "learning_rate_init": np.geomspace(3e-4, 3e-2, 8).tolist(),
    "alpha": np.geomspace(1e-5, 1.0, 8).tolist(),
    "beta_1": [0.8, 0.9],
    "epsilon": [1e-8, 1e-6],
}
"""256 settings of a 64-16-10 network."""

QUICK: dict[str, list[float]] = {"learning_rate_init": [0.001, 0.003, 0.01, 0.03], "alpha": [1e-5, 1e-3, 0.1, 1.0]}

CASES: dict[str, dict[str, Any]] = {"batch 32, 50 epochs": {"batch_size": 32, "max_iter": 50}, "defaults": {}}


@dataclass
class Searched:
    """One search: its name, its seconds, and the score of each candidate on each fold."""

    case: str
    name: str
    seconds: float
    scores: list[list[float]]
    best: float


def contenders() -> dict[str, tuple[Any, Any, int | None]]:
    """Return, for each contender, the classes of its search and its estimator, and `n_jobs`."""
    from sklearn.model_selection import GridSearchCV
    from sklearn.neural_network import MLPClassifier as Theirs

    from nanostep.sklearn import MLPClassifier, PopulationSearchCV

    return {
        "PopulationSearchCV": (PopulationSearchCV, MLPClassifier, None),
        "GridSearchCV, nanostep": (GridSearchCV, MLPClassifier, None),
        "GridSearchCV, scikit-learn": (GridSearchCV, Theirs, None),
        "GridSearchCV, scikit-learn, n_jobs=-1": (GridSearchCV, Theirs, -1),
    }


def run(quick: bool, on_search: Callable[[str], object] = lambda name: None) -> list[Searched]:
    """Run all searches."""
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    X = X / 16
    grid, found = QUICK if quick else SETTINGS, []
    for case, parameters in CASES.items():
        for name, (search, estimator, n_jobs) in contenders().items():
            on_search(f"{case}: {name}")
            candidate = estimator((16,), random_state=0, **parameters)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                started = time.perf_counter()
                fitted = search(candidate, grid, cv=FOLDS, refit=False, n_jobs=n_jobs).fit(X, y)
                seconds = time.perf_counter() - started
            scores = np.array([fitted.cv_results_[f"split{k}_test_score"] for k in range(FOLDS)])
            found.append(Searched(case, name, seconds, scores.T.tolist(), float(fitted.best_score_)))
    return found


def make_table(found: list[Searched]) -> Table:
    """Return the table of the terminal: each search beside the first of its case."""
    grid = Table()
    for name in ("fits of 64-16-10", "search", "seconds", "ratio", "best score", "scores that differ"):
        grid.add_column(name, justify="left" if name in ("fits of 64-16-10", "search") else "right")
    first: dict[str, Searched] = {}
    for one in found:
        ours = first.setdefault(one.case, one)
        differences = np.abs(np.array(one.scores) - np.array(ours.scores))
        many = int(np.count_nonzero(differences))
        differ = f"{many} of {differences.size}" + (f", by at most {differences.max():.4f}" if many else "")
        grid.add_row(
            f"{differences.size}: {one.case}", one.name, f"{one.seconds:.1f}", f"{one.seconds / ours.seconds:.1f}",
            f"{one.best:.4f}", differ,
        )  # fmt: skip
    return grid


def run_search(quick: bool, json_path: Path | None) -> None:
    """Measure, print the table and write the figures."""
    console = Console()
    with console.status("") as status:
        found = run(quick, status.update)
    console.print(make_table(found))
    if json_path is not None:
        values = {"machine": describe(), "searches": [asdict(one) for one in found]}
        json_path.write_text(json.dumps(values, indent=1))
