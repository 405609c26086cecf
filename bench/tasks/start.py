"""T1 and T2: the cost of starting, with each repeat in a fresh process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass

import numpy as np

from nanostep.benchmark.agreement import Evidence
from nanostep.benchmark.contenders import CONTENDERS, Contender
from nanostep.benchmark.tasks.base import Sample, Session, Settings, Task
from nanostep.benchmark.tasks.steps import WORKLOADS

IMPORT = """
import time
import numpy
started = time.perf_counter()
import {modules}
print(time.perf_counter() - started)
"""

FIRST_RUN = "from nanostep.benchmark.tasks.start import first_run; first_run({name!r})"

CACHES = ("NUMBA_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR", "JAX_COMPILATION_CACHE_DIR")


def run_python(code: str, **environment: str) -> str:
    """Run code in a fresh interpreter, pinned like this process, and return the last line that it prints."""
    result = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    if result.returncode:
        raise RuntimeError((result.stderr.strip() or f"exit code {result.returncode}").splitlines()[-1])
    return result.stdout.strip().splitlines()[-1]


class ImportSession(Session):
    def __init__(self, contender: Contender) -> None:
        self._code = IMPORT.format(modules=", ".join(contender.modules))
        run_python(self._code)  # the first import may write bytecode, and fills the system's file cache

    def run(self) -> Sample:
        return Sample(1e3 * float(run_python(self._code)))


@dataclass(frozen=True)
class Import(Task):
    """Wall time of importing the contender's modules, after NumPy."""

    @property
    def title(self) -> str:
        return "import in a fresh process, after `import numpy`"

    def cannot(self, contender: Contender) -> str:
        if contender.name in ("numba", "numpy"):
            return "one package with c"
        return "imports NumPy only" if contender.modules == ("numpy",) else contender.cannot(self.workload, "start")

    def prepare(self, contender: Contender, cores: int, settings: Settings) -> Session:
        del cores, settings
        return ImportSession(contender)


def first_run(name: str) -> None:
    """Prepare network and data and train one epoch; print the seconds, without imports, and the evidence."""
    import time

    from nanostep.benchmark.workload import make_data

    contender, workload = CONTENDERS[name], WORKLOADS["W1"]
    x, y = make_data(workload)
    contender.load()
    started = time.perf_counter()
    run = contender.trainer(workload, x, y, 1).run(1)
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "loss": float(run.loss), "theta": run.theta.tolist()}))


class FirstRunSession(Session):
    def __init__(self, task: FirstRun, contender: Contender) -> None:
        self._task, self._code = task, FIRST_RUN.format(name=contender.name)
        self._loss_dtype = contender.loss_dtype or task.workload.dtype
        if not task.cold:
            run_python(self._code)  # fills the contender's cache on disk, if it has one

    def run(self) -> Sample:
        if not self._task.cold:
            return self._read(run_python(self._code))
        with tempfile.TemporaryDirectory() as directory:
            return self._read(run_python(self._code, **dict.fromkeys(CACHES, directory)))

    def _read(self, line: str) -> Sample:
        values = json.loads(line)
        theta = np.array(values["theta"], self._task.workload.dtype)
        evidence = Evidence(self._task.workload.rows, 1, values["loss"], theta, self._loss_dtype, timed=True)
        return Sample(1e3 * values["seconds"], evidence)


@dataclass(frozen=True)
class FirstRun(Task):
    """Wall time from data in NumPy arrays to the end of the first epoch of W1 in a process, without imports."""

    cold: bool = False

    @property
    def title(self) -> str:
        caches = "disk caches empty" if self.cold else "disk caches filled"
        return f"first `train` of a process, one epoch of W1, imports left out, {caches}"

    def cannot(self, contender: Contender) -> str:
        if self.cold and contender.name not in ("numba", "torch-compile"):
            return "keeps no cache on disk: as T2"
        return contender.cannot(self.workload, "start")

    def prepare(self, contender: Contender, cores: int, settings: Settings) -> Session:
        del cores, settings
        return FirstRunSession(self, contender)


TASKS = (
    Import("T1", WORKLOADS["W1"], "ms", scales=False),
    FirstRun("T2", WORKLOADS["W1"], "ms", scales=False),
    FirstRun("T2-cold", WORKLOADS["W1"], "ms", scales=False, in_quick=False, cold=True),
)
