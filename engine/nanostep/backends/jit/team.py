"""Several threads at one update: workers divide the rows among them, then the inputs of every layer.

Every value is the same sum in the same order whichever worker computes it, so results do not depend on the number of
workers.
"""

from __future__ import annotations

from typing import Any

from nanostep.backends.jit.arguments import Worker
from nanostep.backends.jit.layout import GROUP, Net

TEAM_WORDS = 16
"""int64 words of a team: how many workers have arrived at a barrier and, in the next cache line, how many barriers are
completed."""


def partition(m: Any, worker: Worker, count: Any, piece: int = GROUP) -> tuple[Any, Any]:
    """This worker's part [low, high) of `count` things, which are divided in pieces of `piece`."""
    if worker.team is None:
        return 0, count
    pieces = (m.index(count) + (piece - 1)) // piece
    low, high = (pieces * i // worker.workers * piece for i in (worker.number, worker.number + 1))
    return m.smaller_index(low, count), m.smaller_index(high, count)


def barrier(m: Any, worker: Worker) -> None:
    """Wait for all workers: what each wrote before the barrier is visible to all after it."""
    if worker.team is not None:
        m.barrier(worker.team, worker.workers)


def reduce_loss(m: Any, worker: Worker, rows: Any, own: Any) -> Any:
    """The sum over a tile, after a barrier: of all groups in order, or what a lone worker has summed in that order."""
    if worker.team is None:
        return own
    groups = (m.index(rows) + (GROUP - 1)) // GROUP
    (total,) = m.loop(0, groups, 1, lambda g, t: [t + m.load_number(worker.losses + g)], [m.double(0.0)])
    return total


def packed_parts(m: Any, net: Net, worker: Worker) -> list[tuple[Any, Any]]:
    """Where this worker's inputs and biases are in packed parameters: start and length for each layer."""
    if worker.team is None:
        return [(0, net.packed)]
    parts = []
    for s in net.layers:
        low, high = partition(m, worker, s.inputs)
        rows = m.select(high == s.inputs, m.index(s.inputs + 1), high) - low
        parts.append((low * s.row + s.wt, m.select(low < high, rows, m.index(0)) * s.row))
    return parts
