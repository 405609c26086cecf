"""Checkpoints: a run that was killed, and is made again by the same call, ends with the same bits.

A checkpoint is a model file (see `nanostep.io._format`) of the parameters and the optimiser's state where the run
stands, with a key ``run`` in its header and tensors ``run....``: the place within the epoch, the record, what early
stopping has come to, and a fingerprint of what was asked for. What is drawn at random (order, dropout) is a function of
the seed and of those numbers, so there is nothing else to keep.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nanostep._checks import check_bool, check_integer
from nanostep.errors import FileFormatError
from nanostep.model import Model
from nanostep.training.early_stopping import BestSoFar
from nanostep.training.history import History
from nanostep.training.optimizer_state import OptimizerState
from nanostep.training.run_state import RunState

SERIES = ("loss", "validation_loss", "lr")
METRICS = ("metrics", "validation_metrics")


@dataclass(frozen=True)
class Checkpoint:
    """Write a run to a file from time to time, and go on from it.

    A run that is killed at any moment and made again by the same call, in a network made by the same call, goes on from
    the file and ends with the same bits (parameters, optimiser, record but for `History.seconds`) as if nothing had
    happened. A run that has ended is not made again: its record comes from the file. More `epochs` make it longer.
    The file is always whole: it is written beside `path`, flushed to the disk and moved into place. `nanostep.load`
    reads it as a model, with the parameters of the last epoch even where those of the best are put back at the end.

    Callbacks are not in the file: one that remembers something across epochs begins anew.

    Parameters
    ----------
    path : str or path-like
        In a directory that exists. Each run needs a file of its own.
    every : int, default=1
        Epochs between two writings, >= 1. The end of a run is written in any case.
    every_steps : int, optional
        Write after every so many updates as well, >= 1; not for streams and solvers. With single samples on compiled
        backends such a cut may change the rounding of the next update; every run of the same call has the same cuts.
    resume : bool, default=True
        Go on from the file if it is there. False: begin anew and write over it.

    Raises
    ------
    ValueError
        By `Network.train`, if the file is of another run: of other data, another start or other arguments (all but
        `epochs`, `threads`, `callbacks` and `progress`).
    """

    path: str | os.PathLike[str]
    every: int = 1
    every_steps: int | None = None
    resume: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.path, (str, os.PathLike)):
            raise TypeError(f"path must be a string or a path; got {type(self.path).__name__}")
        check_integer("every", self.every, 1)
        if self.every_steps is not None:
            check_integer("every_steps", self.every_steps, 1)
        check_bool("resume", self.resume)


def check_checkpoint(value: object, *, steps: bool = True) -> Checkpoint | None:
    """Return `value` if it is None or a checkpoint that can be written; `steps` says that `every_steps` is accepted."""
    if value is None:
        return None
    if not isinstance(value, Checkpoint):
        raise TypeError(f"checkpoint must be ns.Checkpoint(...); got {type(value).__name__}")
    path = Path(value.path)
    if not path.resolve().parent.is_dir():
        raise FileNotFoundError(f"checkpoint: no such directory: {path.resolve().parent}")
    if path.is_dir():
        raise IsADirectoryError(f"checkpoint: {path} is a directory; give the name of a file")
    if value.every_steps is not None and not steps:
        raise ValueError("every_steps of a checkpoint is for runs on arrays by an optimiser; use every")
    return value


def write(checkpoint: Checkpoint, model: Model, state: OptimizerState, run_state: RunState) -> None:
    """Write the file."""
    from nanostep.io import _format

    history, best = run_state.history, run_state.best
    tensors = {f"run.{name}": np.array(getattr(history, name), np.float64) for name in SERIES}
    for group in METRICS:
        for name, values in getattr(history, group).items():
            tensors[f"run.{group}.{name}"] = np.array(values, np.float64)
    if best.theta is not None:
        tensors["run.best_theta"] = best.theta[0]
    value = None if np.isnan(best.value[0]) else best.value[0]
    run = {
        "fingerprint": run_state.fingerprint,
        "first_update": run_state.first_update,
        "epoch": run_state.epoch,
        "row": run_state.row,
        "loss_sum": _to_text(run_state.loss_sum),
        "chosen_lr": _to_text(run_state.chosen_lr),
        "best": {"value": _to_text(value), "epoch": int(best.epoch[0]), "wait": int(best.wait[0])},
        "samples": history.samples,
        "seconds": history.seconds,
        "seed": history.seed,
        "stopped": history.stopped,
    }
    content = _format.encode(model.architecture, model._theta, state, {"run": run, "metadata": {}}, tensors)
    _format.write_atomically(Path(checkpoint.path), content, "partial")


def read(checkpoint: Checkpoint, wanted: dict[str, str]) -> tuple[np.ndarray, OptimizerState, RunState] | None:
    """Return parameters, optimiser's state and run_state in the file; None if there is none to go on from.

    Raises
    ------
    FileFormatError
        The file is damaged or no checkpoint.
    ValueError
        It is of a run of another fingerprint than `wanted`.
    """
    from nanostep.io import _format

    path = Path(checkpoint.path)
    if not checkpoint.resume or not path.exists():
        return None
    header, tensors = _format.read(path)
    if "run" not in header:
        raise FileFormatError(
            f"{path} is a model, but not a checkpoint; give another path, or resume=False to replace it"
        )
    with _format.usable(path):
        _, state = _format.decode(header, tensors)
        run_state = _decode_run_state(header["run"], tensors)
    found = run_state.fingerprint
    differences = [
        f"{name} was {found.get(name)}, is {wanted.get(name)}"
        for name in {**found, **wanted}
        if found.get(name) != wanted.get(name)
    ]
    if differences:
        raise ValueError(
            f"checkpoint {path} is of another run: {'; '.join(differences)}. "
            "Give another path, or resume=False to begin anew and write over it"
        )
    return tensors["theta"], state, run_state


def _decode_run_state(run: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> RunState:
    history = History(seed=run["seed"], samples=run["samples"], seconds=run["seconds"], stopped=run["stopped"])
    for name in SERIES:
        setattr(history, name, tensors[f"run.{name}"].tolist())
    for group in METRICS:
        prefix = f"run.{group}."
        series = {
            name.removeprefix(prefix): array.tolist() for name, array in tensors.items() if name.startswith(prefix)
        }
        setattr(history, group, series)
    best, value, theta = BestSoFar(), _from_text(run["best"]["value"]), tensors.get("run.best_theta")
    best.value[0] = np.nan if value is None else value
    best.epoch[0], best.wait[0] = (check_integer(name, run["best"][name], 0) for name in ("epoch", "wait"))
    best.theta = None if theta is None else theta[None].copy()
    history._best_epoch = int(best.epoch[0]) or None
    return RunState(
        run["fingerprint"],
        history,
        best,
        check_integer("first_update", run["first_update"], 0),
        check_integer("epoch", run["epoch"], 0),
        check_integer("row", run["row"], 0),
        _from_text(run["loss_sum"]) or 0.0,
        _from_text(run["chosen_lr"]),
    )


def _to_text(number: float | None) -> str | None:
    """Return every bit of a number as text: JSON has no NaN and no infinity."""
    return None if number is None else float(number).hex()


def _from_text(text: str | None) -> float | None:
    return None if text is None else float.fromhex(text)
