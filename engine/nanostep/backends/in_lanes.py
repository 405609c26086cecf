"""`InLanes`: the base of the engines of populations that train small networks in the lanes of vectors.

Names carry axes as in `nanostep.backends.population_contract`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np

from nanostep.architecture import Architecture
from nanostep.backends.contract import Engine
from nanostep.backends.one_by_one import OneByOne, Optimizers
from nanostep.backends.population_contract import (
    PopulationRunConfig,
    PopulationSamples,
    PopulationTask,
    PopulationTraining,
)
from nanostep.optimizers import SGD, Optimizer

LANE_BYTES = 64
"""Size of the widest vector of any instruction set."""

CACHE_BYTES = 1 << 20
"""Lanes are used while parameters, slots and gradient of a vector of networks fit into this, half of an L2 cache."""

WIDEST = 64
"""Units of a layer up to which lanes are used."""

FULL_GAIN = 3600.0
"""Networks that fill their lanes are trained 1 + FULL_GAIN / bytes of their parameters times as fast as one by one.
Measured in C with SGD and batches of 1 and 32: 4.6 and 4.2 times (8-16-4), 2.1 and 2.6 (16-32-8), 1.2 and 1.2
(64-64-10) in float32; 2.8 and 3.0, 1.5 and 1.6, 1.1 and 1.2 in float64."""

MOST_GAIN = 16.0
"""Upper bound of that factor."""


class InLanes(OneByOne, ABC):
    """A `PopulationEngine` that trains small networks in the lanes of vectors, by a backend's `_train_in_lanes`, and
    other networks one by one."""

    def __init__(
        self,
        engine: Engine,
        architecture: Architecture,
        optimizers: Optimizers,
        dtype: np.dtype,
        most_threads: Callable[[], int],
    ) -> None:
        super().__init__(engine, architecture, optimizers, most_threads)
        self._dtype = dtype
        self._ran: tuple[str, int] | None = None

    @property
    def isa(self) -> str:
        return self._ran[0] if self._ran is not None else self._engine.isa

    @property
    def threads(self) -> int:
        return self._ran[1] if self._ran is not None else super().threads

    def trains_in_parallel(self, networks: int, optimizer: Optimizer, config: PopulationRunConfig) -> bool:
        return self.use_lanes(networks, optimizer, config) or super().trains_in_parallel(networks, optimizer, config)

    def use_lanes(self, networks: int, optimizer: Optimizer, config: PopulationRunConfig) -> bool:
        """Return True if a population of this many networks is trained in lanes.

        Lanes need small networks, one order of samples for all of them, and neither dropout nor rates by layer. The
        decision is made for the population rather than for the networks of a call, because results in lanes are rounded
        differently.
        """
        seeds_agree = not config.shuffle or bool((config.seeds == config.seeds[0]).all())
        single = config.batch == 1 and config.is_simple and isinstance(optimizer, SGD) and optimizer.is_plain
        fit = self._lanes_fit(networks, len(optimizer.slots), vectors=2 if single else 1)
        return config.dropout is None and not config.layer_rates and seeds_agree and fit

    def _lanes_fit(self, networks: int, slots: int = 0, vectors: int = 1) -> bool:
        """Return True if networks are faster in lanes, which train at least `vectors` vectors of them at a time."""
        parameters, size = self._architecture.parameter_count, self._dtype.itemsize
        fits = (2 + slots) * parameters * LANE_BYTES <= CACHE_BYTES and max(self._architecture.sizes) <= WIDEST
        lanes = LANE_BYTES // size * vectors
        used = networks / (-(-networks // lanes) * lanes)
        return fits and networks > 1 and used * min(MOST_GAIN, 1 + FULL_GAIN / (parameters * size)) > 1

    def train(self, training: PopulationTraining, task: PopulationTask) -> None:
        lanes = self.use_lanes(len(training.theta__mp), training.optimizer, training.config)
        if lanes and not training.data.samples.has_missing and self._lanes_support(training.data, task):
            self._ran = self._train_in_lanes(training, task)
        else:
            self._ran = None
            super().train(training, task)

    @abstractmethod
    def _lanes_support(self, data: PopulationSamples, task: PopulationTask) -> bool:
        """Return True if lanes support the data and the tasks of a run."""

    @abstractmethod
    def _train_in_lanes(self, training: PopulationTraining, task: PopulationTask) -> tuple[str, int]:
        """Train as `train` does; return the instruction set and the number of threads that it ran with."""
