"""What a task is: something to measure, how to check it, and the machine's floor for it."""

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
        Most epochs in a row from the initial weights: the reference must run as many.
    quick : bool
        True under ``--quick``.
    """

    seconds: float = 0.2
    epoch_limit: int = 1
    quick: bool = False


@dataclass(frozen=True)
class Sample:
    """One repeat: the figure in the task's unit, what proves it, and what ran as the library reports it."""

    value: float
    evidence: Evidence | None = None
    about: dict[str, Any] = field(default_factory=dict)


class Session(ABC):
    """A task on a contender, ready in a worker process."""

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
        As in WORKLOADS; points of a series are called "G1/width=64".
    workload : Workload
    unit : str
        Of the figures; less is better.
    scales : bool
        True if it is worth a measurement on several cores.
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
        """The family that a point belongs to, such as "G1/width"; its own name for other tasks."""
        return self.name.partition("=")[0]

    def cannot(self, contender: Contender) -> str:
        """Return why the contender cannot do this, or ""."""
        return contender.cannot(self.workload, "train")

    def epoch_limit(self) -> int:
        """Return how many epochs the reference can run in reasonable time; called once, by the reference's worker."""
        return 1

    @abstractmethod
    def prepare(self, contender: Contender, cores: int, settings: Settings) -> Session:
        """Make ready; runs in the worker process."""

    def judge(self, evidence: Evidence) -> Agreement:
        """Compare with the reference; runs in the reference's worker."""
        from nanostep.benchmark.agreement import judge

        return judge(self.workload, evidence)

    def floor(self, floors: Floors) -> float | None:
        """Return what the cores of `floors` allow at best, in the task's unit; None if nobody can say."""
        del floors
        return None
