"""What counts in a loss: targets that are missing, weights of any sign, one output of each row; and rates by layer.

Held to PyTorch by the golden file of tests/golden/make_targets.py.
"""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nanostep as ns
from cases import DTYPES, QUICK, REQUIRED
from conformance.comparisons import TOLERANCE

GOLDEN = dict(np.load(Path(__file__).parent / "golden" / "targets.npz"))
CASES = json.loads(str(GOLDEN["cases"]))
LOSS_CASES = [i for i, case in enumerate(CASES) if case["kind"] != "steps"]
STEP_CASES = [i for i, case in enumerate(CASES) if case["kind"] == "steps"]
UNKNOWN, UNKNOWN_ROWS, WEIGHT, CHOSEN = (GOLDEN[name] for name in ("unknown", "unknown_rows", "weight", "chosen"))
NAN = float("nan")
RNG = np.random.default_rng(3)
X, Y = RNG.standard_normal((7, 3)), RNG.random((7, 2))


def make(backend: str = "numpy", **more: Any) -> ns.Network:
    settings = {"activation": "tanh", "output": "identity", **more}
    return ns.Network([3, 4, 2], backend=backend, **settings)


def near(got: Any, want: Any, dtype: str, times: float = 20) -> bool:
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    return float(np.linalg.norm(got - want)) <= times * TOLERANCE[dtype] * max(float(np.linalg.norm(want)), 1e-2)


def golden(i: int) -> dict[str, np.ndarray]:
    return {name: GOLDEN[f"{i}.{name}"] for name in ("theta", "x", "y")}


def named(i: int) -> str:
    case = CASES[i]
    return "-".join(str(value) for key, value in case.items() if key != "given")


# -- beside PyTorch ---------------------------------------------------------------------------------------------------


def call(net: ns.Network, i: int, *, step: bool = False, **wrong: Any) -> tuple[float, np.ndarray]:
    """Loss and gradient of a golden case: as `gradient` gives them, or from a step."""
    case, data = CASES[i], golden(i)
    y, more = data["y"].copy(), {}
    if case["kind"] == "chosen":
        y, more["outputs"] = y[np.arange(len(y)), CHOSEN], CHOSEN
    else:
        y[UNKNOWN_ROWS if case["loss"] == "cross_entropy" else UNKNOWN] = NAN
        more["nan_targets"] = "ignore"
    if case["kind"] == "weighted":
        more["sample_weight"] = WEIGHT
    more |= wrong
    net.theta = data["theta"]
    if not step and case["kind"] != "chosen":
        return net.gradient(data["x"], y, **more)
    before, rate = net.theta.copy(), 2.0**-6
    loss = net.step(data["x"], y, rate, **more)
    return loss, (before - net.theta) / rate


@pytest.mark.parametrize("i", LOSS_CASES, ids=named)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", QUICK)
def test_losses_and_gradients_are_pytorchs(backend: str, dtype: str, i: int) -> None:
    check(backend, dtype, i)


# Numba compiles some seconds for each
@pytest.mark.parametrize("i", LOSS_CASES[::7], ids=named)
@pytest.mark.parametrize("backend", [name for name in REQUIRED if name not in QUICK])
def test_losses_and_gradients_of_numba_are_pytorchs(backend: str, i: int) -> None:
    check(backend, "float64", i)


def check(backend: str, dtype: str, i: int) -> None:
    case = CASES[i]
    net = ns.Network(
        [3, 4, 3], activation="tanh", output=case["output"], loss=case["loss"], dtype=dtype, backend=backend
    )
    want_loss, want = GOLDEN[f"{i}.loss"], GOLDEN[f"{i}.gradient"]
    loss, gradient = call(net, i)
    assert near(loss, want_loss, dtype)
    assert near(gradient, want, dtype)
    # the step rounds theta, not the gradient
    loss, gradient = call(net, i, step=True)
    assert near(loss, want_loss, dtype)
    assert near(gradient, want, dtype, 2000)


@pytest.mark.parametrize("backend", QUICK)
def test_wrong_weights_are_rejected(backend: str) -> None:
    i = next(i for i in LOSS_CASES if CASES[i] == {"loss": "squared_error", "output": "identity", "kind": "weighted"})
    net = ns.Network([3, 4, 3], activation="tanh", output="identity", loss="squared_error", backend=backend)
    want = GOLDEN[f"{i}.gradient"]
    assert near(call(net, i)[1], want, "float64")
    for wrong in (WEIGHT / WEIGHT.mean(), np.abs(WEIGHT), np.ones(6), None):
        assert not near(call(net, i, sample_weight=wrong)[1], want, "float64", 1e6)


def test_wrong_outputs_are_rejected() -> None:
    i = next(i for i in LOSS_CASES if CASES[i] == {"loss": "huber", "output": "identity", "kind": "chosen"})
    net = ns.Network([3, 4, 3], activation="tanh", output="identity", loss="huber", backend="numpy")
    want = GOLDEN[f"{i}.gradient"]
    assert near(call(net, i)[1], want, "float64", 2000)
    assert not near(call(net, i, outputs=np.roll(CHOSEN, 1))[1], want, "float64", 1e6)
    assert not near(call(net, i)[1] / 3, want, "float64", 1e6)  # the mean over outputs is that of one


@pytest.mark.parametrize("i", STEP_CASES, ids=named)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", REQUIRED)
def test_rates_by_layer_are_pytorchs_parameter_groups(backend: str, dtype: str, i: int) -> None:
    case, data = CASES[i], golden(i)
    for route in ("train", "apply_gradient"):
        net = ns.Network([3, 4, 4, 3], activation="tanh", output="identity", loss="squared_error", dtype=dtype,
                         backend=backend)  # fmt: skip
        net.theta = data["theta"]
        optimizer = getattr(ns, case["optimizer"])(**case["given"])
        if route == "train":
            net.train(data["x"], data["y"], epochs=3, batch_size=6, shuffle=False, optimizer=optimizer,
                      layer_rates=case["rates"])  # fmt: skip
        else:
            for _ in range(3):
                gradient = net.gradient(data["x"], data["y"])[1]
                net.apply_gradient(gradient, optimizer=optimizer, scale=case["rates"])
        assert near(net.theta, GOLDEN[f"{i}.moved"], dtype), route


@pytest.mark.parametrize("backend", QUICK)
def test_ignored_rates_are_rejected(backend: str) -> None:
    i = STEP_CASES[0]
    case, data = CASES[i], golden(i)
    net = ns.Network([3, 4, 4, 3], activation="tanh", output="identity", loss="squared_error", backend=backend)
    for wrong in (None, case["rates"][::-1]):
        net.theta = data["theta"]
        net.train(data["x"], data["y"], epochs=3, batch_size=6, shuffle=False, optimizer=ns.SGD(**case["given"]),
                  layer_rates=wrong)  # fmt: skip
        assert not near(net.theta, GOLDEN[f"{i}.moved"], "float64", 1e6)


# -- weights ----------------------------------------------------------------------------------------------------------


def test_train_normalises_weights_and_single_calls_do_not() -> None:
    weight = np.array([1.0, 3.0, 2.0, 0.0, 5.0, 4.0, 1.0])
    net = make()
    each = [net.loss(x, y) for x, y in zip(X, Y, strict=True)]
    assert net.loss(X, Y, sample_weight=weight) == pytest.approx(np.mean(weight * each))
    assert net.gradient(X, Y, sample_weight=-weight)[0] == pytest.approx(-np.mean(weight * each))
    assert net.copy().step(X, Y, 0.1, sample_weight=weight) == pytest.approx(np.mean(weight * each))
    history = net.copy().train(X, Y, epochs=1, batch_size=7, shuffle=False, sample_weight=weight)
    assert history.loss[0] == pytest.approx(np.average(each, weights=weight))
    with pytest.raises(ValueError, match=r"sample_weight must be >= 0; sample_weight\[2\] is -1.0"):
        net.train(X, Y, sample_weight=[1, 1, -1, 1, 1, 1, 1])


@pytest.mark.parametrize("backend", REQUIRED)
def test_a_negative_weight_goes_uphill(backend: str) -> None:
    net = make(backend)
    before = net.loss(X[0], Y[0])
    net.step(X[0], Y[0], 0.1, sample_weight=[-1])
    assert net.loss(X[0], Y[0]) > before


# -- missing targets --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", REQUIRED)
@pytest.mark.parametrize("batch_size", [1, 3, 7])
def test_missing_targets_in_training(backend: str, batch_size: int) -> None:
    y = Y.copy()
    y[2] = NAN
    y[4, 1] = NAN
    trained, stepped = make(backend), make(backend)
    adam = ns.Adam(lr=0.05)
    trained.train(X, y, epochs=2, batch_size=batch_size, shuffle=False, optimizer=adam, nan_targets="ignore")
    for _ in range(2):
        for start in range(0, 7, batch_size):
            rows = slice(start, start + batch_size)
            weight = np.where(np.isnan(y[rows]), 0, 1)
            out, pull = stepped.vjp(X[rows])
            stepped.apply_gradient(pull(weight * (out - np.nan_to_num(y[rows])) / len(out)), optimizer=adam)
    np.testing.assert_allclose(trained.theta, stepped.theta, rtol=1e-9)


@pytest.mark.parametrize("backend", QUICK)
@pytest.mark.parametrize("plain", [True, False])
def test_single_samples_without_a_target_move_nothing(backend: str, plain: bool) -> None:
    net = make(backend)
    before = net.theta.copy()
    optimizer = ns.SGD(lr=0.1) if plain else ns.SGD(lr=0.1, momentum=0.5)
    history = net.train(X, np.full((7, 2), NAN), epochs=1, optimizer=optimizer, nan_targets="ignore")
    assert history.loss == [0.0]
    assert (net.theta == before).all()


@pytest.mark.parametrize("backend", QUICK)
def test_missing_labels(backend: str) -> None:
    net = make(backend, output="softmax", loss="cross_entropy")
    labels = np.array([0, 1, 1, 0, 1, 0, 1])
    known = np.array([1, 1, 0, 1, 0, 1, 1], bool)
    want = net.loss(X[known], labels[known]) * known.sum() / 7
    for unknown in (-1, NAN):
        assert net.loss(X, np.where(known, labels, unknown), nan_targets="ignore") == pytest.approx(want)
    rows = np.where(known[:, None], np.eye(2)[labels], NAN)
    assert net.loss(X, rows, nan_targets="ignore") == pytest.approx(want)
    rows[2, 0] = 1
    with pytest.raises(ValueError, match="row 2 of Y is NaN in part"):
        net.loss(X, rows, nan_targets="ignore")
    with pytest.raises(ValueError, match="label -2, out of range"):
        net.loss(X, np.where(known, labels, -2), nan_targets="ignore")
    with pytest.raises(ValueError, match="label -1, out of range"):
        net.loss(X, np.where(known, labels, -1))


def test_class_weights_count_known_labels() -> None:
    labels = np.array([0, 1, 1, 0, -1, -1, 1])
    nets = [make(output="softmax", loss="cross_entropy") for _ in range(2)]
    nets[0].train(X, labels, epochs=1, batch_size=7, shuffle=False, class_weight="balanced", nan_targets="ignore")
    counts = np.bincount(labels[labels >= 0])
    by_class = (labels >= 0).sum() / (2 * counts)
    weight = np.where(labels < 0, 1, by_class[labels])
    nets[1].step(X, labels, 0.1, sample_weight=weight / weight.mean(), nan_targets="ignore")
    np.testing.assert_allclose(nets[0].theta, nets[1].theta, rtol=1e-12)


def test_metrics_are_those_of_the_known_targets() -> None:
    net = make(output="sigmoid", loss="binary_cross_entropy")
    y = np.where(RNG.random((7, 2)) > 0.5, 1.0, 0.0)
    y[[0, 1], [0, 1]] = [0, 1]
    y[2], y[3, 0] = NAN, NAN
    seen = []

    def own(y_true: np.ndarray, y_pred: np.ndarray) -> float:
        seen.append((y_true, y_pred))
        return 0.0

    history = net.train(X, y, epochs=1, metrics=["loss", "mae", "rmse", "accuracy", "r2", own], nan_targets="ignore")
    a, known = net.predict(X), ~np.isnan(y)
    assert history.metrics["mae"][0] == pytest.approx(np.abs(a - y)[known].mean())
    assert history.metrics["rmse"][0] == pytest.approx(np.sqrt(((a - y)[known] ** 2).mean()))
    assert history.metrics["accuracy"][0] == pytest.approx(((a >= 0.5) == (y >= 0.5))[known].mean())
    r2 = []
    for o in range(2):
        t, p = y[known[:, o], o], a[known[:, o], o]
        r2.append(1 - ((p - t) ** 2).sum() / ((t - t.mean()) ** 2).sum())
    assert history.metrics["r2"][0] == pytest.approx(np.mean(r2))
    assert seen[0][0].shape == (6, 2)
    np.testing.assert_array_equal(seen[0][1], a[known.any(axis=1)])


def test_streams_and_validation_may_lack_targets() -> None:
    y = Y.copy()
    y[1, 0] = NAN
    streamed, whole = make(), make()
    streamed.train(lambda: iter([(X, y)]), epochs=2, batch_size=3, shuffle=False, nan_targets="ignore")
    whole.train(X, y, epochs=2, batch_size=3, shuffle=False, nan_targets="ignore", validation=(X, y))
    assert (streamed.theta == whole.theta).all()
    assert whole.history is not None
    assert whole.history.validation_loss[-1] == whole.loss(X, y, nan_targets="ignore")
    with pytest.raises(ValueError, match="Y of chunk 0 must be finite"):
        streamed.train(lambda: iter([(X, y)]), epochs=1)


def test_a_solver_takes_missing_targets() -> None:
    y = Y.copy()
    y[1, 0] = NAN
    net = make()
    before = net.loss(X, y, nan_targets="ignore")
    net.train(X, y, epochs=20, optimizer=ns.LBFGS(), nan_targets="ignore")
    assert net.loss(X, y, nan_targets="ignore") < before / 2
    with pytest.raises(ValueError, match="LevenbergMarquardt needs all targets"):
        net.train(X, y, epochs=2, optimizer=ns.LevenbergMarquardt(), nan_targets="ignore")


# -- what is refused --------------------------------------------------------------------------------------------------

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"Y": np.where(Y == Y[1, 0], NAN, Y)}, r"Y must be finite in float64; Y\[1, 0\] is nan"),
    (
        {"Y": np.where(Y == Y[1, 0], np.inf, Y), "nan_targets": "ignore"},
        r"Y must be finite in float64; Y\[1, 0\] is inf",
    ),
    ({"X": np.where(X == X[1, 0], NAN, X), "nan_targets": "ignore"}, r"X must be finite in float64; X\[1, 0\] is nan"),
    ({"nan_targets": "skip"}, "nan_targets must be 'raise' or 'ignore'; got 'skip'"),
    ({"nan_targets": True}, "nan_targets must be 'raise' or 'ignore'; got True"),
    ({"sample_weight": np.ones(6)}, r"sample_weight must have shape \(7,\), one for each sample; got \(6,\)"),
    ({"sample_weight": [1, 1, 1, NAN, 1, 1, 1]}, r"sample_weight must be finite in float64; sample_weight\[3\] is nan"),
    ({"outputs": np.zeros(7, int)}, r"Y must have shape \(7,\), one for each sample of X; got \(7, 2\)"),
    (
        {"outputs": np.zeros(6, int), "Y": Y[:, 0]},
        r"outputs must have shape \(7,\), one for each sample of X; got \(6,\)",
    ),
    ({"outputs": np.zeros(7), "Y": Y[:, 0]}, "outputs must hold integers, the numbers of outputs; got dtype float64"),
    (
        {"outputs": [0, 1, 2, 0, 1, 0, 0], "Y": Y[:, 0]},
        r"outputs has 2, out of range; accepted are 0 to 1 \(2 outputs\)",
    ),
    ({"outputs": [0, 1, -1, 0, 1, 0, 0], "Y": Y[:, 0]}, "outputs has -1, out of range"),
    ({"outputs": np.zeros(7, int), "Y": np.where(Y == Y[2, 0], NAN, Y)[:, 0]}, "Y must be finite"),
]


@pytest.mark.parametrize("backend", QUICK)
@pytest.mark.parametrize(("given", "message"), REFUSED, ids=[str(i) for i in range(len(REFUSED))])
def test_refusals_change_nothing(backend: str, given: dict[str, Any], message: str) -> None:
    net = make(backend)
    net.step(X, Y, optimizer=ns.Adam())
    before = pickle.dumps(net)
    arguments = {"X": X, "Y": Y, **given}
    with pytest.raises((ValueError, TypeError), match=message):
        net.step(**arguments)
    with pytest.raises((ValueError, TypeError), match=message):
        net.step(**arguments, lr=0.1)
    if "outputs" not in given:
        with pytest.raises((ValueError, TypeError), match=message):
            net.gradient(**arguments)
        with pytest.raises((ValueError, TypeError), match=message):
            net.loss(**arguments)
        with pytest.raises((ValueError, TypeError), match=message):
            net.train(**arguments)
    assert pickle.dumps(net) == before


def test_outputs_of_cross_entropy_are_refused() -> None:
    net = make(output="softmax", loss="cross_entropy")
    with pytest.raises(ValueError, match="loss='cross_entropy' takes all of them together"):
        net.step(X, Y[:, 0], 0.1, outputs=np.zeros(7, int))


@pytest.mark.parametrize("backend", REQUIRED)
def test_one_sample_with_a_chosen_output(backend: str) -> None:
    one, row = make(backend), make(backend)
    loss = one.step(X[0], 0.5, 0.1, outputs=1)
    assert loss == row.step(X[:1], [0.5], 0.1, outputs=[1])
    assert (one.theta == row.theta).all()
    assert loss == pytest.approx((make().predict(X[0])[1] - 0.5) ** 2 / 2)


@pytest.mark.parametrize(
    ("rates", "message"),
    [
        ([1], r"layer_rates must have shape \(2,\), one for each layer of weights; got \(1,\)"),
        ([1, -1], r"layer_rates must be >= 0; layer_rates\[1\] is -1.0"),
        ([1, NAN], "layer_rates must be finite"),
        ("fast", "layer_rates must hold real numbers"),
    ],
)
def test_bad_rates_are_refused(rates: Any, message: str) -> None:
    net = make()
    before = pickle.dumps(net)
    with pytest.raises((ValueError, TypeError), match=message):
        net.train(X, Y, layer_rates=rates)
    assert pickle.dumps(net) == before
    with pytest.raises(ValueError, match="layer_rates is not for LBFGS"):
        net.train(X, Y, layer_rates=[1, 0.5], optimizer=ns.LBFGS())


@pytest.mark.parametrize("backend", REQUIRED)
@pytest.mark.parametrize("batch_size", [1, 4, 600])
def test_a_layer_of_rate_0_stays_bit_for_bit(backend: str, batch_size: int) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((600, 3)), rng.random((600, 2))
    net = make(backend)
    adam = ns.AdamW(lr=0.01, weight_decay=0.1, l1=0.01, clip_norm=0.1)
    frozen = net.weights[1].copy(), net.biases[1].copy()
    moved = net.weights[0].copy()
    net.train(x, y, epochs=2, batch_size=batch_size, optimizer=adam, layer_rates=[1, 0])
    assert (net.weights[1] == frozen[0]).all()
    assert (net.biases[1] == frozen[1]).all()
    assert (net.weights[0] != moved).all()
    layer = net.architecture.layers[1]
    assert (net._state.slots[:, layer.weights] == 0).all()


def test_a_checkpoint_knows_the_rates(tmp_path: Path) -> None:
    checkpoint = ns.Checkpoint(tmp_path / "run.safetensors", every=1)
    make().train(X, Y, epochs=1, checkpoint=checkpoint, layer_rates=[1, 0])
    with pytest.raises(ValueError, match="layer_rates"):
        make().train(X, Y, epochs=2, checkpoint=checkpoint)
    make().train(X, Y, epochs=2, checkpoint=checkpoint, layer_rates=[1, 0])


# -- populations ------------------------------------------------------------------------------------------------------


def population(backend: str) -> ns.Population:
    return ns.Population([3, 4, 2], 20, activation="tanh", output="identity", backend=backend)


@pytest.mark.parametrize("backend", REQUIRED)
@pytest.mark.parametrize("own", [False, True])
def test_each_network_of_a_population_does_what_a_network_does(backend: str, own: bool) -> None:
    rng = np.random.default_rng(5)
    pop = population(backend)
    x, y, outputs = rng.standard_normal((20, 7, 3)), rng.random((20, 7, 2)), rng.integers(0, 2, (20, 7))
    y[:, 1, 0] = NAN
    weight = rng.standard_normal((20, 7))
    if not own:
        x, y, outputs = x[0], y[0], outputs[0]

    def of(array: np.ndarray, m: int) -> np.ndarray:
        return array[m] if own else array

    nets = [pop[m] for m in (0, 13)]
    more = {"nan_targets": "ignore"}
    losses = pop.loss(x, y, sample_weight=weight, **more)
    stepped = pop.step(x, y, 0.1, sample_weight=weight, **more)
    chosen = pop.step(x, np.nan_to_num(y)[..., 1], 0.1, outputs=outputs)
    pop.train(x, y, epochs=2, batch_size=3, optimizer=ns.Adam(lr=0.02), layer_rates=[0, 0.5], **more)
    for m, net in zip((0, 13), nets, strict=True):
        row = {"sample_weight": weight[m], **more}
        assert losses[m] == pytest.approx(net.loss(of(x, m), of(y, m), **row))
        assert stepped[m] == pytest.approx(net.step(of(x, m), of(y, m), 0.1, **row))
        target = np.nan_to_num(of(y, m))[:, 1]
        assert chosen[m] == pytest.approx(net.step(of(x, m), target, 0.1, outputs=of(outputs, m)))
        net.train(of(x, m), of(y, m), epochs=2, batch_size=3, optimizer=ns.Adam(lr=0.02), layer_rates=[0, 0.5], **more)
        np.testing.assert_allclose(pop.theta[m], net.theta, rtol=1e-9)


def test_a_population_refuses_what_a_network_refuses() -> None:
    pop = population("numpy")
    before = pickle.dumps(pop)
    for given, message in REFUSED:
        with pytest.raises((ValueError, TypeError), match=message.replace("(7,)", "(7,)").split(";")[0][:30]):
            pop.step(**{"X": X, "Y": Y, "lr": 0.1, **given})
    with pytest.raises(ValueError, match="layer_rates must have shape"):
        pop.train(X, Y, layer_rates=[1])
    assert pickle.dumps(pop) == before
