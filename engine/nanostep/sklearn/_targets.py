"""The classes of a classifier, and their encoding as targets and outputs of the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import sparse
from sklearn.utils.multiclass import check_classification_targets, type_of_target

THRESHOLD = 0.5
"""A sigmoid output above this counts as positive."""


@dataclass(frozen=True)
class Classes:
    """The classes of a classifier; encodes labels as targets and decodes outputs as labels.

    Attributes
    ----------
    labels : ndarray, shape (classes,)
        Sorted; for multilabel targets the numbers of the columns.
    kind : {"binary", "multiclass", "multilabel"}
        One sigmoid output, one softmax output per class, or one sigmoid output per label. A single class is binary.
    sparse : bool
        Multilabel targets came as a sparse matrix, and so do predictions.
    """

    labels: np.ndarray
    kind: Literal["binary", "multiclass", "multilabel"]
    sparse: bool = False

    @property
    def outputs(self) -> int:
        """Number of outputs of the network."""
        return 1 if self.kind == "binary" else len(self.labels)

    def encode(self, y: Any) -> np.ndarray:
        """Return the number of each sample's class, int64 (n,), or for multilabel targets 0 and 1, (n, outputs)."""
        if self.kind == "multilabel":
            return y.toarray() if sparse.issparse(y) else y
        return np.searchsorted(self.labels, y)

    def decide(self, a__no: np.ndarray) -> np.ndarray:
        """Return the predicted classes of outputs, encoded as by `encode`."""
        if self.kind == "multiclass":
            return a__no.argmax(axis=1)
        yes__no = a__no > THRESHOLD
        return yes__no if self.kind == "multilabel" else yes__no[:, 0].astype(np.int64)

    def decode(self, a__no: np.ndarray) -> Any:
        """Return the predicted labels of outputs, in the form of the targets of `fit`."""
        encoded = self.decide(a__no)
        if self.kind != "multilabel":
            # clipped, because a single class has one label but two encoded values
            return self.labels.take(encoded, mode="clip")
        answers = encoded.astype(np.int64)
        return sparse.csr_matrix(answers) if self.sparse else answers


def find_classes(y: Any) -> Classes:
    """Return the classes of targets: labels (n,), or a multilabel indicator matrix (n, labels), dense or sparse.

    Raises
    ------
    ValueError
        y holds continuous values, or several columns of more than two classes.
    """
    if isinstance(y, np.ndarray) and y.ndim == 1 and y.dtype.kind in "biuUS":
        # such an array can only hold labels, and type_of_target takes as long as a few epochs
        return classes_of(np.unique(y))
    kind = type_of_target(y, input_name="y")
    if kind == "multilabel-indicator":
        return Classes(np.arange(y.shape[1]), "multilabel", sparse.issparse(y))
    if kind == "multiclass-multioutput":
        raise ValueError("y has several columns of more than two classes each; fit one classifier for each column")
    check_classification_targets(y)
    return classes_of(np.unique(y))


def classes_of(labels: np.ndarray) -> Classes:
    """Return `Classes` for sorted labels of single-output targets."""
    return Classes(labels, "multiclass" if len(labels) > 2 else "binary")
