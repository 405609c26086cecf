"""Losses that are objects: what networks, populations, files, estimators and sweeps do with them."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nanostep as ns
from cases import DTYPES, QUICK, REQUIRED
from nanostep.losses import GaussianNLL, Huber, Loss, Quantile

RNG = np.random.default_rng(5)
X = RNG.standard_normal((40, 3))
TARGETS = RNG.standard_normal((40, 2))

LOSSES = (Huber(0.25), Quantile([0.1, 0.5, 0.9]), GaussianNLL())


def make(loss: Loss, backend: str = "numpy", targets: int = 2, **changes: Any) -> ns.Network:
    return ns.Network(
        [3, 6, targets * loss.outputs_per_target],
        **{"activation": "tanh", "output": "identity", "loss": loss, "backend": backend, "seed": 1, **changes},
    )


def by_hand(loss: Loss, out: np.ndarray, y: np.ndarray) -> float:
    """The mean loss from the formulas of the documentation."""
    if isinstance(loss, Huber):
        e = np.abs(out - y)
        return float(np.where(e <= loss.delta, e**2 / 2, loss.delta * (e - loss.delta / 2)).mean())
    if isinstance(loss, Quantile):
        q = np.array(loss.quantiles)
        e = y[:, :, None] - out.reshape(len(y), -1, len(q))
        return float(np.maximum(q * e, (q - 1) * e).mean())
    mean, log_variance = np.split(out, 2, axis=1)
    return float((log_variance + (y - mean) ** 2 / np.exp(log_variance)).mean() / 2)


# -- objects ----------------------------------------------------------------------------------------------------------


def test_they_are_values() -> None:
    assert Huber(0.5) == Huber(delta=0.5) != Huber(0.25)
    assert Quantile([0.1, 0.9]) == Quantile(np.array([0.1, 0.9])) != Quantile([0.9, 0.1])
    assert Quantile(0.5) == Quantile([0.5])
    assert len({GaussianNLL(), GaussianNLL(), Huber(), Huber(1)}) == 2
    assert [repr(loss) for loss in LOSSES] == ["Huber(delta=0.25)", "Quantile([0.1, 0.5, 0.9])", "GaussianNLL()"]
    for loss in LOSSES:
        assert eval(repr(loss)) == loss == pickle.loads(pickle.dumps(loss)) == copy.deepcopy(loss)
    with pytest.raises(FrozenInstanceError):
        LOSSES[0].delta = 2.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("make_loss", "error", "message"),
    [
        (lambda: Huber(0), ValueError, r"delta=0\.0 is out of range"),
        (lambda: Huber(np.inf), ValueError, "delta=inf is out of range"),
        (lambda: Huber("1"), TypeError, "delta must be a real number; got '1'"),
        (lambda: Quantile([]), ValueError, r"quantiles must be one or more numbers in \(0, 1\); got \[\]"),
        (lambda: Quantile([[0.5]]), ValueError, r"quantiles must be one or more numbers in \(0, 1\); got \[\[0.5\]\]"),
        (lambda: Quantile([0.5, 1.0]), ValueError, r"quantiles\[1\]=1\.0 is out of range"),
        (lambda: Quantile([0.0]), ValueError, r"quantiles\[0\]=0\.0 is out of range"),
        (lambda: Quantile([np.nan]), ValueError, r"quantiles\[0\]=nan is out of range"),
        (lambda: Quantile("0.5"), TypeError, r"quantiles\[0\] must be a real number; got '0\.5'"),
        (lambda: Quantile([True]), TypeError, r"quantiles\[0\] must be a real number; got True"),
        (lambda: Quantile(None), TypeError, r"quantiles\[0\] must be a real number; got None"),
    ],
)
def test_bad_options_are_refused(make_loss: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make_loss()


@pytest.mark.parametrize("kind", [ns.Network, lambda sizes, **more: ns.Population(sizes, 2, **more)])
@pytest.mark.parametrize(
    ("outputs", "changes", "error", "message"),
    [
        (
            3,
            {"loss": "quantile"},
            ValueError,
            r"loss='quantile' is given as an object: loss=nanostep\.losses\.Quantile",
        ),
        (
            2,
            {"loss": "gaussian_nll"},
            ValueError,
            r"is given as an object: loss=nanostep\.losses\.GaussianNLL\(\.\.\.\)",
        ),
        (2, {"loss": Huber}, TypeError, r"loss must be a name or an object of nanostep\.losses; got <class"),
        (2, {"loss": None}, TypeError, r"loss must be a name or an object of nanostep\.losses; got None"),
        (3, {"loss": GaussianNLL()}, ValueError, r"takes 2 outputs for each target; sizes=\[3, 4, 3\] has 3 outputs"),
        (4, {"loss": Quantile([0.1, 0.5, 0.9])}, ValueError, r"takes 3 outputs for each target; .* no multiple of 3"),
        (
            2,
            {"loss": GaussianNLL(), "output": "tanh"},
            ValueError,
            r"loss=GaussianNLL\(\) takes means and logarithms of variances, which output='tanh' does not give; "
            "use output='identity'",
        ),
    ],
)
def test_networks_refuse_what_does_not_fit(
    kind: Any, outputs: int, changes: dict, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        kind([3, 4, outputs], backend="numpy", **{"output": "identity", **changes})


def test_defaults_are_the_names() -> None:
    net = make(Huber(1.0))
    by_name = ns.Network([3, 6, 2], activation="tanh", output="identity", loss="huber", backend="numpy")
    assert net.architecture == by_name.architecture
    assert (net.loss_name, net.architecture.loss_options) == ("huber", None)
    assert "loss='huber'" in repr(net)
    assert repr(net.architecture) == "Architecture(sizes=(3, 6, 2), activations=('tanh', 'identity'), loss='huber')"
    assert "loss=Quantile([0.1, 0.5, 0.9])" in repr(make(LOSSES[1]))
    assert "loss_options=Huber(delta=0.25)" in repr(make(LOSSES[0]).architecture)
    assert [make(loss).loss_name for loss in LOSSES] == ["huber", "quantile", "gaussian_nll"]
    assert [make(loss).architecture.targets for loss in LOSSES] == [2, 2, 2]


# -- calls ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", QUICK)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_every_call_sees_the_same_loss(loss: Loss, dtype: str, backend: str) -> None:
    net = make(loss, backend, dtype=dtype)
    rtol = 1e-5 if dtype == "float32" else 1e-12
    for rows in (slice(0, 1), slice(0, 3), slice(None)):
        x, y = X[rows], TARGETS[rows]
        want = by_hand(loss, net.predict(x).astype(float), y)
        twins = [net.copy() for _ in range(3)]
        got = [
            net.loss(x, y),
            net.gradient(x, y)[0],
            twins[0].step(x, y, lr=0.1),
            twins[1].step(x, y, optimizer=ns.SGD(lr=0.1)),
            twins[2].train(x, y, epochs=1, batch_size=len(x), optimizer=ns.SGD(lr=0.1), shuffle=False).loss[0],
        ]
        np.testing.assert_allclose(got, want, rtol=rtol)
        moved = net.theta - 0.1 * net.gradient(x, y)[1]
        for twin in twins:
            np.testing.assert_allclose(twin.theta, moved, rtol=100 * rtol, atol=rtol)
    with pytest.raises(ValueError, match=r"Y must have shape \(40, 2\) to match 40 samples of X and"):
        net.loss(X, np.zeros((40, 5)))


@pytest.mark.parametrize("backend", QUICK)
@pytest.mark.parametrize("loss", [Quantile([0.1, 0.9]), GaussianNLL()], ids=str)
def test_targets_as_wide_as_the_outputs_are_refused(loss: Loss, backend: str) -> None:
    """By every call, the prepared ones too."""
    net, X_, wide = make(loss, backend), X[:8].copy(), np.zeros((8, 4))
    before = net.theta.copy()
    net.optimizer = ns.Adam()
    for call in (
        lambda: net.loss(X_, wide),
        lambda: net.gradient(X_, wide),
        lambda: net.step(X_, wide, lr=0.1),
        lambda: net.step(X_, wide),
        lambda: net.step(X_[0], wide[0], lr=0.1),
        lambda: net.learn_one(X_[0], wide[0]),
        lambda: net.train(X_, wide),
        lambda: net.partial_fit(X_, wide),
        lambda: net.worksheet(X_[0], wide[0]),
    ):
        with pytest.raises(ValueError, match=r"must have shape \(\d, 2\) .* and 4 outputs, 2 for each target; got"):
            call()
    assert (net.theta == before).all()


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_one_target_may_be_a_vector_or_a_number(loss: Loss) -> None:
    net = make(loss, targets=1)
    assert net.loss(X, TARGETS[:, 0]) == net.loss(X, TARGETS[:, :1])
    assert net.loss(X[0], TARGETS[0, 0]) == net.loss(X[:1], TARGETS[:1, :1])


@pytest.mark.parametrize("backend", REQUIRED)
def test_quantiles_and_variances_are_found(backend: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (400, 1))
    y = 2 * x + 0.5 * np.exp(x) * rng.standard_normal((400, 1))
    net = ns.Network([1, 8, 3], activation="tanh", output="identity", loss=LOSSES[1], backend=backend, seed=1)
    net.train(x, y, epochs=60, batch_size=16, optimizer=ns.Adam(lr=0.01))
    np.testing.assert_allclose((y < net.predict(x)).mean(axis=0), [0.1, 0.5, 0.9], atol=0.07)
    net = ns.Network([1, 8, 2], activation="tanh", output="identity", loss=LOSSES[2], backend=backend, seed=1)
    net.train(x, y, epochs=60, batch_size=16, optimizer=ns.Adam(lr=0.01))
    mean, log_variance = np.split(net.predict([[0.0], [0.9]]), 2, axis=1)
    np.testing.assert_allclose(mean.ravel(), [0, 1.8], atol=0.3)
    np.testing.assert_allclose(np.exp(log_variance / 2).ravel(), [0.5, 1.23], rtol=0.2)


def test_metrics_that_compare_outputs_with_targets_are_refused() -> None:
    net = make(LOSSES[1])
    with pytest.raises(ValueError, match=r"metrics\[0\]='rmse' compares outputs with targets; loss=Quantile"):
        net.train(X, TARGETS, metrics="rmse")
    with pytest.raises(ValueError, match="compares outputs with targets"):
        net.train(X, TARGETS, metrics=lambda y, a: 0.0)
    history = net.train(X, TARGETS, epochs=2, metrics="loss", validation=(X[:9], TARGETS[:9]))
    assert len(history.validation_loss) == 2
    make(LOSSES[0]).train(X, TARGETS, epochs=1, metrics=("rmse", "r2"))


def test_levenberg_marquardt_refuses_them() -> None:
    with pytest.raises(ValueError, match="LevenbergMarquardt needs loss="):
        make(LOSSES[0]).train(X, TARGETS, optimizer=ns.LevenbergMarquardt())


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_lbfgs_minimises_them(loss: Loss) -> None:
    net = make(loss)
    before = net.loss(X, TARGETS)
    net.train(X, TARGETS, epochs=20, optimizer=ns.LBFGS())
    assert net.loss(X, TARGETS) < before


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_worksheets_agree_with_differences(loss: Loss) -> None:
    net = make(loss)
    sheet = net.worksheet(X[0], TARGETS[0], lr=0.1)
    assert sheet.loss == pytest.approx(net.loss(X[0], TARGETS[0]), rel=1e-14)
    for layer in sheet.layers:
        assert layer.dw_check.ok[layer.dw_check.taken].all()
    assert sheet.ok
    for text in (sheet.to_text(), sheet.to_latex(), sheet.to_html()):
        assert {"huber": "0.25", "quantile": "q", "gaussian_nll": "s"}[net.loss_name] in text


# -- populations ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", REQUIRED)
@pytest.mark.parametrize("batch", [1, 7])
@pytest.mark.parametrize("loss", [*LOSSES, Quantile([0.25, 0.75])], ids=str)
def test_populations_do_what_their_networks_do(loss: Loss, batch: int, backend: str) -> None:
    output = "softmax" if loss == Quantile([0.25, 0.75]) else "identity"
    more = {"activation": "tanh", "output": output, "loss": loss, "dtype": "float64"}
    sizes = [3, 6, 2 * loss.outputs_per_target]
    population = ns.Population(sizes, size=18, backend=backend, seed=1, **more)
    x, y = X[:21], TARGETS[:21]
    optimizer = ns.SGD(lr=0.05) if batch == 1 else ns.Adam(lr=0.01)
    history = population.train(x, y, epochs=2, batch_size=batch, optimizer=optimizer, seed=4)
    evaluated = population.loss(x, y)
    for k in (0, 7, 17):
        net = ns.Network(sizes, backend="numpy", seed=1 + k, **more)
        want = net.train(x, y, epochs=2, batch_size=batch, optimizer=optimizer, seed=4)
        np.testing.assert_allclose(population.theta[k], net.theta, rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(history.loss[k], want.loss, rtol=1e-9)
        np.testing.assert_allclose(evaluated[k], net.loss(x, y), rtol=1e-9)
    own = population.loss(np.stack([x] * 18), np.stack([y] * 18))
    np.testing.assert_allclose(own, evaluated, rtol=1e-12)


# -- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_files_keep_them(loss: Loss, tmp_path: Path) -> None:
    net = make(loss)
    net.train(X, TARGETS, epochs=2, batch_size=8, optimizer=ns.Adam())
    net.save(tmp_path / "net")
    loaded, pickled = ns.load(tmp_path / "net", backend="numpy"), pickle.loads(pickle.dumps(net))
    for other in (loaded, pickled, copy.deepcopy(net), net.copy()):
        assert other.architecture == net.architecture
        assert other.architecture.criterion == loss
    losses = [n.train(X, TARGETS, epochs=2, batch_size=8).loss for n in (net, loaded, pickled)]
    assert losses[0] == losses[1] == losses[2]

    population = ns.Population(net.sizes, size=3, output="identity", loss=loss, backend="numpy")
    population.save(tmp_path / "population")
    assert ns.Population.load(tmp_path / "population").architecture == population.architecture


def test_checkpoints_of_another_loss_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "run"
    make(Huber(0.25)).train(X, TARGETS, epochs=2, checkpoint=ns.Checkpoint(path))
    make(Huber(0.25)).train(X, TARGETS, epochs=4, checkpoint=ns.Checkpoint(path))
    with pytest.raises(ValueError, match="is of another run: architecture"):
        make(Huber(0.5)).train(X, TARGETS, epochs=6, checkpoint=ns.Checkpoint(path))


def test_damaged_options_are_refused(tmp_path: Path) -> None:
    import json

    import safetensors.numpy

    make(LOSSES[1]).save(tmp_path / "net")
    tensors = safetensors.numpy.load_file(tmp_path / "net")
    with safetensors.safe_open(tmp_path / "net", "numpy") as file:
        header = json.loads(file.metadata()["nanostep"])
    assert (header["loss"], header["loss.quantiles"]) == ("quantile", [0.1, 0.5, 0.9])
    for changes in (
        {"loss.quantiles": [0.1, 2.0]},
        {"loss.quantiles": "0.5"},
        {"loss.quantiles": [0.1, 0.5, 0.8, 0.9]},
        {"loss.delta": 1.0},
        {"loss": "huber"},
        {"loss": ["quantile"]},
    ):
        safetensors.numpy.save_file(tensors, tmp_path / "bad", {"nanostep": json.dumps({**header, **changes})})
        with pytest.raises(ns.FileFormatError, match="is not a usable nanostep model"):
            ns.load(tmp_path / "bad")
    del header["loss.quantiles"]
    safetensors.numpy.save_file(tensors, tmp_path / "bad", {"nanostep": json.dumps(header)})
    with pytest.raises(ns.FileFormatError, match="quantiles"):
        ns.load(tmp_path / "bad")


# -- above networks ---------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_regressors_take_them(loss: Loss) -> None:
    from sklearn.base import clone
    from sklearn.model_selection import cross_val_score

    from nanostep.sklearn import MLPEnsembleRegressor, MLPRegressor

    regressor = MLPRegressor(loss, (6,), "tanh", max_iter=30, random_state=0, backend="numpy", learning_rate_init=0.01)
    fitted = clone(regressor).fit(X, TARGETS)
    per_target = loss.outputs_per_target
    assert fitted.predict(X).shape == (40, 2 * per_target)
    assert fitted.loss_curve_[-1] < fitted.loss_curve_[0]
    assert fitted.n_outputs_ == 2 * per_target
    if per_target > 1:
        assert fitted.score(X, TARGETS) == pytest.approx(-by_hand(loss, fitted.predict(X), TARGETS), rel=1e-9)
        weight = np.arange(40.0)
        assert fitted.score(X, TARGETS, weight) != fitted.score(X, TARGETS)
        with pytest.raises(ValueError, match="y has 3 outputs; y of the fit has 2"):
            fitted.score(X, np.zeros((40, 3)))
        with pytest.raises(ValueError, match="oob_score=True is R2, which loss="):
            MLPEnsembleRegressor(regressor, bootstrap=True, oob_score=True).fit(X, TARGETS)
    assert fitted.network_.architecture.criterion == loss
    stopped = clone(regressor).set_params(early_stopping=True, max_iter=3).fit(X, TARGETS[:, 0])
    assert len(stopped.validation_scores_) == 3
    assert np.isfinite(cross_val_score(regressor, X, TARGETS[:, 0], cv=2)).all()
    full = clone(regressor).set_params(solver="lbfgs").fit(X, TARGETS)
    assert full.loss_ < fitted.loss_curve_[0]
    with pytest.raises(ValueError, match="solver='lm' is for loss='squared_error'"):
        clone(regressor).set_params(solver="lm").fit(X, TARGETS)


def test_sweeps_take_them() -> None:
    space = {"loss": [Quantile([0.1, 0.9])], "hidden": [3, 4], "epochs": [2]}
    table = ns.sweep(X, TARGETS, space, cv=2, backend="numpy")
    assert len(table.settings) == 2
    assert np.isfinite(table.best_score)


def test_losses_may_differ_within_a_sweep_by_another_metric() -> None:
    space = {"loss": [Huber(0.25), "squared_error", Huber(0.5)], "epochs": [2]}
    with pytest.raises(ValueError, match="networks of different losses cannot be compared by metric='loss'"):
        ns.sweep(X, TARGETS, space, cv=2, backend="numpy")
    assert len(ns.sweep(X, TARGETS, space, cv=2, metric="rmse", backend="numpy").settings) == 3


# -- missing targets --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", REQUIRED)
@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_missing_targets_add_nothing(loss: Loss, backend: str) -> None:
    """All outputs of a target that is missing; what the sum is divided by stays."""
    net, y = make(loss, backend), TARGETS[:6].copy()
    y[1, 0] = y[3, 1] = np.nan
    value, gradient = net.gradient(X[:6], y, nan_targets="ignore")
    out, want = net.predict(X[:6]), 0.0
    for row in range(6):
        for t in range(2):
            if not np.isnan(y[row, t]):
                mine = out.reshape(6, 2, -1)[row, t] if isinstance(loss, Quantile) else out[row, t::2]
                want += by_hand(loss, mine[None], y[row : row + 1, t : t + 1]) / 12
    assert value == pytest.approx(want, rel=1e-12)
    assert net.loss(X[:6], y, nan_targets="ignore") == pytest.approx(want, rel=1e-12)
    reference = make(loss, "numpy")
    np.testing.assert_allclose(gradient, reference.gradient(X[:6], y, nan_targets="ignore")[1], rtol=1e-10, atol=1e-14)
    h = 1e-6
    for p in (0, 11, net.theta.size - 1):
        moved = [make(loss) for _ in range(2)]
        moved[0].theta[p] += h
        moved[1].theta[p] -= h
        up, down = (other.loss(X[:6], y, nan_targets="ignore") for other in moved)
        assert gradient[p] == pytest.approx((up - down) / (2 * h), rel=1e-5, abs=1e-9)
    moved_by = net.theta - 0.1 * gradient
    net.step(X[:6], y, lr=0.1, nan_targets="ignore")
    np.testing.assert_allclose(net.theta, moved_by, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("loss", [Quantile([0.1, 0.9]), GaussianNLL()], ids=str)
def test_one_output_of_a_row_is_no_target(loss: Loss) -> None:
    with pytest.raises(
        ValueError, match=r"outputs chooses one output of each row; loss=.* takes several for each target"
    ):
        make(loss).step(X, TARGETS[:, 0], lr=0.1, outputs=np.zeros(40, int))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_regressors_ignore_missing_targets(loss: Loss) -> None:
    from nanostep.sklearn import MLPRegressor

    y = TARGETS.copy()
    y[3, 1] = np.nan
    regressor = MLPRegressor(loss, (4,), max_iter=4, backend="numpy", nan_targets="ignore", early_stopping=True)
    assert np.isfinite(regressor.fit(X, y).validation_scores_).all()
    if loss.outputs_per_target > 1:
        assert np.isfinite(regressor.score(X, y))
