"""The Numba backend with Numba switched off (NUMBA_DISABLE_JIT): the text of its kernels runs as Python.

It must give the reference's results, and the lines of the kernels that the cases reach are counted.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).resolve().parents[1]
KERNELS = (
    "_math", "activations", "arguments", "batch", "dropout", "gradient", "jacobian", "lanes", "lanes_batch",
    "lanes_layers", "lanes_step", "lanes_update", "layers", "layout", "losses", "optimizers", "order", "output",
    "passes", "population", "product", "row", "sample", "squares", "tape", "train", "vector", "vjp",
)  # fmt: skip
"""Files whose every function is a kernel or part of one."""

ENOUGH = 0.97
"""Share of the kernels' lines that must be reached."""


def run() -> dict:
    """Run this file as a program in a process without Numba's compiler."""
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    process = subprocess.run(
        [sys.executable, "-W", "ignore", __file__], capture_output=True, text=True, env=environment, check=False
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return json.loads(process.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def report() -> dict:
    return run()


def test_kernels_as_python_give_the_results_of_the_reference(report: dict) -> None:
    assert report["checks"] > 100


@pytest.mark.parametrize("name", KERNELS)
def test_lines_of_the_kernels_are_reached(report: dict, name: str) -> None:
    missed, lines = report["missed"][name], report["lines"][name]
    print(f"{name}: {lines - len(missed)} of {lines} lines reached")
    assert len(missed) <= (1 - ENOUGH) * lines, f"{name}.py, lines {missed}"


def main() -> None:
    """Run checks of the conformance suite on small cases, and print the lines that were reached."""
    sys.path[:0] = [str(TESTS / name) for name in ("", "jit", "populations")]
    import coverage_of_lines
    from nanostep.backends import jit

    with coverage_of_lines.Lines([Path(jit.__file__).parent / f"{name}.py" for name in KERNELS]) as lines:
        checks = check_small_cases()
    print(json.dumps({"checks": checks, "missed": lines.missed(), "lines": lines.counts()}))


def check_small_cases() -> int:
    """Return the number of checks made; a check that fails raises."""
    import numpy as np

    from cases import DTYPES, PAIRS
    from conformance import operations
    from conformance.runs import RunCase, Schedule, check_forward, check_gradient, check_labels, check_training
    from nanostep.architecture import make_architecture
    from nanostep.backends import jit
    from nanostep.backends.contract import OPERATIONS

    made = 0
    operations.SIZES = tuple({"b": b, "i": i, "o": o, "p": b * i, "n": b * o} for b, i, o in [(2, 5, 7), (3, 17, 1)])
    for operation in OPERATIONS:
        for dtype in DTYPES:
            function = getattr(getattr(jit, operation.module), operation.name)
            operations.check_operation(function, operation, dtype)
            made += 1
    engine = jit.networks.Engine
    for k, (loss, output) in list(enumerate(PAIRS))[::2]:
        dtype = "float64"  # without fused sums float32 is less exact than the suite requires
        hidden = ["identity", "sigmoid", "tanh", "relu", "leaky_relu", "elu", "softplus", "silu"][k // 2 % 8]
        case = RunCase(make_architecture([3, 5, 1, 2 + k % 3], hidden, output, loss), 2 + k % 5)
        check_forward(engine, case, dtype)
        check_gradient(engine, case, dtype)
        for optimizer, batch in (("sgd", 1), (("sgd", "adamw-amsgrad", "rmsprop-all", "sgd-nesterov")[k // 2 % 4], 2)):
            check_training(engine, case, Schedule(optimizer, batch, k % 4 == 0, 5), dtype)
        made += 4
    for sizes, n in (([9, 20, 18], 70), ([3, 80, 200], 20), ([20, 10], 3), ([2, 1], 20)):
        case = RunCase(make_architecture(sizes, "tanh", "softmax", "cross_entropy"), n)
        if sizes[-1] > 1:
            check_gradient(engine, case, "float64")
            check_labels(engine, case, "float64")
        check_training(engine, case, Schedule("sgd", min(n, 17), True, 5), "float64")
        check_training(engine, case, Schedule("adam", n, True, 2), "float64")
        made += 4
    check_rare_paths()
    made += check_extras(engine) + check_populations() + check_losses_with_options() + check_tapes()
    return made + check_functions(np.random.default_rng(0))


def check_extras(engine: Any) -> int:
    """Check extras of runs, with rules that clip and penalise, sample weights, the Jacobian, and vjp."""
    from conformance.runs import RunCase, Schedule, check_jacobian, check_training, check_vjp, check_weights
    from nanostep.architecture import make_architecture

    cases = [
        RunCase(make_architecture(sizes, hidden, output, loss), n)
        for sizes, hidden, output, loss, n in (
            ([2, 3, 1], "sigmoid", "sigmoid", "binary_cross_entropy", 5),
            ([3, 5, 3], "silu", "softmax", "cross_entropy", 20),
            ([3, 18, 20], "tanh", "softmax", "huber", 6),
        )
    ]
    schedules = [
        ("sgd", 1, "rates"), ("sgd", 20, "everything"), ("sgd", 3, "dropout"), ("adamw-l1-clip", 20, "everything"),
        ("sgd-velocity", 4, "smoothing"), ("rmsprop-clip-value", 3, "weights-mean"), ("sgd-l1-clip", 3, "scale"),
        ("adam-clip-value", 3, "weights"), ("rmsprop-l1-clip", 3, "alpha"),
    ]  # fmt: skip
    for case in cases:
        for optimizer, batch, extras in schedules:
            check_training(engine, case, Schedule(optimizer, min(batch, case.n), True, 4, extras=extras), "float64")
        check_weights(engine, case, "float64")
    for sizes in ([3, 2], [3, 5, 9]):
        check_jacobian(engine, RunCase(make_architecture(sizes, "tanh", "sigmoid", "huber"), 3), "float64")
    for case in cases:
        check_vjp(engine, case, "float64")
    from test_jit import check_log_clip_min

    for case in cases[:2]:
        check_log_clip_min(case.architecture, 4)
    return len(cases) * (len(schedules) + 2) + 4


def check_losses_with_options() -> int:
    """Compare losses that are objects, also where targets are missing, with the reference's backend."""
    import ctypes

    import numpy as np

    import nanostep as ns

    reals = ctypes.POINTER(ctypes.c_double)

    @ctypes.CFUNCTYPE(None, reals, reals, ctypes.c_size_t, ctypes.c_size_t, reals, reals, ctypes.c_void_p)
    def squared(a: Any, y: Any, n: int, outputs: int, loss: Any, da: Any, user: Any) -> None:
        a, y, da = (np.ctypeslib.as_array(array, (n, outputs)) for array in (a, y, da))
        np.ctypeslib.as_array(loss, (n,))[:] = ((a - y) ** 2).sum(axis=1)
        da[:] = 2 * (a - y)

    random, made = np.random.default_rng(1), 0
    losses: list[tuple[Any, Any, str, int, int]] = [
        (ns.losses.Huber(0.25), None, "tanh", 3, 3), (ns.losses.Huber(0.25), None, "softmax", 10, 10),
        (ns.losses.Quantile([0.1, 0.5, 0.9]), None, "identity", 9, 3),
        (ns.losses.Quantile([0.25, 0.75]), None, "softmax", 2, 1),
        (ns.losses.GaussianNLL(), None, "identity", 2, 1), (ns.losses.GaussianNLL(), None, "identity", 22, 11),
        *(
            (ns.losses.Custom(squared), ns.losses.Custom(lambda a, y: (((a - y) ** 2).sum(axis=1), 2 * (a - y))), *rest)
            for rest in (("identity", 1, 1), ("softmax", 3, 3), ("silu", 10, 10))
        ),
    ]  # fmt: skip
    for loss, same, output, outputs, targets in losses:
        X, Y, weight = random.standard_normal((20, 3)), random.random((20, targets)), random.standard_normal(20)
        partly = Y.copy()
        partly[3, 0] = np.nan
        kinds = [(Y, "raise")] if same else [(Y, "raise"), (partly, "ignore")]
        for y, nan_targets in kinds:
            found = []
            for backend, own in (("numba", loss), ("numpy", same or loss)):
                net = ns.Network([3, 9, outputs], activation="tanh", output=output, loss=own, backend=backend)
                values = [net.loss(X, y, sample_weight=weight, nan_targets=nan_targets)]
                value, gradient = net.gradient(X, y, nan_targets=nan_targets)
                for batch_size, optimizer in ((1, ns.SGD(lr=0.05)), (3, ns.Adam(lr=0.01)), (20, ns.SGD(lr=0.05))):
                    given = {"epochs": 1, "batch_size": batch_size, "optimizer": optimizer, "nan_targets": nan_targets}
                    values += net.train(X, y, sample_weight=None if batch_size == 1 else abs(weight), **given).loss
                found.append(np.r_[values, value, gradient, net.theta])
                made += 1
            np.testing.assert_allclose(*found, rtol=1e-8, atol=1e-12)
        if same is None:
            pair = [
                ns.Population([3, 4, outputs], 17, activation="tanh", output=output, loss=loss, backend=backend)
                for backend in ("numba", "numpy")
            ]
            for pop in pair:
                for batch_size in (1, 4):
                    pop.train(X, Y, epochs=1, batch_size=batch_size, optimizer=ns.SGD(lr=0.05))
            np.testing.assert_allclose(pair[0].theta, pair[1].theta, rtol=1e-7, atol=1e-12)
            np.testing.assert_allclose(pair[0].loss(X, Y), pair[1].loss(X, Y), rtol=1e-8)
    from nanostep.backends import jit, reference

    a, y = random.standard_normal((2, 5, 6))
    for loss in (ns.losses.GaussianNLL(), ns.losses.Quantile([0.1, 0.9]), ns.losses.Huber(0.3)):
        slopes = [np.empty_like(a), np.empty_like(a)]
        deltas = [np.empty_like(a), np.empty_like(a)]
        for package, da, d in zip((jit, reference), slopes, deltas, strict=True):
            package.losses.loss_derivative(loss, a, y, da)
            package.losses.output_delta(loss, "identity", a, a, y, d)
        np.testing.assert_allclose(*deltas, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(*slopes, rtol=1e-12, atol=1e-14)
    return made


def check_tapes() -> int:
    """Compare the pull-backs of `net.jit()`, of rows and of batches, with those of the network."""
    import numpy as np
    import test_tape

    import nanostep as ns

    random = np.random.default_rng(2)
    for sizes, hidden, output in test_tape.CASES:
        net = ns.Network(sizes, activation=hidden, output=output, backend="numpy", seed=1)
        for shape in ((), (1,), (19,)):
            x, dout = random.standard_normal((*shape, sizes[0])), random.standard_normal((*shape, sizes[-1]))
            test_tape.check(net, net.jit(), x, dout)
    return 3 * len(test_tape.CASES)


def check_populations() -> int:
    """Compare populations with their networks on the reference's backend: losses with outputs, in turns with every
    activation, kind of update and size of batch."""
    import test_population

    from cases import PAIRS

    hidden, names = (
        ["sigmoid", "tanh", "relu", "leaky_relu", "elu", "softplus", "silu"],
        list(test_population.OPTIMIZERS),
    )
    for k, (loss, output) in enumerate(PAIRS[::2]):
        sizes = ([2, 2, 1], [3, 5, 4, 2], [3, 9, 6])[k % 3]
        if sizes[-1] == 1 and output == "softmax":
            sizes = [3, 2]
        shape = (sizes, [hidden[(k + l) % 7] for l in range(len(sizes) - 2)], (output, loss))
        for batch, name in ((1, "sgd"), (3 + k % 7, names[k % len(names)])):
            # without fused sums, and with divisions by roots of small sums
            test_population.compare("numba", *shape, name, "float64", batch, against="numpy", ulps=1e7)
    for check in (test_population.test_data_of_their_own_and_rows, test_population.test_labels_of_rows_of_their_own):
        check("numba")
    test_population.test_a_cancelled_call_leaves_networks_as_they_were_or_done("numba")
    return len(PAIRS) + 3


def check_rare_paths() -> None:
    """Check code that only some processors, some names or one draw in a billion reach."""
    from dataclasses import replace

    import numpy as np

    import nanostep as ns
    from nanostep.architecture import make_architecture
    from nanostep.backends.jit import _interpreter, _math, lanes, layout, order

    x = np.linspace(-20, 20, 8)
    m = _interpreter.Interpreter(np.dtype(np.float64), 8)
    np.testing.assert_allclose(_math.short_sigmoid(m, x), 1 / (1 + np.exp(-x)), 1e-14)
    with np.errstate(over="ignore"):
        assert order.bounded(np.uint64(0), np.uint64(3)) < 3  # a draw that is rejected and drawn again
    deep = make_architecture([1] * 60, "leaky_relu", "identity", "huber")
    for static in layout.make_net(deep, x.dtype, 64), lanes.make_lanes(deep, x.dtype, 64, 0, 1, True):
        assert len(static.label) < 120
        assert len({static, replace(static, lanes=2)}) == 2
    names = ("numpy", "numba")
    nets = [ns.Network([1, 3], output="softmax", loss="cross_entropy", backend=name) for name in names]
    for net in nets:
        net.train([[900.0], [-900.0]], [0, 1], epochs=2, optimizer=ns.SGD(lr=1e-3), shuffle=False)
    np.testing.assert_allclose(nets[1].theta, nets[0].theta, 1e-12)


def check_functions(random: Any) -> int:
    """Compare `net.jit()` with the network, on the reference's backend."""
    import numpy as np

    import nanostep as ns

    made = 0
    for sizes, loss, output in (
        ([3, 5, 2], "huber", "silu"), ([6, 70, 1], "squared_error", "identity"), ([5, 4, 3], "cross_entropy",
        "softmax"), ):  # fmt: skip
        net = ns.Network(sizes, activation="silu", output=output, loss=loss, backend="numpy", seed=1)
        X, Y = random.standard_normal((7, sizes[0])), np.eye(max(sizes[-1], 7))[:7, : sizes[-1]]
        if loss == "cross_entropy":
            Y = np.eye(3)[random.integers(0, 3, 7)]
        targets = [Y, Y.argmax(axis=1)] if loss == "cross_entropy" else [Y]
        fns = net.jit(ns.SGD(lr=0.1, momentum=0.5))
        for y in targets:
            theta, work, out, grad = net.theta.copy(), fns.workspace(), np.empty(sizes[-1]), np.empty_like(net.theta)
            fns.forward(theta, X[0], out, work)
            np.testing.assert_allclose(out, net.predict(X[0]), 1e-12)
            want, want_grad = net.gradient(X, Y)
            assert abs(fns.gradient(theta, X, y, grad, work) - want) < 1e-12
            np.testing.assert_allclose(grad, want_grad, 1e-10, 1e-12)
            assert abs(fns.loss(theta, X, y, work) - want) < 1e-12
            other = ns.Network(sizes, activation="silu", output=output, loss=loss, backend="numpy", seed=1)
            fns.step(theta, X[1], y[1], 0.1, work)
            fns.step(theta, X, y, 0.1, work)
            other.step(X[1], Y[1], lr=0.1)
            other.step(X, Y, lr=0.1)
            np.testing.assert_allclose(theta, other.theta, 1e-10, 1e-12)
            slots = fns.slots()
            fns.update(theta, grad, slots, 1)
            np.testing.assert_allclose(theta, other.theta - 0.1 * want_grad, 1e-10, 1e-12)
            made += 6
    return made


if __name__ == "__main__":
    main()
