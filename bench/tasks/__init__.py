"""Tasks, the things to measure: one file for each family."""

from nanostep.benchmark.tasks import batch_calls, calls, datasets, memory, populations, scaling, start, steps
from nanostep.benchmark.tasks.base import Task

TASKS: dict[str, Task] = {
    task.name: task
    for family in (steps, datasets, populations, calls, batch_calls, start, memory, scaling)
    for task in family.TASKS
}
"""All tasks by name, in the order in which they run."""

GROUPS: dict[str, tuple[str, ...]] = {
    "W": tuple(task.name for task in steps.TASKS),
    "data": tuple(task.name for task in datasets.TASKS),
    "P": tuple(task.name for task in populations.TASKS),
    "K": tuple(task.name for task in (*calls.TASKS, *batch_calls.TASKS)),
    **{
        name: tuple(task.name for task in batch_calls.TASKS if task.name.startswith(f"{name}/"))
        for name in ("K3", "K4", "K5", "K5-vjp", "K6", "K6-32")
    },
    "T": tuple(task.name for task in start.TASKS),
    "G1": tuple(task.name for task in scaling.TASKS),
    "M1": tuple(task.name for task in memory.TASKS),
}
"""Names that stand for several tasks: those of a family, and the series "G1/width", "G1/batch" and "G1/rows"."""

for _task in scaling.TASKS:
    GROUPS[_task.series] = (*GROUPS.get(_task.series, ()), _task.name)

__all__ = ["GROUPS", "TASKS", "Task"]
