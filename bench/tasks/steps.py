"""W1 to W6, SC and D1: repeated optimiser steps on networks from 2-2-1 to 784-512-512-10."""

from __future__ import annotations

from nanostep.benchmark.tasks.training import Training
from nanostep.benchmark.workload import ROWS, Workload

WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("W1", (2, 2, 1), "sigmoid", "sigmoid", "half_squared_error", 1, "float64", "sgd", 0.5),
        # W1's network and cost, with data for which FANN, which clips saturated sigmoids, computes the same as all
        # others. FANN takes the rate as a float, in which this one is exact.
        Workload(
            "W1-mild", (2, 2, 1), "sigmoid", "sigmoid", "half_squared_error", 1, "float64", "sgd", 0.0625, ROWS, "mild"
        ),
        Workload("W2", (4, 16, 3), "tanh", "softmax", "cross_entropy", 1, "float64", "sgd", 0.05),
        Workload("W3", (8, 64, 64, 4), "tanh", "identity", "squared_error", 64, "float32", "adam", 1e-3),
        Workload("W4", (64, 32, 10), "relu", "softmax", "cross_entropy", 32, "float32", "sgd", 0.02),
        Workload("W5", (784, 128, 10), "relu", "softmax", "cross_entropy", 32, "float32", "sgd", 0.002),
        Workload("W6", (784, 512, 512, 10), "relu", "softmax", "cross_entropy", 128, "float32", "sgd", 0.002),
        Workload("D1", (32, 32, 32, 32, 10), "relu", "softmax", "cross_entropy", 32, "float32", "sgd", 0.02),
        Workload("SC", (4, 32, 16, 4), "tanh", "identity", "squared_error", 10_000, "float32", "adam", 1e-3, 10_000),
    )
}
"""The workloads by name."""

# With single samples all contenders use one thread.
TASKS = tuple(
    Training(name, workload, scales=workload.batch > 1, in_quick=name != "W1-mild")
    for name, workload in WORKLOADS.items()
)
