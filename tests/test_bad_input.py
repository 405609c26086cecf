"""The table of bad input: each call raises the documented exception with its reason, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nanostep as ns
from cases import REQUIRED

NAN, INF = float("nan"), float("inf")
X = np.random.default_rng(0).standard_normal((6, 3))
Y = np.random.default_rng(1).random((6, 2))
LABELS = np.array([0, 1, 1, 0, 1, 0])


def with_value(array: np.ndarray, value: float) -> np.ndarray:
    changed = array.copy()
    changed.flat[4] = value
    return changed


NETWORKS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: ns.Network([3]), ValueError, "at least two widths"),
    (lambda: ns.Network([]), ValueError, "at least two widths"),
    (lambda: ns.Network(3), TypeError, "sizes must be a sequence"),
    (lambda: ns.Network("321"), TypeError, "sizes must be a sequence"),
    (lambda: ns.Network([3, 0, 1]), ValueError, "sizes[1]=0"),
    (lambda: ns.Network([3, -2, 1]), ValueError, "sizes[1]=-2"),
    (lambda: ns.Network([3, 2.0, 1]), TypeError, "sizes[1] must be an integer; got 2.0"),
    (lambda: ns.Network([3, True, 1]), TypeError, "sizes[1] must be an integer; got a bool"),
    (lambda: ns.Network([3, None, 1]), TypeError, "sizes[1]"),
    (lambda: ns.Network([3, 2**31, 1]), ValueError, "accepted are 1 to 2147483647"),
    (lambda: ns.Network([2**30, 2**30]), ValueError, "more than fit"),
    (lambda: ns.Network([2**21, 2**21]), MemoryError, "GiB"),
    (lambda: ns.Network([3, 2, 1], activation="swish"), ValueError, "choose one of: identity, sigmoid, tanh"),
    (lambda: ns.Network([3, 2, 1], activation="softmax"), ValueError, "activation='softmax'"),
    (lambda: ns.Network([3, 2, 1], activation=["tanh", "relu"]), ValueError, "2 names for 1 hidden layers"),
    (lambda: ns.Network([3, 2, 1], activation=["tahn"]), ValueError, "activation[0]='tahn'"),
    (lambda: ns.Network([3, 2, 1], activation=5), TypeError, "activation must be a name or a list"),
    (lambda: ns.Network([3, 2, 1], output="linear"), ValueError, "output='linear'"),
    (lambda: ns.Network([3, 2, 1], output=None), TypeError, "output must be a string"),
    (lambda: ns.Network([3, 2, 1], loss="mse"), ValueError, "loss='mse'"),
    (lambda: ns.Network([3, 2, 2], loss="cross_entropy"), ValueError, "use output='softmax'"),
    (lambda: ns.Network([3, 2, 2], output="tanh", loss="binary_cross_entropy"), ValueError, "'sigmoid' or 'softmax'"),
    (lambda: ns.Network([3, 1], dtype="float16"), ValueError, "float32 or float64"),
    (lambda: ns.Network([3, 1], dtype="int64"), ValueError, "float32 or float64"),
    (lambda: ns.Network([3, 1], dtype=">f8"), ValueError, "float32 or float64"),
    (lambda: ns.Network([3, 1], dtype="decimal"), TypeError, "not a NumPy dtype"),
    (lambda: ns.Network([3, 1], dtype=None), ValueError, "dtype=None"),
    (lambda: ns.Network([3, 1], backend="cuda"), ValueError, "choose one of: auto, c, numba, numpy"),
    (lambda: ns.Network([3, 1], backend=1), TypeError, "backend must be a string"),
    (lambda: ns.Network([3, 1], seed=-1), ValueError, "seed=-1"),
    (lambda: ns.Network([3, 1], seed=1.5), TypeError, "seed must be an integer"),
    (lambda: ns.SGD(lr=0), ValueError, "lr=0.0"),
    (lambda: ns.SGD(lr=-0.1), ValueError, "lr=-0.1"),
    (lambda: ns.SGD(lr=NAN), ValueError, "lr=nan"),
    (lambda: ns.SGD(lr=INF), ValueError, "lr=inf"),
    (lambda: ns.SGD(lr="fast"), TypeError, "lr must be a real number"),
    (lambda: ns.SGD(lr=True), TypeError, "lr must be a real number"),
    (lambda: ns.SGD(lr=np.array([[0.1]])), TypeError, "lr must be a real number"),
    (lambda: ns.SGD(momentum=-1), ValueError, "momentum=-1"),
    (lambda: ns.SGD(nesterov=True), ValueError, "nesterov=True needs momentum > 0"),
    (lambda: ns.SGD(momentum=0.9, nesterov=1), TypeError, "nesterov must be True or False"),
    (lambda: ns.SGD(weight_decay=-1e-3), ValueError, "weight_decay"),
    (lambda: ns.SGD(momentum=0.9, nesterov=True, dampening=0.1), ValueError, "dampening = 0"),
    (lambda: ns.SGD(momentum=NAN), ValueError, "momentum=nan"),
    (lambda: ns.SGD(dampening=INF), ValueError, "dampening=inf"),
    (lambda: ns.SGD(lr=1j), TypeError, "lr must be a real number"),
    (lambda: ns.RMSprop(alpha=1.5), ValueError, "alpha=1.5"),
    (lambda: ns.RMSprop(eps=-1), ValueError, "eps"),
    (lambda: ns.RMSprop(centered="no"), TypeError, "centered"),
    (lambda: ns.Adam(betas=(0.9, 1.0)), ValueError, "betas[1]=1.0"),
    (lambda: ns.Adam(betas=(-0.1, 0.9)), ValueError, "betas[0]=-0.1"),
    (lambda: ns.Adam(betas=(0.9, NAN)), ValueError, "betas[1]=nan"),
    (lambda: ns.Adam(betas=(0.9, "x")), TypeError, "betas[1] must be a real number"),
    (lambda: ns.Adam(betas=(0.9,)), TypeError, "betas must be a pair"),
    (lambda: ns.Adam(betas=0.9), TypeError, "betas must be a pair"),
    (lambda: ns.AdamW(amsgrad=None), TypeError, "amsgrad"),
]


@pytest.mark.parametrize(("call", "exception", "words"), NETWORKS)
def test_networks_and_optimisers_refuse(call: Callable[[], Any], exception: type[Exception], words: str) -> None:
    with pytest.raises(exception) as caught:
        call()
    assert words in str(caught.value)


DATA: list[tuple[Any, Any, type[Exception], str]] = [
    (X[:, :2], Y, ValueError, "X must have shape (n, 3)"),
    (X[None], Y, ValueError, "X must have shape (n, 3)"),
    (5.0, Y, ValueError, "X must have shape (n, 3)"),
    (X[:0], Y[:0], ValueError, "X has no samples"),
    (X, Y[:5], ValueError, "Y must have shape (6, 2)"),
    (X, Y[:, :1], ValueError, "Y must have shape (6, 2)"),
    (X, Y[:, 0], ValueError, "Y must have shape (6, 2)"),
    (X, 0.5, ValueError, "Y must have shape (6, 2)"),
    (with_value(X, NAN), Y, ValueError, "X[1, 1] is nan"),
    (with_value(X, INF), Y, ValueError, "X[1, 1] is inf"),
    (with_value(X, -INF), Y, ValueError, "X[1, 1] is -inf"),
    (X, with_value(Y, NAN), ValueError, "Y[2, 0] is nan"),
    (X + 0j, Y, TypeError, "X must hold real numbers; got ndarray of dtype complex128"),
    (X, Y + 0j, TypeError, "Y must hold real numbers"),
    (X.astype(object), Y, TypeError, "dtype object"),
    (X.astype(str), Y, TypeError, "X must hold real numbers"),
    (np.array(["2026-01-01"] * 3, "M8[D]"), Y[0], TypeError, "datetime64"),
    ([[1, 2, 3], [1, 2]], Y[:2], ValueError, "X is not a rectangular array"),
    (X, [[1, 2], [3]], ValueError, "Y is not a rectangular array"),
    (None, Y, TypeError, "X must hold real numbers"),
    (np.ma.masked_array(X, X > 1), Y, ValueError, "X has masked entries"),
]


def make(backend: str, loss: str = "half_squared_error", output: str = "sigmoid", dtype: str = "float64") -> ns.Network:
    """A network whose optimiser has state that a failed call could damage."""
    net = ns.Network([3, 4, 2], activation="tanh", output=output, loss=loss, dtype=dtype, backend=backend)
    targets = LABELS if loss == "cross_entropy" else Y
    net.train(X, targets, epochs=1, batch_size=4, optimizer=ns.Adam())
    return net


def snapshot(net: ns.Network) -> tuple[bytes, bytes, int, int, object, object]:
    state = net._state
    return (net.theta.tobytes(), state.slots.tobytes(), state.updates, state.epochs, state.optimizer, net.history)


@pytest.mark.parametrize("backend", REQUIRED)
@pytest.mark.parametrize("method", ["loss", "gradient", "step", "step with lr", "train", "validation"])
@pytest.mark.parametrize(("x", "y", "exception", "words"), DATA)
def test_methods_refuse_data(backend: str, method: str, x: Any, y: Any, exception: type[Exception], words: str) -> None:
    net = make(backend)
    calls: dict[str, Callable[[], object]] = {
        "loss": lambda: net.loss(x, y),
        "gradient": lambda: net.gradient(x, y),
        "step": lambda: net.step(x, y, optimizer=ns.SGD()),
        "step with lr": lambda: net.step(x, y, lr=0.1),
        "train": lambda: net.train(x, y),
        "validation": lambda: net.train(X, Y, validation=(x, y)),
    }
    before = snapshot(net)
    with pytest.raises(exception) as caught:
        calls[method]()
    assert words in str(caught.value).replace("validation ", "")
    assert snapshot(net) == before


@pytest.mark.parametrize("backend", REQUIRED)
def test_predict_refuses_data(backend: str) -> None:
    net = make(backend)
    refused = [row for row in DATA if row[3].startswith("X") and "no samples" not in row[3]]
    assert len(refused) >= 10
    for x, _, exception, words in refused:
        with pytest.raises(exception) as caught:
            net.predict(x)
        assert words in str(caught.value)


ROW = X[1]
ROWS: list[tuple[str, str, Any, Any]] = [
    *(("huber", "identity", with_value(X, value)[1], Y[1]) for value in (NAN, INF, -INF)),
    *(("huber", "identity", ROW, with_value(Y, value)[2]) for value in (NAN, INF, -INF)),
    ("huber", "identity", X[1, :2], Y[1]),
    ("huber", "identity", ROW, Y[1, :1]),
    ("huber", "identity", ROW, X[0]),
    ("huber", "identity", ROW, Y[1] + 0j),
    ("binary_cross_entropy", "sigmoid", ROW, np.array([1.5, 0.5])),
    ("binary_cross_entropy", "softmax", ROW, np.array([-0.5, 0.5])),
    ("cross_entropy", "softmax", ROW, np.array([0.4, 0.4])),
    ("cross_entropy", "softmax", ROW, np.array([1.5, -0.5])),
    ("poisson", "identity", ROW, np.array([1.0, -1.0])),
]


@pytest.mark.parametrize("backend", REQUIRED)
@pytest.mark.parametrize(("loss", "output", "x", "y"), ROWS)
def test_one_plain_row_is_refused_in_the_same_words_as_any_data(
    backend: str, loss: str, output: str, x: np.ndarray, y: np.ndarray
) -> None:
    """Rows of the network's own dtype may take a short cut, which must refuse what the gate refuses."""
    net = make(backend, loss, output)
    before, messages = snapshot(net), []
    for data, target in ((x, y), (x.tolist(), y), (x, y.tolist())):
        with pytest.raises((TypeError, ValueError)) as caught:
            net.step(data, target, 0.1)
        messages.append(str(caught.value).replace("list of", "ndarray of"))
    assert len(set(messages)) == 1
    assert snapshot(net) == before


@pytest.mark.parametrize("backend", REQUIRED)
@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_predicting_one_plain_row_refuses_what_is_not_finite(backend: str, value: float) -> None:
    net = make(backend)
    with pytest.raises(ValueError, match=r"X must be finite in float64; X\[1\] is"):
        net.predict(with_value(X, value)[1])


@pytest.mark.parametrize("backend", REQUIRED)
@pytest.mark.parametrize(
    ("loss", "output", "y", "exception", "words"),
    [
        ("cross_entropy", "softmax", [0, 1, 2, 0, 0, 0], ValueError, "label 2, out of range; accepted are 0 to 1"),
        ("cross_entropy", "softmax", [0, 1, -1, 0, 0, 0], ValueError, "label -1"),
        ("cross_entropy", "softmax", [0, 1, 0.5, 0, 0, 0], ValueError, "fractions such as 0.5"),
        ("cross_entropy", "softmax", [0, 1, NAN, 0, 0, 0], ValueError, "nan"),
        ("cross_entropy", "softmax", [0, 1, INF, 0, 0, 0], ValueError, "inf"),
        ("cross_entropy", "softmax", [0, 1, 2**70, 0, 0, 0], TypeError, "dtype object"),
        ("cross_entropy", "softmax", LABELS + 0j, TypeError, "integer class labels"),
        ("cross_entropy", "softmax", LABELS.astype(np.uint64) + np.uint64(2**63), ValueError, "out of range"),
        ("cross_entropy", "softmax", np.full((6, 2), NAN), ValueError, "Y[0, 0] is nan"),
        ("cross_entropy", "softmax", list("abcabc"), TypeError, "integer class labels"),
        ("cross_entropy", "softmax", LABELS[:5], ValueError, "class labels of shape (6,)"),
        ("cross_entropy", "softmax", np.full((6, 2), 0.4), ValueError, "sum to 1"),
        ("cross_entropy", "softmax", np.tile([1.5, -0.5], (6, 1)), ValueError, "in [0, 1]"),
        ("binary_cross_entropy", "sigmoid", Y + 1, ValueError, "in [0, 1]"),
        ("binary_cross_entropy", "sigmoid", -Y, ValueError, "in [0, 1]"),
        ("poisson", "identity", -Y, ValueError, ">= 0"),
    ],
)
def test_targets_that_the_loss_cannot_take(
    backend: str, loss: str, output: str, y: Any, exception: type[Exception], words: str
) -> None:
    net = make(backend, loss, output)
    before = snapshot(net)
    for call in (lambda: net.loss(X, y), lambda: net.train(X, y), lambda: net.step(X, y, lr=0.1)):
        with pytest.raises(exception) as caught:
            call()
        assert words in str(caught.value)
    assert snapshot(net) == before


def test_values_that_overflow_the_dtype_are_refused() -> None:
    net = make("numpy", dtype="float32")
    with pytest.raises(ValueError, match="X must be finite in float32"):
        net.predict(with_value(X, 1e300))


ARGUMENTS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"epochs": -1}, ValueError, "epochs=-1"),
    ({"epochs": 1.0}, TypeError, "epochs must be an integer"),
    ({"epochs": True}, TypeError, "epochs must be an integer; got a bool"),
    ({"epochs": 10**30}, ValueError, "epochs"),
    ({"batch_size": 0}, ValueError, "batch_size=0"),
    ({"batch_size": "all"}, TypeError, "batch_size"),
    ({"optimizer": "adam"}, TypeError, "optimizer must be ns.SGD"),
    ({"optimizer": ns.Adam}, TypeError, "optimizer must be ns.SGD"),
    ({"shuffle": 1}, TypeError, "shuffle must be True or False"),
    ({"seed": -1}, ValueError, "seed=-1"),
    ({"seed": 2**64}, ValueError, "seed"),
    ({"validation": X}, TypeError, "validation must be a pair"),
    ({"validation": (X, Y, None, X)}, TypeError, "validation must be a pair"),
    ({"threads": 0}, ValueError, "threads=0"),
    ({"threads": 1.5}, TypeError, "threads"),
    ({"callbacks": 5}, TypeError, "callbacks must be a callable"),
    ({"callbacks": [print, "x"]}, TypeError, "callbacks[1] must be callable"),
    ({"progress": "bar"}, TypeError, "progress must be True or False"),
]


@pytest.mark.parametrize("backend", REQUIRED)
@pytest.mark.parametrize(("arguments", "exception", "words"), ARGUMENTS)
def test_train_refuses_arguments(
    backend: str, arguments: dict[str, Any], exception: type[Exception], words: str
) -> None:
    net = make(backend)
    before = snapshot(net)
    with pytest.raises(exception) as caught:
        net.train(X, Y, **arguments)
    assert words in str(caught.value)
    assert snapshot(net) == before


@pytest.mark.parametrize("backend", REQUIRED)
@pytest.mark.parametrize(
    ("lr", "exception"),
    [(0, ValueError), (0.0, ValueError), (-1.0, ValueError), (NAN, ValueError), (INF, ValueError),
     ("fast", TypeError), (True, TypeError), ([0.1], TypeError), (1j, TypeError)],
)  # fmt: skip
def test_step_refuses_rates(backend: str, lr: Any, exception: type[Exception]) -> None:
    net = make(backend)
    before = snapshot(net)
    for x, y in ((X, Y), (X[0], Y[0])):
        with pytest.raises(exception, match="lr"):
            net.step(x, y, lr=lr)
    assert snapshot(net) == before


def test_step_takes_a_rate_or_an_optimiser() -> None:
    with pytest.raises(TypeError, match="lr or optimizer, not both"):
        make("numpy").step(X, Y, lr=0.1, optimizer=ns.SGD())


def test_hyperparameters_that_were_spoiled_later_are_noticed() -> None:
    net, optimizer = make("numpy"), ns.SGD(lr=0.1)
    net.train(X, Y, epochs=1, optimizer=optimizer)
    optimizer.lr = -5
    before = snapshot(net)
    for call in (lambda: net.train(X, Y), lambda: net.train(X, Y, optimizer=optimizer), lambda: net.step(X, Y)):
        with pytest.raises(ValueError, match="lr=-5"):
            call()
    assert snapshot(net) == before


@pytest.mark.parametrize("backend", REQUIRED)
def test_read_only_theta_is_not_written(backend: str) -> None:
    net = make(backend)
    net._theta.setflags(write=False)
    before = snapshot(net)
    for call in (lambda: net.train(X, Y), lambda: net.step(X, Y, lr=0.1), lambda: net.step(X[0], Y[0], lr=0.1)):
        with pytest.raises(ValueError, match="read-only"):
            call()
    assert snapshot(net) == before


def test_theta_cannot_be_resized_or_replaced_by_another_shape() -> None:
    net = make("numpy")
    with pytest.raises(ValueError, match="resize"):
        net.theta.resize(3, refcheck=False)
    with pytest.raises(ValueError, match=r"theta must have shape \(26,\)"):
        net.theta = np.zeros(25)
    with pytest.raises(ValueError, match="theta must be finite"):
        net.theta = np.full(26, NAN)


def test_one_feature_networks_hint_at_reshape() -> None:
    with pytest.raises(ValueError, match=r"X.reshape\(-1, 1\)"):
        ns.Network([1, 1]).predict([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="X must have shape"):
        ns.Network([1, 1]).predict(5.0)
