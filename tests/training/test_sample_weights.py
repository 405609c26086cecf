"""Sample weights, class weights, label smoothing, held-out rows and dropout in runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nanostep as ns
from cases import QUICK, REQUIRED
from cases import small_network as make

RNG = np.random.default_rng(4)
X = RNG.standard_normal((30, 3))
Y = RNG.random((30, 2))
LABELS = RNG.integers(0, 3, 30)
WEIGHT = RNG.integers(0, 4, 30).astype(float)


@pytest.fixture(params=QUICK)
def backend(request: pytest.FixtureRequest) -> str:
    return request.param


def test_integer_weights_are_repetitions_of_the_samples(backend: str) -> None:
    """A batch in which each sample is repeated according to its weight has the same mean."""
    net, twin = make(backend), make(backend)
    rows = np.repeat(np.arange(30), WEIGHT.astype(int))
    mean = WEIGHT.mean()  # single calls take weights as they are given
    assert net.loss(X, Y, sample_weight=WEIGHT) == pytest.approx(mean * net.loss(X[rows], Y[rows]), rel=1e-13)
    loss, gradient = net.gradient(X, Y, sample_weight=WEIGHT / mean)
    want_loss, want = net.gradient(X[rows], Y[rows])
    assert loss == pytest.approx(want_loss, rel=1e-13)
    np.testing.assert_allclose(gradient, want, rtol=1e-11, atol=1e-14)
    history = net.train(X, Y, epochs=5, batch_size=30, optimizer=ns.Adam(0.01), shuffle=False, sample_weight=WEIGHT)
    expected = twin.train(X[rows], Y[rows], epochs=5, batch_size=1000, optimizer=ns.Adam(0.01), shuffle=False)
    np.testing.assert_allclose(history.loss, expected.loss, rtol=1e-11)
    np.testing.assert_allclose(net.theta, twin.theta, rtol=1e-9)


def test_a_batch_is_the_sum_of_weighted_gradients_over_its_rows(each_backend: str) -> None:
    net, normalised = make(each_backend), WEIGHT / WEIGHT.mean()
    gradients = np.array([net.gradient(X[i], Y[i])[1] for i in range(7)])
    before = net.theta.copy()
    net.train(
        X,
        Y,
        epochs=1,
        batch_size=7,
        optimizer=ns.SGD(0.1),
        shuffle=False,
        sample_weight=WEIGHT,
        callbacks=ns.EveryNSteps(1, lambda event: True),
    )
    np.testing.assert_allclose(before - net.theta, 0.1 * normalised[:7] @ gradients / 7, rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize("scale", [1.0, 1e-310, 1e300])
def test_only_the_proportions_of_weights_matter(scale: float) -> None:
    net, twin = make(), make()
    net.train(X, Y, epochs=2, batch_size=4, sample_weight=np.full(30, scale))
    twin.train(X, Y, epochs=2, batch_size=4)
    np.testing.assert_allclose(net.theta, twin.theta, rtol=1e-12)


def test_balanced_classes_are_scikit_learns(backend: str) -> None:
    from sklearn.utils.class_weight import compute_sample_weight

    net, twin, rows = make(backend, "classes"), make(backend, "classes"), make(backend, "classes")
    weight = compute_sample_weight("balanced", LABELS) * (1 + WEIGHT)
    net.train(X, LABELS, epochs=3, batch_size=4, class_weight="balanced", sample_weight=1 + WEIGHT)
    twin.train(X, LABELS, epochs=3, batch_size=4, sample_weight=weight)
    np.testing.assert_allclose(net.theta, twin.theta, rtol=1e-11)
    rows.train(X, np.eye(3)[LABELS], epochs=3, batch_size=4, class_weight="balanced", sample_weight=1 + WEIGHT)
    np.testing.assert_allclose(rows.theta, net.theta, rtol=1e-9)


def test_class_weights_by_number(backend: str) -> None:
    net, twin = make(backend, "classes"), make(backend, "classes")
    net.train(X, LABELS, epochs=3, batch_size=4, class_weight={0: 3.0, 2: np.float32(0.5)})
    twin.train(X, LABELS, epochs=3, batch_size=4, sample_weight=np.array([3.0, 1.0, 0.5])[LABELS])
    assert net.theta.tobytes() == twin.theta.tobytes()
    net, twin, zeros = make(backend, "binary"), make(backend, "binary"), LABELS == 0
    net.train(X, zeros, epochs=3, batch_size=4, class_weight={True + 0: 2.0})
    twin.train(X, zeros, epochs=3, batch_size=4, sample_weight=np.where(zeros, 2.0, 1.0))
    assert net.theta.tobytes() == twin.theta.tobytes()


@pytest.mark.parametrize("batch_size", [1, 4])
def test_smoothed_labels_are_smoothed_rows(each_backend: str, batch_size: int) -> None:
    nets = [make(each_backend, "classes") for _ in range(3)]
    nets[0].train(X, LABELS, epochs=3, batch_size=batch_size, label_smoothing=0.2, metrics="loss")
    nets[1].train(X, np.eye(3)[LABELS], epochs=3, batch_size=batch_size, label_smoothing=0.2, metrics="loss")
    nets[2].train(X, 0.8 * np.eye(3)[LABELS] + 0.2 / 3, epochs=3, batch_size=batch_size)
    for net in nets[1:]:
        np.testing.assert_allclose(net.theta, nets[0].theta, rtol=1e-9)
    # metrics use the given targets
    for net in nets[:2]:
        assert net.history is not None
        assert net.history.metrics["loss"][-1] == pytest.approx(net.loss(X, LABELS), rel=1e-12)


def test_the_last_rows_are_split_off(backend: str) -> None:
    net, twin = make(backend), make(backend)
    history = net.train(X, Y, epochs=3, batch_size=4, validation_split=0.21, sample_weight=WEIGHT)
    kept, rest = slice(23), slice(23, None)  # floor(0.79 * 30)
    expected = twin.train(
        X[kept],
        Y[kept],
        epochs=3,
        batch_size=4,
        sample_weight=WEIGHT[kept],
        validation=(X[rest], Y[rest], WEIGHT[rest]),
    )
    assert net.theta.tobytes() == twin.theta.tobytes()
    assert history.validation_loss == expected.validation_loss
    mean_1 = WEIGHT[rest] / WEIGHT[rest].mean()
    assert history.validation_loss[-1] == pytest.approx(net.loss(X[rest], Y[rest], sample_weight=mean_1), rel=1e-13)
    assert history.samples == 3 * 23


def test_class_weights_do_not_count_in_validation(backend: str) -> None:
    net = make(backend, "classes")
    history = net.train(X, LABELS, epochs=1, validation_split=0.5, class_weight={0: 0.0, 1: 5.0})
    assert history.validation_loss == [net.loss(X[15:], LABELS[15:])]


def test_dropped_units_are_the_same_on_every_backend() -> None:
    nets = [make(backend) for backend in REQUIRED]
    for net in nets:
        net.train(X, Y, epochs=3, batch_size=7, optimizer=ns.Adam(0.01), dropout=0.4, seed=5)
        np.testing.assert_allclose(net.theta, nets[0].theta, rtol=1e-9)
    plain, other = make(), make()
    plain.train(X, Y, epochs=3, batch_size=7, optimizer=ns.Adam(0.01), seed=5)
    other.train(X, Y, epochs=3, batch_size=7, optimizer=ns.Adam(0.01), dropout=0.4, seed=6)
    assert np.abs(plain.theta - nets[0].theta).max() > 1e-3
    assert np.abs(other.theta - nets[0].theta).max() > 1e-3


def test_dropout_goes_on_and_is_not_in_what_is_measured(backend: str) -> None:
    net, twin = make(backend), make(backend)
    optimizer, other = ns.Adam(0.01), ns.Adam(0.01)
    history = net.train(X, Y, epochs=4, batch_size=7, optimizer=optimizer, dropout=(0.3,), validation=(X, Y))
    assert history.validation_loss[-1] == net.loss(X, Y)
    for _ in range(4):
        twin.train(X, Y, epochs=1, batch_size=7, optimizer=other, dropout=0.3)
    assert net.theta.tobytes() == twin.theta.tobytes()
    twin.train(X, Y, epochs=1, batch_size=7, dropout=[0.0])  # nothing is dropped


NAN = float("nan")
BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"sample_weight": WEIGHT[:29]}, ValueError, "sample_weight must have shape (30,)"),
    ({"sample_weight": 2.0}, ValueError, "sample_weight must have shape (30,)"),
    ({"sample_weight": np.zeros(30)}, ValueError, "sample_weight is 0 for all 30 samples"),
    ({"sample_weight": -WEIGHT}, ValueError, "sample_weight must be >= 0"),
    ({"sample_weight": np.full(30, NAN)}, ValueError, "sample_weight[0] is nan"),
    ({"sample_weight": ["heavy"] * 30}, TypeError, "sample_weight must hold real numbers"),
    ({"sample_weight": (np.arange(30) < 15) * 1.0, "validation_split": 0.5}, ValueError, "split off for validation"),
    ({"sample_weight": (np.arange(30) >= 15) * 1.0, "validation_split": 0.5}, ValueError, "kept for training"),
    ({"validation": (X, LABELS, WEIGHT[:3])}, ValueError, "validation sample_weight must have shape (30,)"),
    ({"validation": (X, LABELS, -1 - WEIGHT)}, ValueError, "validation sample_weight must be >= 0"),
    ({"class_weight": "equal"}, TypeError, "'balanced'"),
    ({"class_weight": [1, 2, 3]}, TypeError, "class_weight must be a dict"),
    ({"class_weight": {3: 1.0}}, ValueError, "a class in class_weight=3"),
    ({"class_weight": {"a": 1.0}}, TypeError, "a class in class_weight must be an integer"),
    ({"class_weight": {0: -1.0}}, ValueError, "class_weight[0]=-1.0"),
    ({"class_weight": {0: NAN}}, ValueError, "class_weight[0]=nan"),
    ({"class_weight": {0: 0, 1: 0, 2: 0}}, ValueError, "is 0 for every sample"),
    ({"class_weight": {0: 0.0}, "sample_weight": (LABELS == 0) * 1.0}, ValueError, "times class_weight is 0"),
    ({"label_smoothing": 1.0}, ValueError, "label_smoothing=1.0"),
    ({"label_smoothing": -0.1}, ValueError, "label_smoothing=-0.1"),
    ({"label_smoothing": "some"}, TypeError, "label_smoothing must be a real number"),
    ({"validation_split": 1.0}, ValueError, "validation_split=1.0"),
    ({"validation_split": -0.5}, ValueError, "validation_split=-0.5"),
    ({"validation_split": 0.999}, ValueError, "leaves 0 for training"),
    ({"validation_split": True}, TypeError, "validation_split must be a real number"),
    ({"validation_split": 0.1, "validation": (X, LABELS)}, ValueError, "validation or validation_split, not both"),
    ({"dropout": 1.0}, ValueError, "dropout=1.0"),
    ({"dropout": -0.1}, ValueError, "dropout=-0.1"),
    ({"dropout": NAN}, ValueError, "dropout=nan"),
    ({"dropout": "half"}, TypeError, "dropout must be a real number"),
    ({"dropout": [0.1, 0.2]}, ValueError, "dropout has 2 values for 1 hidden layers"),
    ({"dropout": [1.5]}, ValueError, "dropout[0]=1.5"),
]


@pytest.mark.parametrize(("arguments", "exception", "words"), BAD)
def test_train_refuses(arguments: dict[str, Any], exception: type[Exception], words: str) -> None:
    net = make("numpy", "classes")
    net.train(X, LABELS, epochs=1, optimizer=ns.Adam())
    before = (net.theta.tobytes(), net._state.slots.tobytes(), net._state.updates, net.history)
    with pytest.raises(exception) as caught:
        net.train(X, LABELS, **arguments)
    assert words in str(caught.value)
    assert (net.theta.tobytes(), net._state.slots.tobytes(), net._state.updates, net.history) == before


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: make().train(X, Y, class_weight="balanced"), "class_weight needs classes"),
        (lambda: make().train(X, Y, label_smoothing=0.1), "label_smoothing=0.1 is for loss='cross_entropy'"),
        (lambda: make(kind="binary").train(X, Y[:, 0], class_weight="balanced"), "needs targets 0 or 1"),
        (
            lambda: make(kind="classes").train(X, np.full((30, 3), 1 / 3), class_weight={0: 1.0}),
            "class labels or one-hot rows",
        ),
        (lambda: ns.Network([3, 2]).train(X, Y, dropout=0.5), "no hidden layer"),
        (lambda: make().train(X, Y, sample_weight=-WEIGHT), "sample_weight must be >= 0"),
        (lambda: make().train(X, Y, sample_weight=np.zeros(30)), "is 0 for all 30 samples"),
    ],
)
def test_networks_refuse_what_does_not_suit_them(call: Any, words: str) -> None:
    with pytest.raises(ValueError) as caught:
        call()
    assert words in str(caught.value)
