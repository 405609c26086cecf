"""Data sets: the handwritten digits, and 60,000 synthetic images of MNIST's shape; epochs per second are shown too."""

from __future__ import annotations

from nanostep.benchmark.tasks.training import Training
from nanostep.benchmark.workload import Workload

WORKLOADS = {
    workload.name: workload
    for workload in (
        # 1,792 of the 1,797 digits make 56 whole batches, because lax.scan needs batches of equal size
        Workload("digits", (64, 32, 10), "relu", "softmax", "cross_entropy", 32, "float32", "sgd", 0.1, 1792, "digits"),
        Workload(
            "images", (784, 128, 10), "relu", "softmax", "cross_entropy", 32, "float32", "sgd", 0.02, 60_000, "images"
        ),
    )
}

TASKS = (
    Training("digits", WORKLOADS["digits"]),
    Training("images", WORKLOADS["images"], in_quick=False),
)
