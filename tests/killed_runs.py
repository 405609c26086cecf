"""Runs that are killed (SIGKILL) at random moments and made again; a script for `test_checkpoints`.

    python killed_runs.py BACKEND KILLS FOLDER

makes each case of `CASES` again and again until KILLS runs of it were killed, and prints a line of JSON for each case.
Every run is a forked child, so that it need not import anything; the parent stays single-threaded.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import nanostep as ns
from nanostep import schedules

RNG = np.random.default_rng(3)
X, Y, LABELS = RNG.standard_normal((41, 3)), RNG.random((41, 2)), RNG.integers(0, 3, 41)


def regression(backend: str, seed: int | None, checkpoint: ns.Checkpoint | None) -> ns.Network:
    net = ns.Network([3, 6, 2], activation="tanh", output="identity", loss="huber", backend=backend)
    net.train(
        X, Y, epochs=40, batch_size=5, optimizer=ns.Adam(0.03), seed=seed,
        validation_split=0.3, dropout=0.2, metrics=["mae", "r2"], threads=1,
        schedule=schedules.OneCycleLR(0.05, epochs=40), early_stopping=ns.EarlyStopping(patience=9),
        checkpoint=checkpoint,
    )  # fmt: skip
    return net


def single_samples(backend: str, seed: int | None, checkpoint: ns.Checkpoint | None) -> ns.Network:
    net = ns.Network([3, 5, 2], activation="sigmoid", output="identity", loss="squared_error", backend=backend)
    net.train(X, Y, epochs=1, optimizer=ns.SGD(0.2, momentum=0.9), threads=1)  # another start
    net.train(
        X, Y, epochs=6, seed=seed, threads=1, sample_weight=1 + LABELS, checkpoint=checkpoint,
        schedule=schedules.ReduceLROnPlateau(patience=0, threshold=0.05, factor=0.7, monitor="loss"),
    )  # fmt: skip
    return net


def plain_steps(backend: str, seed: int | None, checkpoint: ns.Checkpoint | None) -> ns.Network:
    net = ns.Network([3, 5, 1], activation="sigmoid", output="sigmoid", loss="half_squared_error", backend=backend)
    net.train(X, Y[:, 0], epochs=10, batch_size=1, optimizer=ns.SGD(0.5), seed=seed, threads=1, checkpoint=checkpoint)
    return net


def classes(backend: str, seed: int | None, checkpoint: ns.Checkpoint | None) -> ns.Network:
    def cool(event: ns.EpochEnd) -> bool:
        event.lr = 0.02 / event.epoch
        return event.epoch == 25

    net = ns.Network(
        [3, 4, 3], activation="relu", output="softmax", loss="cross_entropy", dtype="float32", backend=backend
    )
    net.train(
        X, LABELS, epochs=40, batch_size=4, optimizer=ns.RMSprop(0.02, momentum=0.5, centered=True),
        seed=seed, class_weight="balanced", threads=1,
        label_smoothing=0.1, callbacks=cool, checkpoint=checkpoint,
    )  # fmt: skip
    return net


Run = Callable[[str, int | None, ns.Checkpoint | None], ns.Network]

CASES: dict[str, tuple[Run, int | None, dict[str, Any]]] = {
    "regression": (regression, 11, {}),
    "single samples": (single_samples, None, {"every_steps": 11}),
    "plain steps": (plain_steps, 12, {"every": 2, "every_steps": 13}),
    "classes": (classes, None, {"every": 3}),
}
"""By name, the run, its seed (None: drawn) and the arguments of its checkpoint."""


def digest(net: ns.Network) -> str:
    """Return a text that changes with any bit of the network, its optimiser's state or its history."""
    state, history = net._state, net.history
    assert history is not None
    record = {name: value for name, value in history.to_dict().items() if name not in ("seconds", "isa")}
    arrays = hashlib.sha256(net.theta.tobytes() + state.slots.tobytes()).hexdigest()
    return json.dumps([arrays, state.updates, state.epochs, repr(state.plateau), record], sort_keys=True)


def attempt(make: Callable[[], ns.Network], seconds: float) -> str | None:
    """Run `make` in a child; return the digest of its result, or None if it was killed after `seconds`."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, digest(make()).encode())
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(writer)
    select.select([reader], [], [], seconds)  # wait until it has ended
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reader, "rb") as pipe:
        text = pipe.read().decode()
    if not text and not os.WIFSIGNALED(status):
        raise RuntimeError("the run failed")
    return text or None


def main(backend: str, kills: int, folder: Path) -> None:
    draw = random.Random(backend)
    for name, (make, seed, arguments) in CASES.items():
        path, killed, resumed, wrong, ended = folder / f"{backend} {name}", 0, 0, 0, 0
        whole = ns.Checkpoint(folder / "whole", resume=False, **arguments)
        make(backend, 0, whole)  # everything is compiled and loaded before the children are forked
        started = time.perf_counter()
        attempt(lambda: make(backend, 0, whole), 60.0)  # noqa: B023
        duration = time.perf_counter() - started
        while killed < kills or path.exists() or not ended:
            resumed += path.exists()
            limit = draw.uniform(0.1, 0.8) * duration if killed < kills else 60.0
            got = attempt(lambda: make(backend, seed, ns.Checkpoint(path, **arguments)), limit)  # noqa: B023
            if got is None:
                killed += 1
                continue
            ended += 1
            wrong += got != digest(make(backend, json.loads(got)[-1]["seed"], whole))
            path.unlink()
        print(json.dumps({"case": name, "killed": killed, "resumed": resumed, "ended": ended, "wrong": wrong}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
