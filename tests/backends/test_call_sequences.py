"""Random sequences of calls: a network that stays packed between them has the bits of one that goes the long way.

Whatever stands between two calls (writes to theta through a view, other optimisers, files, pickles, copies, runs) must
be seen by the next one.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nanostep as ns
from cases import REQUIRED
from nanostep.backends.native.networks import Engine

pytestmark = [
    pytest.mark.skipif("c" not in REQUIRED, reason="the C backend is not required here"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),  # losses may diverge: NaN must behave as numbers do
]

PREPARED = [name for name in dir(Engine) if name.startswith("prepared")]
KINDS = [
    ("identity", "squared_error"), ("identity", "huber"), ("softmax", "cross_entropy"),
    ("sigmoid", "binary_cross_entropy"), ("tanh", "half_squared_error"), ("identity", "poisson"),
]  # fmt: skip
ROWS = (1, 2, 3, 4, 5, 8, 17, 32, 64, 65, 100)


def decline(*arguments: object) -> None:
    """In place of every prepared call of the network that takes the long way."""


def long_way(net: ns.Network) -> ns.Network:
    for name in PREPARED:
        setattr(net._engine, name, decline)
    return net


def bits(value: Any) -> Any:
    if isinstance(value, (float, np.ndarray)):
        return np.asarray(value).tobytes()
    return tuple(map(bits, value)) if isinstance(value, tuple) else value


class Pair:
    """Two networks that are treated alike."""

    def __init__(self, rng: np.random.Generator, folder: Path) -> None:
        self.rng, self.file = rng, folder / "net.safetensors"
        self.sizes = [int(rng.integers(1, 20)) for _ in range(rng.integers(2, 5))]
        output, self.loss = KINDS[rng.integers(len(KINDS))]
        self.dtype = str(rng.choice(["float32", "float64"]))
        settings: dict[str, Any] = {
            "activation": str(rng.choice(["tanh", "relu", "silu", "sigmoid", "elu"])), "output": output,
            "loss": self.loss, "dtype": self.dtype, "backend": "c",
        }  # fmt: skip
        self.nets = [ns.Network(self.sizes, **settings), long_way(ns.Network(self.sizes, **settings))]
        self.optimizers = [
            ns.SGD(lr=0.01), ns.SGD(lr=0.01, momentum=0.9), ns.Adam(lr=0.01), ns.RMSprop(lr=0.01, centered=True),
            ns.AdamW(lr=0.01, weight_decay=0.1, amsgrad=True), ns.Adam(lr=0.01, clip_norm=0.1, l1=0.01),
        ]  # fmt: skip

    def samples(self) -> tuple[np.ndarray, np.ndarray]:
        rng, n = self.rng, int(self.rng.choice(ROWS))
        X = rng.standard_normal((n, self.sizes[0])).astype(rng.choice([self.dtype, "float64"]))
        if self.loss == "cross_entropy":
            return X, rng.integers(0, self.sizes[-1], n)
        Y = rng.random((n, self.sizes[-1])).astype(rng.choice([self.dtype, "float64"]))
        return np.asfortranarray(X) if rng.random() < 0.1 else X, Y

    def both(self, call: Callable[[ns.Network], Any]) -> None:
        got, want = (bits(call(net)) for net in self.nets)
        assert got == want

    def moved(self, how: int, net: ns.Network) -> ns.Network:
        """The network by another way: a pickle, a copy, a file."""
        if how == 0:
            return pickle.loads(pickle.dumps(net))
        if how < 3:
            return copy.copy(net) if how == 1 else copy.deepcopy(net)
        net.save(self.file)
        return ns.load(self.file, backend="c")

    def make(self, operation: int) -> None:
        rng, (X, Y) = self.rng, self.samples()
        optimizer = self.optimizers[rng.integers(len(self.optimizers))]
        weight = rng.standard_normal(len(X))
        if operation < 4:
            self.both(lambda net: net.step(X, Y, optimizer=optimizer))
        elif operation == 4:
            self.both(lambda net: net.step(X, Y, 0.05, sample_weight=weight))
        elif operation == 5:
            self.both(lambda net: (net.step(X, Y, 0.05), net.step(X, Y)))
        elif operation == 6:
            self.both(lambda net: (net.predict(X), net.loss(X, Y), *net.gradient(X, Y)))
        elif operation == 7 and self.loss != "cross_entropy":
            chosen = rng.integers(0, self.sizes[-1], len(X))
            self.both(lambda net: net.step(X, Y[:, 0], optimizer=optimizer, outputs=chosen, sample_weight=weight))
        elif operation == 8:
            dout, wrt = rng.standard_normal((len(X), self.sizes[-1])), str(rng.choice(["out", "z"]))

            def pulled(net: ns.Network) -> tuple[Any, ...]:
                out, pull = net.vjp(X)
                return out, *pull(dout, inputs=True, wrt=wrt), pull(dout, wrt=wrt)

            self.both(pulled)
        elif operation == 9:
            grad = rng.standard_normal(self.nets[0].theta.size)
            scale = None if rng.random() < 0.5 else rng.integers(0, 3, len(self.sizes) - 1)
            self.both(lambda net: net.apply_gradient(grad, optimizer=optimizer, scale=scale))
        elif operation == 10:
            batch_size = int(rng.integers(1, 40))
            self.both(lambda net: tuple(net.train(X, Y, epochs=2, batch_size=batch_size, optimizer=optimizer).loss))
        elif operation == 11:
            place, value = int(rng.integers(self.nets[0].theta.size)), float(rng.standard_normal())
            for net in self.nets:
                net.theta[place] = value
                net.weights[0][0, 0] = -value
        elif operation == 12:
            for each in self.optimizers:
                each.lr = float(rng.random()) * 0.1
        elif operation == 13:
            how = int(rng.integers(4))
            first, second = (self.moved(how, net) for net in self.nets)
            self.nets = [first, long_way(second)]
        elif operation == 14:
            self.both(lambda net: setattr(net, "optimizer", optimizer))
        elif operation == 15:
            self.both(lambda net: net.reset_optimizer())
        elif operation == 16:
            self.both(lambda net: (net.learn_one(X[0], Y[0]), net.predict_one(X[0])))
        elif operation == 17:
            self.both(lambda net: net.stepper(len(X), optimizer)(X, Y))

    def check_state(self) -> None:
        def state(net: ns.Network) -> tuple[Any, ...]:
            return net.theta, pickle.loads(pickle.dumps(net))._state.slots, net._state.updates, net._state.epochs

        self.both(state)


@pytest.mark.parametrize("seed", range(40))
def test_random_sequences(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    pair = Pair(rng, tmp_path)
    for _ in range(30):
        pair.make(int(rng.integers(18)))
        if rng.random() < 0.5:  # looking at the state brings it up to date: not after every call
            pair.check_state()
    pair.check_state()


def test_sequences_can_fail(tmp_path: Path) -> None:
    """A network that does not see a write to theta is found."""
    pair = Pair(np.random.default_rng(0), tmp_path)
    pair.make(0)
    pair.nets[1].theta[0] += 1
    with pytest.raises(AssertionError):
        pair.make(6)
