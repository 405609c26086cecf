"""Times backends on workloads: interleaved repeats, so that a busy moment of the machine falls on all of them alike."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from nanostep._checks import check_integer, check_real
from nanostep._names import check_choice
from nanostep.backends import PACKAGES, available_backends, load
from nanostep.benchmark.agreement import Agreement, check_agreement
from nanostep.benchmark.workloads import WORKLOADS, Workload, make_data

REPEATS = 5


@dataclass(frozen=True)
class Row:
    """What one backend did on one workload.

    Attributes
    ----------
    workload : Workload
    backend : str
    agreement : Agreement
        With the reference, found before the timing.
    isa : str
        Instruction set that the kernels reported; "" where the backend does not say.
    threads : int
        Threads the backend was given; 0 if nothing was timed. The BLAS under ``numpy`` may take more.
    steps : int
        Steps per repeat; 0 if nothing was timed.
    seconds : tuple of float
        Wall time of every repeat; empty if the backend disagrees with the reference.
    """

    workload: Workload
    backend: str
    agreement: Agreement
    isa: str = ""
    threads: int = 0
    steps: int = 0
    seconds: tuple[float, ...] = field(default=())

    @property
    def us_per_step(self) -> float:
        """Median time of a step in microseconds; NaN if nothing was timed."""
        return 1e6 * statistics.median(self.seconds) / self.steps if self.seconds else math.nan

    @property
    def spread(self) -> float:
        """Slowest minus fastest repeat, over the median; NaN if nothing was timed."""
        if not self.seconds:
            return math.nan
        return (max(self.seconds) - min(self.seconds)) / statistics.median(self.seconds)

    @property
    def steps_per_s(self) -> float:
        return 1e6 / self.us_per_step

    @property
    def samples_per_s(self) -> float:
        return self.steps_per_s * self.workload.rows / self.workload.steps_per_epoch

    def to_dict(self) -> dict[str, Any]:
        """Return all fields and figures as plain numbers, strings and lists; figures are None if not timed."""
        figures = {
            name: getattr(self, name) if self.seconds else None
            for name in ("us_per_step", "spread", "steps_per_s", "samples_per_s")
        }
        return {**asdict(self), "agrees": self.agreement.ok, **figures}


class Contender:
    """One backend on one workload, ready to run. The interface that other libraries would have to offer too."""

    def __init__(self, workload: Workload, backend: str) -> None:
        self._workload = workload
        self._x, self._y = make_data(workload)
        self._net = workload.make_network(backend)
        self._theta = self._net.theta.copy()

    def run(self, epochs: int) -> float:
        """Train for some epochs from the initial weights and return the seconds it took."""
        self._net.theta = self._theta
        history = self._net.train(
            self._x, self._y, epochs, self._workload.batch, self._workload.make_optimizer(), shuffle=False
        )
        self.isa, self.threads = history.isa, history.threads
        return history.seconds

    def calibrate(self, seconds: float) -> int:
        """Return the number of epochs that take about `seconds`; compiles and warms up on the way."""
        self.run(1)
        return max(1, math.ceil(seconds / max(self.run(1), 1e-9)))


def check_request(
    tasks: Sequence[str] | None, backends: Sequence[str] | None, seconds: float, repeats: int = REPEATS
) -> tuple[tuple[Workload, ...], tuple[str, ...]]:
    """Return the workloads and backends asked for; None stands for all workloads and all available backends.

    Raises
    ------
    TypeError, ValueError
        An unknown name, or a number out of range.
    BackendUnavailable
        A backend asked for by name cannot run here.
    """
    check_real("seconds", seconds, 0.0, open_low=True)
    check_integer("repeats", repeats, 1)
    workloads = tuple(WORKLOADS[check_choice("tasks", task, tuple(WORKLOADS))] for task in tasks or WORKLOADS)
    names = tuple(check_choice("backends", backend, tuple(PACKAGES)) for backend in backends or available_backends())
    for name in names:
        load(name)
    return workloads, names


def rows(
    tasks: Sequence[str] | None = None,
    backends: Sequence[str] | None = None,
    *,
    seconds: float = 0.2,
    repeats: int = REPEATS,
    on_progress: Callable[[str], object] = lambda done: None,
) -> list[Row]:
    """Check, then time, every backend on every workload.

    Parameters
    ----------
    tasks : sequence of str, optional
        Names in `WORKLOADS`; all by default.
    backends : sequence of str, optional
        All that are available by default.
    seconds : float, default=0.2
        Aim for the length of one repeat; a repeat is at least one epoch.
    repeats : int, default=5
    on_progress : callable, optional
        Called with what is about to run, such as "W1 c check"; `repeats` + 1 times for each row.

    Returns
    -------
    list of Row
        In the order of tasks, then backends. One that disagrees with the reference has no times.
    """
    workloads, names = check_request(tasks, backends, seconds, repeats)
    return [row for workload in workloads for row in _measure(workload, names, seconds, repeats, on_progress)]


def _measure(
    workload: Workload, backends: Sequence[str], seconds: float, repeats: int, on_progress: Callable[[str], object]
) -> list[Row]:
    agreements, contenders = {}, {}
    for backend in backends:
        on_progress(f"{workload.name} {backend} check")
        agreements[backend] = check_agreement(workload, backend)
        if agreements[backend].ok:
            contender = Contender(workload, backend)
            contenders[backend] = (contender, contender.calibrate(seconds))
    times: dict[str, list[float]] = {backend: [] for backend in backends}
    for repeat in range(repeats):
        for backend in backends:
            on_progress(f"{workload.name} {backend} {repeat + 1}/{repeats}")
            if backend in contenders:
                contender, epochs = contenders[backend]
                times[backend].append(contender.run(epochs))
    measured = []
    for backend in backends:
        row = Row(workload, backend, agreements[backend])
        if backend in contenders:
            contender, epochs = contenders[backend]
            steps = epochs * workload.steps_per_epoch
            row = Row(
                workload, backend, agreements[backend], contender.isa, contender.threads, steps, tuple(times[backend])
            )
        measured.append(row)
    return measured
