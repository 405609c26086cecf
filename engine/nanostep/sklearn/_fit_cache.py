"""Fits made ahead: a search trains many networks at once, and each `fit` that scikit-learn then asks for finds itself
already made.

Whether a fit is found never changes a result: what is not found is fitted.
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

_STORE: ContextVar[dict[Hashable, ReadyFit] | None] = ContextVar("fits made ahead", default=None)


@dataclass
class ReadyFit:
    """What came of a fit: the fitted estimator, or an error; its warnings; its seconds, or its share of them."""

    estimator: Any
    error: Exception | None
    messages: list[Any]
    seconds: float


@contextmanager
def ready_fits(store: dict[Hashable, ReadyFit]) -> Iterator[None]:
    """Within this context `find_ready` looks into `store`, whose keys are those of `fit_key`."""
    token = _STORE.set(store)
    try:
        yield
    finally:
        _STORE.reset(token)


def find_ready(estimator: Any, X: Any, y: Any) -> ReadyFit | None:
    """Return the fit of an equal estimator to equal data, if it has been made ahead."""
    store = _STORE.get()
    return None if not store else store.get(fit_key(estimator, fingerprint(X, y)))


def fit_key(estimator: Any, data: str) -> Hashable:
    """Return what tells a fit from others: the estimator's parameters, and the fingerprint of its data."""
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
