"""The progress bar of a sweep: completed tasks and remaining time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress


class TaskBar:
    """Counts completed tasks, and shows the count if there is a progress display."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress

    def start(self, name: str, total: int) -> None:
        """Begin a round of `total` tasks."""
        if self._progress is not None:
            self._current = self._progress.add_task(name, total=total)

    def advance(self) -> None:
        """Count one more completed task."""
        if self._progress is not None:
            self._progress.advance(self._current)


@contextmanager
def task_bar(shown: bool) -> Iterator[TaskBar]:
    """Show a bar within the context, on a terminal's standard error or in a notebook."""
    if not shown:
        yield TaskBar(None)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not (console.is_terminal or console.is_jupyter)) as progress:
        yield TaskBar(progress)
