"""``nanostep bench fit``: `fit` compared with scikit-learn's, checked for the same result.

Both estimators get the same data, parameters and random_state, run in this process in turns, and choose their threads
themselves. A row whose scores differ is marked and has no ratio. Needs scikit-learn.
"""

from __future__ import annotations

import json
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from nanostep.benchmark.machine import describe

SAME_SCORE = 0.02
"""Largest difference of accuracy or R2: rounding grows over hundreds of epochs, and may end a fit an epoch earlier."""

CASE_SECONDS = 30.0
"""Cases that take longer are repeated only twice."""

SEARCH = "GridSearchCV"

GRID = {
    "hidden_layer_sizes": [(5,), (10,), (20,), (10, 10)],
    "alpha": [1e-5, 1e-4, 1e-3, 1e-2],
    "learning_rate_init": [0.001, 0.01],
}
"""32 settings."""


@dataclass(frozen=True)
class Case:
    """One comparison: the names of data set and fit, and the parameters that are not defaults."""

    data: str
    what: str
    parameters: dict[str, Any] = field(default_factory=dict)

    @property
    def estimator(self) -> str:
        return "MLPRegressor" if self.data in ("diabetes", "20,000 x 8") else "MLPClassifier"


@dataclass
class Figures:
    """Figures of a case, ours and scikit-learn's: the seconds of each repeat, scores and epochs of the last fits."""

    case: Case
    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    epochs: list[int] = field(default_factory=list)

    @property
    def agrees(self) -> bool:
        return abs(self.scores[0] - self.scores[1]) <= SAME_SCORE

    @property
    def ratio(self) -> float:
        """scikit-learn's median over ours."""
        return statistics.median(self.theirs) / statistics.median(self.ours)


SMALL = ("digits", "breast cancer", "wine", "diabetes")
LARGE = ("20,000 x 8", "100,000 x 50")


def cases() -> list[Case]:
    """Return all comparisons. Large data and single samples get fewer epochs than training would need."""
    listed = [Case(data, "defaults") for data in SMALL]
    listed += [Case("20,000 x 8", "defaults, 10 epochs", {"max_iter": 10})]
    listed += [Case("100,000 x 50", "defaults, 3 epochs", {"max_iter": 3})]
    for data in (*SMALL, "20,000 x 8"):
        listed.append(Case(data, "batch 16, 5 epochs", {"batch_size": 16, "max_iter": 5}))
    sgd = {"batch_size": 1, "solver": "sgd", "max_iter": 2}
    for data in SMALL:
        listed.append(Case(data, "batch 1, adam, 2 epochs", {"batch_size": 1, "max_iter": 2}))
        listed.append(Case(data, "batch 1, sgd, 2 epochs", sgd))
        listed.append(Case(data, "batch 1, sgd, 10 hidden, 2 epochs", {**sgd, "hidden_layer_sizes": (10,)}))
    listed += [Case(data, SEARCH) for data in ("wine", "breast cancer")]
    return listed


@cache
def load(data: str) -> tuple[np.ndarray, np.ndarray]:
    """Return X, scaled, and y of a data set."""
    from sklearn import datasets

    if data in LARGE:
        n, features = (20_000, 8) if data == LARGE[0] else (100_000, 50)
        rng = np.random.default_rng(0)
        X = rng.standard_normal((n, features))
        signal = np.sin(X[:, 0]) + X[:, 1] * X[:, 2] + 0.1 * rng.standard_normal(n)
        return X, signal if data == LARGE[0] else (signal > 0).astype(int)
    X, y = getattr(datasets, f"load_{data.replace(' ', '_')}")(return_X_y=True)
    spread = X.std(axis=0)
    return (X - X.mean(axis=0)) / np.where(spread > 0, spread, 1), y / 100 if data == "diabetes" else y


def make(case: Case, *, ours: bool) -> Any:
    """Return an unfitted estimator or search."""
    from sklearn.model_selection import GridSearchCV

    import nanostep.sklearn
    from sklearn import neural_network

    estimator = getattr(nanostep.sklearn if ours else neural_network, case.estimator)(random_state=0, **case.parameters)
    return GridSearchCV(estimator, GRID, cv=3) if case.what == SEARCH else estimator


def measure(case: Case, repeats: int) -> Figures:
    """Fit both in turns: once to warm up, then `repeats` times, or after two repeats until `CASE_SECONDS` are over."""
    X, y = load(case.data)
    figures = Figures(case)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        began = time.perf_counter()
        while len(figures.ours) <= repeats:
            fitted = []
            for ours, seconds in ((True, figures.ours), (False, figures.theirs)):
                estimator = make(case, ours=ours)
                started = time.perf_counter()
                estimator.fit(X, y)
                seconds.append(time.perf_counter() - started)
                fitted.append(estimator)
            if len(figures.ours) > 2 and time.perf_counter() - began > CASE_SECONDS:
                break
        del figures.ours[0], figures.theirs[0]
        figures.scores = [float(e.score(X, y)) for e in fitted]
        figures.epochs = [int(getattr(e, "best_estimator_", e).n_iter_) for e in fitted]
    return figures


def run(quick: bool, on_case: Callable[[Case], object]) -> Iterator[Figures]:
    """Measure all cases; with `quick`, only small data without searches, and fewer repeats."""
    for case in cases():
        if quick and (case.data in LARGE or case.what == SEARCH):
            continue
        on_case(case)
        yield measure(case, 3 if quick else 5)


def make_table(measured: list[Figures]) -> Table:
    """Return the table of the terminal."""
    grid = Table()
    for name in ("data", "fit", "ours (ms)", "scikit-learn (ms)", "ratio", "score", "epochs"):
        grid.add_column(name, justify="left" if name in ("data", "fit") else "right")
    for row in rows(measured):
        grid.add_row(*row)
    return grid


def rows(measured: list[Figures]) -> list[list[str]]:
    """Return the cells of the table in the terminal and in docs/fit.md."""
    return [
        [
            figures.case.data,
            figures.case.what,
            f"{1e3 * statistics.median(figures.ours):.3g}",
            f"{1e3 * statistics.median(figures.theirs):.3g}",
            f"{figures.ratio:.1f}" if figures.agrees else "differs",
            " / ".join(dict.fromkeys(f"{score:.3f}" for score in figures.scores)),
            " / ".join(dict.fromkeys(map(str, figures.epochs))),
        ]
        for figures in measured
    ]


def save(path: Path, measured: list[Figures]) -> None:
    """Write every figure and a description of the machine as JSON."""
    machine = describe()
    machine["versions"] |= {name: metadata.version(name) for name in ("scikit-learn", "scipy")}
    path.write_text(json.dumps({"machine": machine, "fits": [asdict(figures) for figures in measured]}, indent=1))


def read(path: Path) -> tuple[dict[str, Any], list[Figures]]:
    """Return the machine and the figures that `save` has written."""
    values = json.loads(path.read_text())
    return values["machine"], [Figures(Case(**fit.pop("case")), **fit) for fit in values["fits"]]


def run_fit(quick: bool, json_path: Path | None) -> None:
    """Measure, print the table and write the figures."""
    console = Console()
    with console.status("") as status:
        measured = list(run(quick, lambda case: status.update(f"{case.data}: {case.what}")))
    console.print(make_table(measured))
    if json_path is not None:
        save(json_path, measured)
