"""`make_trial` turns a setting, values by name, into an architecture, an optimiser and the arguments of a run."""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, fields

import numpy as np

from nanostep._checks import check_bool, check_choice, check_integer, check_real
from nanostep.architecture import Architecture, make_architecture
from nanostep.losses import Loss
from nanostep.optimizers import OPTIMIZERS, Optimizer
from nanostep.sweeps.spaces import Setting
from nanostep.training.sample_weights import check_smoothing

OF_NETWORK = {"hidden": (16,), "activation": "tanh", "output": None, "loss": None}
OF_TRAINING = {"epochs": 10, "batch_size": 32, "shuffle": True, "dropout": 0.0, "label_smoothing": 0.0}
"""Names of settings, besides "optimizer" and the parameters of optimisers, and their defaults."""

OF_OPTIMIZERS = sorted({field.name for kind in OPTIMIZERS.values() for field in fields(kind)})


@dataclass(frozen=True)
class Trial:
    """A checked setting.

    Attributes
    ----------
    values : dict
        By name, as given.
    architecture : Architecture
    optimizer : Optimizer
    epochs, batch, shuffle, dropout, smoothing
        As in `Network.train`.
    """

    values: Setting
    architecture: Architecture
    optimizer: Optimizer
    epochs: int
    batch: int
    shuffle: bool
    dropout: float
    smoothing: float

    def group(self) -> Hashable:
        """Return a key that is equal for trials whose networks can be trained in one population."""
        flags = (
            (name, value if isinstance(value, bool) else value is None)
            for name, value in vars(self.optimizer).items()
            if isinstance(value, bool) or name.startswith("clip")
        )
        return (
            self.architecture,
            type(self.optimizer),
            tuple(flags),
            self.epochs,
            self.batch,
            self.shuffle,
            self.dropout > 0,
            self.smoothing,
        )

    def identity(self) -> str:
        """Return a text that is the same for equal trials in every process."""
        network = (self.architecture.sizes, self.architecture.activations, str(self.architecture.criterion))
        optimizer = sorted((name, repr(value)) for name, value in vars(self.optimizer).items())
        rest = (self.batch, self.shuffle, self.dropout, self.smoothing)
        return json.dumps([network, self.optimizer.kind, optimizer, rest])


def make_trial(values: Setting, inputs: int, outputs: int, *, labels: bool) -> Trial:
    """Return a checked setting for data with this many inputs and targets (classes if there are `labels`).

    Raises
    ------
    TypeError, ValueError
        A name is not known, or a value not accepted.
    """
    known = {*OF_NETWORK, *OF_TRAINING, "optimizer", *OF_OPTIMIZERS}
    for name in values:
        if name not in known:
            raise ValueError(f"{name!r} is not a setting; accepted are {', '.join(sorted(known))}")
    got = {**OF_NETWORK, **OF_TRAINING, **values}
    loss = got["loss"] or ("cross_entropy" if labels else "squared_error")
    output = got["output"] or ("softmax" if loss == "cross_entropy" else "identity")
    if output == "identity" and loss == "binary_cross_entropy":
        output = "sigmoid"
    widths = got["hidden"] if isinstance(got["hidden"], (Sequence, np.ndarray)) else (got["hidden"],)
    hidden = tuple(check_integer("hidden", width, 1) for width in widths)
    if isinstance(loss, Loss):
        outputs *= loss.outputs_per_target
    architecture = make_architecture((inputs, *hidden, outputs), got["activation"], output, loss)
    dropout = check_real("dropout", got["dropout"], 0.0, 1.0, open_high=True)
    if dropout and not hidden:
        raise ValueError("dropout drops hidden units; hidden=() has none")
    return Trial(
        values,
        architecture,
        _make_optimizer(values),
        check_integer("epochs", got["epochs"], 1),
        check_integer("batch_size", got["batch_size"], 1),
        check_bool("shuffle", got["shuffle"]),
        dropout,
        check_smoothing(architecture, got["label_smoothing"]),
    )


def _make_optimizer(values: Setting) -> Optimizer:
    kind = values.get("optimizer", "adam")
    if not isinstance(kind, str):
        raise TypeError(
            f"optimizer must be one of {', '.join(OPTIMIZERS)}, with its parameters beside it; got {kind!r}"
        )
    check_choice("optimizer", kind, tuple(OPTIMIZERS))
    cls = OPTIMIZERS[kind]
    accepted = {field.name for field in fields(cls)}
    given = {name: value for name, value in values.items() if name in OF_OPTIMIZERS}
    for name, value in given.items():
        if name not in accepted:
            raise ValueError(f"{name}={value!r} is not a parameter of {cls.__name__}; its are {', '.join(accepted)}")
        if isinstance(value, np.ndarray):
            raise TypeError(f"{name} of one setting must be a number; got an array of shape {value.shape}")
    optimizer = cls(**given)
    # all numbers as floats, so that equal settings compare equal and all can be put into arrays
    for name, value in vars(optimizer).items():
        if isinstance(value, (int, np.integer, np.floating)) and not isinstance(value, bool):
            setattr(optimizer, name, float(value))
        elif name == "betas":
            optimizer.__dict__[name] = tuple(float(beta) for beta in value)
    return optimizer
