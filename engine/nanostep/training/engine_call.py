"""The calls that a run is made of: how many steps each makes, on how many threads, and how one is interrupted.

The engine works through many steps per call. Between calls Python gets a turn, so that Ctrl-C and other threads are
served: a call is sized, from the measured time of the last one, to take about `CALL_SECONDS`. Neither the cut nor the
number of threads changes a bit of the result (see `nanostep.backends.contract.Cursor`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing import parent_process
from typing import TYPE_CHECKING

import numpy as np

from nanostep._arrays import Samples
from nanostep.backends.contract import Cursor, Plan
from nanostep.optimizers import Optimizer

if TYPE_CHECKING:
    from nanostep.network import Network

CALL_SECONDS = 0.03
"""Aim for the length of one call of the engine: short against human patience, long against the cost of a call."""

LONG_CALL_SECONDS = 0.08
"""A call that is expected to take longer, because a single step does, is made so that Ctrl-C can end it."""

FIRST_CALL_FLOPS = 2e6
"""Work of the first call of a run, before its speed is known: under a millisecond compiled, some in the reference."""

SLOWEST_FLOPS_PER_SECOND = 1e9
"""Guess for the first call, whose speed is not known."""

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


class Caller:
    """Calls the engine for a run; `threads` is what was found best, or the last call ran on.

    Attributes
    ----------
    interrupted : bool
        Ctrl-C has ended the last call early; what it made counts.
    penalties : list of float
        Mean penalty of each epoch that ended in the last call; empty where `Plan.alpha` is 0.
    epoch_rates : list of float
        Rate of the last update of each epoch that ended in the last call.
    rate : float
        Rate of the last update.
    """

    def __init__(
        self,
        net: Network,
        slots: np.ndarray,
        samples: Samples,
        optimizer: Optimizer,
        plan: Plan,
        cursor: Cursor,
    ) -> None:
        self._net, self._slots, self._samples, self._optimizer = net, slots, samples, optimizer
        self._plan, self._cursor = plan, cursor
        self.epoch_rates: list[float] = []
        self.rate = optimizer.lr
        self._steps_per_epoch = -(-len(samples) // plan.batch)
        self._flops = 6.0 * net.architecture.parameter_count * plan.batch
        self._steps = max(1, int(FIRST_CALL_FLOPS / self._flops))
        self._step_seconds = self._flops / SLOWEST_FLOPS_PER_SECOND
        self._threads = self._thread_trial()
        self.interrupted = False
        self.penalties: list[float] = []
        self.threads = 1

    def call(
        self, epochs: int, most: int | None = None, rates_of: Callable[[int], np.ndarray | None] = lambda steps: None
    ) -> list[float]:
        """Make some steps, at most to the end of `epochs` epochs from here and at most `most`; return the losses of the
        epochs that ended.

        `rates_of` returns the learning rates of the next updates, given their number, or None for the optimiser's. It
        is not kept: it belongs to a run, which keeps this object, and the memory of both would wait for the garbage
        collector.
        """
        made_in_epoch = self._cursor.row // self._plan.batch
        threads, share = self._threads.next_call()
        steps = min(max(1, int(self._steps * share)), epochs * self._steps_per_epoch - made_in_epoch)
        if most is not None:
            steps = min(steps, most)
        losses = np.empty(steps // self._steps_per_epoch + 1)
        penalties = np.empty_like(losses) if self._plan.alpha > 0 else None
        rates = rates_of(steps)
        started = time.perf_counter()
        if threads != self._plan.threads:
            self._plan = replace(self._plan, threads=threads)
        plan = self._plan if rates is None else replace(self._plan, rates=rates)
        ended = self._make(plan, steps, losses, penalties)
        seconds = time.perf_counter() - started

        self._step_seconds = seconds / steps
        self._threads.record(threads, self._step_seconds, seconds)
        # at most fourfold at a time: the first call of a jitted kernel includes its compilation
        fitting = int(CALL_SECONDS / max(self._step_seconds, 1e-12))
        self._steps = max(1, min(fitting, 4 * max(self._steps, steps)))
        if not self._threads.trying:
            self.threads = self._net._engine.threads
        self.penalties = [] if penalties is None else penalties[:ended].tolist()
        if rates is None:
            self.epoch_rates, self.rate = [self._optimizer.lr] * ended, self._optimizer.lr
        else:
            first_end = self._steps_per_epoch - made_in_epoch - 1
            self.epoch_rates = rates[first_end :: self._steps_per_epoch][:ended].tolist()
            self.rate = float(rates[-1])
        return losses[:ended].tolist()

    def _make(self, plan: Plan, steps: int, losses: np.ndarray, penalties: np.ndarray | None) -> int:
        state = (self._net._theta, self._slots, self._samples, self._optimizer)
        outputs = (losses,) if penalties is None else (losses, penalties)

        def make(plan: Plan) -> int:
            return self._net._engine.train(*state, plan, self._cursor, steps, *outputs)

        if steps * self._step_seconds < LONG_CALL_SECONDS:
            return make(plan)
        cancel = np.zeros(1, np.int32)
        ended, self.interrupted = interruptible(lambda: make(replace(plan, cancel=cancel)), cancel)
        return ended

    def _thread_trial(self) -> ThreadTrial:
        """Return the trial of runs like this one, which the network keeps: the next run begins where this one ended."""
        if self._plan.threads is not None:
            return ThreadTrial((self._plan.threads,))
        if self._flops < TRIAL_FLOPS:
            return ThreadTrial((1,))
        most = self._net._engine.useful_threads(self._optimizer, self._plan, len(self._samples))
        key = (self._plan.batch, self._optimizer.kind, most)
        return self._net._thread_trials.setdefault(key, ThreadTrial((1, most) if most > 1 else (1,)))


class ThreadTrial:
    """Finds which number of threads is fastest here and now, by trying: each in turn, and the least time counts.

    The first of `counts` is used until a trial has found another.
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
        """Note how long a step of the last call took, and the call."""
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


def interruptible(call: Callable[[], int], cancel: np.ndarray) -> tuple[int, bool]:
    """Return what `call` returns, and True if Ctrl-C came meanwhile: it then ends at its next look at `cancel`.

    Python notices Ctrl-C only between two of its own instructions in the main thread, so the call is made in another.
    """
    results: list[int] = []
    errors: list[BaseException] = []
    begun, done = threading.Lock(), threading.Event()

    def work() -> None:
        if not begun.acquire(blocking=False):
            return
        try:
            results.append(call())
        except BaseException as error:  # raised again below, in the thread of the caller
            errors.append(error)
        finally:
            done.set()

    interrupted = False
    try:
        threading.Thread(target=work, name="nanostep call").start()
    except KeyboardInterrupt:
        if begun.acquire(blocking=False):
            raise  # the call has not begun, and will not
        interrupted = True
        cancel[0] = 1
    # not Thread.join, which on Ctrl-C may take the thread for ended (CPython 3.11, Thread._wait_for_tstate_lock)
    while not done.is_set():
        try:
            done.wait()
        except KeyboardInterrupt:
            interrupted = True
            cancel[0] = 1
    if errors:
        raise errors[0]
    return results[0], interrupted


def thread_limit(threads: int | None) -> int | None:
    """Return `threads`; in place of None, 1 in a child process or a thread other than the main one.

    Those are where joblib and others run many fits at a time, and every fit taking all processors would be too many.
    """
    if threads is None and (parent_process() is not None or threading.current_thread() is not threading.main_thread()):
        return 1
    return threads
