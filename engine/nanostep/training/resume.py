"""Where a run begins: afresh, or at the checkpoint of the same run, recognised by its fingerprint."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nanostep._arrays import Samples
from nanostep.model import Model
from nanostep.training import checkpoints
from nanostep.training.arguments import Data, TrainConfig
from nanostep.training.early_stopping import BestSoFar
from nanostep.training.history import History
from nanostep.training.optimizer_state import OptimizerState
from nanostep.training.run_state import RunState


def begin(
    model: Model, state: OptimizerState, data: Data, config: TrainConfig, *, drawn: bool
) -> tuple[OptimizerState, TrainConfig, RunState]:
    """Return what a run begins with: `state` and the place where it stands, or all from the checkpoint if there is one.

    In that case the network's parameters are those of the file too, and a seed that was drawn is. Nothing is changed if
    an error is raised.
    """
    checkpoint = config.checkpoint
    run_state = RunState({}, History(seed=config.run.seed), BestSoFar(), state.updates, state.epochs)
    if checkpoint is not None:
        run_state.fingerprint = fingerprint(model, state, data, config, drawn=drawn)
        found = checkpoints.read(checkpoint, run_state.fingerprint)
        if found is not None:
            theta, saved, run_state = found
            model._theta[...] = theta
            saved.optimizer = state.optimizer
            state = saved
            config = replace(config, run=replace(config.run, seed=run_state.history.seed))
            if run_state.history.stopped == "epochs" and run_state.history.epochs < config.epochs:
                run_state.history.stopped = ""
    run_state.history.backend = model.backend
    return state, config, run_state


def fingerprint(model: Model, state: OptimizerState, data: Data, config: TrainConfig, *, drawn: bool) -> dict[str, str]:
    """Return a text for everything that decides on the bits of a run.

    `drawn` says that the seed was not given. Data are hashed, a gigabyte or so in a second; streams are not.
    """
    run, monitoring = config.run, config.monitoring
    texts = {
        "architecture": repr(model.architecture),
        "dtype": model.dtype.name,
        "backend": model.backend,
        "the network at the start": _hash(model._theta),
        "the optimiser's state at the start": f"{state.updates} updates, {state.epochs} epochs, {_hash(state.slots)}",
        "optimizer": repr(state.optimizer),
        "batch_size": str(run.batch),
        "shuffle": str(run.shuffle),
        "seed": "None" if drawn else str(run.seed),
        "dropout": str(run.dropout),
        "label_smoothing": str(run.smoothing),
        "schedule": repr(config.schedule),
        "plateau": repr(state.plateau and state.plateau[1]),
        "metrics": ", ".join(metric.name for metric in monitoring.metrics),
        "early_stopping": repr(monitoring.early_stopping),
        "every_steps": str(config.checkpoint and config.checkpoint.every_steps),
    }
    if run.layer_rates:
        texts["layer_rates"] = str(run.layer_rates)
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
