"""Cache of precomputed fits: a search trains many networks at once, and scikit-learn's calls of `fit` use the results.

Whether a fit is found never changes a result: a fit that is not in the cache is computed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import joblib
import numpy as np

_STORE: ContextVar[dict[Hashable, CachedFit] | None] = ContextVar("fits made ahead", default=None)


@dataclass
class CachedFit:
    """A precomputed fit: the fitted estimator, an error or None, its warnings, and its (share of the) seconds."""

    estimator: Any
    error: Exception | None
    messages: list[Any]
    seconds: float


@contextmanager
def cached_fits(store: dict[Hashable, CachedFit]) -> Iterator[None]:
    """Make `find_cached_fit` search `store`, whose keys are made by `fit_key`, within this context."""
    token = _STORE.set(store)
    try:
        yield
    finally:
        _STORE.reset(token)


def find_cached_fit(estimator: Any, X: Any, y: Any) -> CachedFit | None:
    """Return the precomputed fit of an equal estimator to equal data, or None."""
    store = _STORE.get()
    return None if not store else store.get(fit_key(estimator, fingerprint(X, y)))


def fit_key(estimator: Any, data: str) -> Hashable:
    """Return the key of a fit: the estimator's class and parameters, and the fingerprint of its data."""
    parameters = estimator.get_params(deep=False)
    return type(estimator), tuple((name, repr(parameters[name])) for name in sorted(parameters)), data


def fingerprint(X: Any, y: Any) -> str:
    """Return a digest of data."""
    return _digest(X) + _digest(y)


def _digest(value: Any) -> str:
    if type(value) is not np.ndarray or value.dtype.hasobject:
        return str(joblib.hash(value))
    digest = hashlib.sha256(repr((value.shape, value.dtype.str)).encode())
    digest.update(np.ascontiguousarray(value).view(np.uint8).reshape(-1).data)
    return digest.hexdigest()
