"""The file in which a sweep keeps its scores: a line of JSON for each finished task, so that it can be resumed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from nanostep.errors import FileFormatError


class Results:
    """Scores by the key of their task, in memory and, if there is a path, in a file that may exist already.

    Parameters
    ----------
    path : path-like or None

    Raises
    ------
    FileFormatError
        The file holds something else.
    OSError
        It cannot be read or written.
    """

    def __init__(self, path: Any) -> None:
        self._path = None if path is None else Path(path)
        self._known: dict[str, list[float]] = {}
        if self._path is None:
            return
        if self._path.exists():
            self._read(self._path)
        else:
            self._path.touch()

    def _read(self, path: Path) -> None:
        lines = path.read_bytes().split(b"\n")
        for number, line in enumerate(lines[:-1], 1):
            try:
                record = json.loads(line)
                self._known[record["task"]] = [float(score) for score in record["scores"]]
            except (ValueError, KeyError, TypeError):
                raise FileFormatError(
                    f"{path} is not a file of a sweep: line {number} is {line[:60]!r}; give path another name"
                ) from None
        if lines[-1]:
            # an incomplete line: the process or the machine went down while it was written
            with path.open("r+b") as file:
                file.truncate(sum(len(line) + 1 for line in lines[:-1]))

    @property
    def has_file(self) -> bool:
        """True if the scores are written to a file."""
        return self._path is not None

    def find(self, key: str, count: int) -> np.ndarray | None:
        """Return the scores of a task of `count` networks; None if they are not known."""
        scores = self._known.get(key)
        return None if scores is None or len(scores) != count else np.array(scores)

    def add(self, key: str, scores: np.ndarray) -> None:
        """Store the scores of a task."""
        self._known[key] = scores.tolist()
        if self._path is not None:
            with self._path.open("a", encoding="ascii") as file:
                file.write(json.dumps({"task": key, "scores": self._known[key]}) + "\n")
