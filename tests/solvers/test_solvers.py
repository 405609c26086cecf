"""Solvers: L-BFGS and Levenberg-Marquardt."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.optimize

import nanostep as ns
from cases import QUICK
from nanostep.solvers import levenberg_marquardt

RNG = np.random.default_rng(2)
X = RNG.uniform(-1, 1, (60, 2))
Y = np.stack([np.sin(3 * X[:, 0]) * X[:, 1], X.sum(axis=1) ** 2], axis=1)
WEIGHT = RNG.integers(0, 4, 60)

SOLVERS = [ns.LBFGS(), ns.LevenbergMarquardt()]


def make(backend: str = "numpy", loss: str = "squared_error", output: str = "identity", **more: Any) -> ns.Network:
    return ns.Network([2, 5, 2], activation="tanh", output=output, loss=loss, backend=backend, **more)


@pytest.fixture(params=QUICK)
def backend(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.parametrize("loss", ["squared_error", "half_squared_error"])
@pytest.mark.parametrize("weight", [None, WEIGHT])
@pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: type(s).__name__)
def test_losses_fall_and_are_those_of_the_parameters(
    backend: str, solver: ns.Solver, weight: np.ndarray | None, loss: str
) -> None:
    net, seen = make(backend, loss), []
    mean_1 = None if weight is None else weight / weight.mean()  # as `train` normalises them

    def look(event: ns.EpochEnd) -> None:
        seen.append((event.loss, event.network.loss(X, Y, sample_weight=mean_1), event.lr))

    before = net.loss(X, Y, sample_weight=mean_1)
    history = net.train(X, Y, epochs=30, optimizer=solver, sample_weight=weight, callbacks=look)
    assert history.epochs == len(history.loss) == history.steps == 30
    assert (history.samples, history.stopped, history.lr) == (30 * 60, "epochs", [])
    np.testing.assert_allclose([each[0] for each in seen], [each[1] for each in seen], rtol=1e-10)
    assert {each[2] for each in seen} == {None}
    assert (np.diff([before, *history.loss]) < 0).all()
    assert history.loss[-1] < before / 30


def test_lbfgs_is_scipys() -> None:
    net, twin, iterates = make(), make(), []

    def value(theta: np.ndarray) -> tuple[float, np.ndarray]:
        twin.theta = theta
        return twin.gradient(X, Y)

    options = {"maxcor": 4, "maxiter": 25, "gtol": 1e-7, "ftol": 1e-9}
    result = scipy.optimize.minimize(
        value, make().theta, jac=True, method="L-BFGS-B", options=options,
        callback=lambda intermediate_result: iterates.append(intermediate_result.fun),
    )  # fmt: skip
    history = net.train(X, Y, epochs=25, optimizer=ns.LBFGS(history_size=4))
    np.testing.assert_array_equal(net.theta, result.x)
    assert history.loss == iterates


def test_lbfgs_takes_any_loss(backend: str) -> None:
    labels = (Y[:, 0] > 0).astype(int)
    net = make(backend, "cross_entropy", "softmax")
    history = net.train(X, labels, epochs=60, optimizer=ns.LBFGS(), class_weight="balanced", metrics="accuracy")
    assert history.metrics["accuracy"][-1] > 0.9


def test_one_step_of_levenberg_and_marquardt(each_backend: str) -> None:
    """Compared with the formula, with a Jacobian by finite differences."""
    net, twin, weight = make(each_backend), make(), WEIGHT / WEIGHT.mean()
    theta = twin.theta.copy()
    j = np.empty((120, len(theta)))
    for p in range(len(theta)):
        ends = []
        for sign in (-1, 1):
            twin.theta[:] = theta
            twin.theta[p] += sign * 1e-6
            ends.append(twin.predict(X))
        j[:, p] = ((ends[1] - ends[0]) / 2e-6).ravel()
    twin.theta[:] = theta
    root = np.sqrt(np.repeat(weight, 2))
    j *= root[:, None]
    r = (twin.predict(X) - Y).ravel() * root
    hessian = j.T @ j
    step = np.linalg.solve(hessian + 3.0 * np.eye(len(theta)), -j.T @ r)
    history = net.train(X, Y, epochs=1, optimizer=ns.LevenbergMarquardt(damping=3.0), sample_weight=WEIGHT)
    np.testing.assert_allclose(net.theta - theta, step, rtol=1e-5, atol=1e-7)
    assert history.loss[0] < make().loss(X, Y, sample_weight=WEIGHT / WEIGHT.mean())


def test_linear_least_squares_take_two_steps() -> None:
    net = ns.Network([2, 1], output="identity", loss="squared_error", backend="numpy")
    history = net.train(X, Y[:, 0], epochs=9, optimizer=ns.LevenbergMarquardt(damping=1e-9))
    want, residual, *_ = np.linalg.lstsq(np.c_[X, np.ones(60)], Y[:, 0], rcond=None)
    np.testing.assert_allclose(net.theta, want, rtol=1e-7)
    assert history.loss[-1] == pytest.approx(residual[0] / 60, rel=1e-12)
    assert history.stopped == "converged"
    assert history.epochs <= 3


def test_blocks_of_rows_make_the_same_sums(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net, twin = make(backend), make(backend)
    net.train(X, Y, epochs=5, optimizer=ns.LevenbergMarquardt(), sample_weight=WEIGHT)
    monkeypatch.setattr(levenberg_marquardt, "BLOCK_BYTES", 7 * 2 * len(net.theta) * 8)
    twin.train(X, Y, epochs=5, optimizer=ns.LevenbergMarquardt(), sample_weight=WEIGHT)
    np.testing.assert_allclose(net.theta, twin.theta, rtol=1e-6)


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: type(s).__name__)
def test_float32_goes_as_far_as_it_can(backend: str, solver: ns.Solver) -> None:
    net = make(backend, dtype="float32")
    before = net.loss(X, Y)
    history = net.train(X, Y, epochs=60, optimizer=solver)
    assert history.stopped in ("epochs", "converged", "stalled")
    assert history.loss[-1] < before / 10
    assert history.loss[-1] == pytest.approx(net.loss(X, Y), rel=1e-3)


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: type(s).__name__)
def test_why_solvers_end(solver: ns.Solver) -> None:
    net = make()
    state = net._state
    assert net.train(X, Y, epochs=50, optimizer=solver, callbacks=lambda event: event.epoch == 3).epochs == 3
    history = net.train(
        X, Y, epochs=500, optimizer=solver, validation=(X[::-1], -Y), early_stopping=ns.EarlyStopping(patience=2)
    )
    assert history.stopped == "early_stopping"
    assert net.loss(X[::-1], -Y) == history.validation_loss[history.best_epoch - 1]
    assert net.train(X, Y, epochs=0, optimizer=solver).loss == []
    with pytest.raises(KeyboardInterrupt):
        net.train(X, Y, epochs=50, optimizer=solver, callbacks=interrupt)
    assert net.history is not None
    assert (net.history.stopped, net.history.epochs) == ("interrupted", 4)
    assert net.loss(X, Y) == pytest.approx(net.history.loss[-1], rel=1e-12)
    assert net._state is state, "the optimiser's state is left alone"


def interrupt(event: ns.EpochEnd) -> None:
    if event.epoch == 4:
        raise KeyboardInterrupt


def test_solvers_say_that_they_are_done() -> None:
    easy = X @ [[1.0, 0.5], [-2.0, 0.1]]
    net = ns.Network([2, 2], output="identity", loss="half_squared_error", backend="numpy")
    assert net.train(X, easy, epochs=99, optimizer=ns.LBFGS(tolerance_change=0)).stopped == "converged"
    assert net.train(X, easy, epochs=99, optimizer=ns.LevenbergMarquardt(tol=0)).stopped == "stalled"


def test_parameters_without_influence_do_not_matter() -> None:
    net = ns.Network([2, 3, 2], activation="relu", output="identity", loss="squared_error", backend="numpy")
    net.biases[0][0] = -100.0  # a unit that is never active
    assert net.train(X, Y, epochs=20, optimizer=ns.LevenbergMarquardt()).loss[-1] < 0.1
    assert net.biases[0][0] == -100.0


def test_solvers_cannot_set_rates_and_steps_take_optimisers() -> None:
    def set_rate(event: ns.EpochEnd) -> None:
        event.lr = 0.1

    with pytest.raises(TypeError, match="a solver has no learning rate"):
        make().train(X, Y, epochs=2, optimizer=ns.LBFGS(), callbacks=set_rate)
    with pytest.raises(TypeError, match=r"optimizer must be ns.SGD"):
        make().step(X, Y, optimizer=ns.LBFGS())


BAD: list[tuple[Any, type[Exception], str]] = [
    (lambda: ns.Solver(), TypeError, "not a solver"),
    (lambda: ns.LBFGS(history_size=0), ValueError, "history_size=0"),
    (lambda: ns.LBFGS(tol=-1), ValueError, "tol=-1"),
    (lambda: ns.LBFGS(tolerance_change=float("nan")), ValueError, "tolerance_change=nan"),
    (lambda: ns.LBFGS(max_line_search=1.5), TypeError, "max_line_search must be an integer"),
    (lambda: ns.LevenbergMarquardt(damping=0), ValueError, "damping=0.0"),
    (lambda: ns.LevenbergMarquardt(increase=1), ValueError, "increase=1.0"),
    (lambda: ns.LevenbergMarquardt(decrease=0.1), ValueError, "decrease=0.1"),
    (lambda: ns.LevenbergMarquardt(damping=1, max_damping=0.5), ValueError, "max_damping=0.5"),
    (lambda: ns.LevenbergMarquardt(alpha=-1), ValueError, "alpha=-1"),
    (lambda: ns.LevenbergMarquardt(alpha="small"), TypeError, "alpha must be a real number"),
    (lambda: ns.LevenbergMarquardt(tol="small"), TypeError, "tol must be a real number"),
    (lambda: make().train(X, Y, optimizer=ns.LBFGS), TypeError, "optimizer must be"),
    (lambda: make().train(X, Y, batch_size=7, optimizer=ns.LBFGS()), ValueError, "batch_size is not for LBFGS"),
    (lambda: make().train(X, Y, threads=2, optimizer=ns.LBFGS()), ValueError, "threads is not for LBFGS"),
    (lambda: make().train(X, Y, dropout=0.1, optimizer=ns.LBFGS()), ValueError, "dropout is not for LBFGS"),
    (
        lambda: make().train(X, Y, schedule=ns.schedules.StepLR(1), optimizer=ns.LBFGS()),
        ValueError,
        "schedule is not for LBFGS",
    ),
    (
        lambda: make().train(X, Y, checkpoint=ns.Checkpoint("x"), optimizer=ns.LevenbergMarquardt()),
        ValueError,
        "checkpoint is not for LevenbergMarquardt",
    ),
    (
        lambda: make().train(X, Y, callbacks=ns.EveryNSteps(1, print), optimizer=ns.LBFGS()),
        ValueError,
        "EveryNSteps is not for LBFGS",
    ),
    (
        lambda: make(loss="cross_entropy", output="softmax").train(
            X, WEIGHT % 2, label_smoothing=0.1, optimizer=ns.LBFGS()
        ),
        ValueError,
        "label_smoothing is not for LBFGS",
    ),
    (lambda: make(loss="huber").train(X, Y, optimizer=ns.LevenbergMarquardt()), ValueError, "needs loss="),
    (lambda: make(output="softmax").train(X, Y, optimizer=ns.LevenbergMarquardt()), ValueError, "elementwise output"),
    (
        lambda: ns.Network(
            [2, 2**19, 2], activation="tanh", output="identity", loss="squared_error", backend="numpy"
        ).train(X, Y, optimizer=ns.LevenbergMarquardt()),
        MemoryError,
        "two matrices of 2621442 x 2621442",
    ),
]


@pytest.mark.parametrize(("call", "exception", "words"), BAD)
def test_solvers_refuse(call: Any, exception: type[Exception], words: str) -> None:
    with pytest.raises(exception) as caught:
        call()
    assert words in str(caught.value)
