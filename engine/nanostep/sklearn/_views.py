"""``coefs_`` and ``intercepts_``: views of the network's parameters, which users may replace by arrays."""

from __future__ import annotations

from operator import is_
from typing import Any

import numpy as np

from nanostep.network import Network


class NetworkViews:
    """Mixin of an estimator that holds a network.

    ``coefs_`` and ``intercepts_`` are lists of views into the network's theta, so writing into them changes theta at
    once. An array assigned in place of a view, or a list in place of a list, is copied into theta at the next use of
    the network.
    """

    _network: Network
    coefs_: list[np.ndarray]
    intercepts_: list[np.ndarray]
    _views: tuple[list[np.ndarray], list[np.ndarray]]

    @property
    def network_(self) -> Network:
        """The network."""
        if not self.__sklearn_is_fitted__():
            raise AttributeError(f"this {type(self).__name__} has no network_ before it is fitted")
        self._sync_assigned()
        return self._network

    def __sklearn_is_fitted__(self) -> bool:
        return "_network" in vars(self)

    def _adopt(self, network: Network) -> None:
        vars(self).update(self._view_attributes(network))

    def _view_attributes(self, network: Network) -> dict[str, Any]:
        """Return the attributes of an estimator that holds `network`."""
        coefs, intercepts = [w__oi.T for w__oi in network.weights], list(network.biases)
        return {
            "_network": network,
            "coefs_": coefs,
            "intercepts_": intercepts,
            "_views": (coefs.copy(), intercepts.copy()),
        }

    def _sync_assigned(self) -> None:
        """Copy arrays that were assigned in place of views into the network."""
        given = (self.coefs_, self.intercepts_)
        if not all(len(a) == len(b) and all(map(is_, a, b)) for a, b in zip(given, self._views, strict=True)):
            for name, views in zip(("coefs_", "intercepts_"), self._views, strict=True):
                values = [np.asarray(value) for value in getattr(self, name)]
                shapes = [view.shape for view in views]
                if [value.shape for value in values] != shapes:
                    raise ValueError(f"{name} must keep its shapes, {shapes}; got {[value.shape for value in values]}")
                for view, value in zip(views, values, strict=True):
                    view[...] = value
                setattr(self, name, views.copy())

    def __getstate__(self) -> dict[str, Any]:
        if self.__sklearn_is_fitted__():
            self._sync_assigned()
        state: dict[str, Any] = dict(super().__getstate__())  # type: ignore[call-overload]
        for name in ("coefs_", "intercepts_", "_views"):
            state.pop(name, None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[misc]
        if self.__sklearn_is_fitted__():
            self._adopt(self._network)
