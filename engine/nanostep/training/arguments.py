"""The arguments of a `Network.train` call, checked before anything is changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from nanostep._arrays import Samples, check_samples
from nanostep._checks import check_bool, check_integer, check_real, check_seed
from nanostep.architecture import Architecture
from nanostep.backends.contract import Plan
from nanostep.schedules.base import Schedule
from nanostep.schedules.plateau import ReduceLROnPlateau
from nanostep.streams import Stream, as_stream
from nanostep.training import sample_weights
from nanostep.training.callbacks import Callback, EveryNSteps, check_callbacks
from nanostep.training.checkpoints import Checkpoint, check_checkpoint
from nanostep.training.early_stopping import EarlyStopping, check_monitor
from nanostep.training.metrics import Metric, check_metrics

if TYPE_CHECKING:
    from nanostep.network import Network


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
class Watch:
    """What is done after each epoch.

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
class Request:
    """The checked arguments of a call that are not data.

    Attributes
    ----------
    epochs : int
    plan : Plan
    watch : Watch
    every_n_steps : tuple of EveryNSteps
    schedule : Schedule or None
    plateau_mode : str
        "min" or "max", of what a `ReduceLROnPlateau` monitors.
    checkpoint : Checkpoint or None
    """

    epochs: int
    plan: Plan
    watch: Watch = field(default_factory=Watch)
    every_n_steps: tuple[EveryNSteps, ...] = ()
    schedule: Schedule | None = None
    plateau_mode: str = "min"
    checkpoint: Checkpoint | None = None


def check_data(
    net: Network,
    X: Any,
    Y: Any,
    sample_weight: Any,
    class_weight: Any,
    label_smoothing: float,
    validation: Any,
    validation_split: object,
) -> Data:
    """Check the data of a call and return what they make."""
    architecture, stream = net.architecture, as_stream(X, Y, net.dtype)
    if stream is not None:
        _refuse_with_stream(sample_weight=sample_weight, class_weight=class_weight)
        if check_real("validation_split", validation_split, 0.0, 1.0, open_high=True) > 0:
            raise ValueError("validation_split is for arrays; with a stream give validation=(Xv, Yv)")
        return Data(None, None, check_validation(net, validation), stream)
    samples = check_samples(architecture, net.dtype, X, Y).apart_from(net._theta)
    weight = (
        None if sample_weight is None else sample_weights.check_weight("sample_weight", sample_weight, len(samples))
    )
    held_out, held_weight = check_validation(net, validation), None
    fraction = check_real("validation_split", validation_split, 0.0, 1.0, open_high=True)
    if fraction > 0:
        if held_out is not None:
            raise ValueError("give validation or validation_split, not both")
        samples, held_out = sample_weights.split_off(samples, fraction)
        if weight is not None:
            weight, held_weight = weight[: len(samples)], weight[len(samples) :]
            for part, rows in ((weight, "kept for training"), (held_weight, "split off for validation")):
                if not part.any():
                    raise ValueError(f"sample_weight is 0 for all samples {rows}; at least one must count")
            held_out = sample_weights.weighted(held_out, held_weight)
    if class_weight is not None:
        by_class = sample_weights.class_weights(architecture, samples, class_weight)
        weight = by_class if weight is None else weight * by_class
        if not weight.any():
            raise ValueError("sample_weight times class_weight is 0 for all samples; at least one must count")
    measured = sample_weights.weighted(samples, weight)
    return Data(sample_weights.smoothed(measured, label_smoothing), measured, held_out)


def _refuse_with_stream(**arguments: object) -> None:
    for name, value in arguments.items():
        if value is not None:
            raise ValueError(f"{name} needs all samples, so it is for arrays; X is a stream")


def check_validation(net: Network, validation: Any) -> Samples | None:
    """Return the samples of ``validation=(Xv, Yv)`` or ``(Xv, Yv, wv)``; None if none was given."""
    if validation is None:
        return None
    if not isinstance(validation, (tuple, list)) or len(validation) not in (2, 3):
        raise TypeError("validation must be a pair (Xv, Yv), or (Xv, Yv, wv) with sample weights")
    held_out = check_samples(net.architecture, net.dtype, *validation[:2], names=("validation X", "validation Y"))
    if len(validation) == 2 or validation[2] is None:
        return held_out
    weight = sample_weights.check_weight("validation sample_weight", validation[2], len(held_out))
    return sample_weights.weighted(held_out, weight)


def check_plan(
    net: Network,
    data: Data,
    batch_size: object,
    shuffle: object,
    seed: object,
    threads: object,
    dropout: object,
    smoothing: float,
) -> Plan:
    """Return the plan of a run over `data`; `smoothing` has been checked."""
    batch, n = check_integer("batch_size", batch_size, 1), 0
    if data.samples is not None:
        n = len(data.samples)
        batch = min(batch, n)
    plan = Plan(
        batch=batch,
        shuffle=check_bool("shuffle", shuffle),
        seed=check_seed(seed),
        threads=None if threads is None else check_integer("threads", threads, 1, 2**16),
        dropout=check_dropout(len(net.sizes) - 2, dropout),
        smoothing=smoothing,
    )
    if plan.shuffle and n > 2**32:
        raise ValueError(f"X has {n} samples; shuffling takes at most {2**32}: use shuffle=False")
    return plan


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


def check_watch(
    architecture: Architecture,
    callbacks: Sequence[Callback],
    metrics: object,
    early_stopping: object,
    progress: object,
    *,
    labels: bool,
    validated: bool,
    trained: bool = True,
) -> Watch:
    """Check what is to be done after each epoch.

    `labels` says that targets are class labels, `validated` that there are validation data, and `trained` that metrics
    are measured on the training data.
    """
    checked = check_metrics(metrics, architecture, labels)
    mode = "min"
    if early_stopping is not None:
        if not isinstance(early_stopping, EarlyStopping):
            raise TypeError(f"early_stopping must be ns.EarlyStopping(...); got {type(early_stopping).__name__}")
        mode = check_monitor(
            "early_stopping", early_stopping.monitor, early_stopping.mode, checked, validated=validated, trained=trained
        )
    return Watch(tuple(callbacks), checked, early_stopping, mode, check_bool("progress", progress))


def check_schedule(schedule: object, metrics: tuple[Metric, ...], *, validated: bool, trained: bool = True) -> str:
    """Check a schedule; return "min" or "max" for what a `ReduceLROnPlateau` monitors."""
    if schedule is not None and not isinstance(schedule, Schedule):
        raise TypeError(f"schedule must be one of nanostep.schedules; got {type(schedule).__name__}")
    if not isinstance(schedule, ReduceLROnPlateau):
        return "min"
    return check_monitor("schedule", schedule.monitor, schedule.mode, metrics, validated=validated, trained=trained)


def check_request(
    net: Network,
    data: Data,
    epochs: object,
    plan: Plan,
    callbacks: object,
    metrics: object,
    early_stopping: object,
    schedule: Schedule | None,
    checkpoint: object,
    progress: object,
) -> Request:
    """Check the arguments of `Network.train` that are neither data nor parts of the plan."""
    by_epoch, by_steps = check_callbacks(callbacks)
    validated, trained = data.held_out is not None, data.measured is not None
    sample = data.held_out if data.measured is None else data.measured
    labels = sample is not None and sample.labels is not None
    watch = check_watch(
        net.architecture,
        by_epoch,
        metrics,
        early_stopping,
        progress,
        labels=labels,
        validated=validated,
        trained=trained,
    )
    mode = check_schedule(schedule, watch.metrics, validated=validated, trained=trained)
    checked_epochs = check_integer("epochs", epochs, 0, 2**48)
    if data.stream is not None:
        _check_with_stream(data.stream, checked_epochs, watch, schedule, validated=validated)
    checked = check_checkpoint(checkpoint, steps=data.stream is None)
    return Request(checked_epochs, plan, watch, by_steps, schedule, mode, checked)


def _check_with_stream(
    stream: Stream, epochs: int, watch: Watch, schedule: Schedule | None, *, validated: bool
) -> None:
    if stream.once and epochs > 1:
        raise ValueError(
            f"epochs={epochs}, but the iterator given for X can be read once; give a function that makes one, or "
            "anything that can be iterated anew, such as those of nanostep.streams"
        )
    if watch.metrics and not validated:
        raise ValueError("metrics of a stream are measured on validation data: give validation=(Xv, Yv)")
    if schedule is not None and schedule.needs_length_of_epoch:
        raise ValueError("OneCycleLR(epochs=...) by steps needs the length of an epoch; with a stream give total_steps")
