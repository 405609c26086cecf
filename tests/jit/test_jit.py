"""Tests of the Numba backend alone: compilation of kernels, its own exp, single steps in registers."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import numpy as np
import pytest
from numba import njit

import nanostep as ns
from cases import PAIRS, draw_targets
from nanostep._arrays import Samples
from nanostep.architecture import Architecture, make_architecture
from nanostep.backends import jit
from nanostep.backends.contract import Cursor, RunConfig
from nanostep.backends.jit import _builder, _compile, _interpreter, _kernel, _math, layout, passes, sample, train
from nanostep.backends.jit.activations import over_vectors
from nanostep.backends.jit.optimizers import rule_of
from nanostep.backends.reference import networks

SOURCES = sorted(Path(jit.__file__).parent.glob("*.py"))

ALLOCATORS = {"empty", "zeros", "ones", "empty_like", "zeros_like", "array", "copy", "concatenate", "list", "dict"}


def kernel_faults(source: str) -> list[str]:
    """Return the faults of the kernels in a source file: missing options, threads, allocation."""
    faults = []
    for function in ast.walk(ast.parse(source)):
        if not isinstance(function, ast.FunctionDef):
            continue
        for decorator in function.decorator_list:
            called = ast.unparse(getattr(decorator, "func", decorator))
            if called not in ("njit", "numba.njit", "kernel"):
                continue
            keywords = {k.arg: ast.unparse(k.value) for k in getattr(decorator, "keywords", [])}
            extra = set(keywords) - ({"fastmath", "returns"} if called == "kernel" else {"fastmath", None})
            options = "OPTIONS" if called == "kernel" else keywords.get(None)
            if keywords.get("fastmath") != "FASTMATH" or options != "OPTIONS" or extra:
                faults.append(f"{function.name}: compiled with {keywords}")
            for call in ast.walk(function):
                if isinstance(call, ast.Call):
                    name = ast.unparse(call.func).rpartition(".")[2]
                    if name == "prange" or (called != "kernel" and name in ALLOCATORS):
                        faults.append(f"{function.name}: calls {name}")
    return faults


def test_options_are_what_they_must_be() -> None:
    assert _compile.FASTMATH == set()
    assert _compile.OPTIONS == {"nogil": True, "error_model": "numpy"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_kernels_state_their_options_and_allocate_nothing(path: Path) -> None:
    assert kernel_faults(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "@njit\ndef f(a): return a",
        "@njit(fastmath=True, **OPTIONS)\ndef f(a): return a",
        "@njit(fastmath={'nnan'}, **OPTIONS)\ndef f(a): return a",
        "@njit(fastmath=FASTMATH)\ndef f(a): return a",
        "@njit(fastmath=FASTMATH, parallel=True, **OPTIONS)\ndef f(a): return a",
        "@njit(fastmath=FASTMATH, **OPTIONS)\ndef f(a): return np.empty(3)",
        "@njit(fastmath=FASTMATH, **OPTIONS)\ndef f(a):\n    for i in prange(3): a[i] = 0",
        "@kernel()\ndef f(m, net, a): return a",
        "@kernel(fastmath={'nnan'})\ndef f(m, net, a): return a",
        "@kernel(fastmath=FASTMATH, parallel=True)\ndef f(m, net, a): return a",
    ],
)
def test_the_source_check_rejects(source: str) -> None:
    assert len(kernel_faults(source)) == 1


def test_there_are_kernels_to_check() -> None:
    found = [path.read_text(encoding="utf-8") for path in SOURCES]
    assert sum(text.count("\n@njit(") for text in found) > 10
    assert sum(text.count("\n@kernel(") for text in found) > 10


LARGEST = {
    "vexp": 2, "expm1_negative": 2, "log1p_unit": 2, "vlog": 2, "sigmoid": 4, "fast_sigmoid": 4, "tanh": 4,
    "softplus": 2, "elu": 2,
}  # fmt: skip
"""Largest error of each function in units in the last place of the result."""


def exact(name: str, x: np.ndarray) -> np.ndarray:
    """The function in extended precision."""
    x = x.astype(np.longdouble)
    e = np.exp(-np.abs(x))
    return {
        "vexp": lambda: np.exp(x),
        "expm1_negative": lambda: np.expm1(x),
        "log1p_unit": lambda: np.log1p(x),
        "vlog": lambda: np.log(x),
        "sigmoid": lambda: np.where(x >= 0, 1 / (1 + e), e / (1 + e)),
        "fast_sigmoid": lambda: exact("sigmoid", x),
        "tanh": lambda: np.tanh(x),
        "softplus": lambda: np.maximum(x, 0) + np.log1p(e),
        "elu": lambda: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    }[name]()


@pytest.fixture(scope="module", params=sorted(LARGEST))
def compiled(request: pytest.FixtureRequest):
    """A function of `_math` applied to arrays."""
    function = getattr(_math, request.param)

    @_kernel.kernel(fastmath=_compile.FASTMATH)
    def apply_kernel(m, static, count, x, y):
        over_vectors(m, count, lambda i, part: m.store_part(y + i, part, function(m, m.load_part(x + i, part))))

    @njit(fastmath=_compile.FASTMATH)
    def run(static, x, y):
        apply_kernel(static, x.size, x, y)

    def apply(x: np.ndarray, y: np.ndarray, vector_bytes: int) -> None:
        run(_kernel.Choice((request.param,), x.dtype, vector_bytes // x.itemsize), x, y)

    return request.param, apply


@pytest.mark.parametrize("vector_bytes", [16, 32, 64])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_functions_are_accurate_to_a_few_ulp(compiled, dtype: type[np.floating], vector_bytes: int) -> None:
    name, apply = compiled
    random = np.random.default_rng(7)
    reach = 100 if dtype is np.float32 else 740
    small = np.exp(random.uniform(-40, 1, 50_000)) * random.choice([-1, 1], 50_000)
    x = np.concatenate([random.uniform(-reach, 80, 50_000), random.uniform(-3, 3, 50_003), small]).astype(dtype)
    if name == "expm1_negative":
        x = -np.abs(x)
    if name == "log1p_unit":
        x = np.abs(x[np.abs(x) <= 1])
    if name == "vlog":
        x = np.concatenate([np.abs(x), np.abs(x) * np.finfo(dtype).smallest_normal])
        x = x[x > 0]
    if name == "fast_sigmoid":
        x = x[x > (-87 if dtype is np.float32 else -708)]  # it is 0 below
    got = np.full_like(x, np.nan)
    apply(x, got, vector_bytes)
    want = exact(name, x)
    unit = np.spacing(np.abs(want).astype(dtype)).astype(np.longdouble)
    assert float((np.abs(got.astype(np.longdouble) - want) / unit).max()) <= LARGEST[name]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_functions_keep_nan_and_saturate(compiled, dtype: type[np.floating]) -> None:
    name, apply = compiled
    x = np.array([np.nan, -np.inf, np.inf, -1e30, 1e30, 0], dtype)
    got = np.empty_like(x)
    apply(x, got, 64)
    low, high = {
        "vexp": (0, np.inf),
        "expm1_negative": (-1, None),
        "log1p_unit": (None, None),
        "vlog": (None, None),
        "sigmoid": (0, 1),
        "fast_sigmoid": (0, 1),
        "tanh": (-1, 1),
        "softplus": (0, None),
        "elu": (-1, None),
    }[name]
    assert np.isnan(got[0])
    if low is not None:
        assert got[1] == got[3] == low
    if high is not None:
        assert got[2] == got[4] == high
    if name == "vlog":
        assert np.isnan(got[[1, 3]]).all()
        assert got[2] == np.inf
        assert got[5] == -np.inf


def test_the_interpreter_has_the_interface_of_the_builder() -> None:
    def interface(kind: type) -> dict[str, list[str]]:
        functions = inspect.getmembers(kind, inspect.isfunction)
        return {name: list(inspect.signature(f).parameters) for name, f in functions if not name.startswith("_")}

    builder, interpreter = interface(_builder.Builder), interface(_interpreter.Interpreter)
    emitting = {"value", "broadcast", "real_operation", "compare", "fused"}  # Python's operators, on NumPy arrays
    compiled_only = {"lane_numbers", "scale_by_power", "barrier", "call_c", "number_on_stack"}
    assert set(builder) - set(interpreter) == emitting | compiled_only
    assert interpreter == {name: builder[name] for name in interpreter}


def test_read_only_data_need_no_compilation_of_their_own() -> None:
    X, Y = np.random.default_rng(0).random((30, 7)), np.random.default_rng(1).random((30, 5))
    net = ns.Network([7, 6, 5], backend="numba")
    expected = net.gradient(X, Y)[1]
    dispatcher = _compile.specialised(passes.mean_gradient, net._engine._net)
    assert len(dispatcher.signatures) == 1
    X.setflags(write=False)
    Y.setflags(write=False)
    np.testing.assert_array_equal(net.gradient(X, Y)[1], expected)
    assert len(dispatcher.signatures) == 1


def test_networks_of_one_architecture_share_their_code() -> None:
    a, b = (ns.Network([3, 4, 2], backend="numba", seed=seed)._engine._net for seed in (0, 1))
    assert _compile.specialised(passes.predict_rows, a) is _compile.specialised(passes.predict_rows, b)
    other = ns.Network([3, 4, 2], activation="tanh", backend="numba")._engine._net
    assert _compile.specialised(passes.predict_rows, a) is not _compile.specialised(passes.predict_rows, other)


def make_net(sizes: list[int], dtype: str = "float64") -> layout.Net:
    return layout.make_net(make_architecture(sizes, "tanh", "identity", "huber"), np.dtype(dtype), 64)


def test_small_networks_step_in_registers_and_others_as_batches_of_one() -> None:
    assert sample.weight_count(make_net([2, 2, 1])) <= sample.MAX_VECTORS
    assert sample.weight_count(make_net([64, 32, 10], "float32")) <= sample.MAX_VECTORS
    assert sample.weight_count(make_net([784, 128, 10], "float32")) > sample.MAX_VECTORS
    assert make_net([2, 4, 1]).lanes == 4
    assert make_net([2, 5, 1]).lanes == 8


SINGLES = (
    ([2, 1], ["tanh"] * 0),
    ([5, 3], ["tanh"] * 0),
    ([2, 2, 1], ["sigmoid"]),
    ([3, 1, 2], ["silu"]),
    ([4, 17, 1, 9, 3], ["elu", "tanh", "softplus"]),
    ([1, 1, 1], ["leaky_relu"]),
    ([9, 20, 18], ["relu"]),
    ([40, 60, 5], ["tanh"]),
)
"""Networks for single steps: one to four layers, single neurons in any layer, several vectors, and one too large."""


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("sizes", "hidden"), SINGLES, ids=str)
def test_single_steps_follow_the_reference(sizes: list[int], hidden: list[str], dtype: str) -> None:
    for k, (loss, output) in enumerate(PAIRS):
        if k % (2 * len(SINGLES)) != SINGLES.index((sizes, hidden)):
            continue  # half of them: the others differ in ways that the conformance suite covers
        random = np.random.default_rng(3)
        X, Y = random.standard_normal((20, sizes[0])), draw_targets(loss, (20, sizes[-1]), random)
        nets = [
            ns.Network(sizes, activation=hidden, output=output, loss=loss, dtype=dtype, backend=backend)
            for backend in ("numpy", "numba")
        ]
        histories = [net.train(X, Y, epochs=2, optimizer=ns.SGD(lr=0.02), seed=5) for net in nets]
        tolerance = 500 * np.finfo(dtype).eps
        what = f"{loss} {output}"
        np.testing.assert_allclose(nets[1].theta, nets[0].theta, rtol=tolerance, atol=tolerance, err_msg=what)
        np.testing.assert_allclose(histories[1].loss, histories[0].loss, rtol=tolerance, err_msg=what)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_logits_that_are_far_apart_have_their_maximum_subtracted(dtype: str) -> None:
    X, labels = np.array([[900.0], [-900.0], [1.0]]), np.array([0, 1, 2])
    nets = [
        ns.Network([1, 3], output="softmax", loss="cross_entropy", dtype=dtype, backend=b) for b in ("numpy", "numba")
    ]
    for net in nets:
        net.train(X, labels, epochs=2, optimizer=ns.SGD(lr=1e-3), shuffle=False)
    np.testing.assert_allclose(nets[1].theta, nets[0].theta, rtol=1e-5)
    np.testing.assert_allclose(nets[1].history.loss, nets[0].history.loss, rtol=1e-5)


def check_log_clip_min(architecture: Architecture, batch: int) -> None:
    """Check that a run follows the reference's with bounded losses, and that the bound takes effect."""
    random = np.random.default_rng(2)
    theta, X = random.standard_normal(architecture.parameter_count), random.standard_normal((20, architecture.inputs))
    samples = Samples(X, draw_targets(architecture.loss, (20, architecture.outputs), random), None)
    results = []
    for engine_type, lowest in ((jit.networks.Engine, -0.5), (networks.Engine, -0.5), (networks.Engine, -np.inf)):
        moving, losses = theta.copy(), np.empty(2)
        plan = RunConfig(batch, shuffle=True, seed=1, log_clip_min=lowest)
        engine, cursor = engine_type(architecture, np.dtype(np.float64)), Cursor(np.empty(20, np.int64))
        slots = np.empty((0, len(theta)))
        assert engine.train(moving, slots, samples, ns.SGD(lr=0.1), plan, cursor, 2 * -(-20 // batch), losses) == 2
        results.append((moving, losses))
    (got, got_losses), (want, want_losses), (_, unbounded) = results
    np.testing.assert_allclose(got, want, 1e-11)
    np.testing.assert_allclose(got_losses, want_losses, 1e-11)
    assert (want_losses < 0.9 * unbounded).all()


@pytest.mark.parametrize("batch", [1, 9])
@pytest.mark.parametrize(
    ("outputs", "output", "loss"),
    [(3, "softmax", "cross_entropy"), (20, "softmax", "cross_entropy"), (3, "sigmoid", "binary_cross_entropy")],
)
def test_logarithms_in_losses_are_bounded(outputs: int, output: str, loss: str, batch: int) -> None:
    check_log_clip_min(make_architecture([4, 5, outputs], "tanh", output, loss), batch)


def test_other_numbers_need_no_compilation_of_their_own() -> None:
    architecture, dtype = make_architecture([2, 4, 3], "tanh", "softmax", "cross_entropy"), np.dtype(np.float64)
    engine = jit.networks.Engine(architecture, dtype)
    samples = Samples(np.ones((6, 2)), None, np.zeros(6, np.int64), np.ones(6))
    theta, optimizer = np.zeros(architecture.parameter_count), ns.SGD(lr=0.1, clip_norm=1.0)
    run = _compile.specialised(train.train_batches, engine._net, rule_of(optimizer, dtype))
    before = len(run.signatures)
    for share in (0.1, 0.25, 0.5):
        optimizer.clip_norm, mean = share, share > 0.2
        plan = RunConfig(2, shuffle=mean, seed=0, dropout=(share,), smoothing=share, alpha=share, scale=share,
                    batch_mean=mean, rates=None if mean else np.full(3, share))  # fmt: skip
        cursor = Cursor(np.empty(6 if mean else 0, np.int64))
        engine.train(theta, np.empty((0, len(theta))), samples, optimizer, plan, cursor, 3, np.empty(1))
    assert len(run.signatures) == before + 1


@pytest.mark.parametrize("batch_size", [1, 5, 100])
def test_a_run_gives_the_thread_its_subnormals_back(batch_size: int) -> None:
    small = np.full(3, np.finfo(np.float64).smallest_normal)
    X, y = np.random.default_rng(0).random((100, 2)), np.random.default_rng(1).random(100)
    ns.Network([2, 3, 1], backend="numba").train(X, y, epochs=2, batch_size=batch_size)
    assert ((small / 4) * 4 == small).all()
