"""Checks of the arguments of a population; nothing is changed before all have passed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nanostep._arrays import check_inputs, check_samples, convert, rectangular
from nanostep._checks import check_bool, check_integer, check_real, check_seed, physical_memory
from nanostep.architecture import Architecture
from nanostep.backends.populations import PopulationPlan, PopulationSamples
from nanostep.optimizers import Optimizer
from nanostep.populations.callbacks import check_population_callbacks
from nanostep.populations.run import PopulationRequest
from nanostep.training.arguments import check_schedule
from nanostep.training.early_stopping import EarlyStopping
from nanostep.training.sample_weights import check_smoothing, check_weight, normalized

if TYPE_CHECKING:
    from nanostep.population import Population


def check_memory(architecture: Architecture, dtype: np.dtype, size: int, slots: int) -> None:
    """Raise MemoryError if parameters and slots of so many networks do not fit into this machine's memory."""
    what = f"size={size} networks of {architecture.parameter_count} parameters with {slots} optimiser slots each"
    _check_fits(what, size * architecture.parameter_count * dtype.itemsize * (1 + slots))


def _check_fits(what: str, needed: int) -> None:
    memory = physical_memory()
    if memory is not None and needed > memory:
        raise MemoryError(
            f"{what} take {needed / 2**30:.1f} GiB, more than this machine's {memory / 2**30:.1f} GiB"
        )  # fmt: skip


def check_seeds(argument: str, seed: Any, size: int, *, consecutive: bool) -> np.ndarray:
    """Return uint64 seeds (size,): of an int that one for all, or counting from it if `consecutive`."""
    if seed is None or np.ndim(seed) == 0:
        seeds = np.full(size, check_seed(seed), np.uint64)
        return seeds + np.arange(size, dtype=np.uint64) if consecutive else seeds  # beyond 2**64 they begin again at 0
    seeds = np.asarray(seed)
    if seeds.dtype.kind not in "iu" or seeds.shape != (size,):
        raise ValueError(
            f"{argument} must be an integer, or {size} of them, one for each network; "
            f"got an array of shape {seeds.shape} and dtype {seeds.dtype}"
        )
    if seeds.min() < 0:
        raise ValueError(f"{argument} has {seeds.min()}; seeds are >= 0")
    return seeds.astype(np.uint64)


def check_population_optimizer(optimizer: object, size: int) -> Optimizer:
    """Return `optimizer` if its hyper-parameters are acceptable and fit the number of networks."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer must be ns.SGD, ns.RMSprop, ns.Adam or ns.AdamW; got {type(optimizer).__name__}")
    optimizer.check()
    for name, array in optimizer.arrays().items():
        if len(array) != size:
            raise ValueError(f"{name} has {len(array)} entries for {size} networks; give one for each, or a number")
    return optimizer


def check_rows(argument: str, rows: Any, size: int, count: int) -> np.ndarray:
    """Return numbers (size, m) of some of `count` rows for each network."""
    index = np.asarray(rectangular(argument, rows))
    if index.dtype.kind not in "iu" or index.ndim != 2 or len(index) != size or index.shape[1] == 0:
        raise ValueError(
            f"{argument} must hold integers of shape ({size}, m), some rows for each network; "
            f"got shape {index.shape} and dtype {index.dtype}"
        )
    if index.min() < 0 or index.max() >= count:
        bad = index[(index < 0) | (index >= count)][0]
        raise ValueError(f"{argument} has {bad}, out of range; accepted are 0 to {count - 1}")
    return np.require(index, np.int64, ["C", "A"])


def check_population_inputs(population: Population, X: Any, rows: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Return X, (n, inputs) for all networks or (K, n, inputs), and the checked rows of one for all."""
    inputs, size = population.architecture.inputs, len(population)
    if rectangular("X", X).ndim != 3:
        x = check_inputs(population.architecture, population.dtype, X)
        return x, None if rows is None else check_rows("rows", rows, size, len(x))
    _refuse_rows("rows", rows, "X", inputs)
    x = convert("X", X, population.dtype)
    if len(x) != size or x.shape[2] != inputs:
        raise ValueError(f"X must have shape ({size}, n, {inputs}); got {x.shape}")
    return x, None


def _refuse_rows(argument: str, rows: Any, name: str, inputs: int) -> None:
    if rows is not None:
        raise ValueError(f"{argument} are for {name} of shape (n, {inputs}), which networks share")


def check_population_data(
    population: Population,
    X: Any,
    Y: Any,
    rows: Any = None,
    names: tuple[str, str, str] = ("X", "Y", "rows"),
) -> PopulationSamples:
    """Return the data: shared, each network's own (a first axis of K), or rows of shared ones."""
    architecture, dtype, size = population.architecture, population.dtype, len(population)
    x = rectangular(names[0], X)
    if x.ndim == 3:
        _refuse_rows(names[2], rows, names[0], architecture.inputs)
        y = rectangular(names[1], Y)
        if len(x) != size:
            raise ValueError(f"{names[0]} has data for {len(x)} networks; the population has {size}")
        if y.shape[:2] != x.shape[:2]:
            raise ValueError(f"{names[1]} must begin with {x.shape[:2]} like {names[0]}; got shape {y.shape}")
        flat = check_samples(
            architecture, dtype, x.reshape(-1, x.shape[2]), y.reshape(-1, *y.shape[2:]), names=names[:2]
        ).apart_from(population._theta)
        return PopulationSamples(flat, np.arange(len(flat), dtype=np.int64).reshape(x.shape[:2]))
    samples = check_samples(architecture, dtype, X, Y, names=names[:2]).apart_from(population._theta)
    return PopulationSamples(samples, None if rows is None else check_rows(names[2], rows, size, len(samples)))


def with_weight(data: PopulationSamples, weight: Any, size: int) -> PopulationSamples:
    """Return `data` with the weights of the samples, normalised to mean 1 for each network as those of a Network are.

    Weights are (size, n), n the samples of each network, or (n,): of the rows of X, or of the samples of each.
    """
    if weight is None:
        return data
    raw, n = rectangular("sample_weight", weight), len(data)
    if raw.ndim == 2:
        if raw.shape != (size, n):
            raise ValueError(f"sample_weight must have shape ({n},) or ({size}, {n}); got {raw.shape}")
        parts = np.stack([normalized(check_weight(f"sample_weight[{k}]", row, n)) for k, row in enumerate(raw)])
    else:
        by_row = data.rows is not None and raw.shape == (len(data.samples),)
        checked = check_weight("sample_weight", raw, len(data.samples) if by_row else n)
        each = checked[data.rows] if by_row else np.broadcast_to(checked, (size, n))
        if not each.any(axis=1).all():
            raise ValueError(f"sample_weight is 0 for all rows of network {int(np.argmin(each.any(axis=1)))}")
        parts = normalized(each)
    return replace(data, weight=np.ascontiguousarray(parts, data.samples.x.dtype))


def check_population_validation(
    population: Population, data: PopulationSamples, shared: bool, validation: Any, rows: Any
) -> PopulationSamples | None:
    """Return the data of validation=(Xv, Yv), some rows of them, or some of those trained with if they are `shared`."""
    if validation is None:
        if rows is None:
            return None
        if not shared:
            _refuse_rows("validation_rows", rows, "X", population.architecture.inputs)
        return PopulationSamples(
            data.samples, check_rows("validation_rows", rows, len(population), len(data.samples))
        )  # fmt: skip
    if not isinstance(validation, (tuple, list)) or len(validation) != 2:
        raise TypeError(f"validation must be a pair (Xv, Yv); got {type(validation).__name__}")
    names = ("validation X", "validation Y", "validation_rows")
    return check_population_data(population, validation[0], validation[1], rows, names)


def check_population_dropout(value: Any, size: int, hidden: int) -> np.ndarray | None:
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


def check_population_request(
    population: Population,
    X: Any,
    Y: Any,
    epochs: object,
    batch_size: object,
    shuffle: object,
    seed: Any,
    validation: Any,
    validation_rows: Any,
    threads: object,
    rows: Any,
    sample_weight: Any,
    dropout: Any,
    label_smoothing: object,
    early_stopping: object,
    callbacks: object,
    schedule: Any,
    progress: object,
) -> PopulationRequest:
    """Return the checked arguments of `Population.train`."""
    size = len(population)
    data = check_population_data(population, X, Y, rows)
    held_out = check_population_validation(population, data, np.ndim(X) != 3, validation, validation_rows)
    data = with_weight(data, sample_weight, size)
    if early_stopping is not None:
        if not isinstance(early_stopping, EarlyStopping):
            raise TypeError(f"early_stopping must be an ns.EarlyStopping; got {type(early_stopping).__name__}")
        if early_stopping.monitor not in ("validation_loss", "loss") or early_stopping.mode == "max":
            raise ValueError(
                f"early_stopping of a population monitors 'validation_loss' or 'loss', lower is better; "
                f"got monitor={early_stopping.monitor!r}, mode={early_stopping.mode!r}"
            )
        if early_stopping.monitor == "validation_loss" and held_out is None:
            raise ValueError(
                "early_stopping monitors 'validation_loss': give validation or validation_rows, or monitor='loss'"
            )
    plan = PopulationPlan(
        batch=min(check_integer("batch_size", batch_size, 1), len(data)),
        shuffle=check_bool("shuffle", shuffle),
        seeds=check_seeds("seed", seed, size, consecutive=False),
        threads=None if threads is None else check_integer("threads", threads, 1, 2**16),
        dropout=check_population_dropout(dropout, size, len(population.sizes) - 2),
        smoothing=check_smoothing(population.architecture, label_smoothing),
    )
    if plan.shuffle and len(data) >= 2**32:
        raise ValueError(f"X has {len(data)} samples; shuffling takes less than {2**32}: use shuffle=False")
    count = check_integer("epochs", epochs, 0)
    by_epoch = check_population_callbacks(callbacks)
    mode = check_schedule(schedule, (), validated=held_out is not None)
    recorded = 1 + (held_out is not None) + (bool(by_epoch) or schedule is not None)
    _check_fits(f"losses of {size} networks in epochs={count} epochs", size * count * 8 * recorded)
    return PopulationRequest(
        data, held_out, plan, count, early_stopping, by_epoch, schedule, mode, check_bool("progress", progress)
    )
