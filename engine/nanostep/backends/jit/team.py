"""Several threads at one update: each member works on rows of its own, then on inputs of its own of every layer.

Every value is the same sum in the same order whoever computes it, so results do not depend on the number of members.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nanostep.backends.jit.layout import GROUP, Net

TEAM_WORDS = 16
"""int64 words of a team: how many have arrived, and in the next cache line how often all have met."""


@dataclass
class Member:
    """One of the members of a team; None stands for one who works alone.

    Attributes
    ----------
    team : Place
        TEAM_WORDS words, 0 at first.
    number, members : Value
    losses : Place
        float64, one for each group of rows of a tile.
    """

    team: Any
    number: Any
    members: Any
    losses: Any


def make_member(team: Any, number: Any, members: Any, losses: Any) -> Member | None:
    return None if team is None else Member(team, number, members, losses)


def part(m: Any, me: Member | None, count: Any, piece: int = GROUP) -> tuple[Any, Any]:
    """This member's part of `count` things that are handed out in pieces of `piece`: from, to."""
    if me is None:
        return 0, count
    pieces = (m.index(count) + (piece - 1)) // piece
    low, high = (pieces * i // me.members * piece for i in (me.number, me.number + 1))
    return m.smaller_index(low, count), m.smaller_index(high, count)


def meet(m: Any, me: Member | None) -> None:
    """Wait until all members are here: what each wrote before is there for all after."""
    if me is not None:
        m.barrier(me.team, me.members)


def shared_loss(m: Any, me: Member | None, rows: Any, own: Any) -> Any:
    """The sum over a tile, after a meeting: of all groups in order, or what a lone member has added up in that
    order."""
    if me is None:
        return own
    groups = (m.index(rows) + (GROUP - 1)) // GROUP
    (total,) = m.loop(0, groups, 1, lambda g, t: [t + m.load_number(me.losses + g)], [m.double(0.0)])
    return total


def packed_parts(m: Any, net: Net, me: Member | None) -> list[tuple[Any, Any]]:
    """Where this member's inputs, and biases, stand in packed parameters: begin and length of each layer's."""
    if me is None:
        return [(0, net.packed)]
    parts = []
    for s in net.layers:
        low, high = part(m, me, s.inputs)
        rows = m.select(high == s.inputs, m.index(s.inputs + 1), high) - low
        parts.append((low * s.row + s.wt, m.select(low < high, rows, m.index(0)) * s.row))
    return parts
