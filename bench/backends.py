"""The additions of ``nanostep bench --backends``: lines of code, the cost of loading, and profiles of machine code."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from typing import Any

from nanostep.benchmark.lanes import choose_cores, pinned
from nanostep.benchmark.lines_of_code import count_lines
from nanostep.benchmark.request import OUR_BACKENDS, Request
from nanostep.benchmark.sampling import profile
from nanostep.benchmark.tasks import TASKS
from nanostep.benchmark.tasks.calls import Call
from nanostep.benchmark.tasks.start import run_python
from nanostep.benchmark.tasks.training import Training

LOAD = """
import json, time
import numpy, nanostep
from nanostep.backends import load
from nanostep.benchmark.tasks.memory import resident, unmeasurable
before = 0 if unmeasurable() else resident("VmRSS")
started = time.perf_counter()
load({backend!r})
seconds = time.perf_counter() - started
print(json.dumps([1e3 * seconds, 0 if unmeasurable() else (resident("VmRSS") - before) / 2**20]))
"""

QUICK_SAMPLES = 150


def inspect(request: Request, *, on_progress: Callable[[str, int, int], object]) -> dict[str, Any]:
    """Return what is known about the backends besides the figures.

    Returns
    -------
    dict
        lines: see `lines_of_code.count_lines`; load: backend -> milliseconds and MiB of loading it in a fresh process
        that has imported nanostep, or the reason why it cannot be loaded; code: task -> backend -> see
        `sampling.profile`.
    """
    tasks = [name for name in request.tasks if isinstance(TASKS[name], (Training, Call))]
    total, done = len(tasks) * len(OUR_BACKENDS), 0
    result: dict[str, Any] = {
        "lines": count_lines(),
        "load": {backend: _load(backend, request.repeats) for backend in OUR_BACKENDS},
        "code": {name: {} for name in tasks},
    }
    samples = {"samples": QUICK_SAMPLES} if request.quick else {}
    for name in tasks:
        for backend in OUR_BACKENDS:
            on_progress(f"{name} {backend} machine code", done, total)
            result["code"][name][backend] = profile(name, backend, **samples)
            done += 1
    return result


def _load(backend: str, repeats: int) -> dict[str, float] | str:
    code = LOAD.format(backend=backend)
    try:
        with pinned(choose_cores(1)):
            run_python(code)
            figures = [json.loads(run_python(code)) for _ in range(repeats)]
    except RuntimeError as error:
        return str(error)
    milliseconds, mebibytes = (statistics.median(values) for values in zip(*figures, strict=True))
    return {"ms": milliseconds, "MiB": mebibytes}
