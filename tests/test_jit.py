"""What is particular to the Numba backend: how kernels are compiled, its own exp, unrolled tiny networks."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
from numba import njit

import nanostep as ns
from nanostep.architecture import make_architecture
from nanostep.backends import jit
from nanostep.backends.jit import _compile, _math, unrolled
from nanostep.backends.jit.batches import batch_gradient

SOURCES = sorted(Path(jit.__file__).parent.glob("*.py"))

FLAGS = {"FASTMATH", "EXACT"}
OPTIONS = {"OPTIONS", "UNCACHED"}
ALLOCATORS = {"empty", "zeros", "ones", "empty_like", "zeros_like", "array", "copy", "concatenate", "list", "dict"}


def kernel_faults(source: str) -> list[str]:
    """Return what is wrong with the kernels in a source file: missing options, threads, allocation."""
    faults = []
    for function in ast.walk(ast.parse(source)):
        if not isinstance(function, ast.FunctionDef):
            continue
        for decorator in function.decorator_list:
            if "njit" not in ast.unparse(decorator):
                continue
            keywords = {k.arg: ast.unparse(k.value) for k in getattr(decorator, "keywords", [])}
            if keywords.get("fastmath") not in FLAGS or keywords.get(None) not in OPTIONS or len(keywords) != 2:
                faults.append(f"{function.name}: compiled with {keywords}")
            for call in ast.walk(function):
                if isinstance(call, ast.Call):
                    name = ast.unparse(call.func).rpartition(".")[2]
                    if name in ALLOCATORS | {"prange"}:
                        faults.append(f"{function.name}: calls {name}")
    return faults


def test_options_are_what_they_must_be() -> None:
    assert _compile.FASTMATH == {"reassoc", "contract"}
    assert _compile.EXACT == {"contract"}
    assert _compile.OPTIONS == {"nogil": True, "cache": True, "error_model": "numpy"}
    assert _compile.UNCACHED == {"nogil": True, "error_model": "numpy"}


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
    ],
)
def test_the_source_check_rejects(source: str) -> None:
    assert len(kernel_faults(source)) == 1


def test_there_are_kernels_to_check() -> None:
    found = sum(path.read_text(encoding="utf-8").count("@njit") for path in SOURCES)
    assert found > 30


LARGEST = {"exp": 2, "expm1_negative": 2, "log1p_unit": 2, "sigmoid": 4, "tanh": 4, "softplus": 4, "elu": 2}
"""Largest error of each function in units in the last place of the result."""


def exact(name: str, x: np.ndarray) -> np.ndarray:
    """The function in extended precision."""
    x = x.astype(np.longdouble)
    e = np.exp(-np.abs(x))
    return {
        "exp": lambda: np.exp(x),
        "expm1_negative": lambda: np.expm1(x),
        "log1p_unit": lambda: np.log1p(x),
        "sigmoid": lambda: np.where(x >= 0, 1 / (1 + e), e / (1 + e)),
        "tanh": lambda: np.tanh(x),
        "softplus": lambda: np.maximum(x, 0) + np.log1p(e),
        "elu": lambda: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    }[name]()


@pytest.fixture(scope="module", params=sorted(LARGEST))
def compiled(request: pytest.FixtureRequest):
    """A function of `_math` applied to arrays, as vectorised loops do."""
    function = getattr(_math, request.param)

    @njit(fastmath=_compile.FASTMATH)
    def apply(x, y):
        for i in range(x.size):
            y[i] = function(x[i])

    return request.param, apply


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_functions_are_accurate_to_a_few_ulp(compiled, dtype: type[np.floating]) -> None:
    name, apply = compiled
    random = np.random.default_rng(7)
    reach = 100 if dtype is np.float32 else 740
    small = np.exp(random.uniform(-40, 1, 100_000)) * random.choice([-1, 1], 100_000)
    x = np.concatenate([random.uniform(-reach, 80, 100_000), random.uniform(-3, 3, 100_000), small]).astype(dtype)
    if name == "expm1_negative":
        x = -np.abs(x)
    if name == "log1p_unit":
        x = np.abs(x[np.abs(x) <= 1])
    got = np.full_like(x, np.nan)
    apply(x, got)
    want = exact(name, x)
    unit = np.spacing(np.abs(want).astype(dtype)).astype(np.longdouble)
    assert float((np.abs(got.astype(np.longdouble) - want) / unit).max()) <= LARGEST[name]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_functions_keep_nan_and_saturate(compiled, dtype: type[np.floating]) -> None:
    name, apply = compiled
    x = np.array([np.nan, -np.inf, np.inf, -1e30, 1e30], dtype)
    got = np.empty_like(x)
    apply(x, got)
    low, high = {
        "exp": (0, np.inf),
        "expm1_negative": (-1, None),
        "log1p_unit": (None, None),
        "sigmoid": (0, 1),
        "tanh": (-1, 1),
        "softplus": (0, None),
        "elu": (-1, None),
    }[name]
    assert np.isnan(got[0])
    if low is not None:
        assert got[1] == got[3] == low
    if high is not None:
        assert got[2] == got[4] == high


def test_new_architectures_need_no_compilation() -> None:
    X, Y = np.random.default_rng(0).random((30, 7)), np.random.default_rng(1).random((30, 5))
    ns.Network([7, 6, 5], backend="numba").gradient(X, Y)
    known = len(batch_gradient.signatures)
    ns.Network([7, 33, 2, 9, 5], ["tanh", "relu", "silu"], "identity", "huber", backend="numba").gradient(X, Y)
    assert len(batch_gradient.signatures) == known


def test_read_only_data_need_no_compilation_either() -> None:
    X, Y = np.random.default_rng(0).random((30, 7)), np.random.default_rng(1).random((30, 5))
    net = ns.Network([7, 6, 5], backend="numba")
    expected = net.gradient(X, Y)[1]
    known = len(batch_gradient.signatures)
    X.setflags(write=False)
    Y.setflags(write=False)
    np.testing.assert_array_equal(net.gradient(X, Y)[1], expected)
    assert len(batch_gradient.signatures) == known


def test_tiny_networks_are_unrolled_and_others_are_not() -> None:
    assert unrolled.can_unroll(make_architecture([2, 2, 1], "tanh", "sigmoid", "half_squared_error"))
    assert not unrolled.can_unroll(make_architecture([2, 2, 2], "tanh", "softmax", "cross_entropy"))
    assert not unrolled.can_unroll(make_architecture([20, 20, 1], "tanh", "sigmoid", "half_squared_error"))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("activation", "output", "loss"),
    [
        ("sigmoid", "sigmoid", "half_squared_error"),
        ("tanh", "sigmoid", "binary_cross_entropy"),
        ("relu", "identity", "huber"),
        ("silu", "softplus", "absolute_error"),
        ("elu", "leaky_relu", "squared_error"),
        ("softplus", "identity", "poisson"),
        ("leaky_relu", "silu", "squared_error"),
        ("identity", "elu", "half_squared_error"),
    ],
)
def test_unrolled_steps_follow_the_reference(activation: str, output: str, loss: str, dtype: str) -> None:
    random = np.random.default_rng(3)
    X, Y = random.standard_normal((40, 2)), random.random((40, 2))
    nets = [ns.Network([2, 3, 3, 2], activation, output, loss, dtype, backend) for backend in ("numpy", "numba")]
    assert unrolled.can_unroll(nets[0].architecture)
    histories = [net.train(X, Y, epochs=3, optimizer=ns.SGD(lr=0.02), seed=5) for net in nets]
    tolerance = 500 * np.finfo(dtype).eps
    np.testing.assert_allclose(nets[1].theta, nets[0].theta, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(histories[1].loss, histories[0].loss, rtol=tolerance)


def test_disk_caches_are_valid_for_these_sources_only(tmp_path: Path) -> None:
    stamp = _compile.fingerprint(jit._SOURCES)
    for kernel in (batch_gradient, jit.networks.train_batches, jit.layers.add_product, jit.order.shuffle_kernel):
        assert kernel._cache._cache_file._source_stamp == stamp
    paths = [tmp_path / "a.py", tmp_path / "b.py"]
    for path in paths:
        path.write_text("x = 1")
    before = _compile.fingerprint(paths)
    paths[1].write_text("x = 2")
    assert _compile.fingerprint(paths) != before
    assert _compile.stamp_caches([jit.order, jit.layers], stamp) > 5
