"""scikit-learn's callback protocol (``sklearn.callback``, 1.9), where the installed version has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["CallbackSupportMixin", "FitTask"]

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Before scikit-learn 1.9 there are no callbacks."""


class FitTask:
    """A fit as callbacks see it: a task with one subtask for each iteration. Costs nothing where none listens.

    Parameters
    ----------
    estimator : CallbackSupportMixin
    X, y : array-like
        Training data as validated, and the targets as the user gave them.
    sample_weight : ndarray or None
    most : int
        Most iterations.
    fitted : callable
        Returns the attributes that a copy of the estimator needs to predict as if the fit had ended here.

    is_fit : bool, default=True
        Within `fit` of the estimator; otherwise there are no callbacks.

    Attributes
    ----------
    is_heard : bool
        There are callbacks.
    """

    def __init__(
        self,
        estimator: Any,
        X: Any,
        y: Any,
        sample_weight: Any,
        most: int,
        fitted: Callable[[], dict[str, Any]],
        *,
        is_fit: bool = True,
    ) -> None:
        metadata = {} if sample_weight is None else {"sample_weight": sample_weight}
        self._data = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        self._fitted = fitted
        self._subtask: Any = None
        self._task: Any = None
        if is_fit and hasattr(estimator, "_init_callback_context"):
            # also without callbacks: a meta-estimator joins its tree of tasks with this one
            self._task = estimator._init_callback_context(max_subtasks=most)
            self._task.call_on_fit_task_begin(**self._data)
        self.is_heard = self._task is not None and hasattr(estimator, "_skl_callbacks")

    def begin_iteration(self) -> None:
        """Tell the callbacks that an iteration begins."""
        if self.is_heard:
            self._subtask = self._task.subcontext(task_name="iteration")
            self._subtask.call_on_fit_task_begin(**self._data)

    def end_iteration(self) -> bool:
        """Tell the callbacks that it is over; True if one of them asks to end the fit."""
        if not self.is_heard:
            return False
        stop = self._subtask.call_on_fit_task_end(**self._data, reconstruction_attributes=self._fitted)
        # a callback may have put arrays into coefs_
        self._data["estimator"]._take_assigned()
        return bool(stop)

    def end(self) -> None:
        """Tell the callbacks that the fit is over."""
        if self._task is not None:
            self._task.call_on_fit_task_end(**self._data, reconstruction_attributes=self._fitted)
