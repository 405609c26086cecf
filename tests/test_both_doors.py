"""The same arguments through the doors of Network and of Population: the same errors, and the same runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nanostep as ns
from cases import QUICK
from nanostep import schedules
from nanostep.backends.contract import MAX_SAMPLES
from nanostep.training import arguments

RNG = np.random.default_rng(3)
X = RNG.standard_normal((30, 2))
Y = np.sin(X[:, :1])
HELD_OUT = (X[:10] + 0.1, Y[:10])

REFUSED: list[dict[str, Any]] = [
    {"epochs": -1},
    {"epochs": 1.5},
    {"epochs": True},
    {"epochs": "3"},
    {"epochs": arguments.MAX_EPOCHS + 1},
    {"batch_size": 0},
    {"batch_size": 2.5},
    {"shuffle": 1},
    {"seed": -1},
    {"seed": 2**64},
    {"threads": 0},
    {"threads": 2**16 + 1},
    {"threads": 1.0},
    {"callbacks": 3},
    {"callbacks": [print, 3]},
    {"progress": 1},
    {"dropout": -0.1},
    {"dropout": 1.0},
    {"dropout": "a half"},
    {"label_smoothing": 0.1},
    {"label_smoothing": 1.0},
    {"sample_weight": np.ones(29)},
    {"sample_weight": -np.ones(30)},
    {"sample_weight": np.zeros(30)},
    {"early_stopping": 3},
    {"early_stopping": ns.EarlyStopping()},
    {"early_stopping": ns.EarlyStopping("accuracy")},
    {"schedule": 0.1},
    {"schedule": schedules.ReduceLROnPlateau()},
    {"schedule": schedules.ReduceLROnPlateau(monitor="mae")},
    {"validation": 3},
    {"validation": (X[:, :1], Y)},
    {"X": X + np.nan},
    {"X": X[:0], "Y": Y[:0]},
    {"Y": Y[:29]},
    {"optimizer": "adam"},
]

RUN: list[dict[str, Any]] = [
    {},
    {"epochs": 0},
    {"shuffle": False},
    {"batch_size": 100, "seed": 2**64 - 1},
    {"dropout": 0.25},
    {"sample_weight": np.arange(30.0)},
    {"optimizer": ns.Adam(lr=0.01)},
    {"validation": HELD_OUT, "early_stopping": ns.EarlyStopping(patience=2)},
    {"early_stopping": ns.EarlyStopping("loss", patience=0, min_delta=0.05)},
    {"early_stopping": ns.EarlyStopping("loss", patience=3, mode="max")},
    {"early_stopping": ns.EarlyStopping("loss", patience=3, mode="max", restore_best=False)},
    {"schedule": schedules.StepLR(2, gamma=0.5)},
    {"schedule": schedules.ReduceLROnPlateau(monitor="loss", patience=0, threshold=0.5)},
]


def arguments_of(change: dict[str, Any]) -> dict[str, Any]:
    return {"X": X, "Y": Y, "epochs": 12, "batch_size": 4, **change}


def doors(backend: str, **changes: Any) -> tuple[ns.Network, ns.Population]:
    """A network, and a population of one like it."""
    given = {"sizes": [2, 4, 1], "activation": "tanh", "output": "identity", "backend": backend, **changes}
    return ns.Network(**given), ns.Population(size=1, **given)


def error_of(call: Any, change: dict[str, Any]) -> tuple[type, str]:
    with pytest.raises(Exception, match=r".") as caught:
        call(**arguments_of(change))
    return caught.type, str(caught.value)


@pytest.mark.parametrize("change", REFUSED, ids=lambda change: "-".join(f"{k}" for k in change))
def test_both_refuse_in_the_same_words(change: dict[str, Any]) -> None:
    network, population = doors("numpy")
    before = network.theta.tobytes()
    kind, text = error_of(network.train, change)
    their_kind, their_text = error_of(population.train, change)
    assert kind is their_kind
    assert kind in (TypeError, ValueError), text
    if change.keys() - {"validation", "optimizer"}:  # weights of validation data, and solvers, are for networks
        assert their_text == text
    assert network.theta.tobytes() == population.theta.tobytes() == before


@pytest.mark.parametrize("change", RUN, ids=lambda change: "-".join(f"{k}" for k in change) or "defaults")
@pytest.mark.parametrize("backend", QUICK)
def test_both_make_the_same_run(change: dict[str, Any], backend: str) -> None:
    network, population = doors(backend)
    history, theirs = network.train(**arguments_of(change)), population.train(**arguments_of(change))
    epochs = int(theirs.epochs[0])
    assert epochs == history.epochs
    np.testing.assert_allclose(theirs.loss[0, :epochs], history.loss, rtol=1e-12)
    np.testing.assert_allclose(population.theta[0], network.theta, rtol=1e-10, atol=1e-13)
    if "early_stopping" in change and change["early_stopping"].restore_best:
        assert theirs.best_epoch[0] == history.best_epoch
        assert theirs.stopped == history.stopped


@pytest.mark.parametrize("backend", QUICK)
def test_losses_that_are_infinite_from_the_start(backend: str) -> None:
    """Infinity is a first value, and no improvement on itself: the best epoch is 1, and patience counts from there."""
    network, population = doors(backend, sizes=[1, 1], activation="identity", dtype="float32")
    stopping, optimizer = ns.EarlyStopping("loss", patience=2), ns.SGD(lr=1e-3)
    given = {"X": [[0.0]], "Y": [[1e30]], "epochs": 6, "optimizer": optimizer, "early_stopping": stopping}
    with pytest.warns(RuntimeWarning, match="loss is inf"):
        history = network.train(**given)
    theirs = population.train(**given)
    assert (history.epochs, history.best_epoch) == (theirs.epochs[0], theirs.best_epoch[0])
    assert (history.epochs, history.best_epoch) == (3, 1)


def test_bounds_are_those_of_the_contract() -> None:
    assert arguments.check_shuffle(True, MAX_SAMPLES)
    assert not arguments.check_shuffle(False, MAX_SAMPLES + 1)
    with pytest.raises(ValueError, match="shuffling takes at most 4294967296"):
        arguments.check_shuffle(True, MAX_SAMPLES + 1)
