"""Sampling profiler of a backend: a training process is stopped repeatedly and its program counter is read.

Linux shows the program counter of a stopped process in /proc/PID/syscall; nothing needs to be installed, and the
profiled code runs unchanged. ``python -m nanostep.benchmark.sampling TASK BACKEND DIRECTORY`` is that process.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from nanostep.benchmark import machine_code
from nanostep.benchmark.contenders import CONTENDERS
from nanostep.benchmark.lanes import choose_cores, environment, pinned
from nanostep.benchmark.tasks import TASKS
from nanostep.benchmark.tasks.calls import Call
from nanostep.benchmark.tasks.training import Training
from nanostep.benchmark.worker import die_with_parent
from nanostep.benchmark.workload import make_data

SAMPLES = 600
PAUSE = 0.0013
"""Seconds between two samples, not in step with any period of the engine."""

LENGTH, MOST_EPOCHS = 0.1, 512
"""Seconds of one call of `train`, long enough to make the time around it negligible; and the most epochs of a call."""

PATIENCE = 120.0

PLACES = {
    "python3": "python", "openblas": "BLAS", "_multiarray_umath": "numpy", "_native.": "nanostep", "_row.": "nanostep",
    "libm.": "libm", "libc.": "libc", "_cffi": "cffi",
}  # fmt: skip
"""Parts of file names, and their names in the results."""

Mapping = tuple[int, int, int, str]
"""First address, end, offset in the file, path."""


def unavailable() -> str:
    """Return why processes cannot be sampled here, or ""."""
    if not Path("/proc/self/syscall").exists():
        return "needs Linux's /proc/PID/syscall"
    return machine_code.unavailable()


# -- the profiled process ----------------------------------------------------------------------------------------------


def serve(task: str, backend: str, directory: Path) -> None:
    """Train for ever; once everything is compiled, print the files that hold Numba's code to standard output."""
    die_with_parent()
    work = _work(task, backend)
    work()
    print(json.dumps(_numba_objects(directory) if backend == "numba" else []), flush=True)
    while True:
        work()


def _work(task: str, backend: str) -> Callable[[], object]:
    """Return a function that makes the repeated work of the task, on one thread."""
    measured = TASKS[task]
    workload = measured.workload
    x, y = make_data(workload)
    if isinstance(measured, Call):
        net, call = workload.make_network(backend), measured.call
        rows = list(zip(x[:256], y[:256], strict=True))
        if call == "predict":
            return lambda: [net.predict(a) for a, _ in rows]
        return lambda: [net.step(a, b, workload.lr) for a, b in rows]
    assert isinstance(measured, Training)
    trainer = measured.make_trainer(CONTENDERS[backend], x, y, 1)
    trainer.run(1)
    epochs = 1
    while trainer.run(epochs).seconds < LENGTH and epochs < MOST_EPOCHS:
        epochs *= 2
    return lambda: trainer.run(epochs)


def _numba_objects(directory: Path) -> list[dict[str, Any]]:
    """Write the object code of every compiled function; return file, symbol and address of each."""
    from nanostep.backends.jit import _compile

    found: list[dict[str, Any]] = []
    for dispatcher in _compile._dispatchers.values():
        for result in dispatcher.overloads.values():
            path = directory / f"{len(found)}.o"
            path.write_bytes(result.library._get_compiled_object())
            symbol = result.fndesc.llvm_func_name
            address = result.library.get_pointer_to_function(symbol)
            name = dispatcher.py_func.__name__
            found.append({"path": str(path), "symbol": symbol, "name": name, "address": address})
    return found


# -- the profiler ------------------------------------------------------------------------------------------------------


def profile(task: str, backend: str, samples: int = SAMPLES) -> dict[str, Any]:
    """Return where a backend spends its time on a task, and a description of its code there.

    Returns
    -------
    dict
        places: file -> share of the samples ("kernel" for the engine's own code); and, for c and numba, the fields of
        `machine_code.describe`. Or {"unavailable": reason}.
    """
    reason = unavailable()
    if reason:
        return {"unavailable": reason}
    try:
        with tempfile.TemporaryDirectory() as directory:
            return _profile(task, backend, samples, Path(directory))
    except (OSError, RuntimeError, ValueError, StopIteration) as error:
        return {"unavailable": f"{type(error).__name__}: {error}"}


def _profile(task: str, backend: str, samples: int, directory: Path) -> dict[str, Any]:
    # an empty cache, because Numba keeps the object code of functions that it compiled, but not of those it loaded
    settings = {**environment(1), "NUMBA_CACHE_DIR": str(directory)}
    command = [sys.executable, "-m", "nanostep.benchmark.sampling", task, backend, str(directory)]
    with pinned(choose_cores(1)):
        process = subprocess.Popen(command, env=settings, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process that was to be looked at ended with code {process.wait()}")
        addresses = [look(process.pid) for _ in range(samples)]
        mappings = read_mappings(process.pid)
        objects = json.loads(line)
        if backend == "numba":
            return _describe_objects(objects, addresses, mappings)
        return _describe_library(backend, addresses, mappings)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def look(pid: int) -> int:
    """Let a process run for a moment, stop it, and return its program counter; 0 if it is in a system call."""
    time.sleep(PAUSE)
    os.kill(pid, signal.SIGSTOP)
    try:
        deadline = time.monotonic() + PATIENCE
        while Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] not in "Tt":
            if time.monotonic() > deadline:
                raise RuntimeError("a process did not stop")
        fields = Path(f"/proc/{pid}/syscall").read_text(encoding="ascii").split()
    finally:
        os.kill(pid, signal.SIGCONT)
    return int(fields[-1], 16) if len(fields) > 1 else 0


def read_mappings(pid: int) -> list[Mapping]:
    """Return the memory mappings of a process."""
    result = []
    for line in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8").splitlines():
        span, _, offset, _, _, *path = line.split(maxsplit=5)
        first, _, end = span.partition("-")
        result.append((int(first, 16), int(end, 16), int(offset, 16), path[0] if path else ""))
    return result


def place_of(address: int, mappings: Sequence[Mapping]) -> str:
    """Return a short name of the file that contains an address: "python", "BLAS", "numpy", "libm", ..."""
    path = next((path for first, end, _, path in mappings if first <= address < end), None)
    if path is None:
        return "system"
    name = Path(path).name
    for part, short in PLACES.items():
        if part in name:
            return short
    return name.partition(".")[0] or "unnamed memory"


def _shares(names: Sequence[str]) -> dict[str, float]:
    return {name: hits / len(names) for name, hits in Counter(names).most_common()}


def _describe_library(backend: str, addresses: Sequence[int], mappings: Sequence[Mapping]) -> dict[str, Any]:
    """Return, for c, a description of the extension's code; for numpy, the shares of the libraries alone."""
    names = [place_of(address, mappings) for address in addresses]
    if backend != "c":
        return {"samples": len(addresses), "places": _shares(names)}
    path, base = next((path, first) for first, _, offset, path in mappings if "_native." in path and offset == 0)
    functions = _library_code(path)
    relative = [address - base for address, name in zip(addresses, names, strict=True) if name == "nanostep"]
    inside = ["kernel" if name == "nanostep" else name for name in names]
    return {"samples": len(addresses), "places": _shares(inside), **machine_code.describe(functions, relative)}


@cache
def _library_code(path: str) -> list[machine_code.Function]:
    """Return the functions of the extension; cached, because it is large and the same for every task."""
    return machine_code.disassemble(Path(path))


def _describe_objects(
    objects: Sequence[dict[str, Any]], addresses: Sequence[int], mappings: Sequence[Mapping]
) -> dict[str, Any]:
    """Return a description of the Numba object with the most samples; samples in all objects count as kernel."""
    best: tuple[list[machine_code.Function], dict[int, int]] = ([], {})
    inside: set[int] = set()
    for entry in objects:
        functions = machine_code.disassemble(Path(entry["path"]))
        symbol = next(f for f in functions if f.name == entry["symbol"])
        symbol.name = entry["name"]
        base = entry["address"] - symbol.start
        hits = {i: a - base for i, a in enumerate(addresses) if machine_code.find(functions, a - base)}
        inside.update(hits)
        if len(hits) >= len(best[1]):
            best = functions, hits
    names = ["kernel" if i in inside else place_of(a, mappings) for i, a in enumerate(addresses)]
    described = machine_code.describe(best[0], list(best[1].values()))
    return {"samples": len(addresses), "places": _shares(names), **described}


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
