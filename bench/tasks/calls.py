"""K1 and K2: the cost of a call from Python for one row of W1's network."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from nanostep.benchmark.agreement import REFERENCE, Agreement, Evidence, deviation
from nanostep.benchmark.contenders import Contender
from nanostep.benchmark.tasks.base import Sample, Session, Settings, Task
from nanostep.benchmark.tasks.steps import WORKLOADS
from nanostep.benchmark.workload import make_data

CALLS = 256
"""Calls of one pass, each with another row; the loop around them costs some 0.03 us a call and is included."""

TOLERANCE = 1e-10


class CallSession(Session):
    def __init__(self, task: Call, contender: Contender, settings: Settings) -> None:
        self._task, self._settings = task, settings
        self._online = contender.online(task.workload)
        x, y = make_data(task.workload)
        self._rows = [(np.array(a), np.array(b)) for a, b in zip(x[:CALLS], y[:CALLS], strict=True)]

    def check(self) -> Evidence:
        self._pass()
        return self._evidence(timed=False)

    def run(self) -> Sample:
        seconds, passes = 0.0, 0
        while seconds < self._settings.seconds:
            seconds += self._pass()
            passes += 1
        return Sample(1e6 * seconds / (passes * CALLS), self._evidence(timed=True), {"calls": passes * CALLS})

    def _pass(self) -> float:
        self._online.reset()
        rows = self._rows
        if self._task.call == "predict":
            predict = self._online.predict
            started = time.perf_counter()
            for x, _ in rows:
                output = predict(x)
            seconds = time.perf_counter() - started
            self._last = float(output[0])
            return seconds
        step = self._online.step
        started = time.perf_counter()
        for x, y in rows:
            loss = step(x, y)
        seconds = time.perf_counter() - started
        self._last = float(loss)
        return seconds

    def _evidence(self, timed: bool) -> Evidence:
        return Evidence(CALLS, 1, self._last, self._online.theta(), self._task.workload.dtype, timed)


@dataclass(frozen=True)
class Call(Task):
    """Repeated calls of `step` or `predict`. The evidence is the last result and the parameters."""

    call: str = "step"

    @property
    def title(self) -> str:
        what = "net.step(x, y, lr)" if self.call == "step" else "net.predict(x)"
        return f"one call of {what} from Python; {self.workload.network}"

    def cannot(self, contender: Contender) -> str:
        return contender.cannot(self.workload, self.call)

    def prepare(self, contender: Contender, cores: int, settings: Settings) -> Session:
        del cores
        return CallSession(self, contender, settings)

    def judge(self, evidence: Evidence) -> Agreement:
        net = self.workload.make_network(REFERENCE)
        x, y = make_data(self.workload)
        last = np.nan
        for row in range(evidence.rows):
            if self.call == "predict":
                last = float(net.predict(x[row])[0])
            else:
                last = net.step(x[row], y[row], self.workload.lr)
        return Agreement(
            deviation(np.array([last]), np.array([evidence.loss])),
            deviation(net.theta, evidence.theta),
            TOLERANCE,
            TOLERANCE,
            evidence.rows,
        )


TASKS = (
    Call("K1", WORKLOADS["W1"], "us/call", scales=False, call="step"),
    Call("K2", WORKLOADS["W1"], "us/call", scales=False, call="predict"),
)
