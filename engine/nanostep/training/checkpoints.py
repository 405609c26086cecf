"""Checkpoints: a run that was killed, and is made again by the same call, ends with the same bits.

A checkpoint is a model file (see `nanostep.io._format`) of the parameters and the optimiser's state where the run
stands, with a key ``run`` in its header and tensors ``run....``: the place within the epoch, the record, what early
stopping has come to, and a fingerprint of what was asked for. What is drawn at random (order, dropout) is a function of
the seed and of those numbers, so there is nothing else to keep.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nanostep._arrays import Samples
from nanostep._checks import check_bool, check_integer
from nanostep.errors import FileFormatError
from nanostep.training.early_stopping import BestSoFar
from nanostep.training.history import History
from nanostep.training.optimizer_state import OptimizerState

if TYPE_CHECKING:
    from nanostep.network import Network
    from nanostep.training.arguments import Data, Request

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


@dataclass
class Position:
    """Where a run stands, beyond the parameters and the state of the optimiser.

    Attributes
    ----------
    fingerprint : dict
        Of what was asked for; see `fingerprint`.
    history : History
    best : BestSoFar
    first_update : int
        Updates that the optimiser's state had seen before the run.
    epoch, row, loss_sum
        See `nanostep.backends.contract.Cursor`.
    chosen_lr : float or None
        What a callback has set.
    """

    fingerprint: dict[str, str]
    history: History
    best: BestSoFar
    first_update: int
    epoch: int
    row: int = 0
    loss_sum: float = 0.0
    chosen_lr: float | None = None


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


def fingerprint(net: Network, state: OptimizerState, data: Data, request: Request, *, drawn: bool) -> dict[str, str]:
    """Return a text for everything that decides on the bits of a run.

    `drawn` says that the seed was not given. Data are hashed, a gigabyte or so in a second; streams are not.
    """
    plan, watch = request.plan, request.watch
    texts = {
        "architecture": repr(net.architecture),
        "dtype": net.dtype.name,
        "backend": net.backend,
        "the network at the start": _hash(net._theta),
        "the optimiser's state at the start": f"{state.updates} updates, {state.epochs} epochs, {_hash(state.slots)}",
        "optimizer": repr(state.optimizer),
        "batch_size": str(plan.batch),
        "shuffle": str(plan.shuffle),
        "seed": "None" if drawn else str(plan.seed),
        "dropout": str(plan.dropout),
        "label_smoothing": str(plan.smoothing),
        "schedule": repr(request.schedule),
        "plateau": repr(state.plateau and state.plateau[1]),
        "metrics": ", ".join(metric.name for metric in watch.metrics),
        "early_stopping": repr(watch.early_stopping),
        "every_steps": str(request.checkpoint and request.checkpoint.every_steps),
    }
    if data.samples is not None:
        texts |= {"samples": str(len(data.samples)), "data": _hash_samples(data.samples)}
    texts["validation"] = "None" if data.held_out is None else _hash_samples(data.held_out)
    return texts


def _hash(*arrays: np.ndarray | None) -> str:
    import hashlib  # takes 15 ms, with OpenSSL: only runs with checkpoints need it

    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        if array is not None:
            digest.update(str(array.dtype).encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _hash_samples(samples: Samples) -> str:
    return _hash(samples.x, samples.y, samples.labels, samples.weight)


def write(checkpoint: Checkpoint, net: Network, state: OptimizerState, position: Position) -> None:
    """Write the file."""
    from nanostep.io import _format

    history, best = position.history, position.best
    tensors = {f"run.{name}": np.array(getattr(history, name), np.float64) for name in SERIES}
    for group in METRICS:
        for name, values in getattr(history, group).items():
            tensors[f"run.{group}.{name}"] = np.array(values, np.float64)
    if best.theta is not None:
        tensors["run.best_theta"] = best.theta
    run = {
        "fingerprint": position.fingerprint,
        "first_update": position.first_update,
        "epoch": position.epoch,
        "row": position.row,
        "loss_sum": _to_text(position.loss_sum),
        "chosen_lr": _to_text(position.chosen_lr),
        "best": {"value": _to_text(best.value), "epoch": best.epoch, "wait": best.wait},
        "samples": history.samples,
        "seconds": history.seconds,
        "seed": history.seed,
        "stopped": history.stopped,
    }
    content = _format.encode(net, state, {"run": run, "metadata": {}}, tensors)
    _format.write_atomically(Path(checkpoint.path), content, "partial")


def read(checkpoint: Checkpoint, wanted: dict[str, str]) -> tuple[np.ndarray, OptimizerState, Position] | None:
    """Return parameters, optimiser's state and position in the file; None if there is none to go on from.

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
        position = _position(header["run"], tensors)
    found = position.fingerprint
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
    return tensors["theta"], state, position


def _position(run: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> Position:
    history = History(seed=run["seed"], samples=run["samples"], seconds=run["seconds"], stopped=run["stopped"])
    for name in SERIES:
        setattr(history, name, tensors[f"run.{name}"].tolist())
    for group in METRICS:
        prefix = f"run.{group}."
        series = {
            name.removeprefix(prefix): array.tolist() for name, array in tensors.items() if name.startswith(prefix)
        }
        setattr(history, group, series)
    best = run["best"]
    history._best_epoch = best["epoch"] or None
    return Position(
        run["fingerprint"],
        history,
        BestSoFar(_from_text(best["value"]), best["epoch"], best["wait"], tensors.get("run.best_theta")),
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


def begin(
    net: Network, state: OptimizerState, data: Data, request: Request, *, drawn: bool
) -> tuple[OptimizerState, Request, Position]:
    """Return what a run begins with: `state` and the place where it stands, or all from the checkpoint if there is one.

    In that case the network's parameters are those of the file too, and a seed that was drawn is. Nothing is changed if
    an error is raised.
    """
    checkpoint = request.checkpoint
    position = Position({}, History(seed=request.plan.seed), BestSoFar(), state.updates, state.epochs)
    if checkpoint is not None:
        position.fingerprint = fingerprint(net, state, data, request, drawn=drawn)
        found = read(checkpoint, position.fingerprint)
        if found is not None:
            theta, saved, position = found
            net._theta[...] = theta
            state = replace(saved, optimizer=state.optimizer)
            request = replace(request, plan=replace(request.plan, seed=position.history.seed))
            if position.history.stopped == "epochs" and position.history.epochs < request.epochs:
                position.history.stopped = ""
    position.history.backend = net.backend
    return state, request, position
