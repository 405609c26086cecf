"""Counts the lines inside the functions of some files that are reached while code runs, for code that a coverage tool
would miss because it runs in a process with other settings."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from types import CodeType, FrameType, TracebackType
from typing import Any


def lines_of(path: Path) -> set[int]:
    """Return the lines inside the functions of a file that have code."""
    found: set[int] = set()

    def visit(code: CodeType, inside: bool) -> None:
        if inside:
            found.update(line for _, _, line in code.co_lines() if line and line > code.co_firstlineno)
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                visit(constant, inside or constant.co_flags & 1 == 1)  # functions have fast locals, classes do not

    visit(compile(path.read_text(encoding="utf-8"), str(path), "exec"), False)
    return found


class Lines:
    """Records the lines of files that are reached while the `with` block runs."""

    def __init__(self, paths: list[Path]) -> None:
        self.reached: dict[str, set[int]] = {str(path): set() for path in paths}

    def __enter__(self) -> Lines:
        sys.settrace(self._enter)
        threading.settrace(self._enter)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        sys.settrace(None)
        threading.settrace(None)

    def _enter(self, frame: FrameType, event: str, argument: Any) -> Any:
        reached = self.reached.get(frame.f_code.co_filename)
        if reached is None:
            return None

        def line(frame: FrameType, event: str, argument: Any) -> Any:
            reached.add(frame.f_lineno)
            return line

        return line

    def missed(self) -> dict[str, list[int]]:
        """Return the lines that were not reached, by file name."""
        return {Path(path).stem: sorted(lines_of(Path(path)) - lines) for path, lines in self.reached.items()}

    def counts(self) -> dict[str, int]:
        """Return the number of lines, by file name."""
        return {Path(path).stem: len(lines_of(Path(path))) for path in self.reached}
