"""Callbacks and progress of populations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from test_population import RATES, K, agree, alone, data

import nanostep as ns
from nanostep.populations import run
from nanostep.training import progress


def test_callbacks_stop_networks_and_set_rates_as_those_of_each(each_backend: str) -> None:
    x, y = data([3, 5, 2], "half_squared_error")
    ends, drops = np.arange(K) % 4 + 2, np.linspace(1, 2, K)
    seen = []

    def of_all(event: ns.PopulationEpochEnd) -> np.ndarray:
        seen.append((event.epoch, event.epochs, event.loss, event.validation_loss, event.training.copy()))
        if event.epoch == 1:
            event.lr = event.lr / drops
        return ends == event.epoch

    def of_one(i: int) -> Callable[[ns.EpochEnd], bool]:
        def callback(event: ns.EpochEnd) -> bool:
            if event.epoch == 1:
                event.lr = event.lr / drops[i]
            return bool(ends[i] == event.epoch)

        return callback

    ours = ns.Population([3, 5, 2], K, activation="tanh", backend=each_backend)
    nets = alone(ours, range(K), each_backend)
    history = ours.train(x, y, epochs=20, batch_size=4, optimizer=ns.SGD(lr=RATES), validation=(x, y), callbacks=of_all)
    assert history.stopped == "callback"
    assert history.epochs.tolist() == ends.tolist()
    for i, net in enumerate(nets):
        single = net.train(
            x, y, epochs=20, batch_size=4, optimizer=ns.SGD(lr=float(RATES[i])), validation=(x, y), callbacks=of_one(i)
        )
        np.testing.assert_array_equal(history.lr[i, : ends[i]], single.lr)
        assert np.isnan(history.lr[i, ends[i] :]).all()
        np.testing.assert_allclose(history.loss[i, : ends[i]], single.loss, rtol=1e-12)
    assert agree(ours, nets, 100)
    for epoch, (told, of, loss, validation_loss, training) in enumerate(seen, 1):
        assert (told, of) == (epoch, 20)
        np.testing.assert_array_equal(loss, history.loss[:, epoch - 1])
        np.testing.assert_array_equal(validation_loss, history.validation_loss[:, epoch - 1])
        np.testing.assert_array_equal(training, ends >= epoch)
    ours.train(x, y, epochs=1, batch_size=4)  # rates set by callbacks end with the run
    for net in nets:
        net.train(x, y, epochs=1, batch_size=4)
    assert agree(ours, nets, 100)


def raise_stop(event: ns.PopulationEpochEnd) -> None:
    raise ns.StopTraining


@pytest.mark.parametrize("callback", [lambda _: True, lambda event: event.loss.max() > 0, raise_stop])
def test_callbacks_stop_all(callback: Any) -> None:
    x, y = data([3, 2], "half_squared_error")
    ours, calls = ns.Population([3, 2], K, backend="numpy"), []
    history = ours.train(x, y, epochs=5, callbacks=[callback, lambda event: calls.append(event.epoch)])
    assert history.stopped == "callback"
    assert history.epochs.tolist() == [1] * K
    assert calls == ([] if callback is raise_stop else [1])
    go_on: list[Any] = [lambda _: None, lambda _: np.False_, lambda _: np.zeros(K, bool), lambda _: [False] * K]
    assert ours.train(x, y, epochs=2, callbacks=go_on).stopped == "epochs"
    some: list[Any] = [lambda _: [True] + [False] * (K - 1), lambda event: np.array(event.epoch == 2)]
    assert ours.train(x, y, epochs=3, callbacks=some).epochs.tolist() == [1] + [2] * (K - 1)
    for answer in ("some words", 1.0, [True], [1] * K):
        with pytest.raises((TypeError, ValueError), match="a callback m"):
            ours.train(x, y, epochs=2, callbacks=lambda _, answer=answer: answer)


def test_callbacks_may_change_theta_and_go_with_early_stopping() -> None:
    x, y = data([3, 2], "half_squared_error")
    ours = ns.Population([3, 2], K, backend="numpy")
    kept = []

    def callback(event: ns.PopulationEpochEnd) -> np.ndarray:
        kept.append(event.population.theta[0].copy())
        event.population.theta[1] = event.population.theta[0]
        return np.arange(K) == 0 if event.epoch == 3 else np.zeros(K, bool)

    worse = ns.EarlyStopping("loss", patience=0, min_delta=1e9, restore_best=False)
    assert ours.train(x, y, epochs=1, optimizer=ns.SGD(lr=0.1), callbacks=callback).lr.tolist() == [[0.1]] * K
    assert np.array_equal(ours.theta[1], kept[0])
    history = ours.train(x, y, epochs=9, callbacks=callback, early_stopping=worse)
    assert (history.stopped, history.epochs.tolist()) == ("early_stopping", [2] * K)  # the first epoch always counts
    best = ns.EarlyStopping("loss", patience=1)
    history = ours.train(x, y, epochs=3, optimizer=ns.SGD(lr=1e-9), callbacks=[callback], early_stopping=best)
    assert history.epochs[0] == 3
    assert np.array_equal(ours.theta[0], kept[-4 + history.best_epoch[0]])
    table = history.to_pandas()
    assert table.columns.tolist() == ["network", "epoch", "loss", "lr"]


class Screen:
    """Records what the progress bar would show."""

    def __init__(self) -> None:
        self.pictures: list[tuple[float, dict[str, str]]] = []

    def draw(self, bar: Any, *, last: bool) -> None:
        self.pictures.append((bar.tasks[0].completed, dict(bar.tasks[0].fields)))


@pytest.mark.parametrize("validated", [False, True])
def test_progress_shows_epochs_the_median_and_the_best(validated: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(progress, "_find_screen", lambda: screen)
    for name, value in (("FIRST_DRAWING_SECONDS", 0.0), ("INTERVAL", 0.0), ("SHARE", 1e9)):
        monkeypatch.setattr(progress, name, value)
    for name in ("CALL_SECONDS", "FIRST_CALL_FLOPS"):
        monkeypatch.setattr(run, name, 1e-9)  # calls of 256 networks
    x, y = data([2, 2, 1], "half_squared_error", 4)
    ours = ns.Population([2, 2, 1], 600, backend="numpy")
    validation = (x, y) if validated else None
    history = ours.train(x, y, epochs=2, optimizer=ns.SGD(lr=0.1), validation=validation, progress=True)
    shown = [completed for completed, _ in screen.pictures]
    np.testing.assert_allclose(shown, [256 / 600, 512 / 600, 1, 1, 1 + 256 / 600, 1 + 512 / 600, 2, 2, 2])
    assert screen.pictures[0][1]["losses"] == ""
    fields, loss = screen.pictures[-1][1], history.loss[:, -1]
    expected = f"loss {np.median(loss):.4g} (best {loss.min():.4g})"
    if validated:
        final = history.validation_loss[:, -1]
        expected += f"  validation {np.median(final):.4g} (best {final.min():.4g})"
    assert (fields["epoch"], fields["losses"]) == ("2/2", expected)
