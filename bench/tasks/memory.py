"""M1: memory of a run beyond data and parameters, at any number of steps; and of networks that are made and dropped."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from pathlib import Path

from nanostep.benchmark.agreement import Evidence
from nanostep.benchmark.contenders import Contender
from nanostep.benchmark.tasks.base import Sample, Session, Settings, Task
from nanostep.benchmark.tasks.steps import WORKLOADS
from nanostep.benchmark.workload import make_data

STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")

SHORT, LONG = 4, 64
"""Epochs of the two runs, which must need the same memory."""

NETWORKS = {True: 500, False: 20_000}
"""Networks that are made, trained and dropped, with ``--quick`` and without it."""


def resident(field: str) -> int:
    """Return VmRSS or VmHWM (the maximum since its reset) of this process in bytes."""
    for line in STATUS.read_text(encoding="ascii").splitlines():
        if line.startswith(field + ":"):
            return 1024 * int(line.split()[1])
    raise RuntimeError(f"{STATUS} has no {field}")


def unmeasurable() -> str:
    """Return why memory cannot be measured here, or ""."""
    return "" if CLEAR.exists() else f"needs Linux's {CLEAR}"


class RunSession(Session):
    def __init__(self, task: RunMemory, contender: Contender, cores: int) -> None:
        self._task = task
        self._loss_dtype = contender.loss_dtype or task.workload.dtype
        self._trainer = contender.trainer(task.workload, *make_data(task.workload), cores)
        before = resident("VmRSS")
        self._trainer.run(SHORT)
        self._first = (resident("VmRSS") - before) / 1024

    def run(self) -> Sample:
        peaks = {}
        for epochs in (SHORT, LONG):
            gc.collect()
            CLEAR.write_text("5", encoding="ascii")  # resets VmHWM
            before = resident("VmRSS")
            run = self._trainer.run(epochs)
            peaks[epochs] = (resident("VmHWM") - before) / 1024
        evidence = Evidence(self._task.workload.rows, LONG, run.loss, run.theta, self._loss_dtype, timed=True)
        return Sample(
            peaks[LONG],
            evidence,
            {"kept_by_the_first_run": self._first, **{f"after_{n}_epochs": peak for n, peak in peaks.items()}},
        )


@dataclass(frozen=True)
class RunMemory(Task):
    """Growth of the resident set while W4 is trained for `LONG` epochs."""

    @property
    def title(self) -> str:
        return f"most memory taken by a run of {LONG} epochs of W4 beyond what was there before"

    def cannot(self, contender: Contender) -> str:
        return unmeasurable() or contender.cannot(self.workload, "train")

    def prepare(self, contender: Contender, cores: int, settings: Settings) -> Session:
        del settings
        return RunSession(self, contender, cores)


class DropSession(Session):
    def __init__(self, task: DropMemory, contender: Contender, settings: Settings) -> None:
        self._workload, self._contender = task.workload, contender
        self._count = NETWORKS[settings.quick]
        x, y = make_data(task.workload)
        self._samples = x[:4], y[:4]
        self._make(self._count // 4)  # allocates the memory that is kept for good

    def run(self) -> Sample:
        gc.collect()
        before = resident("VmRSS")
        self._make(self._count)
        gc.collect()
        return Sample((resident("VmRSS") - before) / self._count, None, {"networks": self._count})

    def _make(self, count: int) -> None:
        for _ in range(count):
            self._contender.trainer(self._workload, *self._samples, 1).run(1)


@dataclass(frozen=True)
class DropMemory(Task):
    """Growth of the resident set over many networks that are made, trained and dropped, per network."""

    @property
    def title(self) -> str:
        return f"memory left behind by a network that is made, trained and dropped; {self.workload.network}"

    def cannot(self, contender: Contender) -> str:
        return unmeasurable() or contender.cannot(self.workload, "many")

    def prepare(self, contender: Contender, cores: int, settings: Settings) -> Session:
        del cores
        return DropSession(self, contender, settings)


TASKS = (
    RunMemory("M1-run", WORKLOADS["W4"], "KiB", scales=False),
    DropMemory("M1-drop", WORKLOADS["W1"], "byte/network", scales=False),
)
