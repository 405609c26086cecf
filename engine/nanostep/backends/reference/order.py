"""Random draws of a run: sample orders and dropped units. Every draw is a hash, so there is no state.

The order of an epoch is a Fisher-Yates shuffle whose draws are hashes of (seed, epoch, position).

``mix`` is the finaliser of SplitMix64 (Steele, Lea & Flood, 2014, "Fast splittable pseudorandom number generators").
The order of epoch e depends only on (seed, e, n), so a run can be cut or resumed at any epoch. Position i, from
n - 1 down to 1, is exchanged with a uniform j in [0, i], drawn from the hash without bias by Lemire's multiplication
(2019, "Fast random integer generation in an interval", arXiv:1805.10941) on 32 bits; n is at most 2**32.

A unit is dropped by a hash of (seed, update, layer, row of the batch, unit): a 64-bit key for each row and layer, made
by ``mix``, and then 32 bits for each unit, which suit SIMD vectors, by the hash "lowbias32" of C. Wellons ("Prospecting
for hash functions", 2018, nullprogram.com), with half of the key added halfway.
"""

from __future__ import annotations

import numpy as np

GAMMA = 0x9E3779B97F4A7C15
MASK = 2**64 - 1


def mix(z: np.ndarray) -> np.ndarray:
    """Scramble uint64 (SplitMix64's finaliser)."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _mix_integer(z: int) -> int:
    return int(mix(np.array([z & MASK], np.uint64))[0])


def shuffle(seed: int, epoch: int, order__n: np.ndarray) -> None:
    """order = the permutation of 0..n-1 that belongs to (seed, epoch)"""
    n = len(order__n)
    key = _mix_integer(_mix_integer(seed + GAMMA) + epoch * GAMMA)
    bounds = np.arange(2, n + 1, dtype=np.uint64)  # i + 1 for positions i = 1 .. n-1
    draws = mix(np.uint64(key) + bounds * np.uint64(GAMMA))
    low32 = np.uint64(0xFFFFFFFF)
    products = (draws >> np.uint64(32)) * bounds
    redo = (products & low32) < np.uint64(2**32) % bounds
    while redo.any():
        draws[redo] = mix(draws[redo] + np.uint64(GAMMA))
        products = (draws >> np.uint64(32)) * bounds
        redo = (products & low32) < np.uint64(2**32) % bounds
    partners = (products >> np.uint64(32)).tolist()
    order = list(range(n))
    for i in range(n - 1, 0, -1):
        j = partners[i - 1]
        order[i], order[j] = order[j], order[i]
    order__n[...] = order


def drop_threshold(p: float) -> int:
    """Return the number of the 2**32 values of a unit's hash that drop it, given a probability in [0, 1)."""
    return min(round(p * 2**32), 2**32 - 1)


def dropped(seed: int, update: int, layer: int, rows: int, width: int, p: float) -> np.ndarray:
    """Return a mask of the units of a hidden layer that are dropped in an update, shape (rows, width).

    Parameters
    ----------
    seed : int
        Seed of the run.
    update : int
        Number of the update, from 1.
    layer : int
        Hidden layer, from 0.
    rows, width : int
        Samples of the batch, and units of the layer.
    p : float
        Probability of being dropped, in [0, 1).
    """
    base = _mix_integer(_mix_integer(_mix_integer(seed + GAMMA) + update * GAMMA) + (layer + 1) * GAMMA)
    key__b = mix(np.uint64(base) + np.arange(1, rows + 1, dtype=np.uint64) * np.uint64(GAMMA))
    low__b1 = key__b.astype(np.uint32)[:, None]
    high__b1 = (key__b >> np.uint64(32)).astype(np.uint32)[:, None]
    h__bo = low__b1 + np.arange(width, dtype=np.uint32) * np.uint32(GAMMA & 0xFFFFFFFF)
    h__bo = (h__bo ^ (h__bo >> np.uint32(16))) * np.uint32(0x7FEB352D)
    h__bo = (h__bo ^ (h__bo >> np.uint32(15)) ^ high__b1) * np.uint32(0x846CA68B)
    h__bo = h__bo ^ (h__bo >> np.uint32(16))
    return h__bo < np.uint32(drop_threshold(p))
