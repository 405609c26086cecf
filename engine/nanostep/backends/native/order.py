"""The sample order of an epoch."""

from __future__ import annotations

import numpy as np

from nanostep.backends.native._library import check_status, lib, pointer


def shuffle(seed: int, epoch: int, order__n: np.ndarray) -> None:
    """order = the permutation of 0..n-1 that belongs to (seed, epoch)"""
    n = len(order__n)
    check_status(lib.nst_shuffle(seed, epoch, n, pointer(order__n, (n,), np.dtype(np.int64), writable=True)))
