"""Optimisers: their hyper-parameters and the names of the arrays (slots) they keep for each parameter.

Formulas and defaults are those of PyTorch 2.x (``torch.optim``); each backend implements them in its ``optimizers``
module. In the formulas ``grad`` is the gradient after clipping, as by ``torch.nn.utils.clip_grad_norm_`` and
``clip_grad_value_``, and ``penalty`` is ``weight_decay * theta + l1 * sign(theta)``, with sign(0) = 0.

An optimiser object holds hyper-parameters only. The running state (slots, number of updates) belongs to the network
that trains with it: it goes on while the same optimiser object is used and starts afresh with another one.
Hyper-parameters may be changed between calls (``optimizer.lr = 1e-3``) without losing the state.

For a `nanostep.Population` every numeric hyper-parameter may be a 1-D array with an entry for each network.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np

from nanostep._checks import check_bool, check_reals

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "RMSprop"]

Hyper = float | Any
"""A number, or for a population a 1-D array. Any lets networks, which refuse arrays, use it as a float."""


def _is_nonzero(value: Hyper | None) -> bool:
    """True if a hyper-parameter is not 0; of an array, if any entry is not 0."""
    return bool(value.any()) if isinstance(value, np.ndarray) else bool(value)


@dataclass(eq=False)
class Optimizer:
    """Base class: what the training loop needs to know about an optimiser, and the keywords that all of them take.

    Parameters
    ----------
    l1 : float, default=0
        L1 penalty, >= 0, on biases too (as weight_decay): adds l1 * sign(theta) to the gradient.
    clip_norm : float, optional
        Largest norm, > 0, of the whole gradient: it is multiplied by ``min(1, clip_norm / (norm + 1e-6))``.
    clip_value : float, optional
        Largest absolute value, > 0, of each entry of the gradient. Give at most one of the two.
    """

    kind: ClassVar[str]
    lr: Hyper = 1e-3
    l1: Hyper = field(default=0.0, kw_only=True)
    clip_norm: Hyper | None = field(default=None, kw_only=True)
    clip_value: Hyper | None = field(default=None, kw_only=True)

    def check(self) -> None:
        """Raise TypeError or ValueError if a hyper-parameter is not acceptable."""
        raise TypeError(f"{type(self).__name__} is not an optimiser; use SGD, RMSprop, Adam or AdamW")

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of the arrays kept for each parameter, in the order of the rows of the slot array."""
        return ()

    def hyperparameters(self) -> dict[str, float]:
        """Return every field as a number: flags as 0 or 1, None as 0. Absent fields of other optimisers count as 0."""
        return {
            "lr": float(self.lr),
            "l1": float(self.l1),
            "clip_norm": float(self.clip_norm or 0.0),
            "clip_value": float(self.clip_value or 0.0),
        }

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the hyper-parameters that are arrays, by their names in `HYPERPARAMETERS`."""
        values = {**vars(self), **self._betas()}
        return {name: np.asarray(value, float) for name, value in values.items() if isinstance(value, np.ndarray)}

    def _betas(self) -> dict[str, Any]:
        """Return the entries of fields that are pairs, each under a name of its own."""
        return {}

    @property
    def size(self) -> int | None:
        """Number of networks that there are hyper-parameters for; None if all are numbers, which fit any population.

        Raises
        ------
        ValueError
            Arrays differ in length.
        """
        lengths = {name: len(array) for name, array in self.arrays().items()}
        if len(set(lengths.values())) > 1:
            listed = ", ".join(f"{name} has {length}" for name, length in lengths.items())
            raise ValueError(f"arrays of hyper-parameters must have one entry for each network; {listed}")
        return next(iter(lengths.values()), None)

    def of(self, network: int) -> Self:
        """Return the optimiser of one network of a population, whose hyper-parameters are numbers."""
        other = copy(self)
        for name, value in vars(self).items():
            if name == "betas":
                other.__dict__[name] = tuple(float(b if np.ndim(b) == 0 else b[network]) for b in value)
            elif isinstance(value, np.ndarray):
                other.__dict__[name] = float(value[network])
        return other

    def take(self, networks: np.ndarray) -> Self:
        """Return the optimiser of some networks of a population: arrays keep the entries of these networks."""
        other = copy(self)
        for name, value in vars(self).items():
            if name == "betas":
                other.__dict__[name] = tuple(b if np.ndim(b) == 0 else b[networks] for b in value)
            elif isinstance(value, np.ndarray):
                other.__dict__[name] = value[networks]
        return other

    def slot_rows(self, single: Optimizer) -> list[int]:
        """Return the rows of the slots that `single`, the optimiser of one network, uses: fewer without momentum."""
        return [self.slots.index(name) for name in single.slots]

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        ours, theirs = ({**vars(o), "betas": None, **o._betas()} for o in (self, other))
        return all(np.array_equal(value, theirs[name]) for name, value in ours.items())

    __hash__ = None  # type: ignore[assignment]  # hyper-parameters may be changed

    def at_rate(self, lr: Hyper) -> Self:
        """Return a copy with learning rate `lr`, for a population an array of them; unchecked, as it may be 0."""
        other = copy(self)
        other.lr = lr
        return other


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
    "l1",
    "clip_norm",
    "clip_value",
    "velocity_with_rate",
    "epsilon_hat",
)
"""Every hyper-parameter of every optimiser: the fields of C's ``nst_optimizer`` and the order of the jit kernels."""


def _check_common(optimizer: SGD | RMSprop | Adam) -> None:
    check_reals("lr", optimizer.lr, 0.0, open_low=True)
    check_reals("weight_decay", optimizer.weight_decay, 0.0)
    check_reals("l1", optimizer.l1, 0.0)
    for name in ("clip_norm", "clip_value"):
        if getattr(optimizer, name) is not None:
            check_reals(name, getattr(optimizer, name), 0.0, open_low=True)
    _ = optimizer.size  # raises if arrays differ in length
    if optimizer.clip_norm is not None and optimizer.clip_value is not None:
        raise ValueError(
            f"give clip_norm or clip_value, not both; got clip_norm={optimizer.clip_norm!r} "
            f"and clip_value={optimizer.clip_value!r}"
        )


@dataclass(eq=False)
class SGD(Optimizer):
    """Stochastic gradient descent, with momentum, as ``torch.optim.SGD``.

    ``g = grad + penalty``; with momentum ``v = momentum * v + (1 - dampening) * g`` (``v = g`` at the first update),
    then ``g = g + momentum * v`` with Nesterov or ``g = v`` without; ``theta = theta - lr * g``.

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
    velocity_with_rate : bool, default=False
        Put ``lr * g`` in place of g, and 1 in place of lr in the last formula, so that after a change of the rate a
        velocity keeps the rates at which it was gathered (as in Sutskever et al., TensorFlow and scikit-learn).
    l1, clip_norm, clip_value
        See `Optimizer`.

    Source: Sutskever et al., 2013, in the form documented for ``torch.optim.SGD``.
    """

    kind: ClassVar[str] = "sgd"
    lr: Hyper = 1e-3
    momentum: Hyper = 0.0
    nesterov: bool = False
    weight_decay: Hyper = 0.0
    dampening: Hyper = 0.0
    velocity_with_rate: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        self.check()

    def check(self) -> None:
        _check_common(self)
        check_reals("momentum", self.momentum, 0.0)
        check_reals("dampening", self.dampening)
        check_bool("velocity_with_rate", self.velocity_with_rate)
        if check_bool("nesterov", self.nesterov) and (np.min(self.momentum) == 0 or np.any(self.dampening)):
            raise ValueError("nesterov=True needs momentum > 0 and dampening = 0")

    @property
    def is_plain(self) -> bool:
        """True if an update is ``theta - lr * grad`` and nothing else, for a population in all of its networks."""
        return not any(map(_is_nonzero, (self.momentum, self.weight_decay, self.l1, self.clip_norm, self.clip_value)))

    @property
    def slots(self) -> tuple[str, ...]:
        return ("momentum_buffer",) if _is_nonzero(self.momentum) else ()

    def hyperparameters(self) -> dict[str, float]:
        return {
            **super().hyperparameters(),
            "momentum": float(self.momentum),
            "dampening": float(self.dampening),
            "nesterov": float(self.nesterov),
            "weight_decay": float(self.weight_decay),
            "velocity_with_rate": float(self.velocity_with_rate),
        }


@dataclass(eq=False)
class RMSprop(Optimizer):
    """RMSprop, as ``torch.optim.RMSprop``.

    ``g = grad + penalty``; ``s = alpha * s + (1 - alpha) * g^2``; centred:
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
    l1, clip_norm, clip_value
        See `Optimizer`.

    Source: Tieleman & Hinton, 2012, lecture 6.5; centred form of Graves, 2013, arXiv:1308.0850.
    """

    kind: ClassVar[str] = "rmsprop"
    lr: Hyper = 1e-2
    alpha: Hyper = 0.99
    eps: Hyper = 1e-8
    weight_decay: Hyper = 0.0
    momentum: Hyper = 0.0
    centered: bool = False

    def __post_init__(self) -> None:
        self.check()

    def check(self) -> None:
        _check_common(self)
        check_reals("alpha", self.alpha, 0.0, 1.0)
        check_reals("eps", self.eps, 0.0)
        check_reals("momentum", self.momentum, 0.0)
        check_bool("centered", self.centered)

    @property
    def slots(self) -> tuple[str, ...]:
        momentum = ("momentum_buffer",) if _is_nonzero(self.momentum) else ()
        return ("square_avg", *momentum, *(("grad_avg",) if self.centered else ()))

    def hyperparameters(self) -> dict[str, float]:
        return {
            **super().hyperparameters(),
            "alpha": float(self.alpha),
            "eps": float(self.eps),
            "weight_decay": float(self.weight_decay),
            "momentum": float(self.momentum),
            "centered": float(self.centered),
        }


@dataclass(eq=False)
class Adam(Optimizer):
    """Adam, as ``torch.optim.Adam``; weight decay is an L2 penalty added to the gradient.

    ``g = grad + penalty``; ``m = beta1 * m + (1 - beta1) * g``; ``v = beta2 * v + (1 - beta2) * g^2``;
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
    epsilon_hat : bool, default=False
        Do not correct the square root that eps is added to:
        ``theta = theta - lr * sqrt(1 - beta2^t) / (1 - beta1^t) * m / (sqrt(v) + eps)``, the form that section 2 of the
        paper gives with epsilon hat (as in TensorFlow and scikit-learn).
    l1, clip_norm, clip_value
        See `Optimizer`.

    Source: Kingma & Ba, 2015, arXiv:1412.6980; AMSGrad: Reddi et al., 2018, arXiv:1904.09237.
    """

    kind: ClassVar[str] = "adam"
    lr: Hyper = 1e-3
    betas: tuple[Hyper, Hyper] = (0.9, 0.999)
    eps: Hyper = 1e-8
    weight_decay: Hyper = 0.0
    amsgrad: bool = False
    epsilon_hat: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        self.check()

    def _betas(self) -> dict[str, Any]:
        return {"beta1": self.betas[0], "beta2": self.betas[1]}

    def check(self) -> None:
        if not isinstance(self.betas, (tuple, list)) or len(self.betas) != 2:
            raise TypeError(f"betas must be a pair of numbers such as (0.9, 0.999); got {self.betas!r}")
        _check_common(self)
        for i, beta in enumerate(self.betas):
            check_reals(f"betas[{i}]", beta, 0.0, 1.0, open_high=True)
        check_reals("eps", self.eps, 0.0)
        check_bool("amsgrad", self.amsgrad)
        check_bool("epsilon_hat", self.epsilon_hat)

    @property
    def slots(self) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq", *(("max_exp_avg_sq",) if self.amsgrad else ()))

    def hyperparameters(self) -> dict[str, float]:
        return {
            **super().hyperparameters(),
            "beta1": float(self.betas[0]),
            "beta2": float(self.betas[1]),
            "eps": float(self.eps),
            "weight_decay": float(self.weight_decay),
            "amsgrad": float(self.amsgrad),
            "epsilon_hat": float(self.epsilon_hat),
        }


@dataclass(eq=False)
class AdamW(Adam):
    """Adam with decoupled penalties, as ``torch.optim.AdamW``: ``theta = theta - lr * l1 * sign(theta)`` and then
    ``theta = theta * (1 - lr * weight_decay)`` come first, and ``g = grad``.

    Same parameters as `Adam`, except that ``weight_decay`` is 1e-2 by default.

    Source: Loshchilov & Hutter, 2019, arXiv:1711.05101.
    """

    kind: ClassVar[str] = "adamw"
    weight_decay: Hyper = 1e-2


def stacked(optimizers: Sequence[Optimizer]) -> Optimizer:
    """Return the optimiser of a population, given those of its networks, which have one kind and the same flags."""
    values: dict[str, Any] = {}
    for name, value in vars(optimizers[0]).items():
        numbers = [vars(optimizer)[name] for optimizer in optimizers]
        if name == "betas":
            values[name] = tuple(np.array(part, float) for part in zip(*numbers, strict=True))
        else:
            values[name] = value if value is None or isinstance(value, bool) else np.array(numbers, float)
    return type(optimizers[0])(**values)


OPTIMIZERS: dict[str, Any] = {cls.kind: cls for cls in (SGD, RMSprop, Adam, AdamW)}
"""Every optimiser by kind; the position of a kind is the identifier that the jit kernels switch on."""


def refuse_arrays(optimizer: Optimizer) -> None:
    """Raise TypeError if a hyper-parameter is an array, which only a population can use."""
    for name, array in optimizer.arrays().items():
        raise TypeError(
            f"{name} is an array of {len(array)}, one for each network of a Population; a Network takes a number"
        )


def check_optimizer(value: object) -> Optimizer:
    """Return `value` if it is an optimiser whose hyper-parameters are acceptable."""
    if not isinstance(value, Optimizer):
        raise TypeError(f"optimizer must be ns.SGD, ns.RMSprop, ns.Adam or ns.AdamW; got {type(value).__name__}")
    value.check()
    refuse_arrays(value)
    return value
