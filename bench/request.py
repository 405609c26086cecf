"""The arguments of the benchmark, checked before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nanostep._checks import check_choice, check_integer, check_real
from nanostep.benchmark.contenders import CONTENDERS
from nanostep.benchmark.lanes import core_count
from nanostep.benchmark.tasks import GROUPS, TASKS

OUR_BACKENDS = ("c", "numba", "numpy")
BACKEND_TASKS = tuple(
    [name for name in GROUPS["W"] if name != "W1-mild"]
    + ["K1", "K2"]
    + [name for group in ("T", "M1") for name in GROUPS[group]]
)
"""The tasks that ``--backends`` measures."""

SECONDS, REPEATS = 0.2, 5
QUICK_SECONDS, QUICK_REPEATS = 0.03, 3

QUICK_BUDGET = 100.0
"""Seconds after which ``--quick`` begins no further repeat; the longest repeat ends within the two minutes promised."""


@dataclass(frozen=True)
class Request:
    """Checked arguments.

    Attributes
    ----------
    tasks, contenders : tuple of str
    cores : tuple of int
    seconds : float
        Aim for the length of one repeat.
    repeats : int
    quick : bool
    budget : float
        Seconds after which no further repeat begins.
    named : bool
        True if contenders were requested by name.
    backends : bool
        True if machine code and lines of code of our backends are inspected as well.
    """

    tasks: tuple[str, ...]
    contenders: tuple[str, ...]
    cores: tuple[int, ...]
    seconds: float
    repeats: int
    quick: bool
    budget: float
    named: bool
    backends: bool = False


def check_request(
    tasks: Sequence[str] | None = None,
    contenders: Sequence[str] | None = None,
    cores: Sequence[str] | None = None,
    *,
    seconds: float | None = None,
    repeats: int | None = None,
    quick: bool = False,
    backends: bool = False,
) -> Request:
    """Return the checked request; None stands for all tasks, contenders or cores.

    Parameters
    ----------
    tasks : sequence of str, optional
        Names of tasks, or of groups such as "G1". With `quick`, only some by default.
    contenders : sequence of str, optional
    cores : sequence of str, optional
        Numbers, or "all"; by default 1 and all.
    seconds : float, optional
        0.2 by default, 0.03 with `quick`.
    repeats : int, optional
        5 by default, 3 with `quick`.
    quick : bool, default=False
    backends : bool, default=False
        Measure our three backends, on the tasks of `BACKEND_TASKS` unless others are named.

    Raises
    ------
    TypeError, ValueError
        An unknown name, a number out of range, or contenders beside `backends`.
    """
    if backends:
        if contenders is not None:
            raise ValueError("backends and contenders: accepted is one of them; backends are c, numba and numpy")
        contenders = OUR_BACKENDS
        tasks = tasks or BACKEND_TASKS
    chosen_seconds = (QUICK_SECONDS if quick else SECONDS) if seconds is None else seconds
    chosen_repeats = (QUICK_REPEATS if quick else REPEATS) if repeats is None else repeats
    check_real("seconds", chosen_seconds, 0.0, open_low=True)
    check_integer("repeats", chosen_repeats, 1)
    names = dict.fromkeys(check_choice("contenders", name, tuple(CONTENDERS)) for name in contenders or CONTENDERS)
    return Request(
        tasks=_check_tasks(tasks, quick),
        contenders=tuple(names),
        cores=_check_cores(cores or ("1", "all")),
        seconds=chosen_seconds,
        repeats=chosen_repeats,
        quick=quick,
        budget=QUICK_BUDGET if quick else float("inf"),
        named=contenders is not None,
        backends=backends,
    )


def _check_tasks(tasks: Sequence[str] | None, quick: bool) -> tuple[str, ...]:
    if tasks is None:
        return tuple(name for name, task in TASKS.items() if task.in_quick or not quick)
    names: dict[str, None] = {}
    for name in tasks:
        # single points of a series are accepted, but not listed in the error
        if name not in TASKS:
            known = tuple(name for name in TASKS if "=" not in name)
            check_choice("tasks", name, (*known, *GROUPS))
        group = GROUPS.get(name, (name,))
        names.update(dict.fromkeys(task for task in group if not quick or name == task or TASKS[task].in_quick))
    return tuple(names)


def _check_cores(cores: Sequence[str]) -> tuple[int, ...]:
    available = core_count()
    numbers = set()
    for text in cores:
        try:
            numbers.add(available if text == "all" else check_integer("cores", int(text), 1, available))
        except ValueError as error:
            raise ValueError(f"cores={text!r}: accepted are numbers from 1 to {available} and 'all'") from error
    return tuple(sorted(numbers))
