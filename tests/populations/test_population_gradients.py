"""`Population.vjp`, `gradient` and `apply_gradient`: those of its networks, each alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nanostep as ns
from cases import DTYPES, QUICK, REQUIRED
from conformance import goldens
from conformance.comparisons import TOLERANCE
from nanostep._arrays import Samples
from nanostep.architecture import Architecture
from nanostep.backends import load
from nanostep.backends.population_contract import PopulationSamples
from nanostep.optimizers import SGD, Adam, AdamW, Optimizer, RMSprop

RNG = np.random.default_rng(3)
K, N = 5, 9
X = RNG.standard_normal((K, N, 3))
Y = RNG.random((K, N, 2))
DOUT = RNG.standard_normal((K, N, 2))
NAN, INF = float("nan"), float("inf")
RATES = np.linspace(0.01, 0.2, K)
KINDS = {
    "sgd": lambda: SGD(lr=0.1),
    "rates": lambda: SGD(lr=RATES, momentum=0.7),
    "momenta": lambda: SGD(lr=0.1, momentum=np.array([0.0, 0.9, 0.0, 0.5, 0.1])),
    "rmsprop": lambda: RMSprop(lr=RATES, momentum=np.array([0.0, 0.9, 0.0, 0.5, 0.1]), centered=True, eps=1e-3),
    "adam": lambda: Adam(lr=RATES, betas=(np.linspace(0.5, 0.9, K), 0.8), eps=1e-3),
    "adamw": lambda: AdamW(lr=0.1, weight_decay=RATES, amsgrad=True, l1=0.01, eps=1e-3),
    "clip_norm": lambda: Adam(lr=0.1, clip_norm=0.5, eps=1e-3),
    "clip_value": lambda: SGD(lr=0.1, momentum=0.5, clip_value=0.3),
}


def make(backend: str = "numpy", **more: Any) -> ns.Population:
    settings = {"activation": "tanh", "output": "identity", "seed": 1, **more}
    return ns.Population([3, 5, 2], size=K, backend=backend, **settings)


def near(got: np.ndarray, want: np.ndarray, dtype: str, factor: float = 20) -> None:
    assert got.shape == want.shape
    assert np.linalg.norm(got - want) <= factor * TOLERANCE[dtype] * max(np.linalg.norm(want), 1e-3)


# -- gradient ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", QUICK)
@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_are_those_of_the_networks(backend: str, dtype: str) -> None:
    population = make(backend, dtype=dtype)
    weight = np.where(RNG.random((K, N)) < 0.3, -1.0, 2.0)
    rows = RNG.integers(0, N, (K, 4))
    for given, more, own in (
        ((X, Y), {}, lambda k: (X[k], Y[k], {})),
        ((X[0], Y[0]), {}, lambda k: (X[0], Y[0], {})),
        ((X, Y), {"sample_weight": weight}, lambda k: (X[k], Y[k], {"sample_weight": weight[k]})),
        ((X[0], Y[0]), {"sample_weight": weight}, lambda k: (X[0], Y[0], {"sample_weight": weight[k]})),
        ((X[0], Y[0]), {"rows": rows}, lambda k: (X[0][rows[k]], Y[0][rows[k]], {})),
    ):
        losses, grad = population.gradient(*given, **more)
        assert losses.dtype == np.float64
        assert grad.dtype == dtype
        for k, net in enumerate(population):
            x, y, options = own(k)
            loss, want = net.gradient(x, y, **options)
            assert losses[k] == pytest.approx(loss, rel=TOLERANCE[dtype])
            near(grad[k], want, dtype)


@pytest.mark.parametrize("backend", QUICK)
def test_gradients_with_labels_and_missing_targets(backend: str) -> None:
    population = make(backend, output="softmax", loss="cross_entropy")
    labels = RNG.integers(0, 2, (K, N))
    for given in ((X, labels), (X[0], labels[0])):
        losses, grad = population.gradient(*given)
        for k, net in enumerate(population):
            x, y = (X[k], labels[k]) if given[0].ndim == 3 else given
            loss, want = net.gradient(x, y)
            assert losses[k] == pytest.approx(loss)
            near(grad[k], want, "float64")
    population, missing = make(backend), np.where(RNG.random(Y.shape) < 0.3, NAN, Y)
    losses, grad = population.gradient(X, missing, nan_targets="ignore")
    for k, net in enumerate(population):
        loss, want = net.gradient(X[k], missing[k], nan_targets="ignore")
        assert losses[k] == pytest.approx(loss)
        near(grad[k], want, "float64")


# -- vjp --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", QUICK)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("output", ["identity", "softmax"])
def test_gradients_are_pulled_back_as_by_the_networks(backend: str, dtype: str, output: str) -> None:
    population = make(backend, dtype=dtype, output=output)
    for x in (X, X[0], X[:, :1], X[:, :0], X[0, 0]):
        out, pull = population.vjp(x)
        assert out.tobytes() == population.predict(x).tobytes()
        dout = DOUT[:, : out.shape[1]]
        for wrt in ("out", "z"):
            grad, dX = pull(dout, inputs=True, wrt=wrt)
            assert grad.shape == population.theta.shape
            assert dX.shape == (*out.shape[:2], 3)
            assert pull(dout, wrt=wrt).tobytes() == grad.tobytes()
            assert pull(dout, params=False, wrt=wrt).tobytes() == dX.tobytes()
            for k, net in enumerate(population):
                alone, single = net.vjp(np.atleast_2d(x[k] if x.ndim == 3 else x))
                near(out[k], alone, dtype)
                want, want_dX = single(dout[k], inputs=True, wrt=wrt)
                assert grad[k].tobytes() == want.tobytes()
                assert dX[k].tobytes() == want_dX.tobytes()


@pytest.mark.parametrize("backend", REQUIRED)
def test_bits_do_not_depend_on_the_other_networks(backend: str) -> None:
    population, some = make(backend), [3, 1]
    fewer = population.take(some)
    for x, y, dout in ((X, Y, DOUT), (X[0], Y[0], DOUT)):
        results = []
        for who, pick in ((population, slice(None)), (fewer, some)):
            own = x[pick] if x.ndim == 3 else x
            losses, grad = who.gradient(own, y[pick] if y.ndim == 3 else y)
            _, pull = who.vjp(own)
            pulled, dX = pull(dout[pick], inputs=True)
            results.append((losses, grad, pulled, dX))
        for all_of_them, few in zip(*results, strict=True):
            assert all_of_them[some].tobytes() == few.tobytes()


@pytest.mark.parametrize("backend", REQUIRED)
def test_finite_differences(backend: str) -> None:
    population = make(backend, activation="silu")
    x, h = X.copy(), 1e-6

    def losses() -> np.ndarray:
        return (population.predict(x) ** 3).sum(axis=(1, 2)) / 3

    out, pull = population.vjp(x)
    grad, dX = pull(out**2, inputs=True)
    for array, got in ((population.theta, grad), (x, dX)):
        flat, slopes = array.reshape(K, -1), got.reshape(K, -1)
        for i in range(flat.shape[1]):
            kept = flat[:, i].copy()
            flat[:, i] = kept + h
            high = losses()
            flat[:, i] = kept - h
            low = losses()
            flat[:, i] = kept
            np.testing.assert_allclose(slopes[:, i], (high - low) / (2 * h), 1e-6, 1e-7)


# -- apply_gradient ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", QUICK)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_updates_are_those_of_the_networks(backend: str, kind: str, dtype: str) -> None:
    scales = (None, np.array([0.5, 0.0]), RNG.random((K, 2)), np.where(RNG.random((K, 32)) < 0.3, 0, 0.7))
    for scale in scales:
        population, optimizer = make(backend, dtype=dtype), KINDS[kind]()
        networks = [population[k] for k in range(K)]
        own = [optimizer.of(k) for k in range(K)]
        for _ in range(3):
            grad = RNG.standard_normal(population.theta.shape).astype(dtype)
            assert population.apply_gradient(grad, optimizer=optimizer, scale=scale) is None
            for k, net in enumerate(networks):
                net.apply_gradient(grad[k], optimizer=own[k], scale=scale[k] if np.ndim(scale) == 2 else scale)
        for k, net in enumerate(networks):
            near(population.theta[k], net.theta, dtype)
            again = population[k]._state
            assert again.updates == 3
            for got, want in zip(again.slots, net._state.slots, strict=True):
                near(got, want, dtype)


@pytest.mark.parametrize("backend", QUICK)
def test_gradient_and_apply_gradient_do_what_step_does(backend: str) -> None:
    stepped, applied, adam = make(backend), make(backend), Adam(lr=RATES, eps=1e-3)
    for t in range(3):
        losses = stepped.step(X, Y, optimizer=adam)
        own, grad = applied.gradient(X, Y)
        applied.apply_gradient(grad, optimizer=adam)
        near(own, losses, "float64")
        near(applied.theta, stepped.theta, "float64")
        if t == 1:  # networks that have made another number of updates
            stepped._state.updates[2] = applied._state.updates[2] = 7


def test_what_networks_have_frozen_stays() -> None:
    for backend in REQUIRED:
        population, scale = make(backend), np.ones((K, 2))
        population.apply_gradient(np.ones_like(population.theta), optimizer=Adam(lr=0.1))
        scale[1, 0] = 0
        before, slots = population.theta.copy(), population._state.slots.copy()
        population.apply_gradient(population.theta, scale=scale)
        same = population.theta == before
        assert same[1, :20].all()
        assert not same[0].any()
        assert not same[1, 20:].any()
        assert (population._state.slots[1, :, :20] == slots[1, :, :20]).all()


# -- bad input --------------------------------------------------------------------------------------------------------


def snapshot(population: ns.Population) -> tuple[bytes, bytes, bytes, Optimizer]:
    state = population._state
    return population.theta.tobytes(), state.slots.tobytes(), state.updates.tobytes(), state.optimizer


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"grad": np.ones(32)}, r"grad must have shape \(5, 32\), as theta; got \(32,\)"),
        ({"grad": np.full((K, 32), NAN)}, "grad"),
        ({"scale": np.ones((2, 2))}, "scale has 2 rows for 5 networks"),
        ({"scale": np.ones(3)}, r"scale must have shape \(2,\)"),
        ({"scale": np.full((K, 2), -1.0)}, "scale must be >= 0"),
        ({"optimizer": SGD(lr=np.ones(3))}, "lr has 3 entries for 5 networks"),
        ({"optimizer": "adam"}, "optimizer must be"),
    ],
)
def test_bad_gradients_change_nothing(arguments: dict[str, Any], message: str) -> None:
    population = make()
    population.apply_gradient(np.ones((K, 32)), optimizer=Adam())
    before = snapshot(population)
    with pytest.raises((TypeError, ValueError), match=message):
        population.apply_gradient(**{"grad": np.ones((K, 32)), **arguments})
    assert snapshot(population) == before


@pytest.mark.parametrize(
    ("dout", "more", "message"),
    [
        (DOUT[0], {}, r"dout must have the shape of the outputs, \(5, 9, 2\); got \(9, 2\)"),
        (np.full(DOUT.shape, INF), {}, "dout"),
        (DOUT, {"wrt": "a"}, "wrt"),
        (DOUT, {"inputs": 1}, "inputs"),
    ],
)
def test_bad_arguments_of_the_pull_back(dout: np.ndarray, more: dict[str, Any], message: str) -> None:
    _, pull = make().vjp(X)
    with pytest.raises((TypeError, ValueError), match=message):
        pull(dout, **more)


def test_bad_inputs_and_changes_of_theta() -> None:
    population = make()
    with pytest.raises(ValueError, match=r"X must have shape \(5, n, 3\); got \(2, 9, 3\)"):
        population.vjp(X[:2])
    with pytest.raises(ValueError, match="Y must begin with"):
        population.gradient(X, Y[:, :3])
    x = X.copy()
    out, pull = population.vjp(x)
    grad = pull(out)
    x[...] = 0
    assert pull(out).tobytes() == grad.tobytes()
    population.biases[0][3, 1] += 1
    with pytest.raises(RuntimeError, match="theta has changed"):
        pull(out)


# -- PyTorch's numbers ------------------------------------------------------------------------------------------------


def one_of_three(backend: str, *, mixed_up: bool = False) -> Any:
    """The engine of populations as one of single networks, each the second of three; `mixed_up`, it is taken for the
    first."""

    class Engine:
        def __init__(self, architecture: Architecture, dtype: np.dtype) -> None:
            self._engine, self._at = load(backend).populations.Engine(architecture, dtype), 0 if mixed_up else 1

        def _population(self, theta: np.ndarray) -> np.ndarray:
            return np.stack([theta + 0.5, theta, theta - 0.5])

        def gradient(self, theta: np.ndarray, samples: Samples, grad: np.ndarray) -> float:
            losses, grads = np.empty(3), np.empty((3, len(theta)), theta.dtype)
            self._engine.gradient(self._population(theta), PopulationSamples(samples), losses, grads)
            grad[...] = grads[self._at]
            return float(losses[self._at])

        def vjp(
            self, theta: np.ndarray, x: np.ndarray, dout: np.ndarray, *, of_z: bool, grad__p: Any, dx__ni: Any
        ) -> None:
            grads, dx = np.empty((3, len(theta)), theta.dtype), np.empty((3, *x.shape), x.dtype)
            dout = np.stack([dout, dout, -dout])
            self._engine.vjp(self._population(theta), x, dout, of_z=of_z, grad__mp=grads, dx__mni=dx)
            grad__p[...], dx__ni[...] = grads[self._at], dx[self._at]

    return Engine


@pytest.mark.parametrize("backend", QUICK)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("golden", goldens.load("gradients")[::3], ids=str)
def test_gradients_are_pytorchs(backend: str, golden: goldens.Golden, dtype: str) -> None:
    engine = one_of_three(backend)
    goldens.check_golden_gradient(engine, golden, dtype)
    goldens.check_golden_vjp(engine, golden, dtype)


def test_gradients_of_another_network_are_rejected() -> None:
    golden = goldens.load("gradients")[0]
    for check in (goldens.check_golden_gradient, goldens.check_golden_vjp):
        with pytest.raises(AssertionError):
            check(one_of_three("numpy", mixed_up=True), golden, "float64")
