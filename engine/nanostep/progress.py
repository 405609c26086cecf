"""A progress bar for training, drawn by rich; nothing is drawn where the output is not a terminal or a notebook."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from nanostep.history import History


class EpochBar:
    """Context manager that shows epochs done, the latest losses and the time left, on standard error."""

    def __init__(self, epochs: int) -> None:
        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}% {task.fields[losses]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not (console.is_terminal or console.is_jupyter),
        )
        self._epochs = epochs
        self._task = self._progress.add_task("train", total=max(epochs, 1), epoch=f"0/{epochs}", losses="")

    def __enter__(self) -> EpochBar:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def update(self, history: History, part: float) -> None:
        """Show the state after ``history.epochs`` epochs and `part` of the next."""
        losses = f"loss {history.loss[-1]:.4g}" if history.loss else ""
        if history.validation_loss:
            losses += f" validation {history.validation_loss[-1]:.4g}"
        self._progress.update(
            self._task, completed=history.epochs + part, epoch=f"{history.epochs}/{self._epochs}", losses=losses
        )
