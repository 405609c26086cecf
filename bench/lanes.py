"""Lanes: each contender on each number of cores has a process of its own, which runs only during its calls."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import Pipe
from typing import Any, Protocol

from nanostep.benchmark.worker import Server
from nanostep.errors import NanostepError

PATIENCE = 900.0
"""Seconds after which a worker that has not replied counts as failed."""

ONE_THREAD_EACH = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
)
"""Variables that give a thread pool its size, set to the number of cores."""

REMOVED = ("OPENBLAS_CORETYPE", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "NANOSTEP_THREADS")
"""Variables that could slow a contender down: OPENBLAS_CORETYPE makes OpenBLAS use another processor's kernels."""


class LaneError(NanostepError):
    """A worker reported an error, died, or did not reply."""


class Lane(Protocol):
    """One contender on some cores or, with "" for its name, the reference and the floors."""

    def call(self, *message: Any) -> Any:
        """Send a message of `worker.Server` and return the result; raise LaneError."""

    def close(self) -> None: ...


class LocalLane:
    """A lane in this process, without pinning or limits on other libraries' threads. For tests."""

    def __init__(self, contender: str, cores: int) -> None:
        self._server = Server(contender, cores)

    def call(self, *message: Any) -> Any:
        return _result(self._server.handle(message))

    def close(self) -> None:
        pass


class WorkerLane:
    """A lane in a process of its own, which is pinned, and stopped between calls."""

    def __init__(self, contender: str, cores: int) -> None:
        here, there = Pipe()
        self._connection = here
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the lane)
        command = [sys.executable, "-m", "nanostep.benchmark.worker", contender, str(cores), str(there.fileno())]
        with pinned(choose_cores(cores)):
            self._process = subprocess.Popen(
                command,
                env=environment(cores),
                pass_fds=[there.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                start_new_session=True,  # so that Ctrl-C at the terminal reaches only the parent
            )
        there.close()

    def call(self, *message: Any) -> Any:
        try:
            os.kill(self._process.pid, signal.SIGCONT)
            self._connection.send(message)
            if not self._connection.poll(PATIENCE):
                raise LaneError(f"no answer in {PATIENCE:.0f} s")
            answer = self._connection.recv()
            # threads of its pools that still spin would take time from the next lane
            os.kill(self._process.pid, signal.SIGSTOP)
        except (EOFError, OSError) as error:
            raise LaneError(f"the worker process died: {self._last_error_line()}") from error
        return _result(answer)

    def close(self) -> None:
        self._process.kill()  # ends a stopped process too
        self._process.wait()
        self._connection.close()
        self._errors.close()

    def _last_error_line(self) -> str:
        code = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit code {code}"


def _result(answer: tuple[str, Any]) -> Any:
    kind, value = answer
    if kind == "error":
        raise LaneError(value)
    return value


def usable_cores() -> list[int]:
    """Return the processors that the benchmark may use; empty where a process cannot be pinned."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def core_count() -> int:
    """Return the number of cores that "all" stands for."""
    return len(usable_cores()) or os.cpu_count() or 1


def choose_cores(cores: int) -> list[int]:
    """Return the processors for `cores` cores: the last ones, because the first serves most interrupts."""
    return usable_cores()[-cores:]


@contextmanager
def pinned(cores: list[int]) -> Iterator[None]:
    """Pin this thread, and the processes that it starts, to some processors within the context."""
    if not cores:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def environment(cores: int) -> dict[str, str]:
    """Return the environment of a worker on `cores` cores."""
    values = {name: value for name, value in os.environ.items() if name not in REMOVED}
    values.update(dict.fromkeys(ONE_THREAD_EACH, str(cores)))
    values.update(JAX_PLATFORMS="cpu", CUDA_VISIBLE_DEVICES="", TORCHINDUCTOR_COMPILE_THREADS="1")
    if cores == 1:
        # XLA's pool has the size of the affinity mask; without this flag it would pass work to that one thread
        values["XLA_FLAGS"] = f"{values.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false".strip()
    return values
