"""The network's outputs for rows of X: a short path for plain arrays, scikit-learn's validation for all others."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted, validate_data

from nanostep.network import Network
from nanostep.sklearn._dataset import Dataset, engine_rows
from nanostep.sklearn._views import NetworkViews
from sklearn import get_config


class Predictions(NetworkViews):
    """Mixin of an estimator that predicts with its network."""

    out_activation_: str

    def _outputs(self, X: Any, check_input: bool) -> np.ndarray:
        """Return the outputs for every row of X, shape (n, outputs), a new array.

        A plain array of the network's dtype skips scikit-learn's validation, which takes a hundred times as long as the
        prediction of one row.
        """
        network: Network | None = vars(self).get("_network")
        if network is None:
            check_is_fitted(self)
            raise AssertionError("check_is_fitted raises for an estimator without a network")
        self._sync_assigned()
        if (
            type(X) is np.ndarray
            and X.dtype == network._dtype
            and X.ndim == 2
            and X.shape[1] == network._architecture.sizes[0]
            and X.flags.c_contiguous
            and not hasattr(self, "feature_names_in_")
        ):
            rows = len(X)
            if rows == 1:
                row = network._engine.predict_row(network._theta, X[0])
                if row is not None:
                    return self._link(row.reshape(1, -1))
            if rows > 0 and (not check_input or get_config()["assume_finite"] or _is_finite(X)):
                return self._outputs_of(Dataset(X))
        X = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
        return self._outputs_of(Dataset(engine_rows(X, network._dtype)))

    def _outputs_of(self, data: Dataset) -> np.ndarray:
        network = self._network
        a__no = np.empty((len(data), network._architecture.sizes[-1]), network._dtype)
        start = 0
        for x in data.inputs():
            network._engine.predict(network._theta, x, a__no[start : start + len(x)])
            start += len(x)
        return self._link(a__no)

    def _link(self, a__no: np.ndarray) -> np.ndarray:
        """Apply the part of the output activation that the engine leaves out."""
        return np.exp(a__no, out=a__no) if self.out_activation_ == "exp" else a__no


def _is_finite(x: np.ndarray) -> bool:
    """Return True if a finite sum proves that all entries are finite; an overflowing sum proves nothing."""
    with np.errstate(all="ignore"):
        return bool(np.isfinite(x.sum()))
