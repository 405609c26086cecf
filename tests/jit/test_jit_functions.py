"""`net.jit()`: functions for a user's own jitted code, the C library's functions in such code, and the examples that
use them."""

from __future__ import annotations

import importlib.util
import os
import pickle
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numba import njit, prange, typeof
from numba.core.errors import TypingError

import nanostep as ns
from cases import OPTIMIZERS, PAIRS, draw_targets
from nanostep.backends.jit._kernel import restore_type
from nanostep.jit import JittedNetwork
from nanostep.jit.native import c_functions

ROOT = Path(__file__).resolve().parents[2]

NETWORKS: tuple[tuple[list[int], list[str]], ...] = (
    ([2, 1], []),
    ([5, 3], []),
    ([3, 1, 2], ["silu"]),
    ([4, 17, 1, 9, 3], ["elu", "tanh", "softplus"]),
    ([9, 20, 18], ["relu"]),
    ([70, 60, 5], ["leaky_relu"]),
    ([8, 16, 1], ["sigmoid"]),
)
"""Widths that fill vectors and widths that do not, single neurons, unrolled loops and others."""

TOLERANCE = {"float32": 2e-5, "float64": 1e-12}


@njit
def call_all(fns, theta, x, y, lr, out, grad, work):
    """Return the output of the first row, loss and gradient of all rows, and make a step on each row and one on all."""
    fns.forward(theta, x[0], out, work)
    loss = fns.loss(theta, x, y, work)
    also = fns.gradient(theta, x, y, grad, work)
    total = 0.0
    for i in range(len(x)):
        total += fns.step(theta, x[i], y[i], lr, work)
    return loss, also, total, fns.step(theta, x, y, lr, work)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("k", range(len(NETWORKS)))
def test_functions_do_what_the_network_does(k: int, dtype: str) -> None:
    sizes, hidden = NETWORKS[k]
    for loss, output in PAIRS[3 * k + (dtype == "float32") :: 6 * len(NETWORKS)]:
        random = np.random.default_rng(k)
        net = ns.Network(sizes, activation=hidden, output=output, loss=loss, dtype=dtype, backend="numpy", seed=k)
        X = random.standard_normal((70, sizes[0])).astype(dtype)
        Y = draw_targets(loss, (70, sizes[-1]), random).astype(dtype)
        fns = net.jit()
        theta, out, grad, work = net.theta.copy(), np.empty(sizes[-1], dtype), np.empty_like(net.theta), fns.workspace()
        work[:] = np.nan
        got = call_all(fns, theta, X, Y, 0.01, out, grad, work)
        want_out = net.predict(X[0])
        want_loss, want_grad = net.gradient(X, Y)
        total = sum(net.step(x, y, lr=0.01) for x, y in zip(X, Y, strict=True))
        last = net.step(X, Y, lr=0.01)
        what, tolerance = f"{sizes} {loss} {output}", TOLERANCE[dtype]
        np.testing.assert_allclose(out, want_out, tolerance, tolerance, err_msg=what)
        np.testing.assert_allclose(grad, want_grad, tolerance, tolerance, err_msg=what)
        np.testing.assert_allclose(got, [want_loss, want_loss, total, last], tolerance, tolerance, err_msg=what)
        np.testing.assert_allclose(theta, net.theta, 100 * tolerance, 100 * tolerance, err_msg=what)


def test_class_numbers_do_what_one_hot_rows_do() -> None:
    net = ns.Network([4, 6, 3], activation="tanh", output="softmax", loss="cross_entropy", seed=2)
    X, labels = np.random.default_rng(0).standard_normal((20, 4)), np.random.default_rng(1).integers(0, 3, 20)
    fns = net.jit()
    results = []
    for Y in (labels, np.eye(3)[labels]):
        theta, grad, out = net.theta.copy(), np.empty_like(net.theta), np.empty(3)
        values = call_all(fns, theta, X, Y, 0.1, out, grad, fns.workspace())
        results.append((*values, *theta, *grad))
    np.testing.assert_allclose(results[0], results[1], 1e-12, 1e-14)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_updates_are_those_of_the_optimizer(name: str) -> None:
    optimizer = OPTIMIZERS[name]
    net = ns.Network([3, 4, 2], activation="tanh", output="identity", backend="numpy")
    X, Y = np.random.default_rng(0).standard_normal((2, 12, 3)), np.random.default_rng(1).standard_normal((12, 2))
    fns = net.jit(optimizer)
    theta, grad, slots, work = net.theta.copy(), np.empty_like(net.theta), fns.slots(), fns.workspace()
    assert slots.shape == (len(optimizer.slots), len(theta))
    for t in range(1, 5):
        fns.gradient(theta, X[0], Y, grad, work)
        fns.update(theta, grad, slots, t)
    net.train(X[0], Y, epochs=4, batch_size=12, optimizer=optimizer, shuffle=False)
    np.testing.assert_allclose(theta, net.theta, 1e-12, 1e-14)


def test_the_network_stays_as_it_was() -> None:
    net = ns.Network([2, 3, 1])
    before = net.theta.copy()
    fns = net.jit()
    fns.step(net.theta.copy(), np.ones(2), np.ones(1), 0.5, fns.workspace())
    np.testing.assert_array_equal(net.theta, before)
    fns.step(net.theta, np.ones(2), np.ones(1), 0.5, fns.workspace())
    assert (net.theta != before).any()


def test_workspaces_can_be_made_in_jitted_code_for_each_thread() -> None:
    net = ns.Network([2, 5, 1], activation="tanh", output="identity")
    fns = net.jit(ns.Adam(lr=0.01))

    @njit(parallel=True)
    def fit(fns, theta, x, y):
        for k in prange(len(theta)):
            work, slots, grad = fns.workspace(), fns.slots(), np.empty(theta.shape[1])
            for t in range(20):
                fns.gradient(theta[k], x, y, grad, work)
                fns.update(theta[k], grad, slots, t + 1)

    x, y = np.random.default_rng(0).random((30, 2)), np.random.default_rng(1).random((30, 1))
    theta = np.tile(net.theta, (50, 1))
    fit(fns, theta, x, y)
    net.train(x, y, epochs=20, batch_size=30, optimizer=ns.Adam(lr=0.01), shuffle=False)
    np.testing.assert_array_equal(theta, np.tile(theta[0], (50, 1)))
    np.testing.assert_allclose(theta[0], net.theta, 1e-12)


def test_functions_may_be_a_global_too() -> None:
    fns = ns.Network([2, 3, 1], seed=4).jit()

    @njit
    def forward(theta, x, out, work):
        fns.forward(theta, x, out, work)
        return out[0]

    net = ns.Network([2, 3, 1], seed=4)
    assert forward(net.theta, np.ones(2), np.empty(1), fns.workspace()) == pytest.approx(net.predict([1.0, 1.0])[0])


@njit
def one_step(fns, theta, x, y, lr, work):
    return fns.step(theta, x, y, lr, work)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"theta": np.ones(13, np.float32)}, "theta must be a C-contiguous array of float64"),
        ({"x": np.ones((2, 4))[:, ::2]}, "x must be a C-contiguous array"),
        ({"x": 1.0}, "x must be"),
        ({"y": 1}, "class numbers are for cross_entropy"),
    ],
)
def test_wrong_types_are_refused_when_code_is_compiled(change: dict, message: str) -> None:
    fns = ns.Network([2, 3, 1]).jit()
    given = {"theta": np.ones(13), "x": np.ones(2), "y": np.ones(1), **change}
    with pytest.raises(TypingError, match=message):
        one_step(fns, given["theta"], given["x"], given["y"], 0.1, fns.workspace())


ARGUMENTS = {
    "forward": ("theta", "x", "out", "work"),
    "step": ("theta", "x", "y", "lr", "work"),
    "loss": ("theta", "x", "y", "work"),
    "gradient": ("theta", "x", "y", "grad", "work"),
    "update": ("theta", "grad", "slots", "t"),
}


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        *((name, wrong) for name, wanted in ARGUMENTS.items() for wrong in wanted if wrong != "lr"),
        ("loss", "rows"),
        ("gradient", "rows"),
    ],
)
def test_wrong_sizes_are_refused_when_python_calls(name: str, wrong: str) -> None:
    net = ns.Network([2, 3, 1], backend="numpy")
    fns = net.jit(ns.Adam())
    rows = () if name in ("forward", "step") else (4,)
    arrays = {
        "theta": net.theta.copy(), "x": np.ones((*rows, 2)), "y": np.ones((*rows, 1)), "grad": np.zeros(13),
        "out": np.zeros(1), "slots": fns.slots(), "work": fns.workspace(), "lr": 0.1, "t": 1,
    }  # fmt: skip
    if wrong == "rows":
        arrays["x"], arrays["y"] = np.ones((0, 2)), np.ones((0, 1))
    elif wrong == "t":
        arrays["t"] = 0
    else:
        arrays[wrong] = arrays[wrong][..., :-1] if arrays[wrong].ndim < 2 else arrays[wrong][:, :-1].copy()
    before = arrays["theta"].copy()
    with pytest.raises(ValueError, match="x has no rows" if wrong == "rows" else wrong):
        getattr(fns, name)(*(arrays[argument] for argument in ARGUMENTS[name]))
    np.testing.assert_array_equal(arrays["theta"], before)


def test_class_numbers_out_of_range_are_refused_when_python_calls() -> None:
    net = ns.Network([2, 3], output="softmax", loss="cross_entropy", backend="numpy")
    fns, theta = net.jit(), net.theta.copy()
    for y in (3, -1):
        with pytest.raises(ValueError, match="accepted are 0 to 2"):
            fns.step(theta, np.ones(2), y, 0.1, fns.workspace())
    with pytest.raises(TypeError, match="x must be a NumPy array"):
        fns.step(theta, [1.0, 2.0], 1, 0.1, fns.workspace())
    np.testing.assert_array_equal(theta, net.theta)


def test_read_only_arrays_are_not_written() -> None:
    net = ns.Network([2, 3, 1], backend="numpy")
    fns, theta = net.jit(), net.theta.copy()
    theta.setflags(write=False)
    with pytest.raises(TypingError, match="theta must be writable"):
        fns.step(theta, np.ones(2), np.ones(1), 0.1, fns.workspace())


def test_jit_checks_its_optimizer() -> None:
    with pytest.raises(TypeError, match="optimizer"):
        ns.Network([2, 1]).jit("adam")  # type: ignore[arg-type]
    assert isinstance(ns.Network([2, 1]).jit(), JittedNetwork)


CACHED = """
import sys
import numpy as np
import nanostep as ns
sys.path.insert(0, {directory!r})
import user

for width in (3, 4):
    net = ns.Network([2, width, 1], seed=0)
    fns, work = net.jit(), None
    print(user.learn(fns, net.theta, np.ones(2), np.ones(1), fns.workspace()).hex())
print(len(user.learn.stats.cache_hits))
"""


def test_code_of_the_user_may_be_cached(tmp_path: Path) -> None:
    (tmp_path / "user.py").write_text(
        "from numba import njit\n\n@njit(cache=True)\ndef learn(fns, theta, x, y, work):\n"
        "    for _ in range(10):\n        loss = fns.step(theta, x, y, 0.5, work)\n    return loss\n"
    )
    outputs = []
    for _ in range(2):
        code = CACHED.format(directory=str(tmp_path))
        environment = {**os.environ, "NUMBA_CACHE_DIR": ""}
        process = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
        )
        assert process.returncode == 0, process.stderr
        outputs.append(process.stdout.split())
    assert outputs[0][:2] == outputs[1][:2]
    assert outputs[0][0] != outputs[0][1]
    assert [output[2] for output in outputs] == ["0", "2"]


def test_types_of_other_versions_are_merely_unknown() -> None:
    known = typeof(ns.Network([2, 1]).jit())
    assert pickle.loads(pickle.dumps(known)) is known
    assert restore_type(b"cnanostep.gone\nNet\n.") != known


# -- The C library -----------------------------------------------------------------------------------------------------


@njit(cache=True)
def learn_rows(fns, theta, x, y, lr, work):
    total = 0.0
    for i in range(len(x)):
        total += fns.step(theta, x[i], y[i], lr, work)
    return total


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_c_functions_make_the_bits_of_step(dtype: str) -> None:
    net = ns.Network([3, 5, 2], activation="tanh", output="identity", loss="huber", dtype=dtype, backend="c")
    X, Y = (np.random.default_rng(k).random((30, n)).astype(dtype) for k, n in ((0, 3), (1, 2)))
    fns = c_functions(net)
    theta, out, work = net.theta.copy(), np.empty(2, dtype), fns.workspace()
    total = learn_rows(fns, theta, X, Y, 0.1, work)
    assert total == sum(net.step(x, y, lr=0.1) for x, y in zip(X, Y, strict=True))
    np.testing.assert_array_equal(theta, net.theta)

    @njit
    def forward(fns, theta, x, out, work):
        fns.forward(theta, x, out, work)

    forward(fns, theta, X[0], out, work)
    np.testing.assert_array_equal(out, net.predict(X[0]))


def test_c_functions_give_nan_for_what_step_refuses() -> None:
    net = ns.Network([2, 3, 1], backend="c")
    fns, theta = c_functions(net), net.theta.copy()
    bad = np.array([[np.inf, 0.0]])
    assert np.isnan(learn_rows(fns, theta, bad, np.ones((1, 1)), 0.1, fns.workspace()))
    np.testing.assert_array_equal(theta, net.theta)


# -- The examples ------------------------------------------------------------------------------------------------------


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def test_cart_pole_is_solved() -> None:
    cartpole = example("cartpole")
    lengths = cartpole.main(0)
    assert lengths[-100:].mean() >= cartpole.SOLVED
    assert lengths[:50].mean() < 100


def test_online_learning_follows_a_drifting_stream() -> None:
    learning, stopped = example("online").main(100_000)
    assert learning[-1] < 0.02
    assert stopped[-1] > 10 * learning[-1]


def test_a_thousand_series_are_fitted() -> None:
    theta, losses = example("series").main(1000)
    assert np.isfinite(theta).all()
    assert np.median(losses) < 0.002
    assert losses.max() < 0.01
