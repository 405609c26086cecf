"""The arguments of a `Population.train` call, checked before anything is changed.

Those that `nanostep.Network.train` has too are checked by the functions of `nanostep.training.arguments`.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np

from nanostep._arrays import convert
from nanostep._checks import check_bool, check_memory, check_real
from nanostep.backends.population_contract import PopulationRunConfig, PopulationSamples
from nanostep.optimizers import Optimizer
from nanostep.populations.callbacks import PopulationCallback, check_population_callbacks
from nanostep.populations.data import (
    check_rows,
    check_samples_of_networks,
    check_seeds,
    refuse_rows,
    weighted,
)
from nanostep.populations.model import PopulationModel
from nanostep.schedules.base import Schedule
from nanostep.training.arguments import (
    check_batch_size,
    check_early_stopping,
    check_epochs,
    check_layer_rates,
    check_schedule,
    check_shuffle,
    check_threads,
)
from nanostep.training.early_stopping import EarlyStopping
from nanostep.training.sample_weights import check_smoothing


@dataclass(frozen=True)
class PopulationTrainArguments:
    """The arguments of a `Population.train` call as they were given, but for the optimiser; `check` checks them."""

    X: Any
    Y: Any
    _: KW_ONLY
    epochs: object = 10
    batch_size: object = 1
    shuffle: object = True
    seed: Any = 0
    validation: Any = None
    threads: object = None
    callbacks: object = ()
    progress: object = False
    rows: Any = None
    validation_rows: Any = None
    sample_weight: Any = None
    schedule: object = None
    dropout: Any = 0.0
    label_smoothing: object = 0.0
    early_stopping: object = None
    nan_targets: object = "raise"
    layer_rates: Any = None


@dataclass(frozen=True)
class PopulationTrainConfig:
    """The checked arguments of `Population.train`.

    Attributes
    ----------
    data, validation : PopulationSamples
        To learn from, and to be measured on; the second may be None.
    epochs : int
    run : PopulationRunConfig
    early_stopping : EarlyStopping or None
    stopping_mode : str
        "min" or "max", of what it monitors.
    callbacks : tuple of callable
    schedule : Schedule or None
    plateau_mode : str
        "min" or "max", of what a `ReduceLROnPlateau` monitors.
    progress : bool
    """

    data: PopulationSamples
    validation: PopulationSamples | None
    epochs: int
    run: PopulationRunConfig
    early_stopping: EarlyStopping | None
    stopping_mode: str
    callbacks: tuple[PopulationCallback, ...]
    schedule: Schedule | None
    plateau_mode: str
    progress: bool


def check(model: PopulationModel, given: PopulationTrainArguments) -> PopulationTrainConfig:
    """Return what the arguments of a call for `model` come to.

    Raises
    ------
    TypeError, ValueError, MemoryError
        One of them is not acceptable; the error names it.
    """
    size = len(model)
    data = check_samples_of_networks(model, given.X, given.Y, given.rows, nan_targets=given.nan_targets)
    held_out = _check_validation(model, data, given)
    data = weighted(data, given.sample_weight, size)
    validated = held_out is not None
    stopping, mode = check_early_stopping(given.early_stopping, (), validated=validated)
    run = PopulationRunConfig(
        batch=check_batch_size(given.batch_size, len(data)),
        shuffle=check_shuffle(given.shuffle, len(data)),
        seeds=check_seeds(given.seed, size, consecutive=False),
        threads=check_threads(given.threads),
        dropout=_check_dropout(given.dropout, size, len(model.sizes) - 2),
        smoothing=check_smoothing(model.architecture, given.label_smoothing),
        layer_rates=check_layer_rates(len(model.sizes) - 1, given.layer_rates),
    )
    epochs = check_epochs(given.epochs)
    callbacks = check_population_callbacks(given.callbacks)
    schedule, plateau_mode = check_schedule(given.schedule, (), validated=validated)
    recorded = 1 + validated + (bool(callbacks) or schedule is not None)
    check_memory(f"losses of {size} networks in epochs={epochs} epochs take", size * epochs * 8 * recorded)
    return PopulationTrainConfig(
        data, held_out, epochs, run, stopping, mode, callbacks, schedule, plateau_mode,
        check_bool("progress", given.progress),
    )  # fmt: skip


def check_optimizer_of_networks(optimizer: object, size: int) -> Optimizer:
    """Return `optimizer` if its hyper-parameters are acceptable and fit the number of networks."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer must be ns.SGD, ns.RMSprop, ns.Adam or ns.AdamW; got {type(optimizer).__name__}")
    optimizer.check()
    for name, array in optimizer.arrays().items():
        if len(array) != size:
            raise ValueError(f"{name} has {len(array)} entries for {size} networks; give one for each, or a number")
    return optimizer


def _check_validation(
    model: PopulationModel, data: PopulationSamples, given: PopulationTrainArguments
) -> PopulationSamples | None:
    """Return the data of validation=(Xv, Yv), some rows of them, or some of those trained with if these are shared."""
    validation, rows = given.validation, given.validation_rows
    if validation is None:
        if rows is None:
            return None
        if np.ndim(given.X) == 3:
            refuse_rows("validation_rows", rows, "X", model.architecture.inputs)
        return PopulationSamples(
            data.samples, check_rows("validation_rows", rows, len(model), len(data.samples))
        )  # fmt: skip
    if not isinstance(validation, (tuple, list)) or len(validation) != 2:
        raise TypeError(f"validation must be a pair (Xv, Yv); got {type(validation).__name__}")
    names = ("validation X", "validation Y", "validation_rows")
    x, y = validation
    return check_samples_of_networks(model, x, y, rows, names, nan_targets=given.nan_targets)


def _check_dropout(value: Any, size: int, hidden: int) -> np.ndarray | None:
    """Return probabilities (size, hidden layers), or None if nothing is dropped."""
    if np.ndim(value) == 0:
        rate = check_real("dropout", value, 0.0, 1.0, open_high=True)
        rates: np.ndarray = np.full((size, 1), rate)
    else:
        rates = convert("dropout", value, np.dtype(np.float64))
        if rates.shape == (size,):
            rates = rates[:, None]
    if rates.ndim != 2 or len(rates) != size or rates.shape[1] not in (1, hidden):
        raise ValueError(
            f"dropout must be a number, or an array of shape ({size},) or ({size}, {hidden}); got {rates.shape}"
        )
    if rates.min() < 0 or rates.max() >= 1:
        bad = rates[(rates < 0) | (rates >= 1)][0]
        raise ValueError(f"dropout has {bad}; accepted are numbers in [0, 1)")
    if not rates.any():
        return None
    if hidden == 0:
        raise ValueError("dropout drops hidden units; these networks have no hidden layer")
    return np.ascontiguousarray(np.broadcast_to(rates, (size, hidden)))
