"""How many threads a run uses: the choice by measurement, and the limit where many fits run side by side."""

from __future__ import annotations

import threading
from multiprocessing import parent_process

CALL_SECONDS = 0.03
"""Aim for the length of one call of the engine: short against human patience, long against the cost of a call."""

TRIAL_FLOPS = 3e5
"""Work of a step below which more threads are not tried: it takes 2 us, as long as handing the work out."""

SECONDS_BEFORE_TRIAL = 0.02
"""Time on one thread before more are tried: short runs pay for no trial, and caches are warm."""

TRIAL_CALLS = 3
"""Calls with one and with all threads, by turns, after which the faster is chosen."""

TRIAL_SECONDS = 0.004
"""Aim for the length of a call of a trial."""

CALLS_BETWEEN_TRIALS = 60
"""Calls until the choice is tried again, 2 s: other programs come and go. Trials take a hundredth of the time."""


class ThreadTuner:
    """Measures which number of threads is fastest here and now: each takes its turn, and the least time counts.

    Parameters
    ----------
    counts : tuple of int
        Numbers of threads to choose from. The first is used until a trial has found a faster one.
    """

    def __init__(self, counts: tuple[int, ...]) -> None:
        self._counts = counts
        self._best = counts[0]
        self._left, self._rest = 0, CALLS_BETWEEN_TRIALS
        self._seconds_before = SECONDS_BEFORE_TRIAL
        self._times: dict[int, float] = {}

    def _start(self) -> None:
        self._left = TRIAL_CALLS * len(self._counts)
        self._times = dict.fromkeys(self._counts, float("inf"))
        self._rest = CALLS_BETWEEN_TRIALS

    @property
    def trying(self) -> bool:
        return self._left > 0

    def next_call(self) -> tuple[int, float]:
        """Return the number of threads of the next call, and its length as a share of a usual one's."""
        if self._left > 0:
            return self._counts[self._left % len(self._counts)], TRIAL_SECONDS / CALL_SECONDS
        return self._best, 1.0

    def record(self, threads: int, step_seconds: float, seconds: float) -> None:
        """Take in the seconds of a step of the last call, and of the call."""
        if len(self._counts) == 1:
            return
        if self._seconds_before > 0:
            self._seconds_before -= seconds
            if self._seconds_before <= 0:
                self._start()
        elif self._left > 0:
            self._times[threads] = min(self._times[threads], step_seconds)
            self._left -= 1
            self._best = min(self._times, key=self._times.__getitem__)
        else:
            self._rest -= 1
            if self._rest == 0:
                self._start()


def thread_limit(threads: int | None) -> int | None:
    """Return `threads`; in place of None, 1 in a child process or a thread other than the main one.

    joblib and others run many fits side by side there, and all processors for each fit would be too many threads.
    """
    if threads is None and (parent_process() is not None or threading.current_thread() is not threading.main_thread()):
        return 1
    return threads
