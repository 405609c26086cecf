"""The folds of a sweep: which samples a network is trained on, and which it is scored on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from nanostep._checks import check_integer, check_real

Fold = tuple[np.ndarray, np.ndarray]
"""Indices, int64, of the samples to train on and of those to score on."""


def make_folds(cv: Any, n: int, labels: np.ndarray | None, seed: int) -> list[Fold]:
    """Return the folds that `cv` describes.

    Parameters
    ----------
    cv : int, float, splitter or iterable of pairs of index arrays
        A number >= 2 of folds; a share in (0, 1) to hold out once; an object with ``split(X)``, such as scikit-learn's.
    n : int
        Number of samples.
    labels : ndarray of int64, shape (n,), or None
        Classes; if given, every fold has its share of each.
    seed : int
        Seed of the shuffling.
    """
    if isinstance(cv, (bool, str)) or cv is None:
        raise TypeError(_accepted(cv))
    by_class = np.random.default_rng(seed).permutation(n)
    if labels is not None:
        # sorted by class, so that every k-th sample makes a fair share of each class
        by_class = by_class[np.argsort(labels[by_class], kind="stable")]
    if isinstance(cv, (float, np.floating)):
        held_out = round(check_real("cv", cv, 0.0, 1.0, open_low=True, open_high=True) * n)
        if not 1 <= held_out < n:
            raise ValueError(f"cv={cv:g} of {n} samples is {held_out}; both parts need at least one")
        return [_fold(by_class[((np.arange(held_out) + 0.5) * (n / held_out)).astype(np.int64)], n)]
    if hasattr(cv, "split") or isinstance(cv, Iterable):
        pairs = cv.split(np.zeros((n, 1)), labels) if hasattr(cv, "split") else cv
        folds = [_checked(i, pair, n) for i, pair in enumerate(pairs)]
        if not folds:
            raise ValueError("cv has no folds")
        return folds
    count = check_integer("cv", cv, 2)
    if count > n:
        raise ValueError(f"cv={count} folds are more than the {n} samples there are")
    return [_fold(by_class[k::count], n) for k in range(count)]


def _fold(test: np.ndarray, n: int) -> Fold:
    rest = np.ones(n, bool)
    rest[test] = False
    return np.flatnonzero(rest), np.sort(test)


def _checked(i: int, pair: Any, n: int) -> Fold:
    try:
        train, test = pair
    except (TypeError, ValueError):
        raise ValueError(f"cv[{i}] must be a pair of index arrays, to train and to score on; got {pair!r}") from None
    return _indices(f"the first part of cv[{i}]", train, n), _indices(f"the second part of cv[{i}]", test, n)


def _indices(name: str, value: Any, n: int) -> np.ndarray:
    part = np.asarray(value)
    if part.dtype == bool and part.shape == (n,):
        part = np.flatnonzero(part)
    if part.ndim != 1 or part.dtype.kind not in "iu" or len(part) == 0:
        raise ValueError(f"{name} must be one or more indices of samples; got {value!r}")
    if part.min() < 0 or part.max() >= n:
        raise ValueError(f"{name} has {part.min()} to {part.max()}; accepted are 0 to {n - 1}")
    return part.astype(np.int64)


def _accepted(cv: object) -> str:
    return f"cv must be a number of folds, a share to hold out, a splitter, or pairs of index arrays; got {cv!r}"
