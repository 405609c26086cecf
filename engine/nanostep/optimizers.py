"""Optimisers: their hyper-parameters and the names of the arrays (slots) they keep for each parameter.

Formulas and defaults are those of PyTorch 2.x (``torch.optim``); each backend implements them in its ``optimizers``
module. An optimiser here holds hyper-parameters only. The running state (slots, number of updates) belongs to the
network that trains with it: it goes on while the same optimiser object is used and starts afresh with another one.
Hyper-parameters may be changed between calls (``optimizer.lr = 1e-3``) without losing the state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from nanostep._checks import check_bool, check_real

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "RMSprop"]


class Optimizer:
    """Base class: what the training loop needs to know of an optimiser."""

    kind: ClassVar[str]
    lr: float

    def check(self) -> None:
        """Raise TypeError or ValueError if a hyper-parameter is not acceptable."""
        raise TypeError(f"{type(self).__name__} is not an optimiser; use SGD, RMSprop, Adam or AdamW")

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of the arrays kept for each parameter, in the order of the rows of the slot array."""
        return ()

    def hyperparameters(self) -> dict[str, float]:
        """Every field as a number, flags as 0 or 1; absent fields of other optimisers count as 0."""
        raise TypeError(f"{type(self).__name__} is not an optimiser")


HYPERPARAMETERS = (
    "lr",
    "momentum",
    "dampening",
    "nesterov",
    "weight_decay",
    "alpha",
    "centered",
    "eps",
    "beta1",
    "beta2",
    "amsgrad",
)
"""Every hyper-parameter of every optimiser: the fields of C's ``nst_optimizer`` and the order of the jit kernels."""


def _check_common(optimizer: SGD | RMSprop | Adam) -> None:
    check_real("lr", optimizer.lr, 0.0, open_low=True)
    check_real("weight_decay", optimizer.weight_decay, 0.0)


@dataclass
class SGD(Optimizer):
    """Stochastic gradient descent, with momentum, as ``torch.optim.SGD``.

    ``g = grad + weight_decay * theta``; with momentum ``v = momentum * v + (1 - dampening) * g`` (``v = g`` at the
    first update), then ``g = g + momentum * v`` with Nesterov or ``g = v`` without; ``theta = theta - lr * g``.

    Parameters
    ----------
    lr : float, default=1e-3
        Learning rate, > 0.
    momentum : float, default=0
        >= 0.
    nesterov : bool, default=False
        Needs momentum > 0 and dampening = 0.
    weight_decay : float, default=0
        L2 penalty, >= 0, on biases too (as PyTorch).
    dampening : float, default=0

    Source: Sutskever et al., 2013, in the form documented for ``torch.optim.SGD``.
    """

    kind: ClassVar[str] = "sgd"
    lr: float = 1e-3
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    dampening: float = 0.0

    def __post_init__(self) -> None:
        self.check()

    def check(self) -> None:
        _check_common(self)
        check_real("momentum", self.momentum, 0.0)
        check_real("dampening", self.dampening)
        if check_bool("nesterov", self.nesterov) and (self.momentum == 0 or self.dampening != 0):
            raise ValueError("nesterov=True needs momentum > 0 and dampening = 0")

    @property
    def slots(self) -> tuple[str, ...]:
        return ("momentum_buffer",) if self.momentum else ()

    def hyperparameters(self) -> dict[str, float]:
        return {
            "lr": float(self.lr),
            "momentum": float(self.momentum),
            "dampening": float(self.dampening),
            "nesterov": float(self.nesterov),
            "weight_decay": float(self.weight_decay),
        }


@dataclass
class RMSprop(Optimizer):
    """RMSprop, as ``torch.optim.RMSprop``.

    ``g = grad + weight_decay * theta``; ``s = alpha * s + (1 - alpha) * g^2``; centred:
    ``m = alpha * m + (1 - alpha) * g`` and ``d = sqrt(max(s - m^2, 0)) + eps``, otherwise ``d = sqrt(s) + eps``; with
    momentum ``v = momentum * v + g / d`` and ``theta = theta - lr * v``, otherwise ``theta = theta - lr * g / d``.

    Parameters
    ----------
    lr : float, default=1e-2
    alpha : float, default=0.99
        Smoothing constant in [0, 1].
    eps : float, default=1e-8
        >= 0.
    weight_decay : float, default=0
    momentum : float, default=0
    centered : bool, default=False

    Source: Tieleman & Hinton, 2012, lecture 6.5; centred form of Graves, 2013, arXiv:1308.0850.
    """

    kind: ClassVar[str] = "rmsprop"
    lr: float = 1e-2
    alpha: float = 0.99
    eps: float = 1e-8
    weight_decay: float = 0.0
    momentum: float = 0.0
    centered: bool = False

    def __post_init__(self) -> None:
        self.check()

    def check(self) -> None:
        _check_common(self)
        check_real("alpha", self.alpha, 0.0, 1.0)
        check_real("eps", self.eps, 0.0)
        check_real("momentum", self.momentum, 0.0)
        check_bool("centered", self.centered)

    @property
    def slots(self) -> tuple[str, ...]:
        momentum = ("momentum_buffer",) if self.momentum else ()
        return ("square_avg", *momentum, *(("grad_avg",) if self.centered else ()))

    def hyperparameters(self) -> dict[str, float]:
        return {
            "lr": float(self.lr),
            "alpha": float(self.alpha),
            "eps": float(self.eps),
            "weight_decay": float(self.weight_decay),
            "momentum": float(self.momentum),
            "centered": float(self.centered),
        }


@dataclass
class Adam(Optimizer):
    """Adam, as ``torch.optim.Adam``; weight decay is an L2 penalty added to the gradient.

    ``g = grad + weight_decay * theta``; ``m = beta1 * m + (1 - beta1) * g``; ``v = beta2 * v + (1 - beta2) * g^2``;
    ``theta = theta - lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps)``; with AMSGrad the largest v so far
    stands for v in the last formula.

    Parameters
    ----------
    lr : float, default=1e-3
    betas : (float, float), default=(0.9, 0.999)
        Each in [0, 1).
    eps : float, default=1e-8
    weight_decay : float, default=0
    amsgrad : bool, default=False

    Source: Kingma & Ba, 2015, arXiv:1412.6980; AMSGrad: Reddi et al., 2018, arXiv:1904.09237.
    """

    kind: ClassVar[str] = "adam"
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    amsgrad: bool = False

    def __post_init__(self) -> None:
        self.check()

    def check(self) -> None:
        _check_common(self)
        if not isinstance(self.betas, (tuple, list)) or len(self.betas) != 2:
            raise TypeError(f"betas must be a pair of numbers such as (0.9, 0.999); got {self.betas!r}")
        for i, beta in enumerate(self.betas):
            check_real(f"betas[{i}]", beta, 0.0, 1.0, open_high=True)
        check_real("eps", self.eps, 0.0)
        check_bool("amsgrad", self.amsgrad)

    @property
    def slots(self) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq", *(("max_exp_avg_sq",) if self.amsgrad else ()))

    def hyperparameters(self) -> dict[str, float]:
        return {
            "lr": float(self.lr),
            "beta1": float(self.betas[0]),
            "beta2": float(self.betas[1]),
            "eps": float(self.eps),
            "weight_decay": float(self.weight_decay),
            "amsgrad": float(self.amsgrad),
        }


@dataclass
class AdamW(Adam):
    """Adam with decoupled weight decay, as ``torch.optim.AdamW``: ``theta = theta * (1 - lr * weight_decay)`` first.

    Same parameters as `Adam`, except that ``weight_decay`` is 1e-2 by default.

    Source: Loshchilov & Hutter, 2019, arXiv:1711.05101.
    """

    kind: ClassVar[str] = "adamw"
    weight_decay: float = 1e-2


OPTIMIZERS: dict[str, Any] = {cls.kind: cls for cls in (SGD, RMSprop, Adam, AdamW)}
"""Every optimiser by kind; the position of a kind is the identifier that the jit kernels switch on."""


def check_optimizer(value: object) -> Optimizer:
    """Return `value` if it is an optimiser whose hyper-parameters are acceptable."""
    if not isinstance(value, Optimizer):
        raise TypeError(f"optimizer must be ns.SGD, ns.RMSprop, ns.Adam or ns.AdamW; got {type(value).__name__}")
    value.check()
    return value
