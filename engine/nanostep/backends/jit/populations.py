"""Populations compiled by Numba: networks in the lanes of vectors, or one by one where lanes cannot be used."""

from __future__ import annotations

import numpy as np
from numba.core import config as numba_config

from nanostep.architecture import Architecture
from nanostep.backends.in_lanes import InLanes
from nanostep.backends.jit import networks, optimizers
from nanostep.backends.jit._compile import specialised
from nanostep.backends.jit._kernel import vector_bytes
from nanostep.backends.jit._threads import most_threads, run_team
from nanostep.backends.jit.lanes import LaneData, Lanes, make_lanes
from nanostep.backends.jit.lanes_update import lane_rule_of, rule_tables
from nanostep.backends.jit.networks import aligned, flat, is_plain
from nanostep.backends.jit.population import SAMPLES_TOGETHER, PopulationRun, draw_orders, train_tiles
from nanostep.backends.population_contract import (
    PopulationRunConfig,
    PopulationSamples,
    PopulationTask,
    PopulationTraining,
)
from nanostep.optimizers import Optimizer

Array = np.ndarray

THREAD_FLOPS = 2e7
"""Least work of a thread, half a millisecond, where the run does not say how many threads to use."""


class Engine(InLanes):
    """See `nanostep.backends.population_contract.PopulationEngine`."""

    def __init__(self, architecture: Architecture, dtype: np.dtype) -> None:
        super().__init__(networks.Engine(architecture, dtype), architecture, optimizers, dtype, most_threads)

    def use_lanes(self, networks: int, optimizer: Optimizer, config: PopulationRunConfig) -> bool:
        return config.is_simple and not config.custom_order and super().use_lanes(networks, optimizer, config)

    def _lanes_support(self, data: PopulationSamples, call: PopulationTask) -> bool:
        return data.weight is None and call.rates is None

    def _train_in_lanes(self, training: PopulationTraining, call: PopulationTask) -> tuple[str, int]:
        theta__mp, slots__msp, data, optimizer, config = training
        batch = min(config.batch, len(data))
        single = batch == 1 and is_plain(optimizer)
        net = make_lanes(self._architecture, self._dtype, vector_bytes(), len(optimizer.slots), batch, single)
        rule = lane_rule_of(optimizer, self._dtype, single)
        whole = np.append(call.indices, np.full(-len(call.indices) % net.width, call.indices[-1]))
        cancel = np.zeros(1, np.int32) if config.cancel is None else config.cancel
        theta, slots = theta__mp.reshape(-1), slots__msp.reshape(-1)
        run = PopulationRun(
            whole, *rule_tables(optimizer, rule, whole), SAMPLES_TOGETHER if single else batch, call.updates, theta,
            slots, self._data(data, config, call), np.zeros(1, np.int64), cancel, call.loss, call.done,
        )  # fmt: skip
        train = specialised(train_tiles, net, rule)

        def work(number: int) -> int:
            train(net, rule, run, aligned(net.memory_size, self._dtype), np.empty(net.width))
            return number

        threads = self._workers(net, data, config, call)
        if threads == 1:
            work(0)
        else:
            run_team(work, threads)
        return {64: "avx512", 32: "avx2"}.get(vector_bytes(), ""), threads

    def _workers(self, net: Lanes, data: PopulationSamples, config: PopulationRunConfig, call: PopulationTask) -> int:
        """Threads of a call."""
        flops = 6.0 * net.parameters * len(data) * call.loss.size
        wanted = min(most_threads(), int(flops / THREAD_FLOPS)) if config.threads is None else config.threads
        tiles = -(-len(call.indices) // net.width)
        return 1 if numba_config.DISABLE_JIT else max(1, min(wanted, tiles))

    def _data(self, data: PopulationSamples, config: PopulationRunConfig, call: PopulationTask) -> LaneData:
        x, y, labels, rows = (
            None if array is None else flat(array)
            for array in (data.samples.x, data.samples.y, data.samples.labels, data.rows)
        )
        off, orders__en = config.smoothing / self._architecture.outputs, None
        if config.shuffle:
            orders__en = np.empty((call.epochs, len(data)), np.int64)
            specialised(draw_orders)(config.seeds[0], call.epoch, orders__en)
        return LaneData(len(data), x, y, labels, 1.0 - config.smoothing + off, off, orders__en, rows)
