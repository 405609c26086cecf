"""Threads for the length of a call: Python's own, each in compiled code without the GIL."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable


def most_threads() -> int:
    """Return how many threads a call can have without asking for more than there are processors."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = os.environ.get("NANOSTEP_THREADS", "")
    return min(processors, int(limit)) if limit.isdigit() and int(limit) > 0 else processors


def run_team(work: Callable[[int], int], members: int) -> int:
    """Call work(number) on a thread for each member, and return what member 0 does.

    No member begins before the thread of every member is there: they wait for each other, and one that is missing would
    be waited for without end. This thread only waits, so that Ctrl-C does not leave a member alone: it is raised when
    all are done.
    """
    begin, called_off = threading.Event(), False
    results = [0] * members

    def body(number: int) -> None:
        begin.wait()
        if not called_off:
            results[number] = work(number)

    threads = [threading.Thread(target=body, args=(number,), daemon=True) for number in range(members)]
    started = []
    try:
        for thread in threads:
            thread.start()
            started.append(thread)
    except BaseException:
        called_off = True
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
