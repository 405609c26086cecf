"""scikit-learn's callback protocol (``sklearn.callback``, 1.9), if the installed version has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["CallbackSupportMixin", "FitTask"]

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stands in for scikit-learn's mixin before version 1.9, which has no callbacks."""


class FitTask:
    """A fit as a task of the callback protocol, with one subtask for each iteration. Does nothing without callbacks.

    Parameters
    ----------
    estimator : CallbackSupportMixin
    X, y : array-like
        Training data as validated, and the targets as the user gave them.
    sample_weight : ndarray or None
    max_iterations : int
    fitted : callable
        Returns the attributes that a copy of the estimator needs to predict as if the fit had ended here.
    is_fit : bool, default=True
        True within `fit` of the estimator; otherwise no callbacks are called.

    Attributes
    ----------
    has_callbacks : bool
    """

    def __init__(
        self,
        estimator: Any,
        X: Any,
        y: Any,
        sample_weight: Any,
        max_iterations: int,
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
            # even without callbacks, because a meta-estimator adds this task to its own tree of tasks
            self._task = estimator._init_callback_context(max_subtasks=max_iterations)
            self._task.call_on_fit_task_begin(**self._data)
        self.has_callbacks = self._task is not None and hasattr(estimator, "_skl_callbacks")

    def begin_iteration(self) -> None:
        """Notify the callbacks that an iteration begins."""
        if self.has_callbacks:
            self._subtask = self._task.subcontext(task_name="iteration")
            self._subtask.call_on_fit_task_begin(**self._data)

    def end_iteration(self) -> bool:
        """Notify the callbacks that the iteration is over; return True if one of them requests the end of the fit."""
        if not self.has_callbacks:
            return False
        stop = self._subtask.call_on_fit_task_end(**self._data, reconstruction_attributes=self._fitted)
        # a callback may have put arrays into coefs_
        self._data["estimator"]._sync_assigned()
        return bool(stop)

    def end(self) -> None:
        """Notify the callbacks that the fit is over."""
        if self._task is not None:
            self._task.call_on_fit_task_end(**self._data, reconstruction_attributes=self._fitted)
