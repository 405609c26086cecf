"""The gate for data of populations: shared by all networks, each network's own, or rows of shared ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from nanostep._arrays import (
    Samples,
    check_chosen_outputs,
    check_inputs,
    check_nan_targets,
    check_samples,
    check_weight,
    convert,
    normalized,
    rectangular,
)
from nanostep._base_model import BaseModel
from nanostep._checks import check_seed
from nanostep.backends.population_contract import PopulationSamples


def check_seeds(seed: Any, size: int, *, consecutive: bool) -> np.ndarray:
    """Return uint64 seeds (size,): of an int that one for all, or counting from it if `consecutive`."""
    if seed is None or np.ndim(seed) == 0:
        seeds = np.full(size, check_seed(seed), np.uint64)
        return seeds + np.arange(size, dtype=np.uint64) if consecutive else seeds  # beyond 2**64 they begin again at 0
    seeds = np.asarray(seed)
    if seeds.dtype.kind not in "iu" or seeds.shape != (size,):
        raise ValueError(
            f"seed must be an integer, or {size} of them, one for each network; "
            f"got an array of shape {seeds.shape} and dtype {seeds.dtype}"
        )
    if seeds.min() < 0:
        raise ValueError(f"seed has {seeds.min()}; seeds are >= 0")
    return seeds.astype(np.uint64)


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


def check_inputs_of_networks(model: BaseModel, X: Any, rows: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Return X, (n, inputs) for all networks or (K, n, inputs), and the checked rows of one for all."""
    inputs, size = model.architecture.inputs, len(model._theta)
    if rectangular("X", X).ndim != 3:
        x = check_inputs(model.architecture, model.dtype, X)
        return x, None if rows is None else check_rows("rows", rows, size, len(x))
    refuse_rows("rows", rows, "X", inputs)
    x = convert("X", X, model.dtype)
    if len(x) != size or x.shape[2] != inputs:
        raise ValueError(f"X must have shape ({size}, n, {inputs}); got {x.shape}")
    return x, None


def refuse_rows(argument: str, rows: Any, name: str, inputs: int) -> None:
    """Raise ValueError if there are `rows`, for which the data `name` of each network's own have no use."""
    if rows is not None:
        raise ValueError(f"{argument} are for {name} of shape (n, {inputs}), which networks share")


def check_samples_of_networks(
    model: BaseModel,
    X: Any,
    Y: Any,
    rows: Any = None,
    names: tuple[str, str, str] = ("X", "Y", "rows"),
    *,
    nan_targets: object = "raise",
    outputs: Any = None,
) -> PopulationSamples:
    """Return the data: shared, each network's own (a first axis of K), or rows of shared ones.

    `outputs`, unless None, are the numbers of the outputs that count, one for each row of X.
    """

    def check(x: Any, y: Any, chosen: Any) -> Samples:
        if outputs is None:
            samples = check_samples(architecture, dtype, x, y, names=names[:2], nan_targets=nan_targets)
        else:
            check_nan_targets(nan_targets)
            samples = check_chosen_outputs(architecture, dtype, x, y, chosen)
        return samples.without_aliasing(model._theta)

    architecture, dtype, size = model.architecture, model.dtype, len(model._theta)
    x = rectangular(names[0], X)
    if x.ndim == 3:
        refuse_rows(names[2], rows, names[0], architecture.inputs)
        y = rectangular(names[1], Y)
        if len(x) != size:
            raise ValueError(f"{names[0]} has data for {len(x)} networks; the population has {size}")
        if y.shape[:2] != x.shape[:2]:
            raise ValueError(f"{names[1]} must begin with {x.shape[:2]} like {names[0]}; got shape {y.shape}")
        chosen = outputs
        if outputs is not None:
            chosen = rectangular("outputs", outputs)
            if chosen.shape != x.shape[:2]:
                raise ValueError(f"outputs must have shape {x.shape[:2]} like {names[0]}; got {chosen.shape}")
            chosen = chosen.reshape(-1)
        flat = check(x.reshape(-1, x.shape[2]), y.reshape(-1, *y.shape[2:]), chosen)
        return PopulationSamples(flat, np.arange(len(flat), dtype=np.int64).reshape(x.shape[:2]))
    samples = check(X, Y, outputs)
    return PopulationSamples(samples, None if rows is None else check_rows(names[2], rows, size, len(samples)))


def weighted(data: PopulationSamples, weight: Any, size: int) -> PopulationSamples:
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


def weighted_as_given(data: PopulationSamples, weight: Any, size: int) -> PopulationSamples:
    """Return `data` with weights of any sign as they are given, of the shapes that `weighted` takes."""
    if weight is None:
        return data
    n, checked = len(data), convert("sample_weight", weight, data.samples.x.dtype)
    if data.rows is not None and checked.shape == (len(data.samples),):
        checked = checked[data.rows]
    if checked.shape not in ((n,), (size, n)):
        raise ValueError(f"sample_weight must have shape ({n},) or ({size}, {n}); got {checked.shape}")
    return replace(data, weight=np.ascontiguousarray(np.broadcast_to(checked, (size, n))))
