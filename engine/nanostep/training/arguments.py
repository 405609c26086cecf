"""The arguments of a `Network.train` call, checked before anything is changed.

Those that `nanostep.Population.train` has too are checked by the same functions.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import numpy as np

from nanostep._arrays import Samples, check_nan_targets, check_samples, check_weight, convert, weighted
from nanostep._checks import check_bool, check_integer, check_real, check_seed
from nanostep.backends.contract import MAX_SAMPLES, RunConfig
from nanostep.model import Model
from nanostep.schedules.base import Schedule
from nanostep.schedules.plateau import ReduceLROnPlateau
from nanostep.streams import Stream, as_stream
from nanostep.training import sample_weights
from nanostep.training.callbacks import Callback, EveryNSteps, check_callbacks
from nanostep.training.checkpoints import Checkpoint, check_checkpoint
from nanostep.training.early_stopping import EarlyStopping, check_monitor
from nanostep.training.metrics import Metric, check_metrics

MAX_EPOCHS = 2**48
"""Largest number of epochs; the count of updates stays inside 63 bits."""


@dataclass(frozen=True)
class TrainArguments:
    """The arguments of a `Network.train` call as they were given, but for the optimiser; `check` checks them."""

    X: Any
    Y: Any = None
    _: KW_ONLY
    epochs: object = 10
    batch_size: object = 1
    shuffle: object = True
    seed: object = 0
    validation: Any = None
    threads: object = None
    callbacks: object = ()
    progress: object = False
    schedule: object = None
    dropout: object = 0.0
    sample_weight: Any = None
    class_weight: Any = None
    label_smoothing: object = 0.0
    validation_split: object = 0.0
    metrics: object = ()
    early_stopping: object = None
    checkpoint: object = None
    nan_targets: object = "raise"
    layer_rates: Any = None


@dataclass(frozen=True)
class Data:
    """What a run learns from and is measured on.

    Attributes
    ----------
    samples : Samples or None
        Weights normalised, rows of probabilities smoothed; None if there is a stream.
    measured : Samples or None
        The same unsmoothed, for the metrics.
    held_out : Samples or None
        For validation.
    stream : Stream or None
    """

    samples: Samples | None
    measured: Samples | None
    held_out: Samples | None
    stream: Stream | None = None


@dataclass(frozen=True)
class Monitoring:
    """What is measured, and done with the measurements, after each epoch.

    Attributes
    ----------
    callbacks : tuple of callable
    metrics : tuple of Metric
    early_stopping : EarlyStopping or None
    stopping_mode : str
        "min" or "max", of what it monitors.
    progress : bool
    """

    callbacks: tuple[Callback, ...] = ()
    metrics: tuple[Metric, ...] = ()
    early_stopping: EarlyStopping | None = None
    stopping_mode: str = "min"
    progress: bool = False


@dataclass(frozen=True)
class TrainConfig:
    """The checked arguments of a call that are not data.

    Attributes
    ----------
    epochs : int
    run : RunConfig
    monitoring : Monitoring
    every_n_steps : tuple of EveryNSteps
    schedule : Schedule or None
    plateau_mode : str
        "min" or "max", of what a `ReduceLROnPlateau` monitors.
    checkpoint : Checkpoint or None
    nan_targets : str
        "raise" or "ignore", for the chunks of a stream.
    """

    epochs: int
    run: RunConfig
    monitoring: Monitoring = field(default_factory=Monitoring)
    every_n_steps: tuple[EveryNSteps, ...] = ()
    schedule: Schedule | None = None
    plateau_mode: str = "min"
    checkpoint: Checkpoint | None = None
    nan_targets: str = "raise"


def check(model: Model, given: TrainArguments) -> tuple[Data, TrainConfig]:
    """Return what the arguments of a call for `model` come to.

    Raises
    ------
    TypeError, ValueError, OSError, ImportError
        One of them is not acceptable; the error names it.
    """
    smoothing = sample_weights.check_smoothing(model.architecture, given.label_smoothing)
    data = _check_data(model, given, smoothing)
    run = _check_run_config(model, data, given, smoothing)
    by_epoch, by_steps = check_callbacks(given.callbacks)
    validated, trained = data.held_out is not None, data.measured is not None
    sample = data.held_out if data.measured is None else data.measured
    labels = sample is not None and sample.labels is not None
    metrics = check_metrics(given.metrics, model.architecture, labels)
    stopping, mode = check_early_stopping(given.early_stopping, metrics, validated=validated, trained=trained)
    monitoring = Monitoring(tuple(by_epoch), metrics, stopping, mode, check_bool("progress", given.progress))
    schedule, plateau_mode = check_schedule(given.schedule, metrics, validated=validated, trained=trained)
    epochs = check_epochs(given.epochs)
    if data.stream is not None:
        _check_with_stream(data.stream, epochs, monitoring, schedule, validated=validated)
    checkpoint = check_checkpoint(given.checkpoint, steps=data.stream is None)
    nan_targets = "ignore" if check_nan_targets(given.nan_targets) else "raise"
    return data, TrainConfig(epochs, run, monitoring, by_steps, schedule, plateau_mode, checkpoint, nan_targets)


def _check_data(model: Model, given: TrainArguments, smoothing: float) -> Data:
    """Check the data of a call and return what they make."""
    architecture, stream = model.architecture, as_stream(given.X, given.Y, model.dtype)
    fraction = check_real("validation_split", given.validation_split, 0.0, 1.0, open_high=True)
    if stream is not None:
        _refuse_with_stream(sample_weight=given.sample_weight, class_weight=given.class_weight)
        if fraction > 0:
            raise ValueError("validation_split is for arrays; with a stream give validation=(Xv, Yv)")
        return Data(None, None, check_validation(model, given.validation, given.nan_targets), stream)
    samples = check_samples(architecture, model.dtype, given.X, given.Y, nan_targets=given.nan_targets)
    samples = samples.without_aliasing(model._theta)
    weight = None
    if given.sample_weight is not None:
        weight = check_weight("sample_weight", given.sample_weight, len(samples))
    held_out, held_weight = check_validation(model, given.validation, given.nan_targets), None
    if fraction > 0:
        if held_out is not None:
            raise ValueError("give validation or validation_split, not both")
        samples, held_out = sample_weights.split_off(samples, fraction)
        if weight is not None:
            weight, held_weight = weight[: len(samples)], weight[len(samples) :]
            for part, rows in ((weight, "kept for training"), (held_weight, "split off for validation")):
                if not part.any():
                    raise ValueError(f"sample_weight is 0 for all samples {rows}; at least one must count")
            held_out = weighted(held_out, held_weight)
    if given.class_weight is not None:
        by_class = sample_weights.class_weights(architecture, samples, given.class_weight)
        weight = by_class if weight is None else weight * by_class
        if not weight.any():
            raise ValueError("sample_weight times class_weight is 0 for all samples; at least one must count")
    measured = weighted(samples, weight)
    return Data(sample_weights.smoothed(measured, smoothing), measured, held_out)


def _refuse_with_stream(**arguments: object) -> None:
    for name, value in arguments.items():
        if value is not None:
            raise ValueError(f"{name} needs all samples, so it is for arrays; X is a stream")


def check_validation(model: Model, validation: Any, nan_targets: object = "raise") -> Samples | None:
    """Return the samples of ``validation=(Xv, Yv)`` or ``(Xv, Yv, wv)``; None if none was given."""
    if validation is None:
        return None
    if not isinstance(validation, (tuple, list)) or len(validation) not in (2, 3):
        raise TypeError("validation must be a pair (Xv, Yv), or (Xv, Yv, wv) with sample weights")
    names = ("validation X", "validation Y")
    held_out = check_samples(model.architecture, model.dtype, *validation[:2], names=names, nan_targets=nan_targets)
    if len(validation) == 2 or validation[2] is None:
        return held_out
    return weighted(held_out, check_weight("validation sample_weight", validation[2], len(held_out)))


def _check_run_config(model: Model, data: Data, given: TrainArguments, smoothing: float) -> RunConfig:
    n = None if data.samples is None else len(data.samples)
    return RunConfig(
        batch=check_batch_size(given.batch_size, n),
        shuffle=check_shuffle(given.shuffle, n),
        seed=check_seed(given.seed),
        threads=check_threads(given.threads),
        dropout=check_dropout(len(model.sizes) - 2, given.dropout),
        smoothing=smoothing,
        layer_rates=check_layer_rates(len(model.sizes) - 1, given.layer_rates),
    )


def check_epochs(value: object) -> int:
    """Return a number of epochs."""
    return check_integer("epochs", value, 0, MAX_EPOCHS)


def check_batch_size(value: object, n: int | None) -> int:
    """Return the samples of an update: at most `n`, if that is known."""
    batch = check_integer("batch_size", value, 1)
    return batch if n is None else min(batch, n)


def check_shuffle(value: object, n: int | None) -> bool:
    """Return whether `n` samples are shuffled."""
    shuffle = check_bool("shuffle", value)
    if shuffle and n is not None and n > MAX_SAMPLES:
        raise ValueError(f"X has {n} samples; shuffling takes at most {MAX_SAMPLES}: use shuffle=False")
    return shuffle


def check_threads(value: object) -> int | None:
    """Return a number of threads, or None."""
    return None if value is None else check_integer("threads", value, 1, 2**16)


def check_dropout(hidden: int, value: object) -> tuple[float, ...]:
    """Return the probability for each of the `hidden` layers; () if nothing is dropped."""
    if isinstance(value, (list, tuple, np.ndarray)):
        rates = tuple(check_real(f"dropout[{i}]", p, 0.0, 1.0, open_high=True) for i, p in enumerate(value))
        if len(rates) != hidden:
            raise ValueError(f"dropout has {len(rates)} values for {hidden} hidden layers; give one for each, or one")
    else:
        rate = check_real("dropout", value, 0.0, 1.0, open_high=True)
        if rate > 0 and hidden == 0:
            raise ValueError(f"dropout={rate} drops hidden units; this network has no hidden layer")
        rates = (rate,) * hidden
    return rates if any(rates) else ()


def check_layer_rates(layers: int, value: Any) -> tuple[float, ...]:
    """Return a factor >= 0 for each layer of weights; () if all are 1."""
    if value is None:
        return ()
    rates = convert("layer_rates", value, np.dtype(np.float64))
    if rates.shape != (layers,):
        raise ValueError(f"layer_rates must have shape ({layers},), one for each layer of weights; got {rates.shape}")
    if rates.min() < 0:
        i = int(np.argmax(rates < 0))
        raise ValueError(f"layer_rates must be >= 0; layer_rates[{i}] is {rates[i]}")
    return () if (rates == 1).all() else tuple(rates.tolist())


def check_early_stopping(
    value: object, metrics: tuple[Metric, ...], *, validated: bool, trained: bool = True
) -> tuple[EarlyStopping | None, str]:
    """Return early stopping, and "min" or "max" for what it monitors.

    `validated` says that there are validation data, `trained` that metrics are measured on the training data.
    """
    if value is None:
        return None, "min"
    if not isinstance(value, EarlyStopping):
        raise TypeError(f"early_stopping must be ns.EarlyStopping(...); got {type(value).__name__}")
    mode = check_monitor("early_stopping", value.monitor, value.mode, metrics, validated=validated, trained=trained)
    return value, mode


def check_schedule(
    value: object, metrics: tuple[Metric, ...], *, validated: bool, trained: bool = True
) -> tuple[Schedule | None, str]:
    """Return a schedule, and "min" or "max" for what a `ReduceLROnPlateau` monitors."""
    if value is not None and not isinstance(value, Schedule):
        raise TypeError(f"schedule must be one of nanostep.schedules; got {type(value).__name__}")
    if not isinstance(value, ReduceLROnPlateau):
        return value, "min"
    return value, check_monitor("schedule", value.monitor, value.mode, metrics, validated=validated, trained=trained)


def _check_with_stream(
    stream: Stream, epochs: int, monitoring: Monitoring, schedule: Schedule | None, *, validated: bool
) -> None:
    if stream.once and epochs > 1:
        raise ValueError(
            f"epochs={epochs}, but the iterator given for X can be read once; give a function that makes one, or "
            "anything that can be iterated anew, such as those of nanostep.streams"
        )
    if monitoring.metrics and not validated:
        raise ValueError("metrics of a stream are measured on validation data: give validation=(Xv, Yv)")
    if schedule is not None and schedule.needs_length_of_epoch:
        raise ValueError("OneCycleLR(epochs=...) by steps needs the length of an epoch; with a stream give total_steps")
