"""The results of a benchmark: rows, and their form in JSON."""

from __future__ import annotations

import json
import math
import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

FORMAT = 1

TIMED = "timed"
"""Status of a row with figures; the other statuses are the keys of `EXCUSES`."""

EXCUSES = {
    "disagrees": "disagrees with the reference",
    "failed": "failed",
    "cannot": "cannot do it",
    "missing": "not available here",
    "left out": "left out",
    "interrupted": "interrupted",
}


@dataclass
class Row:
    """One contender on one task on some cores.

    Attributes
    ----------
    task, contender : str
    cores : int
    unit : str
    status : str
        "timed", or a key of `EXCUSES`.
    reason : str
        Why there are no figures.
    values : list of float
        One figure for each repeat, in `unit`; less is better. Empty unless the status is "timed".
    floor : float or None
        Least figure that the machine allows, in `unit`.
    agreement : str
        Deviation of the results of the last timed run from the reference's.
    about : dict
        The contender's own report of the run: instruction set, threads, steps.
    """

    task: str
    contender: str
    cores: int
    unit: str
    status: str = "left out"
    reason: str = ""
    values: list[float] = field(default_factory=list)
    floor: float | None = None
    agreement: str = ""
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def timed(self) -> bool:
        return self.status == TIMED

    @property
    def median(self) -> float:
        """Median of the repeats; NaN if nothing was timed."""
        return statistics.median(self.values) if self.timed else math.nan

    @property
    def spread(self) -> float:
        """Largest minus smallest repeat, over the median; NaN if nothing was timed."""
        return (max(self.values) - min(self.values)) / self.median if self.timed and self.median else math.nan

    @property
    def of_floor(self) -> float:
        """The floor over the median; NaN if either is missing."""
        return self.floor / self.median if self.timed and self.floor and self.median else math.nan

    def reject(self, status: str, reason: str) -> None:
        """Remove the figures and record the reason."""
        self.status, self.reason, self.values = status, reason, []


@dataclass
class Results:
    """All results of one run of the benchmark.

    Attributes
    ----------
    machine : dict
        Processor, system, compilers and versions.
    settings : dict
        The request.
    tasks : dict
        By name: title, unit, shape, steps per epoch.
    contenders : dict
        By name: title, whether it is ours, versions, and the thread pools of its processes.
    floors : dict
        By number of cores: the fields of `floors.Floors`; or {"unavailable": reason}.
    rows : list of Row
    backends : dict
        If requested, lines, load and code of our backends, as returned by `backends.inspect`.
    complete : bool
        False if the run was interrupted.
    """

    machine: dict[str, Any]
    settings: dict[str, Any]
    tasks: dict[str, dict[str, Any]]
    contenders: dict[str, dict[str, Any]]
    floors: dict[str, Any] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    backends: dict[str, Any] = field(default_factory=dict)
    complete: bool = False

    def find(self, task: str, contender: str, cores: int) -> Row | None:
        for row in self.rows:
            if (row.task, row.contender, row.cores) == (task, contender, cores):
                return row
        return None

    def cores_of(self, task: str) -> list[int]:
        """Return the numbers of cores that the task was measured on."""
        return sorted({row.cores for row in self.rows if row.task == task})

    def best(self, task: str, cores: int, *, ours: bool) -> Row | None:
        """Return the fastest row of ours, or of the peers; None if none was timed."""
        rows = [
            row
            for row in self.rows
            if (row.task, row.cores) == (task, cores) and row.timed and self.contenders[row.contender]["ours"] == ours
        ]
        return min(rows, key=lambda row: row.median, default=None)

    def to_json(self) -> str:
        def clean(value: float) -> float | None:
            return value if math.isfinite(value) else None

        rows = [
            {**asdict(row), "median": clean(row.median), "spread": clean(row.spread), "of_floor": clean(row.of_floor)}
            for row in self.rows
        ]
        return json.dumps({"format": FORMAT, **vars(self), "rows": rows}, indent=1) + "\n"


def read(path: Path) -> Results:
    """Read a file that ``nanostep bench --json`` wrote.

    Raises
    ------
    ValueError
        The file is of another kind or another version.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values.pop("format") != FORMAT:
            raise ValueError(f"{path} was written by another version of nanostep bench")
        derived = ("median", "spread", "of_floor")
        rows = [Row(**{k: v for k, v in row.items() if k not in derived}) for row in values.pop("rows")]
        return Results(**values, rows=rows)
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a file of nanostep bench --json") from error
