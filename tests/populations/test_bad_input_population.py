"""The table of bad input to populations: the documented exception with its reason, and nothing changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nanostep as ns

K = 3
X, Y = np.zeros((4, 2)), np.zeros((4, 1))
OWN_X, OWN_Y = np.zeros((K, 4, 2)), np.zeros((K, 4, 1))


def train(**arguments: Any) -> Callable[[ns.Population], Any]:
    given = {"X": X, "Y": Y, "epochs": 1, **arguments}
    return lambda population: population.train(**given)


CALLS: list[tuple[Callable[[ns.Population], Any], type[Exception], str]] = [
    (train(optimizer=ns.SGD(lr=np.ones(4))), ValueError, "lr has 4 entries for 3 networks"),
    (train(optimizer=ns.Adam(betas=(np.full(2, 0.9), 0.9))), ValueError, "beta1 has 2 entries"),
    (train(optimizer="adam"), TypeError, "optimizer must be"),
    (train(rows=np.zeros((2, 4), int)), ValueError, "rows must hold integers of shape (3, m)"),
    (train(rows=np.zeros((3, 0), int)), ValueError, "rows must hold"),
    (train(rows=np.zeros((3, 4))), ValueError, "dtype float64"),
    (train(rows=np.full((3, 4), 4)), ValueError, "rows has 4, out of range; accepted are 0 to 3"),
    (train(rows=np.full((3, 4), -1)), ValueError, "rows has -1"),
    (train(X=OWN_X, Y=OWN_Y, rows=np.zeros((3, 4), int)), ValueError, "rows are for X"),
    (train(rows=[[0], [1, 2], [3]]), ValueError, "rows is not a rectangular array"),
    (train(validation_rows=np.full((3, 2), 4)), ValueError, "validation_rows has 4, out of range; accepted are 0 to 3"),
    (train(validation_rows=np.zeros((2, 2), int)), ValueError, "validation_rows must hold integers of shape (3, m)"),
    (train(validation=(X[:2], Y[:2]), validation_rows=np.full((3, 2), 2)), ValueError, "accepted are 0 to 1"),
    (train(X=OWN_X, Y=OWN_Y, validation_rows=np.zeros((3, 2), int)), ValueError, "validation_rows are for X"),
    (train(validation=(OWN_X, OWN_Y), validation_rows=np.zeros((3, 2), int)), ValueError, "for validation X of shape"),
    (train(X=[[0, 1], [2]]), ValueError, "X is not a rectangular array"),
    (train(X=np.ma.masked_equal(OWN_X, 0), Y=OWN_Y), ValueError, "X has masked entries"),
    (train(X=np.zeros((2, 4, 2)), Y=np.zeros((2, 4, 1))), ValueError, "X has data for 2 networks"),
    (train(X=np.zeros((3, 4, 2)), Y=np.zeros((4, 1))), ValueError, "Y must begin with (3, 4)"),
    (train(X=np.zeros((4, 3))), ValueError, "X must have shape (n, 2)"),
    (train(X=X + np.nan), ValueError, "X must be finite"),
    (train(X=np.zeros((0, 2)), Y=np.zeros((0, 1))), ValueError, "no samples"),
    (train(seed=[1, 2]), ValueError, "seed must be an integer, or 3 of them"),
    (train(seed=[1, 2, -3]), ValueError, "seeds are >= 0"),
    (train(seed=-1), ValueError, "seed=-1"),
    (train(dropout=[0.1, 0.2]), ValueError, "shape (3,) or (3, 1)"),
    (train(dropout=[0.1, 0.2, 1.0]), ValueError, "dropout has 1.0"),
    (train(dropout=-0.1), ValueError, "dropout=-0.1"),
    (train(epochs=-1), ValueError, "epochs=-1"),
    (train(epochs=2**45), MemoryError, "losses of 3 networks"),
    (train(batch_size=0), ValueError, "batch_size=0"),
    (train(shuffle=1), TypeError, "shuffle"),
    (train(threads=0), ValueError, "threads=0"),
    (train(callbacks=3), TypeError, "callbacks must be"),
    (train(callbacks=[print, 3]), TypeError, "callbacks[1] must be callable"),
    (train(callbacks=ns.EveryNSteps(2, print)), TypeError, "after epochs; EveryNSteps is for a Network"),
    (train(progress=1), TypeError, "progress must be True or False"),
    (train(label_smoothing=0.1), ValueError, "label_smoothing"),
    (train(validation=X), TypeError, "validation must be a pair"),
    (train(validation=(X, Y[:3])), ValueError, "validation Y"),
    (train(early_stopping=3), TypeError, "early_stopping must be"),
    (train(early_stopping=ns.EarlyStopping()), ValueError, "no validation data"),
    (train(early_stopping=ns.EarlyStopping("accuracy")), ValueError, "monitors 'accuracy'"),
    (lambda p: p.predict(np.zeros((2, 4, 2))), ValueError, "X must have shape (3, n, 2)"),
    (lambda p: p.predict([[0, 1], [2]]), ValueError, "X is not a rectangular array"),
    (lambda p: p.predict(X, rows=np.full((3, 2), 4)), ValueError, "rows has 4, out of range"),
    (lambda p: p.predict(OWN_X, rows=np.zeros((3, 2), int)), ValueError, "rows are for X of shape (n, 2)"),
    (lambda p: p.step(X, Y, -0.1), ValueError, "lr=-0.1"),
    (lambda p: p.step(X, Y, np.array([0.1, 0.1, np.nan])), ValueError, "lr[2]=nan"),
    (lambda p: p.step(X, Y, np.ones(2)), ValueError, "lr has 2 entries for 3 networks"),
    (lambda p: p.step(X, Y, 0.1, optimizer=ns.Adam()), TypeError, "give lr or optimizer"),
    (lambda p: p.step(X, Y, optimizer=0.1), TypeError, "optimizer must be"),
    (lambda p: p.step(X, Y[:2], optimizer=ns.Adam()), ValueError, "Y must have shape (4, 1)"),
    (lambda p: p.step(OWN_X, Y), ValueError, "Y must begin with (3, 4)"),
    (lambda p: p.step(X, Y, rows=np.full((3, 2), 4)), ValueError, "rows has 4, out of range"),
    (lambda p: p.best(), ValueError, "no history"),
    (lambda p: p.best(X), ValueError, "give X and Y"),
    (lambda p: p[3], ValueError, "network=3"),
    (lambda p: p["first"], TypeError, "network must be an integer"),
    (lambda p: setattr(p, "theta", np.zeros(3)), ValueError, "theta must have shape"),
]


@pytest.mark.parametrize(("call", "error", "message"), CALLS, ids=[str(i) for i in range(len(CALLS))])
def test_calls_refuse(call: Callable[[ns.Population], Any], error: type[Exception], message: str) -> None:
    population = ns.Population([2, 3, 1], K, backend="numpy")
    before = population.theta.copy()
    with pytest.raises(error) as raised:
        call(population)
    assert message in str(raised.value)
    assert np.array_equal(population.theta, before)
    assert population.history is None


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: ns.Population([2, 1], 0), ValueError, "size=0"),
        (lambda: ns.Population([2, 1], 2.0), TypeError, "size must be an integer"),
        (lambda: ns.Population([2, 1], 2**50), MemoryError, "GiB"),
        (lambda: ns.Population([2, 1], 2, seed=[1]), ValueError, "seed must be an integer, or 2 of them"),
        (lambda: ns.Population([2, 1], 2, dtype="int8"), ValueError, "dtype='int8'"),
        (lambda: ns.Population.stack([]), ValueError, "one or more"),
        (lambda: ns.Population.stack([ns.Network([2, 1]), ns.Network([3, 1])]), ValueError, "networks[1]"),
        (lambda: ns.SGD(lr=np.array([0.1, -0.1])), ValueError, "lr[1]=-0.1"),
        (lambda: ns.SGD(lr=np.ones((2, 2))), TypeError, "1-D array"),
        (lambda: ns.SGD(lr=np.array(["a"])), TypeError, "lr must be a real number"),
        (lambda: ns.SGD(lr=np.ones(2), momentum=np.ones(3)), ValueError, "lr has 2, momentum has 3"),
        (lambda: ns.SGD(lr=0.1, momentum=np.array([0.9, 0.0]), nesterov=True), ValueError, "nesterov=True"),
        (lambda: ns.Network([2, 1]).train(X, Y, optimizer=ns.SGD(lr=np.ones(2))), TypeError, "for each network"),
    ],
)
def test_making_refuses(make: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as raised:
        make()
    assert message in str(raised.value)


def set_rate(value: Any) -> Callable[[ns.PopulationEpochEnd], None]:
    return lambda event: setattr(event, "lr", value)


@pytest.mark.parametrize(
    ("callback", "error", "message"),
    [
        (lambda _: np.ones(2, bool), ValueError, "an array of bools of shape (3,); got one of shape (2,)"),
        (lambda _: np.ones(3), ValueError, "dtype float64"),
        (set_rate(-0.1), ValueError, "lr=-0.1"),
        (set_rate("high"), TypeError, "lr must be a real number"),
        (set_rate([0.1, 0.1]), ValueError, "lr has 2 entries for 3 networks"),
        (set_rate([0.1, 0.1, np.inf]), ValueError, "lr[2]=inf"),
        (set_rate(np.ones((3, 1))), TypeError, "1-D array"),
    ],
)
def test_callbacks_that_go_wrong(callback: Any, error: type[Exception], message: str) -> None:
    """Errors in callbacks end the run after the epoch, which counts."""
    population = ns.Population([2, 3, 1], K, backend="numpy")
    with pytest.raises(error) as raised:
        population.train(X, Y, epochs=3, callbacks=callback)
    assert message in str(raised.value)
    assert population.history is not None
    assert (population.history.stopped, population.history.epochs.tolist()) == ("error", [1, 1, 1])
