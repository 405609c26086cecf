"""Properties that hold for any network and data, tested on examples drawn by hypothesis."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import nanostep as ns
from cases import REQUIRED
from nanostep.architecture import ACTIVATIONS, HIDDEN_ACTIVATIONS, LOSS_OUTPUTS, LOSSES
from nanostep.backends import load

TRY = settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
SEEDS = st.integers(0, 2**64 - 1)

Case = tuple[ns.Network, np.ndarray, np.ndarray]


COMPILED: tuple[tuple[list[int], list[str], str, str], ...] = (
    ([3, 1], [], "sigmoid", "binary_cross_entropy"),
    ([2, 7, 3], ["tanh"], "softmax", "cross_entropy"),
    ([9, 4, 1, 5], ["relu", "silu"], "identity", "huber"),
)
"""Networks of the backend that compiles each for a second; the conformance suite covers all others."""


@st.composite
def networks(draw: st.DrawFn) -> Case:
    """A float64 network on a backend, and samples for it."""
    backend = draw(st.sampled_from(REQUIRED))
    if backend == "numba":
        sizes, hidden, output, loss = draw(st.sampled_from(COMPILED))
    else:
        sizes = draw(st.lists(st.integers(1, 9), min_size=2, max_size=5))
        loss = draw(st.sampled_from(LOSSES))
        output = draw(st.sampled_from(LOSS_OUTPUTS.get(loss, ACTIVATIONS)))
        hidden = [draw(st.sampled_from(HIDDEN_ACTIVATIONS)) for _ in sizes[1:-1]]
    net = ns.Network(sizes, activation=hidden, output=output, loss=loss, backend=backend, seed=draw(st.integers(0, 99)))
    random = np.random.default_rng(draw(st.integers(0, 99)))
    n = draw(st.integers(1, 80))
    X, Y = random.standard_normal((n, sizes[0])), random.random((n, sizes[-1]))
    return net, X, Y / Y.sum(axis=1, keepdims=True) if loss == "cross_entropy" else Y


@TRY
@given(seed=SEEDS, epoch=st.integers(0, 2**60), n=st.integers(0, 300))
def test_orders_are_permutations_and_the_same_everywhere(seed: int, epoch: int, n: int) -> None:
    orders = []
    for backend in REQUIRED:
        order = np.full(n, -1)
        load(backend).order.shuffle(seed, epoch, order)
        orders.append(order.tolist())
    assert sorted(orders[0]) == list(range(n))
    assert all(order == orders[0] for order in orders)


def test_orders_are_uniform() -> None:
    """All 24 orders of four occur equally often: a chi-square of 23 degrees of freedom stays below its 0.1 % bound."""
    shuffle = load("numpy").order.shuffle
    counts: dict[tuple[int, ...], int] = {}
    order = np.empty(4, np.int64)
    for epoch in range(4800):
        shuffle(12345, epoch, order)
        key = tuple(order.tolist())
        counts[key] = counts.get(key, 0) + 1
    assert len(counts) == 24
    assert sum((count - 200) ** 2 / 200 for count in counts.values()) < 49.7


@TRY
@given(case=networks())
def test_the_gradient_of_a_batch_is_the_mean_of_those_of_its_samples(case: Case) -> None:
    net, X, Y = case
    loss, gradient = net.gradient(X, Y)
    singles = [net.gradient(X[i : i + 1], Y[i : i + 1]) for i in range(len(X))]
    np.testing.assert_allclose(loss, np.mean([single[0] for single in singles]), rtol=1e-11, atol=1e-13)
    scale = np.abs([single[1] for single in singles]).max()
    np.testing.assert_allclose(gradient, np.mean([single[1] for single in singles], axis=0), atol=1e-12 * (scale + 1))
    assert net.loss(X, Y) == np.float64(loss) or abs(net.loss(X, Y) - loss) < 1e-12 * (1 + abs(loss))


@TRY
@given(case=networks())
def test_predictions_of_a_batch_are_those_of_its_rows(case: Case) -> None:
    net, X, _ = case
    rows = np.array([net.predict(x) for x in X])
    np.testing.assert_allclose(net.predict(X), rows, rtol=1e-12, atol=1e-13)


@TRY
@given(case=networks(), batch=st.integers(1, 90), first=st.integers(0, 4), seed=SEEDS)
def test_runs_may_be_cut(case: Case, batch: int, first: int, seed: int) -> None:
    net, X, Y = case
    start, optimizer = net.theta.copy(), ns.SGD(lr=0.01, momentum=0.5)
    whole = net.train(X, Y, epochs=5, batch_size=batch, optimizer=optimizer, seed=seed).loss
    bits = net.theta.tobytes()
    net.theta[:] = start
    again = ns.SGD(lr=0.01, momentum=0.5)
    parts = [net.train(X, Y, epochs=e, batch_size=batch, optimizer=again, seed=seed).loss for e in (first, 5 - first)]
    assert parts[0] + parts[1] == whole
    assert net.theta.tobytes() == bits


@TRY
@given(case=networks())
def test_calls_that_only_look_change_nothing(case: Case) -> None:
    net, X, Y = case
    before = net.theta.tobytes(), X.tobytes(), Y.tobytes()
    net.predict(X)
    net.loss(X, Y)
    net.gradient(X, Y)
    assert (net.theta.tobytes(), X.tobytes(), Y.tobytes()) == before
