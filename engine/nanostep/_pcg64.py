"""NumPy's generator PCG64 for many seeds at once: array arithmetic in place of one call per seed.

NumPy promises that its bit generators and ``SeedSequence`` keep producing the same numbers (NEP 19), so their
arithmetic can be repeated here.

Source: O'Neill, 2014, "PCG: A Family of Simple Fast Space-Efficient Statistically Good Algorithms for Random Number
Generation" (setseq XSL-RR 128/64), and the same author's ``seed_seq_fe``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import cycle

import numpy as np

LOW_32 = 2**32 - 1
MULTIPLIER = 0x2360ED051FC65DA44385DF649FCCF645
POOL = 4


def uniforms(seeds: np.ndarray, count: int) -> np.ndarray:
    """Return the first `count` numbers of ``Generator(PCG64(seed)).random()``, shape (count, seeds).

    Parameters
    ----------
    seeds : ndarray of uint64, shape (n,)
    count : int
    """
    numbers = np.empty((count, len(seeds)))
    for i, (high, low) in zip(range(count), _states(seeds), strict=False):
        bits, rotation = high ^ low, high >> 58
        bits = (bits >> rotation) | (bits << (-rotation & 63))
        numbers[i] = bits >> 11
    numbers *= 2.0**-53
    return numbers


def _states(seeds: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the states from which the numbers are computed, each as its high and low 64 bits."""
    start_high, start_low, stream_high, stream_low = _words(seeds)
    increment = (stream_high << 1) | (stream_low >> 63), (stream_low << 1) | 1
    state = _sum(increment, (start_high, start_low))
    state = _sum(_product(*state), increment)
    while True:
        state = _sum(_product(*state), increment)
        yield state


def _sum(a: tuple[np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    low = a[1] + b[1]
    return a[0] + b[0] + (low < b[1]), low


def _product(high: np.ndarray, low: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the product with `MULTIPLIER`, modulo 2**128."""
    factor_high, factor_low = divmod(MULTIPLIER, 1 << 64)
    upper, lower = divmod(factor_low, 1 << 32)
    low_upper, low_lower = low >> 32, low & LOW_32
    middle = low_upper * lower + (low_lower * lower >> 32)
    carried = low_lower * upper + (middle & LOW_32)
    over = low_upper * upper + (middle >> 32) + (carried >> 32)
    return over + high * factor_low + low * factor_high, low * factor_low


def _words(seeds: np.ndarray) -> list[np.ndarray]:
    """Return ``SeedSequence(seed).generate_state(4, np.uint64)`` of each seed: 4 arrays."""
    hashed = _hashing(0x43B0D7E5, 0x931E8875)
    zero = np.zeros(len(seeds), np.uint32)
    pool = [hashed(part) for part in ((seeds & LOW_32).astype(np.uint32), (seeds >> 32).astype(np.uint32), zero, zero)]
    for source in range(POOL):
        for target in range(POOL):
            if source != target:
                mixed: np.ndarray = pool[target] * np.uint32(0xCA01F9DD) - hashed(pool[source]) * np.uint32(0x4973F715)
                pool[target] = mixed ^ (mixed >> 16)
    hashed = _hashing(0x8B51F9DD, 0x58F38DED)
    halves = [hashed(part).astype(np.uint64) for part, _ in zip(cycle(pool), range(8), strict=False)]
    return [halves[i] | (halves[i + 1] << 32) for i in range(0, 8, 2)]


def _hashing(start: int, factor: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that hashes arrays of uint32, with another constant at each call."""
    constant = start

    def hashed(values: np.ndarray) -> np.ndarray:
        nonlocal constant
        values = values ^ np.uint32(constant)
        constant = constant * factor & LOW_32
        values = values * np.uint32(constant)
        return values ^ (values >> 16)

    return hashed
