"""Losses with options, for ``loss=`` of networks, populations and estimators; losses without any go by their names.

A loss with several outputs for a target takes Y of shape (n, targets).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np

from nanostep._checks import check_real

__all__ = ["GaussianNLL", "Huber", "Loss", "Quantile"]


class Loss:
    """Base of the losses that are objects. They are immutable and equal if their options are.

    Attributes
    ----------
    name : str
        As `Network.loss_name` gives it.
    """

    name: ClassVar[str]

    @property
    def outputs_per_target(self) -> int:
        """Outputs of the network for each target."""
        return 1

    def options(self) -> dict[str, Any]:
        """Return the options by name, as JSON takes them: what files keep."""
        return {
            field.name: list(value) if isinstance(value := getattr(self, field.name), tuple) else value
            for field in fields(self)  # type: ignore[arg-type]
        }

    def repeated(self, y: np.ndarray) -> np.ndarray:
        """Return targets (n, targets) as (n, outputs): for each output its target."""
        return y

    def unrepeated(self, y: np.ndarray) -> np.ndarray:
        """Return targets (n, outputs) as (n, targets)."""
        return y


@dataclass(frozen=True)
class Huber(Loss):
    """The Huber loss: quadratic for small errors, linear for large ones; the mean over outputs.

    ``(a - y)**2 / 2`` where ``|a - y| <= delta``, otherwise ``delta * (|a - y| - delta / 2)``: PyTorch's HuberLoss.
    ``loss="huber"`` stands for ``Huber(1.0)``.

    Parameters
    ----------
    delta : float, default=1.0
        Where the two parts meet, > 0.

    Examples
    --------
    >>> import nanostep as ns
    >>> ns.Network([4, 16, 1], output="identity", loss=ns.losses.Huber(delta=0.5), backend="numpy").loss_name
    'huber'
    """

    delta: float = 1.0
    name: ClassVar[str] = "huber"

    def __post_init__(self) -> None:
        object.__setattr__(self, "delta", check_real("delta", self.delta, 0.0, open_low=True))


@dataclass(frozen=True)
class Quantile(Loss):
    """The pinball loss: each output learns a quantile of its target; the mean over outputs.

    With the error ``e = y - a``, an output's term is ``max(q e, (q - 1) e)``. A network for T targets and Q quantiles
    has T Q outputs, the quantiles of one target side by side: ``net.predict(X).reshape(-1, T, Q)``. Y has shape
    (n, T).

    Parameters
    ----------
    quantiles : sequence of float, or a float
        Each in (0, 1).

    Examples
    --------
    >>> import nanostep as ns
    >>> net = ns.Network([4, 16, 3], output="identity", loss=ns.losses.Quantile([0.1, 0.5, 0.9]), backend="numpy")
    >>> net.loss([[1, 2, 3, 4]], [[0.5]]) > 0
    True
    """

    quantiles: tuple[float, ...]
    name: ClassVar[str] = "quantile"

    def __init__(self, quantiles: Iterable[float] | float) -> None:
        given = np.asarray(quantiles, object)
        if given.ndim > 1 or given.size == 0:
            raise ValueError(f"quantiles must be one or more numbers in (0, 1); got {quantiles!r}")
        checked = [
            check_real(f"quantiles[{i}]", value, 0.0, 1.0, open_low=True, open_high=True)
            for i, value in enumerate(given.ravel())
        ]
        object.__setattr__(self, "quantiles", tuple(checked))

    def __repr__(self) -> str:
        return f"Quantile({list(self.quantiles)})"

    @property
    def outputs_per_target(self) -> int:
        return len(self.quantiles)

    def of_outputs(self, outputs: int, dtype: np.dtype | type = np.float64) -> np.ndarray:
        """Return the quantile of each output."""
        return np.resize(np.array(self.quantiles, dtype), outputs)

    def repeated(self, y: np.ndarray) -> np.ndarray:
        return np.repeat(y, len(self.quantiles), axis=1)

    def unrepeated(self, y: np.ndarray) -> np.ndarray:
        return y[:, :: len(self.quantiles)]


@dataclass(frozen=True)
class GaussianNLL(Loss):
    """Negative log-likelihood of a normal distribution whose mean and variance the network gives; mean over targets.

    A network for T targets has 2 T outputs: the T means, then the T logarithms of the variances. With mean m and
    logarithm s, a target's term is ``(s + (y - m)**2 * exp(-s)) / 2``: PyTorch's GaussianNLLLoss of ``exp(s)``, which
    leaves out the constant. The output activation is "identity". Y has shape (n, T).

    Examples
    --------
    >>> import nanostep as ns
    >>> net = ns.Network([4, 16, 2], output="identity", loss=ns.losses.GaussianNLL(), backend="numpy")
    >>> mean, log_variance = np.split(net.predict([[1, 2, 3, 4]]), 2, axis=-1)
    """

    name: ClassVar[str] = "gaussian_nll"

    @property
    def outputs_per_target(self) -> int:
        return 2

    def repeated(self, y: np.ndarray) -> np.ndarray:
        return np.tile(y, (1, 2))

    def unrepeated(self, y: np.ndarray) -> np.ndarray:
        return y[:, : y.shape[1] // 2]


KINDS: dict[str, type[Loss]] = {kind.name: kind for kind in (Huber, Quantile, GaussianNLL)}
"""Losses with options by name."""


def name_of(loss: str | Loss) -> str:
    """Return the name of a loss."""
    return loss if isinstance(loss, str) else loss.name


def delta_of(loss: str | Loss) -> float:
    """Return the delta of a Huber loss."""
    return loss.delta if isinstance(loss, Huber) else Huber.delta
