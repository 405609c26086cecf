"""`forward`, `backward` and `update(lr=)` of `net.jit()`: own losses in jitted code."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit
from numba.core.errors import TypingError

import nanostep as ns
from nanostep.backends.jit import tape
from nanostep.jit import JittedNetwork

CASES: tuple[tuple[list[int], str | list[str], str], ...] = (
    ([2, 1], [], "identity"),
    ([5, 3], [], "softmax"),
    ([9, 1], [], "softmax"),
    ([3, 1, 2], ["silu"], "silu"),
    ([4, 17, 1, 9, 3], ["elu", "tanh", "softplus", "relu"][:3], "sigmoid"),
    ([9, 20, 18], ["relu"], "softplus"),
    ([70, 60, 5], ["leaky_relu"], "elu"),
    ([4, 64, 64, 1], "relu", "identity"),
    ([3, 24, 9, 4], ["sigmoid", "identity"], "tanh"),
    ([17, 40, 9], ["tanh"], "softmax"),
)
"""Every activation, hidden and last; widths that fill vectors and widths that do not; narrow and wide last layers."""

TOLERANCE = {"float32": 2e-5, "float64": 2e-13}


@njit
def pull(fns, theta, x, dout, out, grad, dX, work):
    """Outputs, and both gradients at once and each alone."""
    fns.forward(theta, x, out, work)
    fns.backward(theta, x, dout, grad[0], dX[0], work)
    fns.backward(theta, x, dout, grad[1], None, work)
    fns.backward(theta, x, dout, None, dX[1], work)


def check(net: ns.Network, fns: JittedNetwork, x: np.ndarray, dout: np.ndarray) -> np.ndarray:
    """Compare with the network's own pull-back, into memory that holds NaN; return the outputs."""
    out, grad, dX = (np.full(shape, np.nan, net.dtype) for shape in (dout.shape, (2, len(net.theta)), (2, *x.shape)))
    work, theta = fns.workspace(len(x) if x.ndim == 2 else 0), net.theta.copy()
    work[:] = np.nan
    pull(fns, theta, x, dout, out, grad, dX, work)
    want_out, pull_back = net.vjp(x)
    want_grad, want_dX = pull_back(dout, inputs=True)
    tolerance = TOLERANCE[net.dtype.name]
    np.testing.assert_allclose(out, want_out, tolerance, tolerance)
    np.testing.assert_allclose(grad[0], want_grad, tolerance, tolerance * max(1, len(x)))
    np.testing.assert_allclose(dX[0], want_dX, tolerance, tolerance)
    np.testing.assert_array_equal(grad[1], grad[0])
    np.testing.assert_array_equal(dX[1], dX[0])
    np.testing.assert_array_equal(theta, net.theta)
    return out


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("k", range(len(CASES)))
def test_batches_and_rows_are_pulled_back_as_by_the_network(k: int, dtype: str) -> None:
    sizes, activation, output = CASES[k]
    net = ns.Network(sizes, activation=activation, output=output, dtype=dtype, backend="numpy", seed=k)
    fns, random = net.jit(), np.random.default_rng(k)
    for n in (1, 3, 70, 131):
        X, dout = (random.standard_normal((n, width)).astype(dtype) for width in (sizes[0], sizes[-1]))
        check(net, fns, X, dout)
    check(net, fns, X[0].copy(), dout[0].copy())
    check(net, fns, X[:0].copy(), dout[:0].copy())


def test_a_larger_workspace_and_one_made_in_jitted_code_give_the_same_bits() -> None:
    net = ns.Network([4, 9, 3], activation="tanh", dtype="float32", backend="numpy", seed=1)
    fns, X = net.jit(), np.random.default_rng(0).standard_normal((70, 4)).astype(np.float32)

    @njit
    def outputs(fns, theta, x, out, rows):
        fns.forward(theta, x, out, fns.workspace(rows))

    results = np.empty((3, 70, 3), np.float32)
    for out, rows in zip(results, (70, 71, 300), strict=True):
        outputs(fns, net.theta, X, out, rows)
    assert (results == results[0]).all()
    fns.forward(net.theta, X, results[1], fns.workspace(70))
    np.testing.assert_array_equal(results[1], results[0])


@pytest.mark.parametrize("wrong", ["mean", "no derivative", "new weights"])
def test_the_comparison_rejects(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the compiled code is held to is not met by a mean, without f', or with weights that have moved."""
    net = ns.Network([3, 6, 2], activation="tanh", output="identity", backend="numpy", seed=1)
    x, dout = np.random.default_rng(0).standard_normal((9, 3)), np.random.default_rng(1).standard_normal((9, 2))
    if wrong == "mean":
        true = net.vjp

        def vjp(x):
            out, pull_back = true(x)
            return out, lambda dout, inputs: tuple(g / len(x) for g in pull_back(dout, inputs=inputs))

        monkeypatch.setattr(net, "vjp", vjp)
        fns = net.jit()
    elif wrong == "no derivative":
        fns = ns.Network([3, 6, 2], activation="identity", output="identity", backend="numpy", seed=1).jit()
    else:
        fns = net.jit()
        monkeypatch.setattr(net, "vjp", lambda x: ns.Network([3, 6, 2], output="identity", backend="numpy").vjp(x))
    with pytest.raises(AssertionError):
        check(net, fns, x, dout)


def test_finite_differences() -> None:
    net = ns.Network([3, 5, 4, 2], activation=["silu", "softplus"], output="tanh", backend="numpy", seed=3)
    fns, X = net.jit(), np.random.default_rng(0).standard_normal((4, 3))
    work, out, grad, dX = fns.workspace(4), np.empty((4, 2)), np.empty_like(net.theta), np.empty_like(X)

    def loss(theta: np.ndarray, x: np.ndarray) -> float:
        fns.forward(theta, x, out, work)
        return float((out**3).sum() / 3)

    theta = net.theta.copy()
    loss(theta, X)
    fns.backward(theta, X, out**2, grad, dX, work)
    h = 1e-5
    for array, got in ((theta, grad), (X, dX.copy())):
        for at in np.ndindex(array.shape):
            before = array[at]
            array[at] = before + h
            up = loss(theta, X)
            array[at] = before - h
            down = loss(theta, X)
            array[at] = before
            assert got[at] == pytest.approx((up - down) / (2 * h), rel=1e-6, abs=1e-9)


@njit
def move(fns, theta, grad, slots, rates):
    for t in range(len(rates)):
        fns.update(theta, grad, slots, t + 1, lr=rates[t])


@pytest.mark.parametrize("optimizer", [ns.SGD(momentum=0.9, lr=7), ns.Adam(lr=7), ns.AdamW(lr=7, weight_decay=0.1)])
def test_another_learning_rate_compiles_nothing(optimizer: ns.Adam) -> None:
    net = ns.Network([3, 4, 2], backend="numpy", seed=2)
    fns, random = net.jit(optimizer), np.random.default_rng(0)
    grad, rates = random.standard_normal(len(net.theta)), np.array([0.1, 0.02, 0.03])
    theta, slots = net.theta.copy(), fns.slots()
    move(fns, theta, grad, slots, rates)
    compiled = len(move.signatures)
    fns.update(theta, grad, slots, 4, 0.4)
    fns.update(theta, grad, slots, 5, lr=1)
    move(fns, net.theta.copy(), grad, fns.slots(), rates * 3)
    assert len(move.signatures) == compiled
    for lr in (*rates, 0.4, 1.0):
        optimizer.lr = lr
        net.apply_gradient(grad, optimizer=optimizer)
    np.testing.assert_allclose(theta, net.theta, 1e-12, 1e-14)


def test_the_optimizers_own_rate_is_the_default() -> None:
    net = ns.Network([3, 4, 2], backend="numpy", seed=2)
    fns, grad = net.jit(ns.SGD(lr=0.25)), np.ones(len(net.theta))
    theta = net.theta.copy()
    fns.update(theta, grad, fns.slots(), 1)
    np.testing.assert_array_equal(theta, net.theta - 0.25)


@njit
def backward(fns, theta, x, dout, grad, dX, work):
    fns.backward(theta, x, dout, grad, dX, work)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dout": np.ones(1)}, "dout must have 2 dimensions, as x"),
        ({"dX": np.ones(2)}, "dX must have 2 dimensions, as x"),
        ({"grad": np.ones(13, np.float32)}, "grad must be a C-contiguous array of float64"),
        ({"x": np.ones((2, 2, 2))}, "x must be one row"),
        ({"dX": 1.0}, "dX must be"),
    ],
)
def test_wrong_types_are_refused_when_code_is_compiled(change: dict, message: str) -> None:
    fns = ns.Network([2, 3, 1]).jit()
    given = {"x": np.ones((4, 2)), "dout": np.ones((4, 1)), "grad": np.ones(13), "dX": np.ones((4, 2)), **change}
    with pytest.raises(TypingError, match=message):
        backward(fns, np.ones(13), *given.values(), fns.workspace(4))


@pytest.mark.parametrize("name", ["theta", "x", "dout", "grad", "dX", "work"])
def test_wrong_sizes_are_refused_when_python_calls(name: str) -> None:
    fns = ns.Network([2, 3, 1], backend="numpy").jit()
    rows = 1000
    given = {
        "theta": np.ones(13), "x": np.ones((rows, 2)), "dout": np.ones((rows, 1)), "grad": np.zeros(13),
        "dX": np.zeros((rows, 2)), "work": fns.workspace(rows),
    }  # fmt: skip
    given[name] = fns.workspace(64) if name == "work" else np.ones((3, 3))
    with pytest.raises(ValueError, match=name):
        fns.backward(*given.values())
    if name in ("theta", "x", "work"):
        with pytest.raises(ValueError, match=name):
            fns.forward(given["theta"], given["x"], np.empty((rows, 1)), given["work"])
    with pytest.raises(ValueError, match="out"):
        fns.forward(np.ones(13), np.ones((rows, 2)), np.empty((2, 1)), fns.workspace(rows))
    with pytest.raises(ValueError, match="lr"):
        fns.update(np.ones(13), np.ones(13), fns.slots(), 1, lr=np.nan)


def test_narrow_layers_and_layers_with_few_inputs_have_their_own_forms() -> None:
    layers = tape.tape_of(ns.Network([3, 64, 64, 1], activation="relu", output="identity").jit().wide).layers
    assert [t.is_narrow for t in layers] == [False, False, True]
    assert [t.is_transposed for t in layers] == [True, False, False]
