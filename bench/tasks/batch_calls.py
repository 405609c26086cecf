"""K3 to K8: the cost of calls from Python with batches, as in loops of one's own."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from nanostep.benchmark.agreement import (
    REFERENCE,
    TIMED_LOSS_TOLERANCES,
    TIMED_THETA_TOLERANCES,
    TOLERANCES,
    Agreement,
    Evidence,
    deviation,
)
from nanostep.benchmark.contenders import CONTENDERS, Contender
from nanostep.benchmark.contenders.base import Calls, Memory
from nanostep.benchmark.tasks.base import Sample, Session, Settings, Task
from nanostep.benchmark.workload import Workload, make_data
from nanostep.network import Network

CHECKED = 16
"""Calls of the check before timing."""

CALLS = 128
"""Calls of one pass, each with other rows; as in `calls`, the loop around them is included."""

TITLES = {
    "step": "net.step(X, Y)",
    "gradient": "net.gradient(X, Y)",
    "pull": "net.vjp(X), its pull-back with dX",
    "predict": "net.predict(X)",
    "learn": "a learning step of DQN from a replay memory",
}


def make_calls(workload: Workload, call: str, calls: Calls) -> list[Callable[[], Any]]:
    """Return the calls of a pass, each bound to its rows."""
    x, y = make_data(workload)
    n, function = workload.batch, getattr(calls, call)
    if call == "learn":
        random = np.random.default_rng(1)
        memory = Memory(x, (y[:, 0] > y[:, 1]).astype(np.int64), y[:, 0].copy(), x[:, 0] > 1, x[::-1].copy())
        picked = [random.integers(len(x), size=n) for _ in range(CALLS)]
        return [lambda i=i: function(memory, i) for i in picked]  # type: ignore[misc]
    starts = [n * (k % (len(x) // n)) for k in range(CALLS)]
    batches = [(x[start : start + n].copy(), y[start : start + n].copy()) for start in starts]
    if call == "predict":
        return [lambda x=x: function(x) for x, _ in batches]  # type: ignore[misc]
    return [lambda x=x, y=y: function(x, y) for x, y in batches]  # type: ignore[misc]


def evidence_of(workload: Workload, calls: Calls, result: Any, count: int, *, timed: bool) -> Evidence:
    """Return what a number of calls have led to: the last result, a number or one or more arrays, and theta."""
    parts = result if isinstance(result, tuple) else (0.0 if result is None else result,)
    flat = np.concatenate([np.ravel(part) for part in parts])
    return Evidence(count, 1, flat, calls.theta(), workload.dtype, timed)


class BatchCallSession(Session):
    def __init__(self, task: BatchCall, contender: Contender, settings: Settings) -> None:
        self._workload, self._settings = task.workload, settings
        self._calls = contender.calls(task.workload)
        self._pass = make_calls(task.workload, task.call, self._calls)
        self._about: dict[str, Any] = {}
        if contender.ours and task.call == "step":
            trainer = contender.trainer(task.workload, *make_data(task.workload), 1)
            trainer.run(1)
            seconds = min(trainer.run(4).seconds for _ in range(3))
            self._about["train_us"] = 1e6 * seconds / (4 * task.workload.steps_per_epoch)

    def check(self) -> Evidence:
        return self._make(CHECKED, timed=False)[1]

    def run(self) -> Sample:
        seconds, passes = 0.0, 0
        while seconds < self._settings.seconds:
            spent, evidence = self._make(CALLS, timed=True)
            seconds += spent
            passes += 1
        about = {"calls": passes * CALLS, **self._about}
        return Sample(1e6 * seconds / (passes * CALLS), evidence, about)

    def _make(self, count: int, *, timed: bool) -> tuple[float, Evidence]:
        self._calls.reset()
        functions, result = self._pass[:count], None
        started = time.perf_counter()
        for function in functions:
            result = function()
        seconds = time.perf_counter() - started
        return seconds, evidence_of(self._workload, self._calls, result, count, timed=timed)


@dataclass(frozen=True)
class BatchCall(Task):
    """Repeated calls with batches. The evidence is the last result and the parameters."""

    call: str = "step"

    @property
    def title(self) -> str:
        work = self.workload
        kind = f", {work.optimizer}" if self.call in ("step", "learn") else ""
        return f"one call of {TITLES[self.call]} from Python, {work.batch} rows{kind}; {work.network}"

    def cannot(self, contender: Contender) -> str:
        if type(contender).calls is Contender.calls:
            return "not written for calls with batches"
        return contender.cannot(self.workload, "calls")

    def prepare(self, contender: Contender, cores: int, settings: Settings) -> Session:
        del cores
        return BatchCallSession(self, contender, settings)

    def judge(self, evidence: Evidence) -> Agreement:
        reference = CONTENDERS[REFERENCE].calls(self.workload)
        result: Any = None
        for function in make_calls(self.workload, self.call, reference)[: evidence.rows]:
            result = function()
        right = evidence_of(self.workload, reference, result, evidence.rows, timed=evidence.timed)
        dtype = self.workload.dtype
        of_results = 0.0 if result is None else deviation(np.atleast_1d(right.loss), np.atleast_1d(evidence.loss))
        return Agreement(
            of_results,
            deviation(right.theta, evidence.theta),
            (TIMED_LOSS_TOLERANCES if evidence.timed else TOLERANCES)[dtype],
            (TIMED_THETA_TOLERANCES if evidence.timed else TOLERANCES)[dtype],
            evidence.rows,
        )


class MadeSession(Session):
    """Things that only we have: what is made is compared as a whole."""

    def __init__(self, task: Made, contender: Contender, settings: Settings) -> None:
        self._task, self._settings = task, settings
        self._make = task.maker(contender.name)

    def check(self) -> Evidence:
        return self._evidence(self._make())

    def run(self) -> Sample:
        seconds, count = 0.0, 0
        while seconds < self._settings.seconds:
            started = time.perf_counter()
            for _ in range(32):
                made = self._make()
            seconds += time.perf_counter() - started
            count += 32
        # a trained network has gone on learning: a new one is the evidence
        evidence = self._evidence(self._task.maker(made.backend)())
        return Sample(1e6 * seconds / count, evidence, {"calls": count})

    def _evidence(self, net: Network) -> Evidence:
        return Evidence(1, 1, 0.0, net.theta.copy(), net.dtype.name, timed=False)


@dataclass(frozen=True)
class Made(Task):
    """K7: a run of 100 rows, a new network, a copy."""

    call: str = "train"

    @property
    def title(self) -> str:
        what = {
            "train": "net.train(X, Y, epochs=1, batch_size=32) of 100 rows",
            "network": "Network(...)",
            "copy": "net.copy()",
        }[self.call]
        return f"one call of {what} from Python; {self.workload.network}"

    def maker(self, backend: str) -> Callable[[], Network]:
        """Return the call, which returns a network."""
        workload = self.workload
        if self.call == "network":
            return lambda: workload.make_network(backend)
        net, optimizer = workload.make_network(backend), workload.make_optimizer()
        if self.call == "copy":
            return net.copy
        x, y = make_data(workload)

        def train() -> Network:
            net.train(x, y, epochs=1, batch_size=workload.batch, optimizer=optimizer, threads=1)
            return net

        return train

    def cannot(self, contender: Contender) -> str:
        return "" if contender.ours else "a call of nanostep's own"

    def prepare(self, contender: Contender, cores: int, settings: Settings) -> Session:
        del cores
        return MadeSession(self, contender, settings)

    def judge(self, evidence: Evidence) -> Agreement:
        theta, tolerance = self.maker(REFERENCE)().theta, TOLERANCES[self.workload.dtype]
        return Agreement(0.0, deviation(theta, evidence.theta), tolerance, tolerance, evidence.rows)


def workload_of(sizes: tuple[int, ...], batch: int = 32, optimizer: str = "adam", rows: int = 4096) -> Workload:
    lr = 1e-3 if optimizer == "adam" else 0.01
    name = "-".join(map(str, sizes))
    return Workload(name, sizes, "tanh", "identity", "squared_error", batch, "float32", optimizer, lr, rows)


NETWORKS = ((4, 64, 64, 2), (8, 16, 4), (2, 2, 1))


def batch_call(name: str, call: str, sizes: tuple[int, ...], batch: int = 32, optimizer: str = "adam") -> BatchCall:
    workload = workload_of(sizes, batch, optimizer)
    return BatchCall(
        f"{name}/{workload.name}", workload, "us/call", scales=False, in_quick=name in ("K3", "K8"), call=call
    )


TASKS: tuple[Task, ...] = (
    *(batch_call("K3", "step", sizes) for sizes in NETWORKS),
    *(batch_call("K4", "step", sizes, optimizer="sgd") for sizes in NETWORKS),
    *(batch_call("K5", "gradient", sizes) for sizes in NETWORKS),
    *(batch_call("K5-vjp", "pull", sizes) for sizes in NETWORKS),
    *(batch_call("K6", "predict", sizes, 8) for sizes in NETWORKS),
    *(batch_call("K6-32", "predict", sizes) for sizes in NETWORKS),
    *(
        Made(f"K7-{call}", workload_of((4, 16, 2), optimizer="sgd", rows=100), "us/call", False, False, call)
        for call in ("train", "network", "copy")
    ),
    batch_call("K8", "learn", NETWORKS[0], 64),
)
