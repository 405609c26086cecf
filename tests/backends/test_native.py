"""The binding of the C library: instruction sets, the gate to its pointers, errors, and nothing declared twice."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import nanostep as ns
from nanostep import architecture, losses, optimizers
from nanostep.backends import native
from nanostep.backends.native import _library, layers

ROOT = Path(__file__).resolve().parents[2]
HEADER = (ROOT / "csrc" / "include" / "nanostep.h").read_text(encoding="utf-8")

X = np.random.default_rng(1).standard_normal((50, 4))
Y = np.random.default_rng(2).random((50, 9))


def train(net: ns.Network) -> ns.History:
    return net.train(X, Y, epochs=3, batch_size=7, optimizer=ns.SGD(lr=0.05))


@pytest.fixture
def isa_restored():
    """Undo select_isa, so that later tests of this process have the instruction set it had."""
    before = native.isa_in_use()
    yield
    native.select_isa(before)


def test_baseline_is_always_available() -> None:
    assert native.available_isas()[0] == "baseline"


@pytest.mark.parametrize("isa", ["baseline", "avx2", "avx512"])
def test_forced_isa_is_the_one_that_ran_or_is_refused(isa: str) -> None:
    """The kernel itself reports the instruction set that it was compiled for; the parent process is not affected."""
    code = (
        "import nanostep as ns, numpy as np\n"
        "for sizes in ([2, 2, 1], [4, 30, 9]):\n"
        "    net = ns.Network(sizes, backend='c')\n"
        "    print(net.train(np.ones((5, sizes[0])), np.ones((5, sizes[-1])), epochs=1).isa)\n"
    )
    environment = {**os.environ, "NANOSTEP_ISA": isa}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    if isa in native.available_isas():
        assert result.stdout.split() == [isa, isa], result.stderr
    else:
        assert "BackendUnavailable" in result.stderr


def test_unknown_isa_in_environment_is_an_error_that_lists_the_choices() -> None:
    environment = {**os.environ, "NANOSTEP_ISA": "mmx"}
    code = "import nanostep as ns; ns.Network([2, 1], backend='c')"
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert "BackendUnavailable" in result.stderr
    assert "'mmx'" in result.stderr
    assert "baseline" in result.stderr


@pytest.mark.usefixtures("isa_restored")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_isa_agrees(dtype: str) -> None:
    thetas, losses = [], []
    for isa in native.available_isas():
        native.select_isa(isa)
        net = ns.Network([4, 33, 17, 9], activation=["tanh", "silu"], dtype=dtype, backend="c")
        history = train(net)
        assert history.isa == net.isa == isa
        thetas.append(net.theta)
        losses.append(history.loss)
    tolerance = 200 * np.finfo(dtype).eps
    for theta, loss in zip(thetas, losses, strict=True):
        np.testing.assert_allclose(theta, thetas[0], rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(loss, losses[0], rtol=tolerance)


@pytest.mark.usefixtures("isa_restored")
def test_select_isa_refuses_what_is_not_there() -> None:
    with pytest.raises(ValueError, match="'neon' is not available here"):
        native.select_isa("neon")


@pytest.mark.parametrize(
    "array",
    [
        pytest.param(np.zeros((3, 2), np.float32), id="dtype"),
        pytest.param(np.zeros((2, 3)), id="shape"),
        pytest.param(np.zeros((3, 4))[:, ::2], id="stride"),
        pytest.param(np.zeros((2, 3)).T, id="order"),
        pytest.param(np.frombuffer(bytearray(49), np.uint8)[1:].view(np.float64).reshape(3, 2), id="alignment"),
    ],
)
def test_gate_refuses_arrays_that_are_not_what_the_library_expects(array: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected a C-contiguous float64 array of shape"):
        _library.pointer(array, (3, 2), np.dtype(np.float64))


def test_gate_refuses_to_write_read_only_memory() -> None:
    z = np.zeros((1, 1))
    z.setflags(write=False)
    with pytest.raises((BufferError, ValueError), match="read-only"):
        layers.dense_forward(np.ones((1, 1)), np.ones((1, 1)), np.ones(1), z)
    assert z[0, 0] == 0


def test_operations_refuse_other_precisions() -> None:
    a = np.ones((1, 1), np.float16)
    with pytest.raises(TypeError, match="float32 and float64"):
        layers.dense_forward(a, a, a[0], a)


@pytest.mark.parametrize("status", range(1, _library.lib.NST_STATUS_COUNT))
def test_every_status_raises_with_its_message(status: int) -> None:
    message = _library.ffi.string(_library.lib.nst_status_message(status)).decode()
    expected = _library.EXCEPTIONS.get(status, ValueError)
    with pytest.raises(expected, match=re.escape(message)):
        _library.check_status(status)


def test_names_and_version_match_the_header() -> None:
    def enumerators(prefix: str) -> list[str]:
        return [name.lower() for name in re.findall(rf"^\s+NST_{prefix}_(\w+)", HEADER, re.M) if name != "COUNT"]

    assert enumerators("ACTIVATION") == list(architecture.ACTIVATIONS)
    assert enumerators("LOSS") == [
        *architecture.LOSSES,
        *(name for name in losses.KINDS if name not in architecture.LOSSES),
    ]
    assert enumerators("OPTIMIZER") == list(optimizers.OPTIMIZERS)
    assert _library.build_info()["version"] == ns.__version__
    fields = re.search(r"double (lr, [^;]*);", HEADER)
    assert fields is not None
    assert tuple(re.split(r",\s+", fields[1])) == optimizers.HYPERPARAMETERS


def test_float_environment_is_left_alone() -> None:
    """Loading the extension must not switch on flush-to-zero: denormals keep their value."""
    train(ns.Network([4, 30, 9], backend="c"))
    tiny = np.array([np.finfo(np.float64).tiny])
    assert (tiny / 4)[0] > 0
    assert (tiny.astype(np.float32) / 4 == 0).all()  # below float32's range, to show that the check detects zero


def test_a_target_may_be_a_number_where_there_is_one_output() -> None:
    x = np.array([0.1, 0.2])
    for dtype in ("float64", "float32"):
        nets = [ns.Network([2, 3, 1], dtype=dtype, backend="c") for _ in range(2)]
        losses = [nets[0].step(x.astype(dtype), 0.25, 0.5), nets[1].step(x.astype(dtype), np.array([0.25], dtype), 0.5)]
        assert losses[0] == losses[1]
        assert nets[0].theta.tobytes() == nets[1].theta.tobytes()


def test_rows_of_a_large_network_from_many_threads() -> None:
    """Such calls release the interpreter lock; a call that finds the row's memory in use takes the general path."""
    net = ns.Network([200, 200, 3], activation="tanh", backend="c")
    x = np.random.default_rng(0).standard_normal((16, 200))
    expected = net.predict(x)
    found: list[np.ndarray] = [np.empty(0)] * 16

    def predict(i: int) -> None:
        for _ in range(50):
            found[i] = net.predict(x[i])

    threads = [threading.Thread(target=predict, args=(i,)) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_allclose(np.array(found), expected, rtol=1e-12)


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param((), id="none"),
        pytest.param((1, None, 0, 0, 0, 1, 1), id="theta is no array"),
        pytest.param((np.zeros(3, np.float16), None, 0, 0, 0, 1, 1), id="dtype"),
        pytest.param((np.zeros((3, 3))[:, 1], None, 0, 0, 0, 1, 1), id="stride"),
    ],
)
def test_rows_refuse_wrong_arguments(arguments: tuple) -> None:
    with pytest.raises((TypeError, ValueError, OverflowError)):
        _library.Row(*arguments)


def test_rows_take_exactly_their_arguments() -> None:
    net = ns.Network([2, 1], backend="c")
    net.predict(np.zeros(2))
    row = net._engine._row[1]
    for call in (row.predict, row.step):
        with pytest.raises(TypeError, match="takes"):
            call()
    assert row.predict("x") is None
    assert row.step(np.zeros(2), np.zeros(1), "0.1") is None
