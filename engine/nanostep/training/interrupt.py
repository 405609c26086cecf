"""Ctrl-C during a long call of the engine."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np


def interruptible(call: Callable[[], int], cancel: np.ndarray) -> tuple[int, bool]:
    """Return the result of `call`, and True if Ctrl-C arrived while it ran; the call ends when it next reads `cancel`.

    Python handles signals between two of its own instructions in the main thread only, so the call runs in another.
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
