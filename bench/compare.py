"""Comparison of two files of figures: what became slower or faster, and whether that is more than noise."""

from __future__ import annotations

import itertools
import math
import statistics
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from nanostep.benchmark.results import Results, Row
from nanostep.benchmark.table import show

SIGNIFICANT = 0.05
"""Largest p of a difference that counts as significant."""

MOST_SPLITS = 50_000
"""Most ways to divide the repeats for the exact test; above it, the normal approximation is used."""


@dataclass(frozen=True)
class Change:
    """One contender on one task before and after.

    Attributes
    ----------
    before, after : Row
    ours : bool
    p : float
        Probability of an order of the repeats at least as clear, in the direction of the change, by chance alone.
    """

    before: Row
    after: Row
    ours: bool
    p: float

    @property
    def ratio(self) -> float:
        """Median after over median before: above 1 is slower."""
        return self.after.median / self.before.median if self.before.median else math.nan

    @property
    def significant(self) -> bool:
        return self.p <= SIGNIFICANT

    @property
    def verdict(self) -> str:
        if not self.significant:
            return "noise"
        return "slower" if self.ratio > 1 else "faster"


def changes(before: Results, after: Results) -> list[Change]:
    """Return a change for every row that has figures in both files, in the order of the second."""
    found = []
    for row in after.rows:
        old = before.find(row.task, row.contender, row.cores)
        if row.timed and old is not None and old.timed:
            low, high = (old.values, row.values) if row.median >= old.median else (row.values, old.values)
            found.append(Change(old, row, after.contenders[row.contender]["ours"], rank_test(low, high)))
    return found


def lost(before: Results, after: Results) -> list[Row]:
    """Return the rows that had figures before and have none now, although there was time for them."""
    gone = []
    for row in after.rows:
        old = before.find(row.task, row.contender, row.cores)
        if old is not None and old.timed and not row.timed and row.status not in ("left out", "interrupted"):
            gone.append(row)
    return gone


def rank_test(low: list[float], high: list[float]) -> float:
    """Return the one-sided p of the Mann-Whitney test that `high` is larger than `low`, with ties counted as halves.

    Exact, over all ways of dividing the repeats, while there are at most `MOST_SPLITS`. The smallest value is 1/252
    with five repeats each, and 1/20 with three.
    """
    pooled = [*low, *high]
    if math.comb(len(pooled), len(high)) > MOST_SPLITS:
        mean = len(low) * len(high) / 2
        deviation = math.sqrt(mean * (len(pooled) + 1) / 6)
        return 1 - statistics.NormalDist().cdf((_wins(high, low) - 0.5 - mean) / deviation)
    observed = _wins(high, low)
    as_clear = total = 0
    for chosen in itertools.combinations(range(len(pooled)), len(high)):
        picked = set(chosen)
        others = [pooled[i] for i in range(len(pooled)) if i not in picked]
        as_clear += _wins([pooled[i] for i in chosen], others) >= observed
        total += 1
    return as_clear / total


def _wins(high: list[float], low: list[float]) -> float:
    return sum((h > o) + 0.5 * (h == o) for h in high for o in low)


def regressions(found: list[Change], fail_above: float) -> list[Change]:
    """Return our own rows that are significantly slower, by more than `fail_above` per cent beyond the drift of peers.

    If the peers became slower, so did the machine, and the same slowdown of our own rows is no regression.
    """
    moved = drift(found)
    allowed = (1 + fail_above / 100) * (1 if math.isnan(moved) else max(1.0, moved))
    return [c for c in found if c.ours and c.significant and c.ratio > allowed]


def drift(found: list[Change]) -> float:
    """Return the median ratio of the peers, an estimate of the machine's drift; NaN without peers."""
    return statistics.median(ratios) if (ratios := [c.ratio for c in found if not c.ours]) else math.nan


def print_changes(found: list[Change], gone: list[Row], before: Results, after: Results, console: Console) -> None:
    grid = Table()
    for title in ("task", "contender"):
        grid.add_column(title, no_wrap=True)
    for title in ("cores", "before", "after", "after/before", "p", "spreads", "verdict"):
        grid.add_column(title, justify="right", no_wrap=True)
    colours = {"slower": "red", "faster": "green", "noise": "dim"}
    for c in found:
        grid.add_row(
            c.after.task,
            c.after.contender,
            str(c.after.cores),
            show(c.before.median),
            show(c.after.median),
            f"{c.ratio:.3f}",
            f"{c.p:.3f}",
            f"{c.before.spread:.0%}, {c.after.spread:.0%}",
            f"[{colours[c.verdict]}]{c.verdict}[/]",
        )
    console.print(grid)
    for row in gone:
        console.print(f"[red]{row.contender} on {row.task} has no figures any more: {row.reason}[/]", highlight=False)
    if before.machine["cpu"] != after.machine["cpu"]:
        console.print(
            f"[yellow]different machines: {before.machine['cpu']} and {after.machine['cpu']}[/]", highlight=False
        )
    if not math.isnan(drift(found)):
        console.print(f"peers, whose code has not changed, moved by a factor of {drift(found):.3f}", highlight=False)
