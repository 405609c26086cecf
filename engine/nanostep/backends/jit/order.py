"""The sample order of an epoch; the reference describes the method. All arithmetic is on unsigned 64-bit integers."""

from __future__ import annotations

import numpy as np
from numba import njit

from nanostep.backends.jit._compile import FASTMATH, OPTIONS

GAMMA = np.uint64(0x9E3779B97F4A7C15)
FIRST_FACTOR = np.uint64(0xBF58476D1CE4E5B9)
SECOND_FACTOR = np.uint64(0x94D049BB133111EB)
LOW_BITS = np.uint64(0xFFFFFFFF)
TWO_TO_32 = np.uint64(2**32)


def scramble(z):
    """Scramble a word, uint64 or a kernel's (SplitMix64's finaliser)."""
    z = (z ^ (z >> np.uint64(30))) * FIRST_FACTOR
    z = (z ^ (z >> np.uint64(27))) * SECOND_FACTOR
    return z ^ (z >> np.uint64(31))


mix = njit(fastmath=FASTMATH, **OPTIONS)(scramble)
"""The same in jitted code."""


@njit(fastmath=FASTMATH, **OPTIONS)
def bounded(draw, bound):
    """Uniform in [0, bound) from the hash `draw`, by Lemire's multiplication."""
    product = (draw >> np.uint64(32)) * bound
    if (product & LOW_BITS) < bound:
        threshold = TWO_TO_32 % bound
        while (product & LOW_BITS) < threshold:
            draw = mix(draw + GAMMA)
            product = (draw >> np.uint64(32)) * bound
    return product >> np.uint64(32)


@njit(fastmath=FASTMATH, **OPTIONS)
def shuffle_kernel(seed, epoch, order__n):
    """See `shuffle`; seed and epoch are uint64."""
    key = mix(mix(seed + GAMMA) + epoch * GAMMA)
    for i in range(order__n.size):
        order__n[i] = i
    for i in range(order__n.size - 1, 0, -1):
        bound = np.uint64(i) + np.uint64(1)
        j = bounded(mix(key + bound * GAMMA), bound)
        order__n[i], order__n[j] = order__n[j], order__n[i]


def shuffle(seed: int, epoch: int, order__n: np.ndarray) -> None:
    """order = the permutation of 0..n-1 that belongs to (seed, epoch)"""
    shuffle_kernel(np.uint64(seed), np.uint64(epoch), order__n)
