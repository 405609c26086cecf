"""The worker threads of this process: started when first needed, shared by all networks, left behind by a fork."""

from __future__ import annotations

import os
import threading
from typing import Any

from nanostep.backends.native._library import check_status, ffi, lib

__all__ = ["most_threads", "pool_for", "usable_processors"]

ENVIRONMENT = "NANOSTEP_THREADS"
MOST = 2**16
QUOTA = "/sys/fs/cgroup/cpu.max"
"""Processor time granted to a container (Linux, cgroup v2): microseconds, or "max", and the period they are for."""


def usable_processors(quota: str | os.PathLike[str] = QUOTA) -> int:
    """Return how many processors this process may keep busy, by its affinity and the quota of its container."""
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
    # isdecimal alone would take digits of any script
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= MOST):
        raise ValueError(f"{ENVIRONMENT}={text!r} is not a number of threads; accepted are 1 to {MOST}")
    return int(text)


class _Pool:
    """An nst_pool, stopped when nobody refers to `handle` any more, and so never while a call uses it."""

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

        # the defaults keep what is needed alive when the interpreter takes the modules down
        def stop(pool: Any, stop: Any = lib.nst_pool_stop, memory: Any = memory) -> None:
            stop(pool)

        self.handle = ffi.gc(started[0], stop)


class _Pools:
    """A pool as large as the machine, and a larger one once somebody asks for more threads than that."""

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
            # no thread to be had: whoever asks for a number of them is told so, the others go on without
            self.regular = _Pool(1)
        return self.regular


_pools = _Pools()


def _forget() -> None:
    global _pools
    _pools = _Pools()


if hasattr(os, "register_at_fork"):
    # a child has neither the workers nor, perhaps, the one who held the lock
    os.register_at_fork(after_in_child=_forget)


def most_threads() -> int:
    """Return how many threads a call can have without asking for more than there are processors."""
    return _pools.regular_size()


def pool_for(threads: int | None) -> Any:
    """Return the nst_pool for a call on at most `threads` threads (None: as many as are useful), or NULL for one.

    The caller keeps what it gets for as long as the C library uses it. The pool may have more threads than asked for.

    Raises
    ------
    ValueError
        NANOSTEP_THREADS is not a number of threads.
    RuntimeError
        More threads than processors were asked for, and the system refuses to start them.
    """
    return ffi.NULL if threads == 1 else _pools.for_threads(threads)
