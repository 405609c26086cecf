"""Prepared calls of the C backend: step, predict, loss and gradient past the gate give the same bits as through it."""

from __future__ import annotations

import gc
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nanostep as ns
from cases import DTYPES, OPTIMIZERS, PAIRS, REQUIRED
from nanostep.backends.native.networks import PREPARED_PARAMETERS, Engine

pytestmark = pytest.mark.skipif("c" not in REQUIRED, reason="the C backend is not required here")

ROWS = (1, 2, 3, 4, 5, 16, 31, 64)
PREPARED = ("prepared_update", "prepared_descent", "prepared_predict", "prepared_loss", "prepared_gradient")


class Counting:
    """Counts the prepared calls that were taken and those that were declined."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.taken = self.declined = 0
        for name in PREPARED:
            monkeypatch.setattr(Engine, name, self._counted(getattr(Engine, name)))

    def _counted(self, call: Any) -> Any:
        def counted(*arguments: Any) -> Any:
            made = call(*arguments)
            self.taken += made is not None
            self.declined += made is None
            return made

        return counted


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Counting:
    return Counting(monkeypatch)


@pytest.fixture(params=ns.backends.native.available_isas() if "c" in REQUIRED else ())
def isa(request: pytest.FixtureRequest) -> Any:
    before = ns.backends.native.isa_in_use()
    ns.backends.native.select_isa(request.param)
    yield request.param
    ns.backends.native.select_isa(before)


def network(sizes: tuple[int, ...] = (3, 5, 2), **changes: Any) -> ns.Network:
    given = {"activation": "tanh", "output": "identity", "loss": "squared_error", "dtype": "float32", "backend": "c"}
    return ns.Network(sizes, **{**given, **changes})


def by_the_general_path(net: ns.Network) -> ns.Network:
    """Make every prepared call of a network decline."""
    for name in PREPARED:
        setattr(net._engine, name, lambda *arguments: None)
    return net


def samples(net: ns.Network, n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw X and Y of the network's dtype, in the domain of its loss; class labels on even seeds."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, net.sizes[0])).astype(net.dtype)
    y = rng.random((n, net.sizes[-1]))
    if net.loss_name == "cross_entropy":
        if seed % 2 == 0:
            return x, rng.integers(0, net.sizes[-1], n)
        y /= y.sum(axis=1, keepdims=True)
    return x, y.astype(net.dtype)


def assert_same(net: ns.Network, other: ns.Network) -> None:
    assert net.theta.tobytes() == other.theta.tobytes()
    assert net._state.slots.tobytes() == other._state.slots.tobytes()
    assert net._state.updates == other._state.updates
    assert net.isa == other.isa


def assert_same_calls(net: ns.Network, other: ns.Network, X: Any, Y: Any) -> None:
    """Check that one kind of call after the other gives the same bits on both networks."""
    for optimizer in (None, "own"):
        arguments = (X, Y, 0.05) if optimizer is None else (X, Y)
        assert net.step(*arguments) == other.step(*arguments)
        assert_same(net, other)
    assert net.loss(X, Y) == other.loss(X, Y)
    (value, gradient), (their_value, their_gradient) = net.gradient(X, Y), other.gradient(X, Y)
    assert value == their_value
    assert gradient.tobytes() == their_gradient.tobytes()
    out, theirs = net.predict(X), other.predict(X)
    assert (out.shape, out.dtype, type(out)) == (theirs.shape, theirs.dtype, np.ndarray)
    assert out.tobytes() == theirs.tobytes()


# -- the same bits ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name: str, dtype: str, isa: str, counting: Counting) -> None:
    for sizes in ((3, 5, 2), (4, 33, 17, 1)):
        net, other = network(sizes, dtype=dtype), by_the_general_path(network(sizes, dtype=dtype))
        net.optimizer = other.optimizer = OPTIMIZERS[name]
        for n in ROWS:
            X, Y = samples(net, n, seed=n)
            assert net.step(X, Y, optimizer=OPTIMIZERS[name]) == other.step(X, Y, optimizer=OPTIMIZERS[name])
            assert_same(net, other)
        assert net.isa == isa
        assert net._state.updates == len(ROWS)
    assert (counting.taken, counting.declined) == (2 * len(ROWS), 0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("loss", "output"), PAIRS)
def test_losses(loss: str, output: str, dtype: str, isa: str, counting: Counting) -> None:
    changes = {"loss": loss, "output": output, "dtype": dtype, "activation": "silu"}
    net, other = network(**changes), by_the_general_path(network(**changes))
    net.optimizer = other.optimizer = ns.Adam(lr=0.01)
    for n in ROWS:
        for seed in (0, 1):
            assert_same_calls(net, other, *samples(net, n, seed))
    assert net.isa == isa
    assert counting.declined == 0


@pytest.mark.parametrize("n", [65, 128, 200])
@pytest.mark.parametrize("sizes", [(2, 2, 1), (4, 64, 64, 2), (1, 1)])
def test_more_rows_than_a_tile(sizes: tuple[int, ...], n: int) -> None:
    net, other = network(sizes), by_the_general_path(network(sizes))
    net.optimizer = other.optimizer = ns.AdamW(lr=0.01)
    for seed in range(3):
        assert_same_calls(net, other, *samples(net, n, seed))


def test_as_train_makes_them() -> None:
    net, other = network(), network()
    net.optimizer = other.optimizer = ns.RMSprop(momentum=0.5)
    X, Y = samples(net, 32 * 20)
    for row in range(0, len(X), 32):
        net.step(X[row : row + 32], Y[row : row + 32])
    other.train(X, Y, epochs=1, batch_size=32, shuffle=False)
    assert net.theta.tobytes() == other.theta.tobytes()
    assert net._state.slots.tobytes() == other._state.slots.tobytes()


def arrays_of_all_kinds(array: np.ndarray) -> list[Any]:
    """Return the same numbers, small integers, in every form that a user may hand in."""
    wide = np.zeros((2 * len(array), 2 * array.shape[1] + 1), np.float32)
    wide[::2, 1::2] = array
    unaligned = np.frombuffer(b"x" + array.astype(np.float32).tobytes(), np.uint8)[1:].view(np.float32)
    integers = [array.astype(code) for code in "bBhHiIlLqQ"]
    reals = [array.astype(code) for code in "efdg"]
    return [
        *integers,
        *reals,
        array.astype(">f4"),
        array.astype(">i8"),
        array.tolist(),
        tuple(map(tuple, array.tolist())),
        list(array),
        np.asfortranarray(array.astype(np.float32)),
        np.asfortranarray(array),
        wide[::2, 1::2],
        array[::-1].copy()[::-1],
        unaligned.reshape(array.shape),
        np.ma.masked_array(array),
        array.astype(np.float32).view(type("Sub", (np.ndarray,), {})),
        np.lib.stride_tricks.as_strided(array, array.shape, array.strides, writeable=False),
        array.astype(object).astype(np.float64),
    ]


@pytest.mark.parametrize("n", [1, 7])
@pytest.mark.parametrize("dtype", DTYPES)
def test_forms_of_arrays(dtype: str, n: int) -> None:
    rng = np.random.default_rng(5)
    for loss, output in (("squared_error", "identity"), ("cross_entropy", "softmax"), ("poisson", "identity")):
        changes = {"dtype": dtype, "loss": loss, "output": output}
        net, other = network(**changes), by_the_general_path(network(**changes))
        net.optimizer = other.optimizer = ns.Adam(lr=0.01)
        xs, ys = rng.integers(0, 5, (n, 3)), np.eye(2, dtype=int)[rng.integers(0, 2, n)]
        for X, Y in zip(arrays_of_all_kinds(xs), arrays_of_all_kinds(ys), strict=True):
            assert_same_calls(net, other, X, Y)
            assert_same_calls(net, other, xs.astype(dtype), Y)
            assert_same_calls(net, other, X, ys.astype(dtype))


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize(("loss", "output"), [("squared_error", "identity"), ("cross_entropy", "softmax")])
def test_shapes_of_targets(loss: str, output: str, outputs: int) -> None:
    """Whatever the shapes, both ways give the same bits or the same error."""
    sizes = (2, 3, outputs)
    x = np.random.default_rng(0).standard_normal((2, 2)).astype(np.float32)
    shapes = [(), (1,), (2,), (1, 1), (1, 2), (2, 1), (2, 2), (3,), (3, 2), (2, 2, 1), (0,), (0, 2)]
    for shape in shapes:
        for X in (x, x[:1], x[0], x[:0], x[:, :1], x[None], x[0, 0]):
            for values in (np.zeros(shape, np.int64), np.ones(shape, np.float32), np.full(shape, 0.5)):
                results = []
                for net in (network(sizes, loss=loss, output=output),
                            by_the_general_path(network(sizes, loss=loss, output=output))):  # fmt: skip
                    try:
                        results.append((net.step(X, values, optimizer=net.optimizer), net.theta.tobytes()))
                    except (ValueError, TypeError) as error:
                        results.append((type(error), str(error)))
                assert results[0] == results[1], (X.shape, shape)


# -- hostile input ----------------------------------------------------------------------------------------------------

GOOD_X, GOOD_Y = np.ones((4, 3), np.float32), np.full((4, 2), 0.5, np.float32)


def hostile(good: np.ndarray) -> list[Any]:
    spoilt = [good.copy() for _ in range(4)]
    spoilt[0][-1, -1], spoilt[1][0, 0], spoilt[2][1, 1] = np.nan, np.inf, -np.inf
    masked = np.ma.masked_array(good, mask=np.eye(*good.shape, dtype=bool))
    objects = good.astype(object)
    objects[0, 0] = "one"
    return [
        *spoilt[:3],
        np.array(3.0, np.float32),
        np.float32(3.0),
        None,
        "text",
        object(),
        [],
        [[]],
        [[1.0, 2.0], [3.0]],
        [[1.0, None]],
        {"a": 1},
        good[:0],
        good[:, :0],
        good[:, :1],
        good[None],
        good.astype(complex),
        objects,
        good.astype(str),
        np.array([["2020-01-01"] * good.shape[1]] * len(good), "M8[D]"),
        np.zeros(good.shape, [("a", "f4")]),
        np.full(good.shape, 1e300),
        masked,
        iter(good),
        memoryview(b"abc"),
    ]


HOSTILE_LOSSES = (
    ("squared_error", "identity"),
    ("cross_entropy", "softmax"),
    ("binary_cross_entropy", "sigmoid"),
    ("poisson", "identity"),
)
CALLS = (
    lambda net, X, Y: net.step(X, Y, 0.1),
    lambda net, X, Y: net.step(X, Y),
    lambda net, X, Y: net.loss(X, Y),
    lambda net, X, Y: net.gradient(X, Y)[0],
    lambda net, X, Y: net.predict(X).tolist(),
)


@pytest.mark.parametrize(("loss", "output"), HOSTILE_LOSSES)
def test_hostile_input_gives_the_ordinary_error(loss: str, output: str) -> None:
    changes = {"loss": loss, "output": output}
    net, other = network(**changes), by_the_general_path(network(**changes))
    outside = [np.full((4, 2), number, np.float32) for number in (-0.5, 1.5, 0.4)]
    labels = [np.full(4, -1), np.full(4, 2), np.full(4, 2**63, np.uint64), np.full(4, 0.5), np.full((4, 1), 7)]
    pairs = [(x, GOOD_Y) for x in hostile(GOOD_X)]
    pairs += [(GOOD_X, y) for y in [*hostile(GOOD_Y), *outside, *labels]]
    for X, Y in pairs:
        for call in CALLS:
            results = []
            for each in (net, other):
                try:
                    results.append(call(each, X, Y))
                except (ValueError, TypeError) as error:
                    results.append((type(error), str(error).partition(" at 0x")[0]))
            assert results[0] == results[1]
        assert_same(net, other)


@pytest.mark.parametrize("lr", [0.0, -0.1, np.nan, np.inf, True, None, "0.1", 10**400, [0.1], np.array(0.1)])
def test_bad_rates(lr: Any) -> None:
    net = network()
    before = net.theta.tobytes()
    if lr is None:
        net.step(GOOD_X, GOOD_Y, lr)  # by the network's optimiser
        assert net.theta.tobytes() != before
        return
    with pytest.raises((TypeError, ValueError, OverflowError)):
        net.step(GOOD_X, GOOD_Y, lr)
    assert net.theta.tobytes() == before


@pytest.mark.parametrize("lr", [1, 0.5, np.float64(0.25), np.float32(0.25), np.int64(1)])
def test_good_rates(lr: Any) -> None:
    net, other = network(), by_the_general_path(network())
    assert net.step(GOOD_X, GOOD_Y, lr) == other.step(GOOD_X, GOOD_Y, lr)
    assert_same(net, other)


def test_read_only_theta_is_refused() -> None:
    net = network()
    net.step(GOOD_X, GOOD_Y)
    net._theta.setflags(write=False)
    before = net.theta.tobytes()
    for arguments in ((GOOD_X, GOOD_Y, 0.1), (GOOD_X, GOOD_Y), (GOOD_X[:1], GOOD_Y[:1], 0.1)):
        with pytest.raises(ValueError, match="theta is read-only"):
            net.step(*arguments)
    assert net.theta.tobytes() == before
    net.loss(GOOD_X, GOOD_Y)
    net.predict(GOOD_X)


def test_samples_that_are_theta() -> None:
    for part in ("x", "y"):
        net, other = network((3, 5, 3)), by_the_general_path(network((3, 5, 3)))
        for each in (net, other):
            views, good = each.theta[: 4 * 3].reshape(4, 3), np.ones((4, 3), np.float32)
            for arguments in ((0.1,), ()):
                each.step(*((views, good) if part == "x" else (good, views)), *arguments)
            each.loss(views, views)
        assert_same(net, other)


def test_arrays_that_change_their_memory_while_they_are_looked_at() -> None:
    """A list's elements may run code that frees the array beside it."""
    x = np.ones((4, 3), np.float32)

    class Freeing:
        def __float__(self) -> float:
            x.resize((1, 3), refcheck=False)
            return 0.5

        def __array__(self, *arguments: Any, **keywords: Any) -> np.ndarray:
            x.resize((1, 3), refcheck=False)
            return np.full(2, 0.5)

    net = network()
    before = net.theta.tobytes()
    with pytest.raises(ValueError, match="must have shape"):
        net.step(x, [Freeing()] * 4, 0.1)
    assert net.theta.tobytes() == before


def test_ctrl_c_in_a_check_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    net = network()

    def check(self: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ns.SGD, "check", check)
    with pytest.raises(KeyboardInterrupt):
        net._engine.prepared_update(net._theta, net._state, GOOD_X, GOOD_Y)


def test_large_networks_take_the_general_path() -> None:
    net = network((300, 300, 1))
    assert len(net.theta) > PREPARED_PARAMETERS
    X, Y = samples(net, 2)
    assert net._engine.prepared_predict(net._theta, X) is None
    assert np.isfinite(net.step(X, Y))


def test_long_work_takes_the_general_path() -> None:
    net = network((4, 64, 64, 2))
    X, Y = samples(net, 1000)
    assert net._engine.prepared_loss(net._theta, X, Y) is None
    assert net._engine.prepared_loss(net._theta, X[:64], Y[:64]) is not None


# -- the optimiser ----------------------------------------------------------------------------------------------------


def test_changed_fields_count_at_once(counting: Counting) -> None:
    ours, theirs = ns.Adam(lr=0.01), ns.Adam(lr=0.01)
    net, other = network(), by_the_general_path(network())
    net.optimizer, other.optimizer = ours, theirs
    X, Y = samples(net, 8)
    values: list[tuple[str, Any]] = [
        ("lr", 0.02), ("lr", 1), ("lr", np.float64(0.03)), ("eps", 1e-3), ("betas", (0.5, 0.9)), ("betas", [0.5, 0.8]),
        ("weight_decay", 0.1), ("l1", 0.01), ("clip_norm", 0.1), ("clip_norm", None), ("clip_value", 0.01),
        ("epsilon_hat", True), ("comment", "of the user's own"), ("lr", 0.05),
    ]  # fmt: skip
    for name, value in values:
        for _ in range(2):
            for each, optimizer in ((net, ours), (other, theirs)):
                setattr(optimizer, name, value)
                each.step(X, Y)
            assert_same(net, other)
    ours.betas[0] = theirs.betas[0] = 0.1  # type: ignore[index]
    net.step(X, Y, optimizer=ours)
    other.step(X, Y, optimizer=theirs)
    assert_same(net, other)
    assert counting.declined == 0


def test_amsgrad_and_momentum_switched_on_start_afresh() -> None:
    for optimizer, name, value in ((ns.SGD(lr=0.1), "momentum", 0.9), (ns.Adam(), "amsgrad", True)):
        net, other = network(), by_the_general_path(network())
        net.optimizer = other.optimizer = optimizer
        X, Y = samples(net, 8)
        for _ in range(3):
            net.step(X, Y)
            other.step(X, Y)
        setattr(optimizer, name, value)
        for _ in range(3):
            net.step(X, Y)
            other.step(X, Y)
        assert net._state.updates == 3
        assert_same(net, other)


@pytest.mark.parametrize(("name", "value"), [("lr", 0.0), ("lr", -1.0), ("lr", np.nan), ("lr", "fast"), ("lr", True),
                                             ("lr", np.array([0.1, 0.2])), ("betas", (0.9, 1.0)), ("eps", -1.0),
                                             ("clip_norm", 0.0), ("amsgrad", 1), ("betas", 3)])  # fmt: skip
def test_bad_fields_get_their_ordinary_error(name: str, value: Any) -> None:
    optimizer = ns.Adam()
    net = network()
    for _ in range(2):
        net.step(GOOD_X, GOOD_Y, optimizer=optimizer)
    before, good = net.theta.tobytes(), getattr(optimizer, name)
    setattr(optimizer, name, value)
    for _ in range(2):
        with pytest.raises((TypeError, ValueError)) as caught:
            net.step(GOOD_X, GOOD_Y, optimizer=optimizer)
        assert name in str(caught.value)
    assert net.theta.tobytes() == before
    assert net._state.updates == 2
    setattr(optimizer, name, good)
    net.step(GOOD_X, GOOD_Y, optimizer=optimizer)
    assert net._state.updates == 3


def test_a_missing_field_counts_as_its_default() -> None:
    optimizer = ns.Adam(lr=0.5)
    net = network()
    net.step(GOOD_X, GOOD_Y, optimizer=optimizer)
    net.step(GOOD_X, GOOD_Y, optimizer=optimizer)
    other = by_the_general_path(net.copy())
    del optimizer.lr
    net.step(GOOD_X, GOOD_Y, optimizer=optimizer)
    other.step(GOOD_X, GOOD_Y, optimizer=optimizer)
    assert_same(net, other)


def test_another_object_starts_afresh(counting: Counting) -> None:
    net, other = network(), by_the_general_path(network())
    X, Y = samples(net, 8)
    for kind in (ns.Adam, ns.Adam, ns.AdamW, ns.SGD, ns.RMSprop):
        optimizer = kind(lr=0.01)
        for _ in range(3):
            net.step(X, Y, optimizer=optimizer)
            other.step(X, Y, optimizer=optimizer)
        assert net.optimizer is optimizer
        assert net._state.updates == 3
        assert_same(net, other)
    assert (counting.taken, counting.declined) == (10, 0)


def test_classes_of_the_users_own_take_the_general_path() -> None:
    class Halving(ns.SGD):
        def hyperparameters(self) -> dict[str, float]:
            return {**super().hyperparameters(), "lr": self.lr / 2}

    net, other = network(), network()
    net.step(GOOD_X, GOOD_Y, optimizer=Halving(lr=0.2))
    net.step(GOOD_X, GOOD_Y)
    for _ in range(2):
        other.step(GOOD_X, GOOD_Y, optimizer=ns.SGD(lr=0.1))
    assert net.theta.tobytes() == other.theta.tobytes()


# -- theta and the state, seen from elsewhere -------------------------------------------------------------------------


def test_theta_may_change_through_any_view() -> None:
    net, other = network(), by_the_general_path(network())
    net.optimizer = other.optimizer = ns.Adam(lr=0.01)
    X, Y = samples(net, 8)
    for change in range(4):
        for each in (net, other):
            each.step(X, Y)
            each.weights[0][0, 0] += 0.5
            each.biases[-1][...] = change
            each.theta[3] *= 2
            if change == 2:
                each.theta = np.full(len(each.theta), 0.1)
        assert net.loss(X, Y) == other.loss(X, Y)
        assert net.predict(X).tobytes() == other.predict(X).tobytes()
        assert_same(net, other)


def test_slots_go_on_in_train_files_and_copies(tmp_path: Path) -> None:
    def run(net: ns.Network) -> tuple[bytes, ...]:
        optimizer = ns.Adam(lr=0.01)
        X, Y = samples(net, 32)
        net.step(X, Y, optimizer=optimizer)
        for _ in range(3):
            net.step(X, Y)
        net.train(X, Y, epochs=2, batch_size=8)
        for _ in range(3):
            net.step(X, Y)
        net.save(tmp_path / "net.safetensors")
        loaded, copied = ns.load(tmp_path / "net.safetensors", backend="c"), net.copy()
        for each in (net, loaded, copied):
            each.step(X, Y)
            each.learn_one(X[0], Y[0])
            each.step(X, Y)
            assert_same(each, net)
        net.reset_optimizer()
        net.step(X, Y)
        assert net._state.updates == 1
        return net.theta.tobytes(), net._state.slots.tobytes()

    assert run(network()) == run(by_the_general_path(network()))


def test_results_belong_to_the_caller() -> None:
    net = network()
    X, Y = samples(net, 8)
    first, again = net.predict(X), net.predict(X)
    gradient, more = net.gradient(X, Y)[1], net.gradient(2 * X, Y)[1]
    assert not np.shares_memory(first, again)
    assert not np.shares_memory(gradient, more)
    kept = first.copy(), gradient.copy()
    net.step(X, Y, 0.5)
    del net
    gc.collect()
    assert np.array_equal(first, kept[0])
    assert np.array_equal(gradient, kept[1])
    assert first.flags.writeable
    assert first.flags.owndata


def test_an_engine_serves_several_networks() -> None:
    net = network()
    X, Y = samples(net, 8)
    theta = net.theta.copy()
    expected = net.predict(X).tobytes()
    net.step(X, Y, 0.5)
    out = net._engine.prepared_predict(theta, X)
    assert out is not None
    assert out.tobytes() == expected
    assert net.predict(X).tobytes() != expected


# -- threads ----------------------------------------------------------------------------------------------------------


def test_two_threads_neither_crash_nor_mix() -> None:
    net, still = network(), network((3, 16, 2))
    X, Y = samples(net, 32)
    expected = still.predict(X).tobytes(), still.loss(X, Y)
    net.step(X, Y, optimizer=ns.Adam(lr=1e-4))
    errors: list[BaseException] = []

    def work(k: int) -> None:
        try:
            for i in range(500):
                net.step(X, Y)
                net.step(X.tolist(), Y)
                assert still.predict(X).tobytes() == expected[0]
                assert still.loss(X.astype(float) if i % 2 else X, Y) == expected[1]
                if i % 50 == k:
                    net.optimizer.lr = 1e-4 * (1 + k)
        except BaseException as error:  # to the main thread
            errors.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert net._state.updates == 1 + 4 * 2 * 500
    assert np.isfinite(net.theta).all()


# -- one output of each row, and weights ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("loss", "output"), [pair for pair in PAIRS if pair[1] in ("identity", "sigmoid", "softmax")])
def test_chosen_outputs_and_weights(loss: str, output: str, dtype: str, counting: Counting) -> None:
    given = {"loss": loss, "output": output, "dtype": dtype}
    net, other = network((3, 5, 4), **given), by_the_general_path(network((3, 5, 4), **given))
    net.optimizer = other.optimizer = ns.Adam(lr=0.01)
    taken = 0
    for n in ROWS:
        X, Y = samples(net, n, seed=n)
        rng = np.random.default_rng(n)
        weight, chosen = rng.standard_normal(n), rng.integers(0, 4, n)
        calls: list[dict[str, Any]] = [
            {"Y": Y, "sample_weight": weight},
            {"Y": Y, "sample_weight": [[w] for w in weight]},
        ]
        if loss != "cross_entropy":
            target = Y[:, 0]
            calls += [
                {"Y": target, "outputs": chosen},
                {"Y": target.tolist(), "outputs": chosen.astype(np.int8)},
                {"Y": target, "outputs": chosen.tolist(), "sample_weight": weight.astype(dtype)},
                {"Y": np.repeat(target, 2)[::2], "outputs": np.repeat(chosen, 2)[::2]},
            ]
        for call in calls:
            for lr in (None, 0.05):
                assert net.step(X, lr=lr, **call) == other.step(X, lr=lr, **call)
                assert_same(net, other)
                taken += 1
    assert (counting.taken, counting.declined) == (taken, 0)
    # the next plain call does not know of it
    X, Y = samples(net, 5)
    assert_same_calls(net, other, X, Y)


def test_chosen_outputs_of_one_sample(counting: Counting) -> None:
    net, other = network(), by_the_general_path(network())
    x = np.ones(3, "f4")
    for index, target in ((1, 0.5), (np.int64(0), np.float32(2)), (np.array(1), np.array(0.5)), ([1], [0.5])):
        assert net.step(x, target, 0.1, outputs=index) == other.step(x, target, 0.1, outputs=index)
        assert_same(net, other)
    assert counting.taken == 4


@pytest.mark.parametrize(
    "more",
    [
        {"outputs": [0, 1, 2]},
        {"outputs": [0, 1, -1]},
        {"outputs": [0, 1]},
        {"outputs": [0.0, 1.0, 1.0]},
        {"outputs": [[0], [1], [1]]},
        {"outputs": 1},
        {"outputs": [0, 1, 2**70]},
        {"outputs": "abc"},
        {"outputs": [0, 1, 1], "sample_weight": [1, 1]},
        {"outputs": [0, 1, 1], "sample_weight": 2.0},
        {"outputs": [0, 1, 1], "sample_weight": [1, np.nan, 1]},
        {"outputs": [0, 1, 1], "sample_weight": [1, 1e300, 1]},
        {"outputs": [0, 1, 1], "sample_weight": np.ones((3, 2))},
        {"outputs": [0, 1, 1], "sample_weight": np.ones((1, 3))},
    ],
    ids=str,
)
def test_unacceptable_outputs_and_weights_are_declined_and_refused(more: dict[str, Any], counting: Counting) -> None:
    net = network()
    net.step(np.ones((3, 3)), np.ones((3, 2)), optimizer=ns.Adam())
    before, taken = net.theta.tobytes(), counting.taken
    for lr in (None, 0.1):
        with pytest.raises((ValueError, TypeError, OverflowError)):
            net.step(np.ones((3, 3)), np.ones(3), lr, **more)
    assert net.theta.tobytes() == before
    assert counting.taken == taken


def test_weights_in_the_memory_of_theta_go_the_long_way(counting: Counting) -> None:
    net, other = network(), network()
    weight = other.theta[:4].copy()
    X, Y = samples(net, 4)
    taken = counting.taken
    assert net.step(X, Y, 0.1, sample_weight=net.theta[:4]) == other.step(X, Y, 0.1, sample_weight=weight)
    assert counting.taken == taken + 1
    assert net.theta.tobytes() == other.theta.tobytes()
