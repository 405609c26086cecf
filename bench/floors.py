"""The machine's floors: its best rates and latencies, measured here and now, and the least time of a workload."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nanostep.benchmark.workload import PopulationWorkload, Workload

SECONDS = 0.02
"""Length of one measurement of the multiply-adds. The best of `REPEATS` measurements counts, because other load can
only make the machine look worse than it is."""

REPEATS = 15

TRIAD_NUMBERS = 8 * 2**20
"""Numbers in each of the three arrays of the bandwidth: 64 MiB."""

EXP_LINKS = 8
"""Dependent multiply-adds in exp to full accuracy: 3 of range reduction, 4 of a polynomial in Estrin's form, 1 of
scaling."""

VECTOR_CYCLES = {"float32": 12.0, "float64": 15.0}
"""Cycles that one vector of exp, tanh or sigmoid occupies the arithmetic units, with all latencies hidden: in vectors
of 64 bytes, 0.75 cycles for a float32 and 1.9 for a float64, whose polynomial is longer."""


@dataclass(frozen=True)
class Floors:
    """The measured floors of a number of cores together.

    Attributes
    ----------
    cores : int
    vector_bytes : int
        Width of the vectors that were multiplied and added.
    flops : dict
        Flop per second of multiply-adds by dtype, all cores together.
    cycle, fma, divide : float
        Seconds of a clock cycle, and of a float64 multiply-add and a division in a dependent chain.
    bandwidth : float
        Bytes per second of a = b + 3 c over 64 MiB each, all cores together.
    fork_join, barrier : float
        Seconds of an empty job on nanostep's thread pool, and of a barrier of its workers; 0 on one core.
    cache_bytes : int
        Size of the largest cache; 0 if the system does not report it.
    """

    cores: int
    vector_bytes: int
    flops: dict[str, float]
    cycle: float
    fma: float
    divide: float
    bandwidth: float
    fork_join: float
    barrier: float
    cache_bytes: int


def unavailable() -> str:
    """Return why there are no floors, or ""."""
    try:
        import nanostep.benchmark._floors  # noqa: F401
    except ImportError as error:
        return f"the compiled part of the benchmark was not built with the package ({error})"
    return ""


def measure(cores: int) -> Floors:
    """Measure the floors of `cores` cores, to which this process must be pinned; takes about a second."""
    from nanostep.benchmark._floors import lib

    def peak(real_bytes: int) -> float:
        return _total_rate(cores, lambda: lib.floors_fma_rate(real_bytes, SECONDS))

    flops = {"float32": peak(4), "float64": peak(8)}
    barriers, calls = 1000, 20
    single = cores == 1
    empty = 0.0 if single else min(lib.floors_pool(cores, 0, 1000) for _ in range(REPEATS))
    barrier = 0.0 if single else min(lib.floors_pool(cores, barriers, calls) for _ in range(REPEATS)) / barriers
    return Floors(
        cores=cores,
        vector_bytes=lib.floors_vector_bytes(),
        flops=flops,
        cycle=_least(lib.floors_cycle),
        fma=_least(lambda: lib.floors_latency(0)),
        divide=_least(lambda: lib.floors_latency(1)),
        bandwidth=_bandwidth(cores),
        fork_join=max(empty, 0.0),
        barrier=max(barrier, 0.0),
        cache_bytes=_cache_bytes(),
    )


def _total_rate(cores: int, rate: Callable[[], float]) -> float:
    """Return the sum of the rates of all cores at the same time (cffi releases the interpreter lock)."""
    with ThreadPoolExecutor(cores) as threads:
        return max(
            math.fsum(future.result() for future in [threads.submit(rate) for _ in range(cores)])
            for _ in range(REPEATS)
        )


def _least(seconds: Callable[[], float]) -> float:
    """Return the least of the measured latencies, which can be too long but never too short."""
    return min(seconds() for _ in range(REPEATS))


def _bandwidth(cores: int) -> float:
    from nanostep.benchmark._floors import ffi, lib

    a, b, c = (np.ones(TRIAD_NUMBERS) for _ in range(3))
    share = TRIAD_NUMBERS // cores

    def triad(part: int) -> float:
        pointers = [ffi.cast("double *", array.ctypes.data) + part * share for array in (a, b, c)]
        return lib.floors_triad(share, *pointers)

    with ThreadPoolExecutor(cores) as threads:
        return max(math.fsum(threads.map(triad, range(cores))) for _ in range(REPEATS))


def _cache_bytes() -> int:
    sizes = [0]
    for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        text = path.read_text(encoding="ascii").strip()
        number = text.rstrip("KMG")
        sizes.append(int(number) * {"K": 2**10, "M": 2**20, "G": 2**30}.get(text[len(number) :], 1))
    return max(sizes)


# -- the floors of a workload -----------------------------------------------------------------------------------------


def training_floor(workload: Workload, floors: Floors) -> float:
    """Return the least seconds that a step can take.

    The larger of the bounds by throughput and, for single samples of plain SGD, by latency; README.md has the formulas.
    """
    throughput = max(_arithmetic(workload, floors), _memory(workload, floors))
    if workload.batch == 1:
        return max(throughput, _latency(workload, floors))
    return throughput + floors.barrier


def population_floor(workload: PopulationWorkload, floors: Floors) -> float:
    """Return the least seconds that a step of all networks can take.

    It is bounded by throughput alone, because latencies of one network overlap with the work of others, and because
    groups of networks can stay in registers and the L1 cache from step to step, however many there are.
    """
    return workload.networks * _arithmetic(workload, floors)


def flops_per_step(workload: Workload) -> int:
    """Return the flops of the three products: forward 2W, weight gradient 2W, input gradient 2 (W - first W)."""
    weights = [inputs * outputs for inputs, outputs in zip(workload.sizes, workload.sizes[1:], strict=False)]
    return workload.batch * (4 * sum(weights) + 2 * sum(weights[1:]))


def _arithmetic(workload: Workload, floors: Floors) -> float:
    widths = [*((workload.activation, width) for width in workload.sizes[1:-1]), (workload.output, workload.sizes[-1])]
    values = workload.batch * sum(width for f, width in widths if f not in ("relu", "identity"))
    lanes = floors.vector_bytes // np.dtype(workload.dtype).itemsize
    functions = values / lanes * VECTOR_CYCLES[workload.dtype] * floors.cycle / floors.cores
    return flops_per_step(workload) / floors.flops[workload.dtype] + functions


def _memory(workload: Workload, floors: Floors) -> float:
    """Return the seconds of reading a batch from memory, 0 if all samples fit into the largest cache."""
    targets = 8 if workload.has_labels else workload.sizes[-1] * np.dtype(workload.dtype).itemsize
    row = workload.sizes[0] * np.dtype(workload.dtype).itemsize + targets
    if not floors.cache_bytes or workload.rows * row <= floors.cache_bytes:
        return 0.0
    return workload.batch * row / floors.bandwidth


def _latency(workload: Workload, floors: Floors) -> float:
    """Return the seconds of the chain from one single-sample update to the next.

    The first layer costs one multiply-add, because everything except the last delta's part can be computed ahead. Each
    later layer costs a sum over its inputs and bias, as a tree, and on the way back, for the deltas, a sum over its
    outputs.
    """
    layers = len(workload.sizes) - 1
    links = 1 + sum(_tree(inputs + 1) for inputs in workload.sizes[1:-1])
    links += 1 + sum(_tree(outputs) for outputs in workload.sizes[2:])
    names = [*[workload.activation] * (layers - 1), workload.output]
    return links * floors.fma + sum(_activation_latency(name, workload.sizes[-1], floors) for name in names)


def _activation_latency(name: str, width: int, floors: Floors) -> float:
    if name == "identity":
        return 0.0
    if name == "relu":
        return floors.fma
    return (EXP_LINKS + (_tree(width) if name == "softmax" else 0)) * floors.fma + floors.divide


def _tree(terms: int) -> int:
    """Return the levels of a balanced sum."""
    return math.ceil(math.log2(terms)) if terms > 1 else 0
