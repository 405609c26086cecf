"""Checkpoints: runs that are killed at any moment end with the same bits as runs that are not."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import killed_runs
import nanostep as ns
from cases import REQUIRED
from killed_runs import CASES, LABELS, X, Y, digest
from nanostep import schedules
from nanostep.io import _format
from nanostep.training import checkpoints

KILLS = -(-56 // (len(CASES) * len(REQUIRED)))
"""Kills of each case on each backend: 56 in all, or a few more."""


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process, which is not killed, files need not reach the disk; the killed runs write to theirs as usual."""
    monkeypatch.setattr(_format.os, "fsync", lambda handle: None)


@pytest.mark.parametrize("backend", REQUIRED)
def test_killed_runs_end_with_the_same_bits(backend: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, killed_runs.__file__, backend, str(KILLS), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["case"] for row in rows] == list(CASES)
    assert all(row["killed"] >= KILLS and row["ended"] >= 1 and row["wrong"] == 0 for row in rows), rows
    assert sum(row["resumed"] for row in rows) >= KILLS, "kills came before anything was written"


class Killed(BaseException):
    """Simulates a kill at a chosen place."""


def killed_after(writes: int, monkeypatch: pytest.MonkeyPatch, make: Callable[[], ns.Network]) -> ns.Network | None:
    """Return the result of `make`, or None if it was ended after that many writes."""
    left, write = [writes], checkpoints.write

    def limited(*arguments: Any) -> None:
        write(*arguments)
        left[0] -= 1
        if left[0] == 0:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "write", limited)
        try:
            return make()
        except Killed:
            return None


@pytest.mark.parametrize("case", list(CASES))
def test_runs_ended_after_every_writing(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, seed, arguments = CASES[case]
    path = tmp_path / "run"

    def make() -> ns.Network:
        return run("numpy", seed, ns.Checkpoint(path, **arguments))

    ends = 0
    while (net := killed_after(1, monkeypatch, make)) is None:
        ends += 1
    assert ends > 5
    assert net.history is not None
    whole = run("numpy", net.history.seed, ns.Checkpoint(tmp_path / "whole", **arguments))
    assert digest(net) == digest(whole)
    assert digest(make()) == digest(whole), "a run that has ended is not made again"
    if "every_steps" not in arguments:
        assert digest(run("numpy", net.history.seed, None)) == digest(whole), "without a checkpoint"
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")] == []


def forget(**values: Any) -> Callable[[checkpoints.RunState], checkpoints.RunState]:
    return lambda position: replace(position, **values)


def forget_best(**values: Any) -> Callable[[checkpoints.RunState], checkpoints.RunState]:
    def spoil(position: checkpoints.RunState) -> checkpoints.RunState:
        best = copy(position.best)
        vars(best).update(values)
        return replace(position, best=best)

    return spoil


WRONG: dict[str, tuple[str, Callable[[checkpoints.RunState], checkpoints.RunState]]] = {
    "place in the epoch": ("single samples", forget(row=0)),
    "sum of losses": ("plain steps", forget(loss_sum=0.0)),
    "epoch": ("classes", forget(epoch=0)),
    "first update": ("classes", forget(first_update=1)),
    "rate": ("classes", forget(chosen_lr=None)),
    "epochs waited": ("regression", forget_best(wait=np.zeros(1, np.int64))),
    "best value": ("regression", forget_best(value=np.full(1, np.nan))),
    "best parameters": ("regression", forget_best(theta=None)),
}


@pytest.mark.parametrize("what", list(WRONG))
def test_what_is_forgotten_is_noticed(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison of digests detects the loss of any part of the state."""
    case, spoil = WRONG[what]
    run, _, arguments = CASES[case]
    read = checkpoints.read

    def forgetful(*given: Any) -> Any:
        found = read(*given)
        return found and (found[0], found[1], spoil(found[2]))

    def made_twice(writes: int) -> str:
        def make() -> ns.Network:
            return run("numpy", 11, ns.Checkpoint(tmp_path / f"run {writes}", **arguments))

        assert killed_after(writes, monkeypatch, make) is None
        return digest(make())

    whole = digest(run("numpy", 11, ns.Checkpoint(tmp_path / "whole", **arguments)))
    assert {made_twice(writes) for writes in (3, 7, 8)} == {whole}
    monkeypatch.setattr(checkpoints, "read", forgetful)
    after_the_best = (16, 18)
    assert any(made_twice(writes) != whole for writes in (after_the_best if case == "regression" else (4, 5, 6)))


def make(backend: str = "numpy", seed: int = 0, dtype: str = "float64") -> ns.Network:
    return ns.Network(
        [3, 4, 2], activation="tanh", output="identity", loss="squared_error", dtype=dtype, backend=backend, seed=seed
    )


def test_more_epochs_make_a_run_longer(tmp_path: Path) -> None:
    optimizer, stopping = ns.Adam(0.05), ns.EarlyStopping("loss", restore_best=True)
    for epochs in (3, 3, 7):
        net = make()
        history = net.train(
            X,
            Y,
            epochs=epochs,
            batch_size=5,
            optimizer=replace(optimizer),
            early_stopping=stopping,
            checkpoint=ns.Checkpoint(tmp_path / "run"),
        )
        twin = make()
        twin.train(X, Y, epochs=epochs, batch_size=5, optimizer=replace(optimizer), early_stopping=stopping)
        assert digest(net) == digest(twin)
        assert history.epochs == epochs
    loaded = ns.load(tmp_path / "run", backend="numpy")
    assert loaded._state.updates == 7 * 9


def test_series_that_are_not_finite_come_back(tmp_path: Path) -> None:
    def run() -> ns.Network:
        net = make()
        with pytest.warns(RuntimeWarning, match="smaller learning rate"):
            net.train(
                1e3 * X,
                Y,
                epochs=30,
                batch_size=41,
                optimizer=ns.SGD(1e6),
                checkpoint=ns.Checkpoint(tmp_path / "run", every=4),
            )
        return net

    first = run()
    assert first.history is not None
    assert not np.isfinite(first.history.loss).all()
    again = make()
    history = again.train(
        1e3 * X, Y, epochs=30, batch_size=41, optimizer=ns.SGD(1e6), checkpoint=ns.Checkpoint(tmp_path / "run", every=4)
    )
    np.testing.assert_array_equal(history.loss, first.history.loss)
    assert again.theta.tobytes() == first.theta.tobytes()


def test_resume_false_begins_anew(tmp_path: Path) -> None:
    checkpoint = ns.Checkpoint(tmp_path / "run")
    make().train(X, Y, epochs=3, batch_size=5, checkpoint=checkpoint)
    net, twin = make(seed=1), make(seed=1)
    history = net.train(X, Y, epochs=2, batch_size=7, checkpoint=replace(checkpoint, resume=False))
    twin.train(X, Y, epochs=2, batch_size=7)
    assert history.epochs == 2
    assert net.theta.tobytes() == twin.theta.tobytes()
    assert make(seed=1).train(X, Y, epochs=2, batch_size=7, checkpoint=checkpoint).loss == history.loss


OTHERS: list[tuple[dict[str, Any], str]] = [
    ({"batch_size": 6}, "batch_size was 5, is 6"),
    ({"optimizer": ns.Adam(0.02)}, "optimizer was Adam(lr=0.01"),
    ({"shuffle": False}, "shuffle was True, is False"),
    ({"seed": 4}, "seed was 0, is 4"),
    ({"seed": None}, "seed was 0, is None"),
    ({"dropout": 0.1}, "dropout was (), is (0.1,)"),
    ({"schedule": schedules.StepLR(2)}, "schedule was None, is StepLR(every='epoch', step_size=2"),
    ({"metrics": "mae"}, "metrics was , is mae"),
    ({"early_stopping": ns.EarlyStopping("loss")}, "early_stopping was None, is EarlyStopping("),
    ({"sample_weight": 1 + LABELS}, "data was"),
    ({"validation": (X, Y)}, "validation was None"),
    ({"X": X + 1e-15}, "data was"),
    ({"X": X[:40], "Y": Y[:40]}, "samples was 41, is 40"),
    ({"net": make(seed=1)}, "the network at the start was"),
    ({"net": make(dtype="float32")}, "dtype was float64, is float32"),
    (
        {"net": ns.Network([3, 4, 2], activation="relu", output="identity", loss="squared_error", backend="numpy")},
        "activations",
    ),
    ({"checkpoint": 5}, "every_steps was None, is 5"),
]


@pytest.mark.parametrize(("other", "words"), OTHERS)
def test_checkpoints_of_other_runs_are_refused(other: dict[str, Any], words: str, tmp_path: Path) -> None:
    path = tmp_path / "run"
    usual = {"X": X, "Y": Y, "epochs": 2, "batch_size": 5, "checkpoint": None}
    make().train(**{**usual, "optimizer": ns.Adam(0.01), "checkpoint": ns.Checkpoint(path)})
    content = path.read_bytes()
    arguments = {**usual, "optimizer": ns.Adam(0.01), **other}
    net = arguments.pop("net", make())
    before = net.theta.tobytes(), net._state, net.history
    arguments["checkpoint"] = ns.Checkpoint(path, every_steps=arguments["checkpoint"])
    with pytest.raises(ValueError, match="is of another run") as caught:
        net.train(**arguments)
    assert words in str(caught.value)
    assert (net.theta.tobytes(), net._state, net.history) == before
    assert path.read_bytes() == content


def test_files_that_are_no_checkpoints_are_refused(tmp_path: Path) -> None:
    net, path = make(), tmp_path / "model"
    net.save(path)
    with pytest.raises(ns.FileFormatError, match="not a checkpoint"):
        net.train(X, Y, checkpoint=ns.Checkpoint(path))
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(ns.FileFormatError, match="damaged"):
        net.train(X, Y, checkpoint=ns.Checkpoint(path))
    net.train(X, Y, epochs=1, checkpoint=ns.Checkpoint(path, resume=False))
    text = path.read_bytes().replace(b"loss_sum", b"loss_mus")
    path.write_bytes(text)
    with pytest.raises(ns.FileFormatError, match="'loss_sum' is missing"):
        make().train(X, Y, epochs=1, checkpoint=ns.Checkpoint(path))


@pytest.mark.parametrize(
    ("call", "exception", "words"),
    [
        (lambda: ns.Checkpoint(5), TypeError, "path must be a string or a path"),
        (lambda: ns.Checkpoint("x", every=0), ValueError, "every=0"),
        (lambda: ns.Checkpoint("x", every=1.5), TypeError, "every must be an integer"),
        (lambda: ns.Checkpoint("x", every_steps=0), ValueError, "every_steps=0"),
        (lambda: ns.Checkpoint("x", every_steps="all"), TypeError, "every_steps must be an integer"),
        (lambda: ns.Checkpoint("x", resume=1), TypeError, "resume must be True or False"),
        (lambda: make().train(X, Y, checkpoint="x"), TypeError, "checkpoint must be ns.Checkpoint"),
        (lambda: make().train(X, Y, checkpoint=ns.Checkpoint("/no/such/file")), FileNotFoundError, "no such directory"),
        (lambda: make().train(X, Y, checkpoint=ns.Checkpoint("/")), IsADirectoryError, "is a directory"),
    ],
)
def test_checkpoints_refuse(call: Any, exception: type[Exception], words: str) -> None:
    with pytest.raises(exception) as caught:
        call()
    assert words in str(caught.value)
