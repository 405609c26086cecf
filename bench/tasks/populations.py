"""P1 and P2: populations of a thousand to a million small networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nanostep.benchmark.contenders import Contender
from nanostep.benchmark.contenders.base import Run, Trainer
from nanostep.benchmark.tasks.training import Training
from nanostep.benchmark.workload import PopulationWorkload

if TYPE_CHECKING:
    from nanostep.benchmark.floors import Floors


@dataclass(frozen=True)
class Populations(Training):
    """A workload of many networks, timed by the step of one network."""

    workload: PopulationWorkload

    def cannot(self, contender: Contender) -> str:
        if not contender.most_networks:
            return "has no way to train networks side by side"
        if self.workload.networks > contender.most_networks:
            return f"left out above {contender.most_networks:,} networks, which take it too long"
        return contender.cannot(self.workload, "population")

    def make_trainer(self, contender: Contender, x: np.ndarray, y: np.ndarray, cores: int) -> Trainer:
        return contender.population(self.workload, x, y, cores)

    def outcome(self, run: Run) -> tuple[float | np.ndarray, np.ndarray]:
        checked = list(self.workload.checked)
        return np.asarray(run.loss)[checked], run.theta[checked]

    def per_step(self, seconds: float) -> float:
        return 1e9 * seconds / self.workload.networks

    def floor(self, floors: Floors) -> float | None:
        from nanostep.benchmark.floors import population_floor

        return self.per_step(population_floor(self.workload, floors))


def _workload(
    name: str, sizes: tuple[int, ...], batch: int, dtype: str, networks: int, rows: int
) -> PopulationWorkload:
    """Return a workload of networks that are sigmoid throughout."""
    loss = "half_squared_error"
    return PopulationWorkload(
        name, sizes, "sigmoid", "sigmoid", loss, batch, dtype, "sgd", 0.5, rows, networks=networks
    )


WORKLOADS = {
    workload.name: workload
    for workload in (
        _workload("P1-f32", (2, 2, 1), 1, "float32", 1024, 2048),
        _workload("P1-f64", (2, 2, 1), 1, "float64", 1024, 2048),
        _workload("P1-f32-16k", (2, 2, 1), 1, "float32", 16_384, 512),
        _workload("P1-f64-16k", (2, 2, 1), 1, "float64", 16_384, 512),
        # few steps, so that a repeat takes about a second
        _workload("P1-f32-1M", (2, 2, 1), 1, "float32", 1_000_000, 128),
        _workload("P1-f64-1M", (2, 2, 1), 1, "float64", 1_000_000, 128),
        _workload("P2", (4, 16, 3), 32, "float32", 1024, 4096),
    )
}
"""The workloads by name."""

# A peer that is slow takes half a minute for its repeats: too much for --quick.
TASKS = tuple(Populations(name, workload, "ns/network/step", in_quick=False) for name, workload in WORKLOADS.items())
