"""Local SGD on a Dask cluster of two worker processes."""

from __future__ import annotations

import copy
import importlib
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from dask.distributed import Client, Future, LocalCluster, Worker, wait
from distributed.diagnostics.plugin import SchedulerPlugin

import dask
import nanostep as ns
import nanostep.dask
from cases import QUICK
from nanostep._arrays import Samples
from nanostep.benchmark import local_sgd
from nanostep.dask import _partitions, _rounds, _tasks
from nanostep.training.optimizer_state import continued
from nanostep.training.run import CHUNK_SEED

RNG = np.random.default_rng(8)
X = RNG.standard_normal((130, 3))
Y = np.tanh(X @ RNG.standard_normal((3, 2)))
LABELS = (X.sum(axis=1) > 0).astype(np.int64)
CUTS = (50, 30, 50)
CHUNKS = [(X[:50], Y[:50]), (X[50:80], Y[50:80]), (X[80:], Y[80:])]


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0", "silence_logs": "CRITICAL"}
    with LocalCluster(processes=True, **options) as cluster:
        yield cluster


@pytest.fixture(scope="module", autouse=True)
def client(cluster: LocalCluster) -> Iterator[Client]:
    with Client(cluster) as client:
        yield client


@pytest.fixture
def two_workers(client: Client) -> list[str]:
    """Addresses of the workers, once those that another test has killed are restarted."""
    client.wait_for_workers(2, timeout=60)
    return sorted(client.nthreads())


def make(backend: str = "numpy", dtype: str = "float64", *, classes: bool = False) -> ns.Network:
    output, loss = ("softmax", "cross_entropy") if classes else ("identity", "squared_error")
    return ns.Network([3, 6, 2], activation="tanh", output=output, loss=loss, dtype=dtype, backend=backend)


def arrays(cuts: tuple[int, ...] = CUTS) -> tuple[da.Array, da.Array]:
    return da.from_array(X, chunks=(cuts, -1)), da.from_array(Y, chunks=(cuts, -1))


def place(collection: Any, addresses: list[str]) -> Any:
    """Persist a collection with one partition on the worker at each address, or elsewhere once that is gone."""
    parts = [
        part.persist(workers=[where], allow_other_workers=True)
        for part, where in zip(collection.blocks, addresses, strict=True)
    ]
    wait(parts)
    return da.concatenate(parts)


def same_state(net: ns.Network, twin: ns.Network) -> bool:
    ours, theirs = net._state, twin._state
    same_arrays = np.array_equal(net.theta, twin.theta) and np.array_equal(ours.slots, theirs.slots)
    return same_arrays and (ours.updates, ours.epochs) == (theirs.updates, theirs.epochs)


def averaged(
    net: ns.Network, shards: list[list[int]], rounds: int, epochs: int, optimizer: ns.Optimizer, seed: int
) -> list[float]:
    """Do in this process what `nanostep.dask.train` documents; return the losses."""
    losses, total = [], sum(len(CHUNKS[k][0]) for shard in shards for k in shard)
    net._state = continued(net._state, optimizer)
    for _ in range(rounds):
        theta, slots, loss, updates = 0.0, 0.0, 0.0, 0
        for shard in shards:
            twin, rows = copy.deepcopy(net), sum(len(CHUNKS[k][0]) for k in shard)
            first_seed = (seed + shard[0] * CHUNK_SEED) % 2**64
            history = twin.train([CHUNKS[k] for k in shard], epochs=epochs, batch_size=8, seed=first_seed, threads=1)
            theta = theta + twin.theta * (rows / total)
            slots = slots + twin._state.slots * (rows / total)
            loss += history.loss[-1] * rows
            updates += rows * twin._state.updates
        net.theta, net._state.slots[...] = theta, slots
        net._state.updates, net._state.epochs = round(updates / total), net._state.epochs + epochs
        losses.append(loss / total)
    return losses


# -- what it computes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", QUICK)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_shard_is_train(backend: str, dtype: str) -> None:
    net, twin = make(backend, dtype), make(backend, dtype)
    optimizer, other = ns.Adam(0.02), ns.Adam(0.02)
    for rounds in (3, 2):  # the second call continues with the same optimiser
        history = nanostep.dask.train(
            net, *arrays((130,)), rounds=rounds, epochs=2, batch_size=8, optimizer=optimizer, seed=5
        )
        expected = twin.train(X, Y, epochs=2 * rounds, batch_size=8, optimizer=other, seed=5, threads=1)
        assert same_state(net, twin)
        np.testing.assert_allclose(history.loss, expected.loss[1::2], rtol=1e-12)
        assert (history.steps, history.samples) == (expected.steps, expected.samples)
    assert net.optimizer is optimizer
    assert net.history is history
    assert (history.epochs, history.stopped, history.shards, history.workers) == (2, "epochs", 1, [1, 1])


def test_one_shard_of_several_partitions_is_train_on_chunks() -> None:
    net, twin = make(), make()
    history = nanostep.dask.train(net, *arrays(), rounds=2, epochs=2, batch_size=8, optimizer=ns.Adam(0.02), shards=1)
    expected = twin.train(CHUNKS, epochs=4, batch_size=8, optimizer=ns.Adam(0.02), threads=1)
    assert same_state(net, twin)
    np.testing.assert_allclose(history.loss, expected.loss[1::2], rtol=1e-12)


@pytest.mark.parametrize("shards", [[[0], [1], [2]], [[0], [1, 2]]], ids=["a partition each", "two shards"])
def test_shards_are_averaged_by_their_rows(shards: list[list[int]]) -> None:
    net, twin = make(), make()
    history = nanostep.dask.train(
        net,
        *arrays(),
        rounds=3,
        epochs=2,
        batch_size=8,
        optimizer=ns.SGD(0.1, momentum=0.9),
        seed=2,
        shards=len(shards),
    )
    losses = averaged(twin, shards, 3, 2, ns.SGD(0.1, momentum=0.9), 2)
    assert same_state(net, twin)
    np.testing.assert_allclose(history.loss, losses, rtol=1e-12)
    # 29 parameters and 29 velocities: to the cluster and back; to and from each shard; from partition to partition
    hops = sum(1 if len(shard) == 1 else 2 * len(shard) for shard in shards)
    assert history.bytes == [2 * net.theta.nbytes * (2 + hops + len(shards))] * 3


def test_many_shards_are_summed_as_a_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_rounds, "FAN_IN", 2)
    net, twin = make(dtype="float32"), make()
    for each in (net, twin):
        each.theta = make(dtype="float32").theta
    nanostep.dask.train(net, *arrays((26,) * 5), rounds=2, batch_size=26, optimizer=ns.SGD(0.1))
    for _ in range(2):  # the mean of steps from the same parameters is a step by the mean gradient
        twin.theta -= 0.1 * twin.gradient(X, Y)[1]
    np.testing.assert_allclose(net.theta, twin.theta, rtol=1e-5)


def test_workers_places_and_timing_change_no_bit(client: Client, two_workers: list[str]) -> None:
    def run(x: da.Array, y: da.Array) -> ns.Network:
        net = make()
        nanostep.dask.train(net, x, y, rounds=2, batch_size=8, optimizer=ns.Adam(0.02), shards=2)
        return net

    lazy, (a, b), (x, y) = run(*arrays()), two_workers, arrays()
    assert same_state(run(place(x, [a, a, a]), place(y, [a, a, a])), lazy)
    assert same_state(run(place(x, [b, a, b]), place(y, [a, b, a])), lazy)


# -- where data are, and what is lost ---------------------------------------------------------------------------------


class Inputs(SchedulerPlugin):
    """Records for each training task the bytes of its data, and whether they were on its worker."""

    name = "inputs"

    def __init__(self, cluster: LocalCluster) -> None:
        self._tasks = cluster.scheduler.tasks
        self.seen: list[tuple[int, bool]] = []

    def transition(self, key: Any, start: str, finish: str, *args: Any, **kwargs: Any) -> None:
        if finish == "processing" and str(key).startswith("train_partition"):
            task = self._tasks[key]
            data = [each for each in task.dependencies if str(each.key).startswith("prepare")]
            there = all(task.processing_on in each.who_has for each in data)
            self.seen.append((sum(each.nbytes for each in data), there))


def received(dask_worker: Worker) -> int:
    """Return the bytes that a worker received from others."""
    return sum(entry["total"] for entry in dask_worker.transfer_incoming_log)


def test_data_stay_where_they_are(
    client: Client, cluster: LocalCluster, two_workers: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cuts, addresses = (40_000, 40_000), two_workers
    x = place(da.random.random((80_000, 3), chunks=(cuts, -1)), addresses)
    y = place(da.random.random((80_000, 2), chunks=(cuts, -1)), addresses)
    fetched: list[int] = []
    result = Future.result

    def noted(self: Future, timeout: float | None = None) -> Any:
        value = result(self, timeout)
        fetched.append(len(pickle.dumps(value)))
        return value

    monkeypatch.setattr(Future, "result", noted)
    inputs, before = Inputs(cluster), sum(client.run(received).values())
    cluster.scheduler.add_plugin(inputs)
    history = nanostep.dask.train(make("c"), x, y, rounds=3, validation=(x, y))
    cluster.scheduler.remove_plugin(inputs.name)
    partition = 40_000 * 5 * 8
    assert inputs.seen == [(partition, True)] * 6
    assert history.workers == [2, 2, 2]
    assert sum(client.run(received).values()) - before < partition / 10
    assert len(fetched) == 3 + 3 * 2
    assert max(fetched) < partition / 10


def test_a_worker_that_is_killed_changes_no_bit(client: Client, two_workers: list[str]) -> None:
    arguments: dict[str, Any] = {"rounds": 12, "epochs": 2, "batch_size": 8, "validation": (X, Y)}
    x, y = (place(each, [*two_workers, two_workers[0]]) for each in arrays())
    quiet, net = make(), make()
    expected = nanostep.dask.train(quiet, x, y, optimizer=ns.Adam(0.02), **arguments)
    victim = client.run(os.getpid)[two_workers[0]]

    def kill() -> None:
        while net.history is None or net.history.epochs < 3:
            time.sleep(0.001)
        os.kill(victim, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    history = nanostep.dask.train(net, x, y, optimizer=ns.Adam(0.02), **arguments)
    killer.join()
    assert victim not in client.run(os.getpid).values()
    assert same_state(net, quiet)
    assert (history.loss, history.validation_loss) == (expected.loss, expected.validation_loss)


def test_data_that_cannot_be_computed_again(client: Client, two_workers: list[str]) -> None:
    scattered = [client.scatter(part, workers=two_workers[:1]) for part in CHUNKS[0]]
    x, y = (da.from_delayed(dask.delayed(f), (50, n), dtype=float) for f, n in zip(scattered, (3, 2), strict=True))
    net = make()
    victim = client.run(os.getpid)[two_workers[0]]

    def kill() -> None:
        while net.history is None or net.history.epochs < 2:
            time.sleep(0.001)
        os.kill(victim, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(RuntimeError, match="cannot be computed again"):
        nanostep.dask.train(net, x, y, rounds=10**6)
    killer.join()
    assert net.history is not None
    assert net.history.stopped == "error"
    assert net._state.epochs == net.history.epochs >= 2


def test_a_round_that_always_loses_workers_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    def lose(self: Any, future: Future) -> None:
        raise _rounds.WorkerLost

    monkeypatch.setattr(_rounds._Attempt, "result", lose)
    net, before = make(), make().theta.copy()
    with pytest.raises(RuntimeError, match="round 1 was begun 4 times and lost workers"):
        nanostep.dask.train(net, *arrays())
    assert np.array_equal(net.theta, before)


def test_ctrl_c_leaves_the_last_whole_round(monkeypatch: pytest.MonkeyPatch) -> None:
    net, twin, calls = make(), make(), []
    result = _rounds._Attempt.result

    def interrupt(self: Any, future: Future) -> Any:
        calls.append(future)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return result(self, future)

    monkeypatch.setattr(_rounds._Attempt, "result", interrupt)
    with pytest.raises(KeyboardInterrupt):
        nanostep.dask.train(net, *arrays(), rounds=9, batch_size=8, optimizer=ns.Adam(0.02))
    monkeypatch.undo()
    expected = nanostep.dask.train(twin, *arrays(), rounds=2, batch_size=8, optimizer=ns.Adam(0.02))
    assert same_state(net, twin)
    assert net.history is not None
    assert (net.history.loss, net.history.stopped) == (expected.loss, "interrupted")
    assert calls[-1].status in ("cancelled", "lost")


def test_a_cluster_without_workers_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_partitions, "PATIENCE_SECONDS", 0.05)
    options = {"n_workers": 0, "threads_per_worker": 1, "dashboard_address": ":0", "silence_logs": "CRITICAL"}
    monkeypatch.setattr("distributed.client._global_clients", {})  # the given client is used
    monkeypatch.setattr("distributed.client._current_client", ContextVar("none", default=None))
    with LocalCluster(processes=False, **options) as empty:
        client = Client(empty, set_as_default=False)
        late = threading.Timer(0.3, lambda: empty.scale(1))
        late.start()
        net = make()
        with pytest.warns(RuntimeWarning, match="no workers"):
            nanostep.dask.train(net, *arrays(), rounds=1, client=client)
        late.join()
        client.close()
    assert net.history is not None
    assert net.history.workers == [1]


# -- kinds of data ----------------------------------------------------------------------------------------------------

FRAME = pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "c": X[:, 2], "u": Y[:, 0], "v": Y[:, 1], "label": LABELS})


def frames(columns: list[str]) -> dd.DataFrame:
    """Return the rows in the partitions of `arrays`, after an empty one."""
    parts = [FRAME[:1], FRAME[:50], FRAME[50:80], FRAME[80:]]
    frame = dd.from_delayed([dask.delayed(part.assign(first=k == 0)) for k, part in enumerate(parts)])
    return frame[~frame["first"]][columns]


def test_frames() -> None:
    def train(net: ns.Network, x: Any, y: Any) -> nanostep.dask.RoundHistory:
        return nanostep.dask.train(net, x, y, rounds=2, batch_size=8, optimizer=ns.Adam(0.02), validation=(x, y))

    expected, net, by_name = make(), make(), make()
    train(expected, *arrays((0, *CUTS)))  # whose partitions have the same numbers, and so the same orders
    history = train(net, frames(["a", "b", "c"]), frames(["u", "v"]))
    train(by_name, frames(["a", "u", "b", "c", "v"]), ["u", "v"])
    assert same_state(net, expected)
    assert same_state(by_name, expected)
    np.testing.assert_allclose(history.validation_loss[-1], net.loss(X, Y))
    # an array whose lengths are not known, and a Series of labels
    of_classes, x = make(classes=True), frames(["a", "b", "c"])
    nanostep.dask.train(of_classes, x.values, frames(["label"])["label"], rounds=10, optimizer=ns.Adam(0.1))
    assert (of_classes.predict(X).argmax(axis=1) == LABELS).mean() > 0.95


def test_chunk_files(tmp_path: Path) -> None:
    names = [str(tmp_path / f"{k}") for k in range(3)]
    for name, (x, y) in zip(names, CHUNKS, strict=True):
        np.savez(name + ".npz", X=x, Y=y)
        np.save(name + "_x.npy", x)
        np.save(name + "_y.npy", y)
        frame = FRAME[["a", "b", "c", "u", "v"]].iloc[[np.flatnonzero((X == row).all(axis=1))[0] for row in x]]
        frame.to_csv(name + ".csv", index=False)
        frame.to_parquet(name + ".parquet", index=False)
    arguments: dict[str, Any] = {"rounds": 2, "batch_size": 8, "shards": 2}
    expected = make()
    nanostep.dask.train(expected, *arrays(), optimizer=ns.Adam(0.02), **arguments)
    for suffix, Y_of in {
        ".npz": None,
        "_x.npy": [Path(name + "_y.npy") for name in names],
        ".csv": ["u", "v"],
        ".parquet": ["u", "v"],
    }.items():
        net, files = make(), [name + suffix for name in names]
        history = nanostep.dask.train(net, files, Y_of, optimizer=ns.Adam(0.02), validation=(files, Y_of), **arguments)
        assert same_state(net, expected), suffix
        np.testing.assert_allclose(history.validation_loss[-1], net.loss(X, Y))


def test_single_column_of_a_file_is_labels(tmp_path: Path) -> None:
    FRAME[["a", "b", "c", "label"]].to_csv(tmp_path / "all.csv", index=False)
    net, twin = make(classes=True), make(classes=True)
    nanostep.dask.train(net, [tmp_path / "all.csv"], "label", rounds=2)
    twin.train(X, LABELS, epochs=2, batch_size=32, threads=1)
    assert same_state(net, twin)


def test_state_of_any_size_is_sent_without_a_warning() -> None:
    net = ns.Network([2000, 700, 1], backend="c")
    x, y = da.zeros((2, 2000), chunks=(1, -1)), da.zeros((2, 1), chunks=(1, -1))
    assert net.theta.nbytes > 10e6
    assert nanostep.dask.train(net, x, y, rounds=1).bytes == [6 * net.theta.nbytes]


def test_arrays_read_back_from_disk_are_aligned() -> None:
    x = np.frombuffer(b" " + X.tobytes(), np.uint8)[1:].view(np.float64).reshape(X.shape)
    assert not x.flags.aligned
    samples = _tasks.aligned(Samples(x, Y, None))
    assert samples.x.flags.aligned
    assert np.array_equal(samples.x, X)
    assert samples.y is Y


# -- the benchmark ----------------------------------------------------------------------------------------------------


def test_benchmark(client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = local_sgd.make_problem(600, 100, inputs=8)
    (times,) = local_sgd.measure(client, client, problem, tmp_path, repeats=1, epochs=(1,))
    assert (len(times.alone), len(times.one), len(times.two)) == (1, 3, 3)
    _, _, row = local_sgd.time_lines([local_sgd.Times(4, [0.3, 0.1, 0.2], [0.2], [0.1])])
    assert row == "| 4 | 200 ms | 200 ms | 100 ms | 2.00 | 2.00 | 100 % |"
    monkeypatch.setattr(local_sgd, "SHARDS", (2,))
    curves = list(local_sgd.converge(client, problem, tmp_path, rates=(0.1,)))
    assert [(curve.shards, curve.epochs, len(curve.loss)) for curve in curves] == [(2, 1, 20), (2, 4, 5)]
    listed = [local_sgd.Curve(2, 4, lr, [1.0, 0.95, 0.96, 0.97, low]) for lr, low in ((0.1, 0.97), (0.2, 0.9))]
    _, _, row = local_sgd.convergence_lines([*listed, local_sgd.Curve(2, 4, 0.4, [0.96] * 5)])
    assert row == "| 2 | 4 | 0.2 | 8 | -, -, 0.900 |"


def test_benchmark_refuses_other_bits(client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, seeds = nanostep.dask.train, iter(range(9))
    monkeypatch.setattr(nanostep.dask, "train", lambda *a, **k: train(*a, **k, seed=next(seeds)))
    with pytest.raises(RuntimeError, match="different parameters"):
        list(local_sgd.measure(client, client, local_sgd.make_problem(90, 9), tmp_path, repeats=1, epochs=(1,)))


# -- errors -----------------------------------------------------------------------------------------------------------

GOOD_X, GOOD_Y = arrays()


@pytest.mark.parametrize(
    ("x", "y", "options", "error", "words"),
    [
        (X, Y, {}, TypeError, "X must be a dask array.*got ndarray; dask.array.from_array"),
        (GOOD_X, Y, {}, TypeError, "Y must be a dask array.*got ndarray"),
        (GOOD_X, None, {}, TypeError, "Y must be a dask array.*got NoneType"),
        ([], None, {}, TypeError, "X must be a dask array.*got list"),
        (GOOD_X[:, 0], GOOD_Y, {}, ValueError, r"X must have shape \(n, 3\); got 1 dimensions"),
        (GOOD_X[:, :2], GOOD_Y, {}, ValueError, "X must have 3 columns, the inputs of the network; got 2"),
        (GOOD_X.rechunk((130, 1)), GOOD_Y, {}, ValueError, "X is cut along its columns.*X.rechunk"),
        (GOOD_X, GOOD_Y.rechunk((-1, 1)), {}, ValueError, "Y is cut along its columns"),
        (GOOD_X, GOOD_Y[:-1], {}, ValueError, "same number of rows; got 130 and 129"),
        (GOOD_X, GOOD_Y.rechunk(65), {}, ValueError, r"cut at the same rows.*Y.rechunk\({0: X.chunks\[0\]}\)"),
        (GOOD_X, GOOD_Y.rechunk(((30, 50, 50), -1)), {}, ValueError, "cut at the same rows"),
        (GOOD_X, frames(["u", "v"]), {}, ValueError, "same number of partitions; got 3 and 4"),
        (frames(["a", "b", "c"]), "w", {}, ValueError, "X has no column 'w'; it has: a, b, c"),
        (frames(["a", "b", "c"]).values, GOOD_Y, {}, ValueError, "cut at the same rows"),
        (GOOD_X, da.concatenate([GOOD_Y, GOOD_Y], axis=1).rechunk((CUTS, -1)), {}, ValueError,
         r"Y of partition 0 must have shape \(50, 2\)"),
        (da.where(GOOD_X > 2, np.nan, GOOD_X), GOOD_Y, {}, ValueError, "X of partition 0 must be finite"),
        (GOOD_X[:0], GOOD_Y[:0], {}, ValueError, "X has no samples"),
        (GOOD_X, GOOD_Y, {"rounds": 0}, ValueError, "rounds=0"),
        (GOOD_X, GOOD_Y, {"epochs": 0}, ValueError, "epochs=0"),
        (GOOD_X, GOOD_Y, {"batch_size": 0}, ValueError, "batch_size=0"),
        (GOOD_X, GOOD_Y, {"shards": 4}, ValueError, "shards=4 is out of range; accepted are 1 to 3"),
        (GOOD_X, GOOD_Y, {"shuffle": 1}, TypeError, "shuffle"),
        (GOOD_X, GOOD_Y, {"seed": -1}, ValueError, "seed"),
        (GOOD_X, GOOD_Y, {"average": "gradients"}, ValueError, "choose one of: parameters"),
        (GOOD_X, GOOD_Y, {"optimizer": ns.LBFGS()}, TypeError, "optimizer must be"),
        (GOOD_X, GOOD_Y, {"client": "tcp://here"}, TypeError, "client must be a dask.distributed.Client; got str"),
        (GOOD_X, GOOD_Y, {"validation": X}, TypeError, "validation must be a pair"),
        (GOOD_X, GOOD_Y, {"validation": (GOOD_X, Y)}, TypeError, "validation Y must be a dask array"),
        (GOOD_X, GOOD_Y, {"validation": (GOOD_X, -GOOD_Y / 0)}, ValueError, "validation Y of partition 0 must be"),
        (["a.npz", 3], None, {}, TypeError, "X must be a list of paths.*it has a int"),
        (["a.npz", "b.csv"], None, {}, ValueError, "files of X must be all .npz"),
        (["a.txt"], None, {}, ValueError, "got '.txt'"),
        (["a.npz"], ["b.npz"], {}, ValueError, "leave the argument Y out"),
        (["a.npy"], None, {}, TypeError, "Y must be a list of files .npy"),
        (["a.npy"], ["b.npy", "c.npy"], {}, ValueError, "same number of files; got 1 and 2"),
        (["a.csv"], None, {}, TypeError, "Y must be the name of the target's column"),
        (["a.npz"], None, {}, FileNotFoundError, "a.npz is not there for the worker that was to read partition 0"),
    ],
)  # fmt: skip
def test_bad_input(x: Any, y: Any, options: dict[str, Any], error: type[Exception], words: str) -> None:
    net = make()
    before = copy.deepcopy(net)
    with pytest.raises(error, match=words):
        nanostep.dask.train(net, x, y, **options)
    assert same_state(net, before)
    assert net.history is None
    assert net.optimizer.lr == before.optimizer.lr


def test_bad_files(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", X=X, Z=Y)
    (tmp_path / "text.csv").write_text("a,b,c,u\n1,2,x,4\n", encoding="utf-8")
    (tmp_path / "narrow.csv").write_text("u\n1\n", encoding="utf-8")
    for file, target, words in [
        ("other.npz", None, "has no array 'Y'; it has: X, Z"),
        ("text.csv", "u", "row 1 has 'x' in column 'c'"),
        ("text.csv", "w", "has no column 'w'"),
        ("narrow.csv", "u", "no column beside the target"),
    ]:
        with pytest.raises(ValueError, match=words):
            nanostep.dask.train(make(), [tmp_path / file], target)


def test_bad_networks_and_clients(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TypeError, match=r"net must be a nanostep\.Network; got Population"):
        nanostep.dask.train(ns.Population([3, 6, 2], size=2, backend="numpy"), GOOD_X, GOOD_Y)
    closed = Client(client.scheduler.address, set_as_default=False)
    closed.close()
    with pytest.raises(RuntimeError, match="client is closed"):
        nanostep.dask.train(make(), GOOD_X, GOOD_Y, client=closed)
    monkeypatch.setattr(closed, "_asynchronous", True)
    with pytest.raises(TypeError, match="client is asynchronous"):
        nanostep.dask.train(make(), GOOD_X, GOOD_Y, client=closed)

    def none(*_: Any) -> None:
        raise ValueError("No global client found and no address provided")

    monkeypatch.setattr("nanostep.dask.local_sgd.get_client", none)
    with pytest.raises(RuntimeError, match=r"no Dask client is running: start one.*Client\(\)"):
        nanostep.dask.train(make(), GOOD_X, GOOD_Y)


def test_without_dask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dask.distributed", None)
    monkeypatch.delitem(sys.modules, "nanostep.dask")
    with pytest.raises(ImportError, match=r'pip install "nanostep\[dask\]"'):
        importlib.import_module("nanostep.dask")
