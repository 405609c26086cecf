"""The benchmark: backends x workloads, checked for equal results and then timed.

``nanostep bench`` and the tests in ``bench/`` both run what is here.
"""

from nanostep.benchmark.agreement import TOLERANCES, Agreement, check_agreement
from nanostep.benchmark.measure import Row, rows
from nanostep.benchmark.report import run_command
from nanostep.benchmark.workloads import WORKLOADS, Workload, make_data

__all__ = [
    "TOLERANCES",
    "WORKLOADS",
    "Agreement",
    "Row",
    "Workload",
    "check_agreement",
    "make_data",
    "rows",
    "run_command",
]
