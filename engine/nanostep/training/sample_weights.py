"""What each sample counts, what is held out, and smoothed targets: from the arguments of `Network.train` to samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from nanostep._arrays import Samples
from nanostep._checks import check_integer, check_real
from nanostep.architecture import Architecture

ClassWeight = Mapping[int, float] | str


def class_weights(architecture: Architecture, samples: Samples, class_weight: object) -> np.ndarray:
    """Return the weight (n,) of each sample's class.

    "balanced" is ``n / (classes * samples of the class)``, with the classes that occur, as in scikit-learn. A mapping
    gives the weights by class number; a class that it leaves out counts 1.

    Raises
    ------
    TypeError, ValueError
        It is neither, a weight is negative or not finite, a class does not exist, or the targets are not classes.
    """
    known = np.ones(len(samples), bool) if samples.weight is None else samples.weight != 0
    if samples.has_missing and samples.y is not None:
        known &= ~np.isnan(samples.y).any(axis=1)
    if not known.all():
        weight = np.ones(len(samples))  # a sample without a target counts for nothing anyway
        if known.any():
            weight[known] = class_weights(architecture, replace(samples.take(known), weight=None), class_weight)
        return weight
    classes, count = _classes(architecture, samples)
    if isinstance(class_weight, str) and class_weight == "balanced":
        sizes = np.bincount(classes, minlength=count)
        return (len(classes) / (np.count_nonzero(sizes) * np.maximum(sizes, 1)))[classes]
    if not isinstance(class_weight, Mapping):
        raise TypeError(
            f"class_weight must be a dict from class numbers to weights, or 'balanced'; got {class_weight!r}"
        )
    by_class = np.ones(count)
    for key, value in class_weight.items():
        number = check_integer("a class in class_weight", key, 0, count - 1)
        by_class[number] = check_real(f"class_weight[{number}]", value, 0.0)
    weight = by_class[classes]
    if not weight.any():
        raise ValueError(f"class_weight={dict(class_weight)!r} is 0 for every sample; at least one must count")
    return weight


def _classes(architecture: Architecture, samples: Samples) -> tuple[np.ndarray, int]:
    """Return the class number of each sample and how many classes there are."""
    if samples.labels is not None:
        return samples.labels, architecture.outputs
    y = samples.y
    assert y is not None
    exact = ((y == 0) | (y == 1)).all()
    if architecture.loss == "cross_entropy":
        if not (exact and (y.sum(axis=1) == 1).all()):
            raise ValueError("class_weight needs class labels or one-hot rows; Y has other probabilities")
        return np.argmax(y, axis=1), architecture.outputs
    if architecture.loss == "binary_cross_entropy" and architecture.outputs == 1:
        if not exact:
            raise ValueError("class_weight needs targets 0 or 1; Y has others")
        return y[:, 0].astype(np.int64), 2
    raise ValueError(
        "class_weight needs classes: loss='cross_entropy', or 'binary_cross_entropy' with one output; "
        f"this network has loss={architecture.loss!r} and {architecture.outputs} outputs"
    )


def check_smoothing(architecture: Architecture, value: object) -> float:
    """Return label smoothing in [0, 1), which is for cross_entropy."""
    smoothing = check_real("label_smoothing", value, 0.0, 1.0, open_high=True)
    if smoothing > 0 and architecture.loss != "cross_entropy":
        raise ValueError(
            f"label_smoothing={smoothing} is for loss='cross_entropy'; this network has {architecture.loss!r}"
        )
    return smoothing


def smoothed(samples: Samples, smoothing: float) -> Samples:
    """Return samples whose rows of probabilities are smoothed; kernels smooth labels (`RunConfig.smoothing`)."""
    if smoothing == 0 or samples.y is None:
        return samples
    return replace(samples, y=samples.y * samples.y.dtype.type(1 - smoothing) + smoothing / samples.y.shape[1])


def split_off(samples: Samples, fraction: float) -> tuple[Samples, Samples]:
    """Return all but the last rows, and the last ``ceil(fraction * n)`` (as Keras: ``floor((1 - fraction) * n)`` stay).

    Raises
    ------
    ValueError
        One part would be empty.
    """
    n = len(samples)
    kept = int(n * (1.0 - fraction))
    if not 0 < kept < n:
        raise ValueError(
            f"validation_split={fraction} of {n} samples leaves {kept} for training and {n - kept} for validation; "
            "each needs one at least"
        )
    return samples.take(slice(kept)), samples.take(slice(kept, None))
