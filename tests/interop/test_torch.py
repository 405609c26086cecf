"""`nanostep.torch`: values and gradients are those of the same layers in PyTorch, and its optimisers train the network.

PyTorch is imported by a fixture, so that the tests can be collected, and left out, where it is not installed.
"""

from __future__ import annotations

import copy
import importlib
import io
import pickle
import subprocess
import sys
import threading
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import nanostep as ns
from cases import DTYPES, REQUIRED

RNG = np.random.default_rng(3)
X, DOUT = RNG.standard_normal((6, 3)), RNG.standard_normal((6, 2))
TOLERANCE = {"float32": 2e-6, "float64": 1e-14}


@pytest.fixture(scope="module")
def torch() -> ModuleType:
    importlib.import_module("nanostep.torch")
    return importlib.import_module("torch")


def network(**more: Any) -> ns.Network:
    return ns.Network([3, 5, 2], **{"activation": "tanh", "output": "sigmoid", **more})


def module(**more: Any) -> Any:
    return importlib.import_module("nanostep.torch").Module(network(**more))


def layers(torch: ModuleType, net: ns.Network) -> Any:
    """The same network of PyTorch's own layers."""
    made = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Tanh(), torch.nn.Linear(5, 2), torch.nn.Sigmoid())
    values = [a for pair in zip(net.weights, net.biases, strict=True) for a in pair]
    for parameter, value in zip(made.parameters(), values, strict=True):
        parameter.data = torch.tensor(value)
    return made


def flat(torch: ModuleType, made: Any) -> Any:
    return torch.cat([parameter.grad.reshape(-1) for parameter in made.parameters()])


def close(got: Any, want: Any) -> None:
    assert got.dtype == want.dtype
    assert got.shape == want.shape
    assert (got - want).norm() <= TOLERANCE[str(got.dtype)[6:]] * want.norm()


@pytest.mark.parametrize("backend", REQUIRED)
@pytest.mark.parametrize("dtype", DTYPES)
def test_values_and_gradients_are_those_of_layers(torch: ModuleType, backend: str, dtype: str) -> None:
    ours = module(backend=backend, dtype=dtype)
    theirs = layers(torch, ours.network)
    for rows in (X, X[:1], X[0]):
        x, same = (torch.tensor(rows.astype(dtype), requires_grad=True) for _ in range(2))
        dout = torch.tensor(DOUT[: len(rows)].astype(dtype)) if rows.ndim == 2 else torch.tensor(DOUT[0].astype(dtype))
        ours.zero_grad()
        theirs.zero_grad()
        out, want = ours(x), theirs(same)
        out.backward(dout)
        want.backward(dout)
        close(out.detach(), want.detach())
        close(x.grad, same.grad)
        close(ours.theta.grad, flat(torch, theirs))


def test_its_gradients_are_limits_of_differences(torch: ModuleType) -> None:
    ours = module()
    x = torch.tensor(X, requires_grad=True)
    assert torch.autograd.gradcheck(ours, x)
    slope = torch.autograd.grad((ours(x) ** 2).sum(), x, create_graph=True)[0]
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


def test_a_model_around_it(torch: ModuleType) -> None:
    """Gradients go on into what is before, add up where the module is used twice, and stop where none is wanted."""
    ours = module()
    theirs = layers(torch, ours.network)
    first = torch.nn.Linear(3, 3).double()
    found = []
    for made in (ours, theirs):
        first.zero_grad()
        made.zero_grad()
        hidden = first(torch.tensor(X))
        (made(hidden) * made(-hidden)).sum().backward()
        found.append(first.weight.grad.clone())
    close(*found)
    close(ours.theta.grad, flat(torch, theirs))
    ours.requires_grad_(False)
    ours.theta.grad = None
    ours(first(torch.tensor(X))).sum().backward()
    assert ours.theta.grad is None
    assert not ours(torch.tensor(X)).requires_grad
    with torch.no_grad():
        assert not ours.requires_grad_(True)(torch.tensor(X)).requires_grad
    assert ours(X.tolist()).shape == (6, 2)
    assert ours(torch.empty(0, 3)).shape == (0, 2)


@pytest.mark.parametrize("backend", REQUIRED)
def test_pytorchs_optimisers_train_the_network_in_place(torch: ModuleType, backend: str) -> None:
    ours, alone = module(backend=backend), network(backend=backend)
    adam, own = torch.optim.Adam(ours.parameters(), lr=1e-2), ns.Adam(lr=1e-2)
    x, y = torch.tensor(X), torch.tensor(DOUT)
    for _ in range(20):
        adam.zero_grad()
        ((ours(x) - y) ** 2).sum().backward()
        adam.step()
        out, pull = alone.vjp(X)
        alone.apply_gradient(pull(2 * (out - DOUT)), optimizer=own)
    assert ours.theta.data_ptr() == ours.network.theta.ctypes.data
    np.testing.assert_allclose(ours.network.theta, alone.theta, rtol=1e-12)
    assert (ours.network.predict(X) == ours(x).detach().numpy()).all()


def test_a_change_of_theta_before_the_backward_pass_raises(torch: ModuleType) -> None:
    ours = module()
    x = torch.tensor(X)

    def by_an_optimiser() -> None:
        ours.theta.grad = torch.ones_like(ours.theta)
        torch.optim.SGD(ours.parameters(), lr=0.1).step()

    for change in (by_an_optimiser, lambda: ours.network.step(X, DOUT, lr=0.1)):
        out = ours(x)
        change()
        with pytest.raises(RuntimeError, match="theta has changed since the forward pass"):
            out.sum().backward()


def test_copies_have_networks_of_their_own(torch: ModuleType) -> None:
    ours = module()
    stored = io.BytesIO()
    torch.save(ours, stored)
    stored.seek(0)
    for made in (
        copy.deepcopy(ours),
        pickle.loads(pickle.dumps(ours)),
        torch.load(stored, weights_only=False),
        copy.deepcopy(torch.nn.Sequential(ours))[0],
    ):
        with torch.no_grad():
            made.theta += 1
        assert (made.network.theta == ours.network.theta + 1).all()
        assert (made(torch.tensor(X)) != ours(torch.tensor(X))).all()
    other = module(seed=7)
    other.load_state_dict(ours.state_dict())
    assert (other.network.theta == ours.network.theta).all()


def test_backward_passes_in_threads(torch: ModuleType) -> None:
    ours = module(backend="c" if "c" in REQUIRED else REQUIRED[0])
    x = torch.tensor(X, requires_grad=True)
    want = torch.autograd.grad(ours(x).sum(), x)[0]
    wrong: list[Any] = []

    def work() -> None:
        for _ in range(200):
            if not torch.equal(torch.autograd.grad(ours(x).sum(), x)[0], want):
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_bad_input(torch: ModuleType) -> None:
    with pytest.raises(TypeError, match=r"network must be a nanostep\.Network; got list"):
        importlib.import_module("nanostep.torch").Module([3, 2])
    ours = module()
    for bad, message in (
        (torch.ones(4, 2), r"X must have shape \(n, 3\)"),
        (torch.full((1, 3), float("nan")), r"X\[0, 0\] is nan"),
        (torch.ones(1, 3, dtype=torch.complex64), "X must hold real numbers"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            ours(bad)
    with pytest.raises(ValueError, match=r"dout\[0, 0\] is nan"):
        ours(torch.tensor(X)).backward(torch.full((6, 2), float("nan"), dtype=torch.float64))
    for moved in (module().float(), module().to("meta")):
        with pytest.raises(RuntimeError, match="no longer shares memory"):
            moved(torch.tensor(X))


@pytest.mark.parametrize("library", ["torch", "jax"])
def test_nanostep_alone_imports_neither(library: str) -> None:
    code = f"import nanostep, sys; nanostep.Network([2, 1]); sys.exit({library!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
