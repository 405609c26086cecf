"""Measurements after each epoch, early stopping, callbacks that control the run, and the history."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics

import nanostep as ns
from cases import QUICK
from cases import small_network as make

RNG = np.random.default_rng(7)
X = RNG.standard_normal((40, 3))
Y = RNG.random((40, 2))
LABELS = RNG.integers(0, 3, 40)
WEIGHT = RNG.random(40)


@pytest.fixture(params=QUICK)
def backend(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_metrics_are_scikit_learns(dtype: str, weight: np.ndarray | None) -> None:
    def measure(kind: str, y: np.ndarray, names: list[str]) -> tuple[dict[str, list[float]], np.ndarray]:
        net = make(kind=kind, dtype=dtype)
        history = net.train(X, y, epochs=2, sample_weight=weight, validation=(X, y, weight), metrics=names)
        assert history.metrics == history.validation_metrics
        assert {len(values) for values in history.metrics.values()} == {2}
        return history.metrics, net.predict(X).astype(np.float64)

    def check(got: float, want: float) -> None:
        assert got == pytest.approx(want, rel=1e-6 if dtype == "float32" else 1e-12)

    got, p = measure("regression", Y, ["mae", "rmse", "r2", "loss"])
    check(got["mae"][-1], sklearn.metrics.mean_absolute_error(Y, p, sample_weight=weight))
    check(got["rmse"][-1] ** 2, sklearn.metrics.mean_squared_error(Y, p, sample_weight=weight))
    check(got["r2"][-1], sklearn.metrics.r2_score(Y, p, sample_weight=weight))
    check(got["loss"][-1], sklearn.metrics.mean_squared_error(Y, p, sample_weight=weight))

    got, p = measure("classes", LABELS, ["accuracy", "auc"])
    check(got["accuracy"][-1], sklearn.metrics.accuracy_score(LABELS, p.argmax(1), sample_weight=weight))
    p /= p.sum(axis=1, keepdims=True)
    check(got["auc"][-1], sklearn.metrics.roc_auc_score(LABELS, p, sample_weight=weight, multi_class="ovr"))

    for kind, y in (("two", LABELS % 2), ("binary", LABELS % 2), ("binary", (LABELS % 2)[:, None])):
        got, p = measure(kind, y, ["accuracy", "auc"])
        check(got["auc"][-1], sklearn.metrics.roc_auc_score(y.ravel(), p[:, -1], sample_weight=weight))
        check(got["accuracy"][-1], sklearn.metrics.accuracy_score(y.ravel(), p[:, -1] >= 0.5, sample_weight=weight))

    one_hot = np.eye(3)[LABELS]
    got, p = measure("classes", one_hot, ["accuracy"])
    check(got["accuracy"][-1], sklearn.metrics.accuracy_score(LABELS, p.argmax(1), sample_weight=weight))
    many = (Y > 0.4).astype(float)
    got, p = measure("multilabel", many, ["accuracy", "auc"])
    check(got["accuracy"][-1], np.average((p >= 0.5) == many, axis=0, weights=weight).mean())
    check(got["auc"][-1], sklearn.metrics.roc_auc_score(many, p, sample_weight=weight))


def test_constant_targets_have_an_r2() -> None:
    history = make().train(X, np.full((40, 2), 0.5), epochs=1, metrics="r2")
    assert history.metrics["r2"] == [0.0]


def worst(y_true: np.ndarray, y_pred: np.ndarray) -> np.floating:
    return np.abs(y_true - y_pred).max()


def test_metrics_of_your_own(backend: str) -> None:
    net = make(backend)
    history = net.train(X, Y, epochs=3, metrics=[worst, "mae"], validation=(X[:5], Y[:5]))
    assert history.metrics["worst"][-1] == np.abs(net.predict(X) - Y).max()
    assert history.validation_metrics["worst"][-1] == np.abs(net.predict(X[:5]) - Y[:5]).max()
    seen: list[Any] = []
    make(backend, "classes").train(X, LABELS, epochs=1, metrics=lambda y, p: seen.append((y, p)) or 1.0)
    np.testing.assert_array_equal(seen[0][0], LABELS)
    assert seen[0][1].shape == (40, 3)


def test_metrics_do_not_change_the_run(backend: str) -> None:
    net, twin = make(backend), make(backend)
    net.train(X, Y, epochs=3, metrics=["r2", "mae"], validation=(X, Y), early_stopping=ns.EarlyStopping(patience=50))
    twin.train(X, Y, epochs=3)
    assert net.history is not None
    assert net.history.best_epoch == 3
    assert net.theta.tobytes() == twin.theta.tobytes()


def test_the_record_as_dict_and_frame() -> None:
    history = make().train(
        X, Y, epochs=3, validation=(X[:9], Y[:9]), metrics=["loss", "r2"], schedule=ns.schedules.StepLR(1)
    )
    names = ["loss", "validation_loss", "loss_after_epoch", "r2", "validation_r2", "lr"]
    assert sorted(history.series()) == sorted(names)
    frame = history.to_pandas()
    assert isinstance(frame, pd.DataFrame)
    assert frame.index.tolist() == [1, 2, 3]
    assert frame["r2"].tolist() == history.metrics["r2"]
    values = history.to_dict()
    assert values["lr"] == pytest.approx([0.1, 0.01, 0.001])
    assert values["stopped"] == "epochs"
    assert values["best_epoch"] == history.best_epoch == 3
    assert values["metrics"] == history.metrics
    assert values["metrics"]["r2"] is not history.metrics["r2"]
    assert not any(name.startswith("_") for name in values)


def test_rates_are_recorded_without_a_schedule_too(backend: str) -> None:
    assert make(backend).train(X, Y, epochs=3, optimizer=ns.SGD(lr=0.25)).lr == [0.25] * 3


SERIES = [5.0, 4.0, 4.05, 3.95, 3.9, 4.2, 4.1, 4.0, 3.0]


def stopped_after(values: list[float], stopping: ns.EarlyStopping) -> tuple[int, int | None, str, int]:
    """Train with a metric of these values; return epochs, best epoch, why it ended, and the epoch of its theta."""
    series, net, thetas = iter(values), make(), []

    def scripted(y_true: np.ndarray, y_pred: np.ndarray) -> float:
        return next(series)

    history = net.train(
        X, Y, epochs=len(values), metrics=scripted, early_stopping=stopping,
        callbacks=lambda event: thetas.append(event.network.theta.tobytes()),
    )  # fmt: skip
    return history.epochs, history.best_epoch, history.stopped, 1 + thetas.index(net.theta.tobytes())


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"patience": 3}, (8, 5, "early_stopping", 5)),
        ({"patience": 4}, (9, 9, "epochs", 9)),
        ({"patience": 0}, (3, 2, "early_stopping", 2)),
        ({"patience": 1}, (3, 2, "early_stopping", 2)),
        ({"patience": 3, "min_delta": 0.11}, (5, 2, "early_stopping", 2)),
        ({"patience": 3, "restore_best": False}, (8, 5, "early_stopping", 8)),
        ({"patience": 2, "mode": "max"}, (3, 1, "early_stopping", 1)),
    ],
)
def test_early_stopping(arguments: dict[str, Any], expected: tuple[int, int, str, int]) -> None:
    stopping = ns.EarlyStopping("scripted", **{"mode": "min", **arguments})
    assert stopped_after(SERIES, stopping) == expected


def test_early_stopping_takes_nan_for_no_improvement() -> None:
    nan = float("nan")
    assert stopped_after([nan, 2.0, nan, 1.0, nan, nan, 0.5], ns.EarlyStopping("scripted", 2, mode="min"))[:3] == (
        6, 4, "early_stopping",
    )  # fmt: skip
    assert stopped_after([nan, nan, nan], ns.EarlyStopping("scripted", 2, mode="min"))[0] == 2


def test_early_stopping_knows_what_is_better(backend: str) -> None:
    stopping = ns.EarlyStopping("validation_accuracy", patience=2)
    history = make(backend, "classes").train(
        X, LABELS, epochs=200, validation=(X, LABELS), metrics=["accuracy", "loss"], early_stopping=stopping
    )
    best = history.validation_metrics["accuracy"]
    assert history.stopped == "early_stopping"
    assert history.best_epoch == 1 + int(np.argmax(best))
    assert make(backend).train(X, Y, epochs=4, early_stopping=ns.EarlyStopping("loss")).best_epoch == 4


def test_callbacks_at_steps(backend: str) -> None:
    net, twin, events = make(backend), make(backend), []
    look = ns.EveryNSteps(7, lambda event: events.append((event.step, event.epoch, event.loss, event.lr)))
    history = net.train(X, Y, epochs=3, batch_size=3, optimizer=ns.SGD(0.05), callbacks=[look, lambda event: None])
    assert [event[:2] for event in events] == [(7, 1), (14, 1), (21, 2), (28, 2), (35, 3), (42, 3)]
    assert events[1][2] == history.loss[0]
    assert {event[3] for event in events} == {0.05}
    twin.train(X, Y, epochs=3, batch_size=3, optimizer=ns.SGD(0.05))
    assert net.theta.tobytes() == twin.theta.tobytes()


@pytest.mark.parametrize("how", ["return", "raise"])
def test_callbacks_at_steps_can_stop(backend: str, how: str) -> None:
    def stop(event: ns.StepEnd) -> bool:
        if how == "raise" and event.step == 10:
            raise ns.StopTraining
        return event.step == 10

    net = make(backend)
    history = net.train(X, Y, epochs=9, batch_size=10, callbacks=ns.EveryNSteps(5, stop))
    assert (history.steps, history.epochs, history.samples, history.stopped) == (10, 2, 100, "callback")


@pytest.mark.parametrize("batch_size", [1, 5])
def test_callbacks_at_steps_may_change_theta(each_backend: str, batch_size: int) -> None:
    """Values that an engine has prepared from the previous parameters must not be used."""
    net, twin = make(each_backend), make(each_backend)

    def shrink(event: ns.StepEnd) -> None:
        event.network.theta *= 0.5

    optimizer = ns.SGD(0.1)
    net.train(
        X, Y, epochs=1, batch_size=batch_size, optimizer=optimizer, shuffle=False, callbacks=ns.EveryNSteps(3, shrink)
    )
    for update, start in enumerate(range(0, 40, batch_size), 1):
        twin.step(X[start : start + batch_size], Y[start : start + batch_size], 0.1)
        if update % 3 == 0:
            twin.theta *= 0.5
    np.testing.assert_allclose(net.theta, twin.theta, rtol=1e-11, atol=1e-13)


def test_callbacks_may_change_the_rate(backend: str) -> None:
    def halve(event: ns.EpochEnd) -> None:
        assert event.lr is not None
        event.lr /= 2

    def set_once(event: ns.StepEnd) -> None:
        if event.step == 12:
            event.lr = 0.3
        if event.step == 32:
            event.lr = None

    net = make(backend)
    assert net.train(X, Y, epochs=4, batch_size=5, optimizer=ns.SGD(0.1), callbacks=halve).lr == [
        0.1,
        0.05,
        0.025,
        0.0125,
    ]
    history = net.train(X, Y, epochs=5, batch_size=5, optimizer=ns.SGD(0.1), callbacks=ns.EveryNSteps(4, set_once))
    assert history.lr == [0.1, 0.3, 0.3, 0.3, 0.1]
    # in place of the schedule's, and for this run only
    schedule = ns.schedules.StepLR(1)
    assert net.train(X, Y, epochs=3, batch_size=5, optimizer=ns.SGD(0.1), schedule=schedule, callbacks=halve).lr == [
        0.1,
        0.05,
        0.025,
    ]
    assert net.train(X, Y, epochs=1, batch_size=5, schedule=schedule).lr == pytest.approx([1e-4])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("backend", QUICK)
def test_a_measure_of_outputs_that_are_not_finite_is_nan_and_never_best(backend: str) -> None:
    net = ns.Network([3, 4, 2], activation="tanh", output="softmax", loss="cross_entropy", backend=backend)
    y = np.r_[0, np.arange(39) % 2]
    kept = []

    def spoil(event: ns.EpochEnd) -> None:
        kept.append(event.network.theta.copy())
        if event.epoch == 2:
            event.network.theta[:] = np.nan

    history = net.train(
        X, y, epochs=5, optimizer=ns.SGD(lr=0.01), validation=(X, y), metrics=["accuracy", "auc"], callbacks=spoil,
        early_stopping=ns.EarlyStopping("validation_accuracy", patience=9, min_delta=0.0),
    )  # fmt: skip
    assert np.isnan(history.metrics["accuracy"][2:]).all()
    assert np.isnan(history.validation_metrics["auc"][2:]).all()
    assert np.isfinite(history.metrics["accuracy"][:2]).all()
    assert history.best_epoch in (1, 2)
    assert np.isfinite(net.theta).all()


def test_why_a_run_ended() -> None:
    net = make()
    assert net.train(X, Y, epochs=2).stopped == "epochs"
    assert net.train(X, Y, epochs=2, callbacks=lambda event: True).stopped == "callback"
    for error, reason in ((KeyboardInterrupt, "interrupted"), (KeyError, "error")):

        def fail(event: ns.EpochEnd, error: type[BaseException] = error) -> None:
            raise error

        with pytest.raises(error):
            net.train(X, Y, epochs=2, callbacks=fail)
        assert net.history is not None
        assert (net.history.stopped, net.history.interrupted) == (reason, reason == "interrupted")


def test_the_warning_of_a_diverging_run_names_the_callers_line() -> None:
    with pytest.warns(RuntimeWarning, match="smaller learning rate") as caught:
        make().train(1e3 * X, Y, epochs=30, batch_size=40, optimizer=ns.SGD(lr=1e6))
    assert caught[0].filename == __file__


NAN = float("nan")
BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"metrics": 5}, TypeError, "metrics must be names"),
    ({"metrics": "accurracy"}, ValueError, "metrics[0]='accurracy' is not known"),
    ({"metrics": ["mae", 5]}, TypeError, "metrics[1] must be a name or a callable"),
    ({"metrics": ["mae", "mae"]}, ValueError, "'mae' twice"),
    ({"metrics": ["accuracy"]}, ValueError, "output='identity' does not give them"),
    ({"metrics": ["auc"]}, ValueError, "output='identity' does not give them"),
    ({"early_stopping": 5}, TypeError, "early_stopping must be ns.EarlyStopping"),
    ({"early_stopping": ns.EarlyStopping()}, ValueError, "no validation data"),
    ({"early_stopping": ns.EarlyStopping("validation_r2")}, ValueError, "this run measures loss"),
    ({"early_stopping": ns.EarlyStopping("validation_r2"), "metrics": "r2"}, ValueError, "no validation data"),
    ({"early_stopping": ns.EarlyStopping("r2")}, ValueError, "monitors 'r2'; this run measures loss"),
    ({"early_stopping": ns.EarlyStopping("worst"), "metrics": worst}, ValueError, "say what is better"),
    ({"schedule": "step"}, TypeError, "schedule must be one of nanostep.schedules"),
    ({"schedule": ns.schedules.StepLR}, TypeError, "schedule must be one of nanostep.schedules"),
    ({"schedule": ns.schedules.ReduceLROnPlateau()}, ValueError, "schedule monitors 'validation_loss'"),
]


@pytest.mark.parametrize(("arguments", "exception", "words"), BAD)
def test_train_refuses(arguments: dict[str, Any], exception: type[Exception], words: str) -> None:
    net = make()
    net.train(X, Y, epochs=1, optimizer=ns.Adam())
    before = (net.theta.tobytes(), net._state.slots.tobytes(), net._state.updates, net.history)
    with pytest.raises(exception) as caught:
        net.train(X, Y, **arguments)
    assert words in str(caught.value)
    assert (net.theta.tobytes(), net._state.slots.tobytes(), net._state.updates, net.history) == before


def accuracy(y_true: np.ndarray, y_pred: np.ndarray) -> float:
    return 1.0


def say(y_true: np.ndarray, y_pred: np.ndarray) -> str:
    return "good"


@pytest.mark.parametrize(
    ("call", "exception", "words"),
    [
        (lambda: make(kind="classes").train(X, LABELS, metrics="rmse"), ValueError, "class labels do not have"),
        (lambda: make().train(X, Y, metrics=accuracy), ValueError, "which is taken"),
        (lambda: make().train(X, Y, metrics=say), TypeError, "metric 'say' must return a number; got str"),
        (lambda: ns.EarlyStopping(5), TypeError, "monitor must be a string"),
        (lambda: ns.EarlyStopping(patience=-1), ValueError, "patience=-1"),
        (lambda: ns.EarlyStopping(patience=1.5), TypeError, "patience must be an integer"),
        (lambda: ns.EarlyStopping(min_delta=-1), ValueError, "min_delta=-1.0"),
        (lambda: ns.EarlyStopping(min_delta=NAN), ValueError, "min_delta=nan"),
        (lambda: ns.EarlyStopping(restore_best=1), TypeError, "restore_best must be True or False"),
        (lambda: ns.EarlyStopping(mode="best"), ValueError, "mode='best'"),
        (lambda: ns.EveryNSteps(0, print), ValueError, "n=0"),
        (lambda: ns.EveryNSteps(2.0, print), TypeError, "n must be an integer"),
        (lambda: ns.EveryNSteps(2, "print"), TypeError, "callback must be callable"),
    ],
)
def test_parts_refuse(call: Any, exception: type[Exception], words: str) -> None:
    with pytest.raises(exception) as caught:
        call()
    assert words in str(caught.value)


@pytest.mark.parametrize(("lr", "exception"), [(-1, ValueError), (NAN, ValueError), ("fast", TypeError)])
def test_events_refuse_rates(lr: Any, exception: type[Exception]) -> None:
    def set_rate(event: ns.EpochEnd) -> None:
        event.lr = lr

    with pytest.raises(exception, match="lr"):
        make().train(X, Y, epochs=1, callbacks=set_rate)
