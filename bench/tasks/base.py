"""`Task`, the base class of things to measure: their workload, check and floor; and `Session`, a task in a worker."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nanostep.benchmark.agreement import Agreement, Evidence
from nanostep.benchmark.contenders import Contender
from nanostep.benchmark.workload import Workload

if TYPE_CHECKING:
    from nanostep.benchmark.floors import Floors


@dataclass(frozen=True)
class Settings:
    """How long a measurement may take.

    Attributes
    ----------
    seconds : float
        Aim for the length of one repeat.
    epoch_limit : int
        Most epochs of a run from the initial weights, because the reference must run as many.
    quick : bool
        True with ``--quick``.
    """

    seconds: float = 0.2
    epoch_limit: int = 1
    quick: bool = False


@dataclass(frozen=True)
class Sample:
    """One repeat: the figure in the task's unit, its evidence, and the library's report of the run."""

    value: float
    evidence: Evidence | None = None
    about: dict[str, Any] = field(default_factory=dict)


class Session(ABC):
    """A task on a contender, prepared in a worker process."""

    def check(self) -> Evidence | None:
        """Make the short run that is checked before anything is timed."""
        return None

    @abstractmethod
    def run(self) -> Sample:
        """Make one repeat."""


@dataclass(frozen=True)
class Task(ABC):
    """Something to measure.

    Attributes
    ----------
    name : str
        As in WORKLOADS; points of a series have names such as "G1/width=64".
    workload : Workload
    unit : str
        Unit of the figures, of which less is better.
    scales : bool
        True if it is also measured on several cores.
    in_quick : bool
    """

    name: str
    workload: Workload
    unit: str = "us/step"
    scales: bool = True
    in_quick: bool = True

    @property
    def title(self) -> str:
        return self.workload.title

    @property
    def series(self) -> str:
        """The series of a point, such as "G1/width"; for other tasks their own name."""
        return self.name.partition("=")[0]

    def cannot(self, contender: Contender) -> str:
        """Return why the contender cannot run this task, or ""."""
        return contender.cannot(self.workload, "train")

    def epoch_limit(self) -> int:
        """Return how many epochs the reference can run in reasonable time; called once, by the reference's worker."""
        return 1

    @abstractmethod
    def prepare(self, contender: Contender, cores: int, settings: Settings) -> Session:
        """Return a prepared session; runs in the worker process."""

    def judge(self, evidence: Evidence) -> Agreement:
        """Compare the evidence with the reference; runs in the reference's worker."""
        from nanostep.benchmark.agreement import judge

        return judge(self.workload, evidence)

    def floor(self, floors: Floors) -> float | None:
        """Return the least figure that the cores of `floors` allow, in the task's unit; None if it is not known."""
        del floors
        return None
