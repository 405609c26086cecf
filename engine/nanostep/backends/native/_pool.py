"""The worker threads of this process: started when first needed, shared by all networks, abandoned after a fork."""

from __future__ import annotations

import os
import threading
from typing import Any

from nanostep.backends.native._library import check_status, ffi, lib

__all__ = ["most_threads", "pool_for", "usable_processors"]

ENVIRONMENT = "NANOSTEP_THREADS"
MOST = 2**16
QUOTA = "/sys/fs/cgroup/cpu.max"
"""Processor time granted to a container (Linux, cgroup v2): microseconds per period, or "max", and the period."""


def usable_processors(quota: str | os.PathLike[str] = QUOTA) -> int:
    """Return how many processors this process may keep busy, given its affinity and the quota of its container."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        with open(quota, encoding="ascii") as file:
            granted, period = file.read().split()
        if granted != "max":
            count = min(count, -(-int(granted) // int(period)))
    except (OSError, ValueError, ZeroDivisionError):
        pass
    return max(1, count)


def _cap() -> int:
    """Return the number of threads that NANOSTEP_THREADS allows."""
    text = os.environ.get(ENVIRONMENT, "").strip()
    if not text:
        return MOST
    # isdecimal alone would accept digits of any script
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= MOST):
        raise ValueError(f"{ENVIRONMENT}={text!r} is not a number of threads; accepted are 1 to {MOST}")
    return int(text)


class _Pool:
    """An nst_pool. It is stopped when `handle` is garbage-collected, and so never while a call uses it."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.handle = ffi.NULL
        if threads == 1:
            return
        size = ffi.new("size_t *")
        check_status(lib.nst_pool_size(threads, size))
        memory = ffi.new("char[]", size[0])
        started = ffi.new("nst_pool **")
        check_status(lib.nst_pool_start(threads, memory, size[0], started))

        # the defaults keep function and memory alive until after the interpreter has cleared the modules
        def stop(pool: Any, stop: Any = lib.nst_pool_stop, memory: Any = memory) -> None:
            stop(pool)

        self.handle = ffi.gc(started[0], stop)


class _Pools:
    """A pool as large as the machine, and a larger one once a call requests more threads than that."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.cap = MOST
        self.regular: _Pool | None = None
        self.larger: _Pool | None = None

    def for_threads(self, threads: int | None) -> Any:
        regular = self.regular
        if regular is not None and (threads is None or threads <= regular.threads):
            return regular.handle
        with self.lock:
            regular = self.regular or self._start_regular()
            wanted = regular.threads if threads is None else min(threads, self.cap)
            if wanted <= regular.threads:
                return regular.handle
            if self.larger is None or self.larger.threads < wanted:
                self.larger = _Pool(wanted)
            return self.larger.handle

    def regular_size(self) -> int:
        with self.lock:
            return (self.regular or self._start_regular()).threads

    def _start_regular(self) -> _Pool:
        self.cap = _cap()
        try:
            self.regular = _Pool(min(self.cap, usable_processors()))
        except RuntimeError:
            # no thread can be started: calls that request several raise an error, all others run on one
            self.regular = _Pool(1)
        return self.regular


_pools = _Pools()


def _forget() -> None:
    global _pools
    _pools = _Pools()


if hasattr(os, "register_at_fork"):
    # a child process lacks the workers, and perhaps the thread that held the lock
    os.register_at_fork(after_in_child=_forget)


def most_threads() -> int:
    """Return how many threads a call can use without exceeding the number of processors."""
    return _pools.regular_size()


def pool_for(threads: int | None) -> Any:
    """Return the nst_pool for a call on at most `threads` threads (None: as many as are useful); NULL for one thread.

    The caller must keep a reference while the C library uses the pool, which may have more threads than requested.

    Raises
    ------
    ValueError
        NANOSTEP_THREADS is not a number of threads.
    RuntimeError
        More threads than processors were requested, and the system refuses to start them.
    """
    return ffi.NULL if threads == 1 else _pools.for_threads(threads)
