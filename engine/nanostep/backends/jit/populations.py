"""Populations compiled by Numba: networks in the lanes of vectors, or one by one where the lanes do not do it."""

from __future__ import annotations

import numpy as np
from numba.core import config

from nanostep.architecture import Architecture
from nanostep.backends.in_lanes import InLanes
from nanostep.backends.jit import networks
from nanostep.backends.jit._compile import specialised
from nanostep.backends.jit._kernel import vector_bytes
from nanostep.backends.jit._threads import most_threads, run_team
from nanostep.backends.jit.lanes import LaneData, Lanes, make_lanes
from nanostep.backends.jit.lanes_update import lane_rule_of, rule_tables
from nanostep.backends.jit.networks import aligned, flat, is_plain
from nanostep.backends.jit.population import SAMPLES_TOGETHER, Networks, draw_orders, train_tiles
from nanostep.backends.population_contract import (
    PopulationRunConfig,
    PopulationSamples,
    PopulationTask,
    PopulationTraining,
)
from nanostep.optimizers import Optimizer

Array = np.ndarray

THREAD_FLOPS = 2e7
"""Work of a call for each thread that it takes where the number is left to it: half a millisecond."""


class Engine(InLanes):
    """See `nanostep.backends.population_contract.PopulationEngine`."""

    def __init__(self, architecture: Architecture, dtype: np.dtype) -> None:
        super().__init__(networks.Engine(architecture, dtype), architecture, dtype, most_threads)

    def use_lanes(self, networks: int, optimizer: Optimizer, plan: PopulationRunConfig) -> bool:
        return plan.is_simple and not plan.custom_order and super().use_lanes(networks, optimizer, plan)

    def _lanes_support(self, data: PopulationSamples, call: PopulationTask) -> bool:
        return data.weight is None and call.rates is None

    def _train_in_lanes(self, training: PopulationTraining, call: PopulationTask) -> tuple[str, int]:
        theta__mp, slots__msp, data, optimizer, plan = training
        batch = min(plan.batch, len(data))
        single = batch == 1 and is_plain(optimizer)
        net = make_lanes(self._architecture, self._dtype, vector_bytes(), len(optimizer.slots), batch, single)
        rule = lane_rule_of(optimizer, self._dtype, single)
        whole = np.append(call.indices, np.full(-len(call.indices) % net.width, call.indices[-1]))
        cancel = np.zeros(1, np.int32) if plan.cancel is None else plan.cancel
        taken = np.zeros(1, np.int64)
        nets = Networks(whole, *rule_tables(optimizer, rule, whole), taken, cancel, call.loss, call.done)
        given = (
            net, rule, nets, SAMPLES_TOGETHER if single else batch, call.updates, theta__mp.reshape(-1),
            slots__msp.reshape(-1), self._data(data, plan, call),
        )  # fmt: skip
        run = specialised(train_tiles, net, rule)

        def work(number: int) -> int:
            run(*given, aligned(net.memory_size, self._dtype), np.empty(net.width))
            return number

        threads = self._members(net, data, plan, call)
        if threads == 1:
            work(0)
        else:
            run_team(work, threads)
        return {64: "avx512", 32: "avx2"}.get(vector_bytes(), ""), threads

    def _members(self, net: Lanes, data: PopulationSamples, plan: PopulationRunConfig, call: PopulationTask) -> int:
        """Threads that a call takes."""
        flops = 6.0 * net.parameters * len(data) * call.loss.size
        wanted = min(most_threads(), int(flops / THREAD_FLOPS)) if plan.threads is None else plan.threads
        tiles = -(-len(call.indices) // net.width)
        return 1 if config.DISABLE_JIT else max(1, min(wanted, tiles))

    def _data(self, data: PopulationSamples, plan: PopulationRunConfig, call: PopulationTask) -> LaneData:
        x, y, labels, rows = (
            None if array is None else flat(array)
            for array in (data.samples.x, data.samples.y, data.samples.labels, data.rows)
        )
        off, orders__en = plan.smoothing / self._architecture.outputs, None
        if plan.shuffle:
            orders__en = np.empty((call.epochs, len(data)), np.int64)
            specialised(draw_orders)(plan.seeds[0], call.epoch, orders__en)
        return LaneData(len(data), x, y, labels, 1.0 - plan.smoothing + off, off, orders__en, rows)
