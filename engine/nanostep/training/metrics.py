"""Metrics of `Network.train`: what is measured after each epoch, on the training data and on the validation data.

Named metrics take the sample weights into account. "auc" is scikit-learn's ``roc_auc_score``, imported when it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from nanostep._arrays import Samples
from nanostep._optional import require
from nanostep.architecture import Architecture
from nanostep.model import Model

MetricFunction = Callable[[np.ndarray, np.ndarray], float]
"""A metric of your own: ``f(y_true, y_pred) -> float``. y_true has shape (n, outputs), or (n,) for class labels; y_pred
has shape (n, outputs)."""


@dataclass(frozen=True)
class Metric:
    """A checked metric.

    Attributes
    ----------
    name : str
    function : callable
        ``f(y_true, y_pred, weight) -> float``.
    mode : str
        "min" or "max", what is better; "" if it is not known.
    """

    name: str
    function: Callable[[np.ndarray, np.ndarray, np.ndarray | None], float]
    mode: str = ""


def accuracy(y_true: np.ndarray, y_pred: np.ndarray, weight: np.ndarray | None) -> float:
    """Share of rows whose largest output is the class; of entries on the right side of 0.5 if there is no softmax."""
    if y_true.ndim == 1:
        return _mean(np.argmax(y_pred, axis=1) == y_true, weight)
    return _mean((y_pred >= 0.5) == (y_true >= 0.5), weight)


def categorical_accuracy(y_true: np.ndarray, y_pred: np.ndarray, weight: np.ndarray | None) -> float:
    """`accuracy` for rows of probabilities."""
    classes = y_true if y_true.ndim == 1 else np.argmax(y_true, axis=1)
    return accuracy(classes, y_pred, weight)


def mae(y_true: np.ndarray, y_pred: np.ndarray, weight: np.ndarray | None) -> float:
    """Mean absolute error."""
    return _mean(np.abs(y_pred.astype(np.float64) - y_true), weight)


def rmse(y_true: np.ndarray, y_pred: np.ndarray, weight: np.ndarray | None) -> float:
    """Root of the mean squared error over rows and outputs."""
    return float(np.sqrt(_mean((y_pred.astype(np.float64) - y_true) ** 2, weight)))


def r2(y_true: np.ndarray, y_pred: np.ndarray, weight: np.ndarray | None) -> float:
    """Coefficient of determination, the mean over outputs; a constant output counts 1 if it is met exactly, else 0."""
    y = y_true.astype(np.float64)
    residual = np.average((y_pred - y) ** 2, axis=0, weights=weight)
    total = np.average((y - np.average(y, axis=0, weights=weight)) ** 2, axis=0, weights=weight)
    constant = total == 0
    scores = np.where(constant, residual == 0, 1 - residual / np.where(constant, 1, total))
    return float(scores.mean())


def auc(y_true: np.ndarray, y_pred: np.ndarray, weight: np.ndarray | None) -> float:
    """Area under the ROC curve: of the one output or of the second class; of several, one-vs-rest, the plain mean."""
    from sklearn.metrics import roc_auc_score

    if y_true.ndim == 1 and y_pred.shape[1] > 2:
        labels = np.arange(y_pred.shape[1])
        # probabilities have to sum to 1 more exactly than float32 does
        scores = y_pred.astype(np.float64)
        scores /= scores.sum(axis=1, keepdims=True)
        return float(roc_auc_score(y_true, scores, sample_weight=weight, multi_class="ovr", labels=labels))
    if y_true.ndim == 1:
        return float(roc_auc_score(y_true, y_pred[:, 1], sample_weight=weight))
    single = y_true.shape[1] == 1
    return float(
        roc_auc_score(y_true.ravel() if single else y_true, y_pred.ravel() if single else y_pred, sample_weight=weight)
    )


def _mean(values: np.ndarray, weight: np.ndarray | None) -> float:
    by_row = values if values.ndim == 1 else values.mean(axis=1, dtype=np.float64)
    return float(np.average(by_row, weights=weight))


NAMES = ("loss", "accuracy", "mae", "rmse", "r2", "auc")
"""Metrics by name; "loss" is ``Network.loss``."""

MODES = {"loss": "min", "accuracy": "max", "mae": "min", "rmse": "min", "r2": "max", "auc": "max"}
"""What is better."""


def check_metrics(value: object, architecture: Architecture, labels: bool) -> tuple[Metric, ...]:
    """Return `value`, one metric or a sequence of them, names or callables, as metrics that suit the network.

    `labels` says that the targets are class labels.
    """
    if value == ():
        return ()
    items = (value,) if isinstance(value, str) or callable(value) else value
    if not isinstance(items, Iterable):
        raise TypeError(f"metrics must be names, callables or a sequence of them; got {type(value).__name__}")
    metrics = tuple(_check_metric(i, item, architecture, labels) for i, item in enumerate(items))
    names = [metric.name for metric in metrics]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"metrics has {name!r} twice; the name of a callable is its __name__")
    return metrics


def _check_metric(i: int, item: object, architecture: Architecture, labels: bool) -> Metric:
    if item != "loss" and architecture.targets != architecture.outputs:
        raise ValueError(
            f"metrics[{i}]={item!r} compares outputs with targets; loss={architecture.criterion!r} has several outputs "
            "for each target: use 'loss'"
        )
    if isinstance(item, str):
        if item not in NAMES:
            raise ValueError(f"metrics[{i}]={item!r} is not known; choose from: {', '.join(NAMES)}, or give a callable")
        return Metric(item, _suited(item, architecture, labels), MODES[item])
    if not callable(item):
        raise TypeError(f"metrics[{i}] must be a name or a callable; got {type(item).__name__}")
    name = getattr(item, "__name__", type(item).__name__)
    if name in (*NAMES, "lr", "loss_after_epoch") or name.startswith("validation_"):
        raise ValueError(f"metrics[{i}] is a callable of the name {name!r}, which is taken; give it another __name__")
    return Metric(name, _checked(name, item))


def _suited(name: str, architecture: Architecture, labels: bool) -> Callable:
    """Return the function of a named metric, or raise if the network's outputs and targets have no such measure."""
    if name in ("mae", "rmse", "r2"):
        if labels:
            raise ValueError(f"metrics has {name!r}, which class labels do not have; use 'accuracy' or 'auc'")
        return {"mae": mae, "rmse": rmse, "r2": r2}[name]
    if name in ("accuracy", "auc") and architecture.output not in ("sigmoid", "softmax"):
        raise ValueError(
            f"metrics has {name!r}, which takes probabilities; output={architecture.output!r} does not give them"
        )
    if name == "auc":
        require("the metric 'auc'", "scikit-learn", "sklearn.metrics", "sklearn")  # before the run, not after an epoch
        return auc
    return categorical_accuracy if architecture.output == "softmax" else accuracy


def _checked(name: str, function: Callable) -> Callable:
    def measure(y_true: np.ndarray, y_pred: np.ndarray, weight: np.ndarray | None) -> float:
        value = function(y_true, y_pred)
        try:
            return float(value)
        except (TypeError, ValueError):
            raise TypeError(f"metric {name!r} must return a number; got {type(value).__name__}") from None

    return measure


def measure(model: Model, metrics: tuple[Metric, ...], samples: Samples) -> dict[str, float]:
    """Return the value of every metric on `samples`."""
    values: dict[str, float] = {}
    if not metrics:
        return values
    y_true = samples.labels if samples.labels is not None else samples.y
    assert y_true is not None
    y_pred = np.empty((len(samples), model.architecture.outputs), model.dtype)
    names = {metric.name for metric in metrics}
    if names != {"loss"}:
        model._engine.predict(model._theta, samples.x, y_pred)
    diverged = names != {"loss"} and not np.isfinite(y_pred).all()
    for metric in metrics:
        if metric.name == "loss":
            values[metric.name] = model._engine.loss(model._theta, samples)
        elif diverged:
            values[metric.name] = float("nan")  # NaN is no class, and no measure of an infinite output is a number
        elif samples.has_missing:
            values[metric.name] = of_known(metric.function, y_true, y_pred, samples.weight)
        else:
            values[metric.name] = metric.function(y_true, y_pred, samples.weight)
    return values


BY_ENTRY, BY_OUTPUT = (accuracy, mae, rmse), (r2, auc)
"""Metrics that are means over all entries, and over the outputs."""


def of_known(
    function: Callable[..., float], y_true: np.ndarray, y_pred: np.ndarray, weight: np.ndarray | None
) -> float:
    """Return a metric of the targets that are there, NaN if there are none.

    A mean over entries is one over those that are known, the mean over outputs of a measure takes the known rows of
    each, and a callable of the user's gets the rows in which a target is known.
    """
    known = ~np.isnan(y_true)
    if weight is not None:
        known &= (weight != 0).reshape(-1, *[1] * (y_true.ndim - 1))
    if not known.any():
        return float("nan")
    if y_true.ndim == 2 and not (known == known[:, :1]).all():
        if function in BY_ENTRY:
            weights = None if weight is None else np.broadcast_to(weight[:, None], y_true.shape)[known]
            return function(y_true[known][:, None], y_pred[known][:, None], weights)
        if function in BY_OUTPUT:
            parts = [slice(o, o + 1) for o in range(y_true.shape[1]) if known[:, o].any()]
            return float(np.mean([of_known(function, y_true[:, o], y_pred[:, o], weight) for o in parts]))
    rows = known if known.ndim == 1 else known.any(axis=1)
    return function(y_true[rows], y_pred[rows], None if weight is None else weight[rows])
