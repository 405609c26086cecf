"""A progress bar for training, drawn by rich on a terminal or in a notebook; elsewhere nothing is drawn or imported."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress

SHARE = 0.01
"""Most of a run's time that drawing may take."""

INTERVAL = 0.1
"""Least seconds between two pictures: more often than ten times a second an eye cannot follow."""

FIRST_DRAWING_SECONDS = 0.004
"""Guess for the first picture, whose time is not known; 1 to 2 ms are usual on a terminal."""


class Screen(Protocol):
    """Where pictures of the bar go."""

    def draw(self, progress: Progress, *, last: bool) -> None: ...


class EpochBar:
    """Context manager that shows epochs done, the latest losses, steps per second and the time left.

    Drawing pays for itself first: the time it takes is measured, and the next picture waits until all of them, itself
    and the last one included, are less than `SHARE` of the run. A run of less than half a second shows none. Where
    neither a terminal nor a notebook is there to draw on, nothing happens.

    Parameters
    ----------
    epochs : int
        Epochs of the run.
    """

    def __init__(self, epochs: int) -> None:
        self._epochs = epochs
        self._screen = _find_screen()
        self._progress: Progress | None = None
        self._started = self._drawn_at = time.perf_counter()
        self._spent, self._cost = 0.0, FIRST_DRAWING_SECONDS
        self._first: tuple[float, int] | None = None
        self._latest: tuple[int, float, int, Callable[[], str]] | None = None

    def __enter__(self) -> EpochBar:
        self._started = self._drawn_at = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None and self._latest is not None:
            self._draw(*self._latest, time.perf_counter(), last=True)

    def update(self, epochs: int, part: float, steps: int, losses: Callable[[], str]) -> None:
        """Show the state after `epochs` epochs, `part` of the next and `steps` updates, if it is time to.

        `losses` says in words where the losses stand; it is called when a picture is drawn.
        """
        if self._screen is None:
            return
        now = time.perf_counter()
        self._latest = epochs, part, steps, losses
        self._first = self._first or (now, steps)  # a compilation, and a part that is resumed, do not count as speed
        affordable = self._spent + 2 * self._cost <= SHARE * (now - self._started)
        if affordable and now - self._drawn_at >= INTERVAL:
            self._draw(*self._latest, now)

    def _draw(
        self, epochs: int, part: float, steps: int, losses: Callable[[], str], now: float, *, last: bool = False
    ) -> None:
        assert self._screen is not None
        assert self._first is not None
        if self._progress is None:
            self._progress = _make_progress(self._epochs)
            now = time.perf_counter()  # the import of rich, once a process, is not drawing
        since, before = self._first
        rate = (steps - before) / max(now - since, 1e-9)
        self._progress.update(
            self._progress.task_ids[0], completed=epochs + part, epoch=f"{epochs}/{self._epochs}",
            losses=losses(), rate=f"{_short(rate)} steps/s",
        )  # fmt: skip
        self._screen.draw(self._progress, last=last)
        self._drawn_at = time.perf_counter()
        self._cost = self._drawn_at - now
        self._spent += self._cost


def _short(value: float) -> str:
    """Return a positive number with three digits and a unit: 12.3k."""
    for unit in ("", "k", "M"):
        if value < 999.5:
            return f"{value:.3g}{unit}"
        value /= 1000
    return f"{value:.3g}G"


def _make_progress(epochs: int) -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    progress = Progress(
        TextColumn("epoch {task.fields[epoch]}"),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>3.0f}%  {task.fields[losses]}  {task.fields[rate]}"),
        TimeRemainingColumn(compact=True),
        console=Console(stderr=True),
        auto_refresh=False,
    )
    progress.add_task("train", total=max(epochs, 1), epoch="", losses="", rate="")
    return progress


class Terminal:
    """Draws in place, on standard error."""

    def draw(self, progress: Progress, *, last: bool) -> None:
        if last:
            progress.stop()  # draws as well, as does the start
        elif progress.live.is_started:
            progress.refresh()
        else:
            progress.start()


class Notebook:
    """Draws into an output of the cell that runs, which is replaced each time."""

    def __init__(self) -> None:
        self._handle: Any = None

    def draw(self, progress: Progress, *, last: bool) -> None:
        from IPython.display import display

        picture = progress.make_tasks_table(progress.tasks)  # which shows itself as HTML
        if self._handle is None:
            self._handle = display(picture, display_id=True)
        else:
            self._handle.update(picture)


def _find_screen() -> Screen | None:
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is not None and hasattr(shell, "kernel"):  # of a notebook; IPython on a terminal has none
        return Notebook()
    return Terminal() if sys.stderr is not None and sys.stderr.isatty() else None
