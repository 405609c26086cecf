"""A worker: the process in which one contender runs on some cores, at the parent's calls.

It is started as ``python -m nanostep.benchmark.worker CONTENDER CORES DESCRIPTOR``, pinned and with the environment
from `lanes`, so that thread pools which are sized when a library is loaded get the right size.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from nanostep.benchmark import floors
from nanostep.benchmark.agreement import Agreement, Evidence
from nanostep.benchmark.contenders import CONTENDERS
from nanostep.benchmark.tasks import TASKS
from nanostep.benchmark.tasks.base import Session, Settings

PR_SET_PDEATHSIG = 1


class Server:
    """Handles the messages of the parent: names of the methods do_..., with their arguments.

    A server without a contender measures the floors and runs the reference.
    """

    def __init__(self, contender: str, cores: int) -> None:
        self._contender, self._cores = contender, cores
        self._session: Session | None = None

    def handle(self, message: tuple[Any, ...]) -> tuple[str, Any]:
        """Return ("done", result) or ("error", one line)."""
        try:
            return "done", getattr(self, f"do_{message[0]}")(*message[1:])
        except Exception as error:
            if os.environ.get("NANOSTEP_BENCH_DEBUG"):
                traceback.print_exc()
            text = str(error).strip() or type(error).__name__
            return "error", f"{type(error).__name__}: {text.splitlines()[0]}"

    def do_load(self) -> dict[str, Any]:
        contender = CONTENDERS[self._contender]
        contender.load()
        return {"versions": contender.versions(), "affinity": affinity(), "pools": thread_pools()}

    def do_prepare(self, task: str, settings: Settings) -> Any:
        self._session = TASKS[task].prepare(CONTENDERS[self._contender], self._cores, settings)
        return self._session.check()

    def do_run(self) -> Any:
        assert self._session is not None
        return self._session.run()

    def do_release(self) -> dict[str, Any]:
        self._session = None
        return {"threads": thread_count(), "pools": thread_pools()}

    def do_epoch_limit(self, task: str) -> int:
        return TASKS[task].epoch_limit()

    def do_judge(self, task: str, evidence: Evidence) -> Agreement:
        return TASKS[task].judge(evidence)

    def do_floors(self) -> floors.Floors:
        return floors.measure(self._cores)


def affinity() -> list[int]:
    """Return the processors that this process may use; empty if the system does not report them."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def thread_count() -> int:
    """Return the number of threads of this process; 0 if the system does not report it."""
    tasks = Path("/proc/self/task")
    return len(list(tasks.iterdir())) if tasks.exists() else 0


def thread_pools() -> list[str]:
    """Return the BLAS and OpenMP libraries that are loaded, with the size of their pools."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return []
    return sorted(f"{pool['internal_api']} {pool.get('version')}: {pool['num_threads']}" for pool in threadpool_info())


def die_with_parent() -> None:
    """Let the kernel kill this process, even when it is stopped, if the parent dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> None:
    name, cores, descriptor = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    die_with_parent()
    parent = Connection(int(descriptor))
    server = Server(name, int(cores))
    while True:
        try:
            message = parent.recv()
        except EOFError:
            return
        parent.send(server.handle(message))


if __name__ == "__main__":
    main()
