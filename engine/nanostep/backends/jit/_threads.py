"""Threads for the length of a call: Python threads, each in compiled code without the GIL."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable


def most_threads() -> int:
    """Return the largest number of threads of a call: the processors, or fewer if NANOSTEP_THREADS says so."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = os.environ.get("NANOSTEP_THREADS", "")
    return min(processors, int(limit)) if limit.isdigit() and int(limit) > 0 else processors


def run_team(work: Callable[[int], int], workers: int) -> int:
    """Call work(number) on a thread for each worker, and return the result of worker 0.

    No worker begins before all threads have started: workers wait for each other at barriers, and would wait for ever
    for one that is missing. The calling thread only waits, so that Ctrl-C does not remove a worker from the team: it is
    raised when all have finished.
    """
    begin, cancelled = threading.Event(), False
    results = [0] * workers

    def body(number: int) -> None:
        begin.wait()
        if not cancelled:
            results[number] = work(number)

    threads = [threading.Thread(target=body, args=(number,), daemon=True) for number in range(workers)]
    started = []
    try:
        for thread in threads:
            thread.start()
            started.append(thread)
    except BaseException:
        cancelled = True
        begin.set()
        raise
    begin.set()
    interrupt: KeyboardInterrupt | None = None
    for thread in started:
        while thread.is_alive():
            try:
                thread.join()
            except KeyboardInterrupt as error:
                interrupt = error
    if interrupt is not None:
        raise interrupt
    return results[0]
