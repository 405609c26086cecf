"""`plot_decision_boundary`: the classes that a classifier predicts over the plane of its two inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from nanostep._arrays import convert
from nanostep._checks import check_integer, check_real
from nanostep.model import Model
from nanostep.plots._axes import CATEGORIES, INK, check_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TINT = 0.4
"""Share of a class's colour where the prediction is certain; where two classes are equally likely it is 0."""


def plot_decision_boundary(
    net_or_estimator: Any,
    X: Any,
    y: ArrayLike,
    ax: Axes | None = None,
    *,
    resolution: int = 200,
    margin: float = 0.1,
) -> Axes:
    """Draw samples with two features, and the classes that a network or an estimator predicts around them.

    Each region has the colour of its class, paler where the prediction is less certain; black lines separate the
    classes. With one output, a network's class depends on which side of the middle between the two values in `y` the
    output is; with several, it is the index of the largest.

    Parameters
    ----------
    net_or_estimator : Network or classifier with scikit-learn's methods
        With two inputs. A classifier's ``predict_proba`` is used if there is one, otherwise its ``predict``.
    X : array-like or data frame, shape (n, 2)
    y : array-like, shape (n,), (n, 1) or (n, outputs)
        Class labels; for a network also rows of probabilities, of which the largest is the class.
    ax : Axes, optional
        Where to draw; by default on a new pyplot figure.
    resolution : int, default=200
        Points along each axis at which predictions are made, 2 to 4096.
    margin : float, default=0.1
        Distance from the outermost samples to the edge, over their range; 0 to 10.

    Returns
    -------
    Axes

    Raises
    ------
    ImportError
        matplotlib is not installed.
    TypeError, ValueError
        An argument is of the wrong type, shape or range, or `y` has a class that the model does not know.
    """
    check_integer("resolution", resolution, 2, 4096)
    check_real("margin", margin, 0.0, 10.0)
    columns = getattr(X, "columns", None)
    points = _points(X)
    classes, probabilities, labels = _classifier(net_or_estimator, len(points), y)

    ax = check_axes(ax, (4.8, 4.0))
    low, high = points.min(axis=0), points.max(axis=0)
    room = margin * np.where(high > low, high - low, 1.0)
    (left, bottom), (right, top) = low - room, high + room
    across, up = np.linspace(left, right, resolution), np.linspace(bottom, top, resolution)
    grid = np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2)
    rows = grid if columns is None else type(X)(dict(zip(columns, grid.T, strict=True)))  # a frame of the same columns
    p = probabilities(rows).reshape(resolution, resolution, len(classes))

    colours = _colours(len(classes))
    ax.imshow(
        _tinted(p, colours), extent=(left, right, bottom, top), origin="lower", aspect="auto",
        interpolation="bilinear", zorder=0,
    )  # fmt: skip
    for k in range(len(classes) if len(classes) > 2 else 1):
        lead = p[..., k] - np.delete(p, k, axis=-1).max(axis=-1)
        if lead.min() < 0 < lead.max():
            ax.contour(across, up, lead, levels=[0.0], colors="black", linewidths=1.1, zorder=1)
    for name, colour in zip(classes, colours, strict=True):
        of_class = points[labels == name]
        if len(of_class):
            x1, x2 = of_class.T
            ax.scatter(x1, x2, s=18, color=colour, edgecolors="white", linewidths=0.5, label=str(name), zorder=2)
    ax.set_xlim(left, right)
    ax.set_ylim(bottom, top)
    ax.set_xlabel("x1" if columns is None else str(columns[0]), color=INK)
    ax.set_ylabel("x2" if columns is None else str(columns[1]), color=INK)
    ax.legend(title="class", loc="best", framealpha=0.9, fontsize=9)
    return ax


def _points(X: Any) -> np.ndarray:
    points = convert("X", X, np.dtype(np.float64))
    if points.ndim != 2 or points.shape[1] != 2 or len(points) == 0:
        raise ValueError(f"X must have shape (n, 2), n >= 1: a plane has two features; got {points.shape}")
    return points


def _classifier(model: Any, n: int, y: ArrayLike) -> tuple[np.ndarray, Callable[[Any], np.ndarray], np.ndarray]:
    """Return the classes, a function from rows to their probabilities (n, classes), and the class of each sample."""
    labels = np.asarray(y)
    if labels.ndim == 0 or len(labels) != n:
        raise ValueError(f"y must have one entry for each of the {n} samples; got shape {labels.shape}")
    if isinstance(model, Model):
        if model.architecture.inputs != 2:
            raise ValueError(f"the network has {model.architecture.inputs} inputs; a plane has 2")
        classes, probabilities, labels = _of_network(model, labels)
    else:
        classes, probabilities = _of_estimator(model)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise ValueError(f"y has shape {labels.shape}; accepted are (n,) and (n, 1), for a network also (n, outputs)")
    unknown = np.setdiff1d(labels, classes)
    if len(unknown):
        raise ValueError(f"y has classes that the model does not know: {unknown[:5].tolist()}")
    return classes, probabilities, labels


def _of_network(net: Model, labels: np.ndarray) -> tuple[np.ndarray, Callable[[Any], np.ndarray], np.ndarray]:
    if labels.dtype.kind not in "biuf":
        raise TypeError(f"y must hold numbers for a network; got dtype {labels.dtype}")
    outputs = net.architecture.outputs
    if outputs == 1:
        classes = np.unique(labels)
        if len(classes) != 2:
            raise ValueError(f"y must have two values for a network of one output; got {len(classes)}")
        low, high = map(float, classes)

        def two_classes(rows: np.ndarray) -> np.ndarray:
            part = np.clip((net.predict(rows)[:, 0] - low) / (high - low), 0, 1)
            return np.stack([1 - part, part], axis=1)

        return classes, two_classes, labels

    def class_per_output(rows: np.ndarray) -> np.ndarray:
        a__no = net.predict(rows)
        if net.architecture.output in ("softmax", "sigmoid"):
            return a__no / a__no.sum(axis=1, keepdims=True)
        return np.eye(outputs)[a__no.argmax(axis=1)]

    if labels.ndim == 2 and labels.shape[1] == outputs:
        labels = labels.argmax(axis=1)
    return np.arange(outputs), class_per_output, labels


def _of_estimator(estimator: Any) -> tuple[np.ndarray, Callable[[Any], np.ndarray]]:
    if not hasattr(estimator, "predict"):
        raise TypeError(
            f"net_or_estimator must be a Network or a classifier with a method predict; got {type(estimator).__name__}"
        )
    if not hasattr(estimator, "classes_"):
        raise ValueError(f"{type(estimator).__name__} has no classes_: it must be a classifier, and fitted")
    classes = np.asarray(estimator.classes_)

    def probabilities(rows: Any) -> np.ndarray:
        if hasattr(estimator, "predict_proba"):
            return np.asarray(estimator.predict_proba(rows))
        return (np.asarray(estimator.predict(rows))[:, None] == classes).astype(float)

    return classes, probabilities


def _colours(count: int) -> list[str]:
    return [CATEGORIES[k % len(CATEGORIES)] for k in range(count)]


def _tinted(p__hwc: np.ndarray, colours: list[str]) -> np.ndarray:
    """Return an RGB image of the likeliest classes, white where the two likeliest are equally likely."""
    from matplotlib.colors import to_rgb

    largest = np.sort(p__hwc, axis=-1)[..., -2:]
    certainty = TINT * (largest[..., 1] - largest[..., 0])[..., None]
    colour = np.array([to_rgb(name) for name in colours])[p__hwc.argmax(axis=-1)]
    return 1 - certainty * (1 - colour)
