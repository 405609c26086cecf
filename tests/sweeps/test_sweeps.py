"""`ns.sweep`: every score is that of a Network trained alone, however the tasks are cut and distributed."""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path
from typing import Any

import joblib
import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure
from scipy import stats
from sklearn.model_selection import KFold

import nanostep as ns
from cases import REQUIRED
from nanostep import sweeps
from nanostep.plots import plot_sweep
from nanostep.sweeps import rounds, tasks
from nanostep.sweeps.folds import make_folds

matplotlib.use("agg")

RNG = np.random.default_rng(0)
X = RNG.standard_normal((90, 3))
LABELS = (X[:, 0] * X[:, 1] > 0).astype(int) + (X[:, 2] > 1)
VALUES = X[:, :2] ** 2
GRID = {"lr": [0.003, 0.01, 0.1], "weight_decay": [0.0, 0.01]}


def _alone(values: dict[str, Any], X: np.ndarray, Y: np.ndarray, fold: Any, backend: str, seed: int = 0) -> ns.Network:
    rest = dict(values)
    network = {name: rest.pop(name) for name in ("activation", "output", "loss") if name in rest}
    train = {name: rest.pop(name) for name in ("epochs", "batch_size", "shuffle", "dropout") if name in rest}
    hidden = rest.pop("hidden", (16,))
    optimizer = {"sgd": ns.SGD, "adam": ns.Adam, "rmsprop": ns.RMSprop}[rest.pop("optimizer", "adam")](**rest)
    outputs = 3 if Y.ndim == 1 else Y.shape[1]
    defaults = ("softmax", "cross_entropy") if Y.ndim == 1 else ("identity", "squared_error")
    network = {"activation": "tanh", "output": defaults[0], "loss": defaults[1], **network}
    net = ns.Network([3, *hidden, outputs], seed=seed, backend=backend, **network)
    net.train(X[fold[0]], Y[fold[0]], optimizer=optimizer, **{"epochs": 10, "batch_size": 32, **train})
    return net


CASES: dict[str, tuple[dict[str, Any], dict[str, Any], np.ndarray]] = {
    "rates and decays": (GRID, {"epochs": 4}, LABELS),
    "architectures": ({"hidden": [(4,), (3, 3), ()], "lr": [0.01, 0.02]}, {"epochs": 3, "batch_size": 8}, VALUES),
    "optimisers": ({"optimizer": ["sgd", "adam", "rmsprop"], "lr": [0.01, 0.05]}, {"hidden": (5,)}, VALUES),
    "momenta": ({"momentum": [0.0, 0.5, 0.9]}, {"optimizer": "sgd", "lr": 0.01, "batch_size": 1}, VALUES),
    "betas": ({"betas": [(0.9, 0.99), (0.5, 0.9)], "clip_norm": [None, 0.1]}, {"lr": 0.01}, VALUES),
    "units left out": ({"dropout": [0.0, 0.3]}, {"lr": 0.01, "hidden": (6,)}, LABELS),
    "losses": ({"loss": ["huber", "absolute_error"], "activation": ["relu"]}, {"lr": 0.01}, VALUES),
    "epochs and batches": ({"epochs": [1, 3], "batch_size": [8, 500]}, {"lr": 0.01, "shuffle": False}, LABELS),
}


# Numba compiles each kind of network for a second
@pytest.mark.parametrize(
    ("name", "backend"),
    [(name, backend) for name in CASES for backend in REQUIRED if backend != "numba" or name == "rates and decays"],
)
def test_scores_are_those_of_networks_trained_alone(name: str, backend: str) -> None:
    space, fixed, y = CASES[name]
    metric = "r2" if name == "losses" else "loss"
    table = ns.sweep(X, y, space, cv=3, metric=metric, backend=backend, **fixed)
    folds = make_folds(3, len(X), y if y.ndim == 1 else None, 0)
    assert [{**fixed, **setting} for setting in ns.Grid(space)] == table.settings
    for s, setting in enumerate(table.settings):
        scores = []
        for f, fold in enumerate(folds):
            net = _alone(setting, X, y, fold, backend)
            if metric == "loss":
                scores.append(net.loss(X[fold[1]], y[fold[1]]))
            else:
                error = ((net.predict(X[fold[1]]) - y[fold[1]]) ** 2).mean(axis=0)
                scores.append(float(np.mean(1 - error / y[fold[1]].var(axis=0))))
            np.testing.assert_allclose(table[f"split{f}_score"][s], scores[-1], rtol=1e-8)
        np.testing.assert_allclose(table["mean_score"][s], np.mean(scores), rtol=1e-8)
        np.testing.assert_allclose(table["std_score"][s], np.std(scores), rtol=1e-6)


def test_repetitions_have_seeds_of_their_own() -> None:
    table = ns.sweep(X, LABELS, {"lr": [0.01, 0.1]}, cv=0.25, repeats=3, seed=0, epochs=2, backend="c")
    (fold,) = make_folds(0.25, len(X), LABELS, 0)
    nets = [_alone({"lr": 0.1, "epochs": 2}, X, LABELS, fold, "c", seed) for seed in range(3)]
    losses = [net.loss(X[fold[1]], LABELS[fold[1]]) for net in nets]
    np.testing.assert_allclose(table["mean_score"][1], np.mean(losses), rtol=1e-8)
    np.testing.assert_allclose(table["std_score"][1], np.std(losses), rtol=1e-6)
    assert len(set(losses)) == 3


def _same(a: sweeps.SweepTable, b: sweeps.SweepTable) -> None:
    assert list(a) == list(b)
    for name in a:
        np.testing.assert_array_equal(a[name], b[name])


@pytest.mark.parametrize("jobs", [2, -1])
def test_who_makes_the_tasks_changes_no_bit(jobs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    space = ns.Halving({"lr": np.geomspace(1e-3, 0.3, 9).tolist(), "hidden": [(3,), (4,)]})
    want = ns.sweep(X, LABELS, space, cv=3, epochs=9)
    with joblib.parallel_config("threading", n_jobs=jobs):
        _same(ns.sweep(X, LABELS, space, cv=3, epochs=9), want)
    monkeypatch.setitem(sys.modules, "joblib", None)
    _same(ns.sweep(X, LABELS, space, cv=3, epochs=9), want)
    with pytest.raises(ImportError, match=r"nanostep\[sweep\]"):
        ns.sweep(X, LABELS, space, n_jobs=2)


def test_tasks_are_cut_by_work(monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []
    run = tasks.run
    monkeypatch.setattr(
        rounds, "run", lambda task, *rest, **options: (counts.append(len(task.units)), run(task, *rest, **options))[1]
    )
    space = {"lr": np.geomspace(1e-3, 0.3, 150).tolist()}
    whole = ns.sweep(X, LABELS, space, cv=2, epochs=2)
    assert counts == [150, 150]
    monkeypatch.setattr(tasks, "TASK_FLOPS", 1.0)
    parts = ns.sweep(X, LABELS, space, cv=2, epochs=2)
    assert counts[2:] == [64, 64, 22] * 2
    _same(whole, parts)


def test_halving_drops_settings_and_goes_on_with_the_rest() -> None:
    grid = {"lr": np.geomspace(1e-4, 0.3, 18).tolist()}
    assert ns.Halving(grid).rounds(27) == [(18, 3), (6, 9), (2, 27)]
    assert ns.Halving(grid, min_epochs=9).rounds(27) == [(18, 9), (6, 27)]
    assert ns.Halving(grid, factor=2).rounds(3) == [(18, 2), (9, 3)]
    assert ns.Halving({"lr": [0.1]}).rounds(5) == [(1, 5)]
    table = ns.sweep(X, LABELS, ns.Halving(grid), cv=3, epochs=27)
    assert sorted(table["epochs"]) == [3] * 12 + [9] * 4 + [27] * 2
    # networks that went on are as if they had been trained in one run
    whole = ns.sweep(X, LABELS, grid, cv=3, epochs=27)
    last = table["epochs"] == 27
    np.testing.assert_array_equal(table["mean_score"][last], whole["mean_score"][last])
    assert table["rank"][last].max() <= 2
    first = ns.sweep(X, LABELS, grid, cv=3, epochs=3)["mean_score"]
    assert set(np.argsort(first)[:6]) == set(np.flatnonzero(table["epochs"] > 3))


def test_random_settings() -> None:
    space = {"lr": stats.loguniform(1e-3, 1e-1), "hidden": [(3,), (4,)], "eps": lambda rng: rng.uniform(1e-9, 1e-6)}
    settings = list(ns.Random(30, space, seed=1))
    assert settings == list(ns.Random(30, space, seed=1)) != list(ns.Random(30, space, seed=2))
    assert all(1e-3 <= s["lr"] <= 1e-1 and s["hidden"] in [(3,), (4,)] and s["eps"] < 1e-6 for s in settings)
    assert len({s["lr"] for s in settings}) == 30
    table = ns.sweep(X, VALUES, ns.Random(6, space), cv=2, epochs=1)
    assert len(table["rank"]) == 6


class _Ended(BaseException):
    """An end in the middle of a sweep."""


@pytest.mark.parametrize("halving", [False, True])
def test_a_sweep_goes_on_from_its_file(halving: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grid: Any = {"lr": np.geomspace(1e-3, 0.3, 9).tolist(), "hidden": [(3,), (4,)]}
    space = ns.Halving(grid) if halving else grid
    want = ns.sweep(X, LABELS, space, cv=3, epochs=9)
    path, run, made = tmp_path / "sweep.jsonl", tasks.run, []

    def counted(*args: Any, **options: Any) -> Any:
        if len(made) == 4:
            raise _Ended
        made.append(args[0])
        return run(*args, **options)

    monkeypatch.setattr(rounds, "run", counted)
    with pytest.raises(_Ended):
        ns.sweep(X, LABELS, space, cv=3, epochs=9, path=path)
    assert len(path.read_text().splitlines()) == 4
    with path.open("a") as file:
        file.write('{"task": "cut off')  # as if the machine had gone down
    left = 6 - 4 if not halving else 6 - 4 + 6 + 6
    monkeypatch.setattr(rounds, "run", lambda *args, **options: (made.append(args[0]), run(*args, **options))[1])
    _same(ns.sweep(X, LABELS, space, cv=3, epochs=9, path=path), want)
    assert len(made) <= 4 + left
    before = len(made)
    _same(ns.sweep(X, LABELS, space, cv=3, epochs=9, path=path), want)
    assert len(made) == before
    # with other data, another seed or another metric, no scores are reused
    ns.sweep(X, LABELS, grid, cv=3, epochs=9, path=path, seed=1)
    ns.sweep(X[::-1], LABELS, grid, cv=3, epochs=9, path=path)
    ns.sweep(X, LABELS, grid, cv=3, epochs=9, path=path, metric="accuracy")
    assert len(made) == before + 18
    assert all(set(json.loads(line)) == {"task", "scores"} for line in path.read_text().splitlines())


def test_ctrl_c_keeps_what_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, made = tasks.run, []

    def interrupted(*args: Any, **options: Any) -> Any:
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(args[0])
        return run(*args, **options)

    monkeypatch.setattr(rounds, "run", interrupted)
    path = tmp_path / "sweep.jsonl"
    with pytest.warns(UserWarning, match="Ctrl-C ended the sweep.*same path"):
        table = ns.sweep(X, LABELS, GRID, cv=3, epochs=2, path=path)
    assert np.isfinite(table["split1_score"]).all()
    assert np.isnan(table["split2_score"]).all()
    monkeypatch.setattr(rounds, "run", run)
    _same(ns.sweep(X, LABELS, GRID, cv=3, epochs=2, path=path), ns.sweep(X, LABELS, GRID, cv=3, epochs=2))


def test_folds() -> None:
    labels = np.arange(90) % 3
    for folds in (make_folds(5, 90, labels, 0), make_folds(KFold(5), 90, labels, 0)):
        assert sorted(np.concatenate([test for _, test in folds])) == list(range(90))
        assert all(sorted([*train, *test]) == list(range(90)) for train, test in folds)
    for _, test in make_folds(5, 90, labels, 0):
        assert np.bincount(labels[test]).tolist() == [6, 6, 6]
    ((train, test),) = make_folds(0.2, 90, labels, 0)
    assert (len(train), len(test)) == (72, 18)
    assert np.bincount(labels[test]).tolist() == [6, 6, 6]
    masks = [(np.arange(90) < 60, np.arange(90) >= 60)]
    ((train, test),) = make_folds(masks, 90, None, 0)
    assert (train.tolist(), test.tolist()) == (list(range(60)), list(range(60, 90)))
    assert not np.array_equal(make_folds(5, 90, None, 0)[0][1], make_folds(5, 90, None, 1)[0][1])


def test_table() -> None:
    table = ns.sweep(X, LABELS, {**GRID, "hidden": [(3,), (2, 2)]}, cv=2, epochs=2, metric="accuracy")
    frame = table.to_pandas()
    assert list(frame.columns) == [
        "lr", "weight_decay", "hidden", "mean_score", "std_score", "rank", "epochs", "split0_score", "split1_score",
    ]  # fmt: skip
    pd.testing.assert_frame_equal(pd.DataFrame(table), frame)
    best = frame.sort_values("rank").iloc[0]
    assert table.best_score == best.mean_score == frame.mean_score.max()
    assert table.best == {"epochs": 2, "lr": best.lr, "weight_decay": best.weight_decay, "hidden": best.hidden}
    assert (table.metric, table.mode, table.varied) == ("accuracy", "max", ["lr", "weight_decay", "hidden"])
    again = pickle.loads(pickle.dumps(table))
    _same(again, table)
    assert again.best == table.best
    assert "mean_score" in repr(table)
    assert "<table" in str(table._repr_html_())


def test_what_diverges_ranks_last() -> None:
    table = ns.sweep(X, VALUES, {"lr": [1e30, 0.01, 1e31]}, cv=2, optimizer="sgd", epochs=3, activation="relu")
    assert table["rank"].tolist() == [2, 1, 2]
    assert table.best["lr"] == 0.01


def test_metric_of_ones_own() -> None:
    def worst(y_true: np.ndarray, y_pred: np.ndarray) -> float:
        return float(np.abs(y_true - y_pred).max())

    table = ns.sweep(X, VALUES, {"lr": [0.01, 0.1]}, cv=2, metric=worst, mode="min", epochs=2)
    assert table.metric == "worst"
    assert table.best_score == table["mean_score"].min() > 0


def test_bad_input(tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text("hello\n")
    for arguments, kind, message in (
        ({"space": {}}, TypeError, "not an empty one"),
        ({"space": 3}, TypeError, "space must be a dict"),
        ({"space": {"lr": []}}, ValueError, "lr must be a sequence of one or more"),
        ({"space": {"lr": 0.1}}, ValueError, "lr must be a sequence of one or more"),
        ({"space": {"rate": [0.1]}}, ValueError, "'rate' is not a setting; accepted are .*lr"),
        ({"space": {"lr": [0.1, -1.0]}}, ValueError, "lr=-1.0 is out of range"),
        ({"space": {"momentum": [0.9]}}, ValueError, "momentum=0.9 is not a parameter of Adam"),
        ({"space": {"optimizer": ["adamm"]}}, ValueError, "optimizer='adamm' is not known"),
        ({"space": {"hidden": [(0,)]}}, ValueError, "hidden=0 is out of range"),
        ({"space": {"epochs": [0]}}, ValueError, "epochs=0 is out of range"),
        ({"space": {"loss": ["squared_error"]}, "Y": LABELS}, ValueError, "Y must have shape"),
        ({"space": {"loss": ["huber", "squared_error"]}}, ValueError, "cannot be compared by metric='loss'"),
        ({"space": ns.Halving({"epochs": [1, 2]})}, ValueError, "epochs is what Halving hands out"),
        ({"space": GRID, "lr": 0.1}, ValueError, "lr cannot be varied and fixed"),
        ({"cv": 1}, ValueError, "cv=1 is out of range"),
        ({"cv": 91}, ValueError, "cv=91 folds are more than the 90 samples"),
        ({"cv": 1.5}, ValueError, "cv=1.5 is out of range"),
        ({"cv": "five"}, TypeError, "cv must be a number of folds"),
        ({"cv": [([0], [90])]}, ValueError, r"second part of cv\[0\] has 90 to 90"),
        ({"cv": [([0], [])]}, ValueError, "one or more indices"),
        ({"metric": "accuracy"}, ValueError, "'accuracy', which takes probabilities"),
        ({"metric": "speed"}, ValueError, "'speed' is not known"),
        ({"metric": lambda a, b: 0.0}, ValueError, "mode must say"),
        ({"mode": "best"}, ValueError, "mode must be 'min' or 'max'"),
        ({"repeats": 0}, ValueError, "repeats=0 is out of range"),
        ({"n_jobs": 0}, ValueError, "n_jobs=0 is no number"),
        ({"backend": "fortran"}, ValueError, "backend='fortran'"),
        ({"path": other}, ns.FileFormatError, "is not a file of a sweep: line 1"),
        ({"X": [*X[:, :2].tolist(), [1, 2, 3]]}, ValueError, "X is not a rectangular array"),
        ({"X": np.full((90, 3), np.nan)}, ValueError, "X must be finite"),
        ({"Y": VALUES[:-1]}, ValueError, "Y must have shape"),
        ({"Y": []}, ValueError, "Y has no samples"),
    ):
        given = {"X": X, "Y": VALUES, "space": GRID, **arguments}
        with pytest.raises(kind, match=message):
            ns.sweep(**given)
    assert other.read_text() == "hello\n"
    for make, message in (
        (lambda: ns.Halving(GRID, factor=1), "factor must be a number > 1"),
        (lambda: ns.Halving(ns.Halving(GRID)), "Grid or a Random"),
        (lambda: ns.Random(0, GRID), "n=0 is out of range"),
        (lambda: ns.Random(1, {"lr": 0.1}), "lr must be a sequence to choose from"),
        (lambda: ns.Halving(GRID, min_epochs=9).rounds(3), "min_epochs=9 is more than epochs=3"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            make()


def test_picture() -> None:
    space = {"lr": [0.001, 0.01, 1e30], "hidden": [(3,), (2, 2)], "batch_size": [16, 32]}
    table = ns.sweep(X, VALUES, space, cv=2, epochs=2, optimizer="sgd", activation="relu")
    panels = table.plot().figure.axes
    assert [ax.get_xlabel() for ax in panels] == ["lr", "hidden", "batch_size"]
    assert [ax.get_xscale() for ax in panels] == ["log", "linear", "linear"]
    points, lost, best = panels[0].lines
    finite = np.isfinite(table["mean_score"])
    assert finite.sum() == 8
    np.testing.assert_array_equal(points.get_ydata(), table["mean_score"][finite])
    assert lost.get_xdata().tolist() == [1e30] * 4
    np.testing.assert_array_equal(best.get_xdata(), [0.001, 0.01])
    want = [table["mean_score"][finite & (table["lr"] == lr)].min() for lr in (0.001, 0.01)]
    np.testing.assert_array_equal(best.get_ydata(), want)
    assert [label.get_text() for label in panels[1].get_xticklabels()] == ["(3,)", "(2, 2)"]
    ax = Figure().add_subplot()
    assert table.plot("batch_size", ax) is ax
    assert table.plot("lr").get_xlabel() == "lr"
    drawn = plot_sweep(dict(table), table.varied, metric="loss", mode="min", x="lr")
    np.testing.assert_array_equal(drawn.lines[2].get_ydata(), want)
    most = ns.sweep(X, LABELS, {"lr": [0.001, 0.1]}, cv=2, epochs=2, metric="accuracy")
    assert most.plot().lines[2].get_ydata().tolist() == most["mean_score"].tolist()
    for arguments, kind, message in (
        (("epochs",), ValueError, "'epochs' was not varied; the settings are lr, hidden"),
        ((None, ax), ValueError, "say by x which of lr"),
        (("lr", "here"), TypeError, "ax must be a matplotlib Axes"),
    ):
        with pytest.raises(kind, match=message):
            table.plot(*arguments)
    pyplot.close("all")
