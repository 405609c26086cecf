"""Data in chunks, and one sample at a time."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import nanostep as ns
from cases import QUICK
from nanostep import schedules, streams

RNG = np.random.default_rng(6)
X = RNG.standard_normal((50, 3))
Y = RNG.random((50, 2))
LABELS = RNG.integers(0, 2, 50)
CUTS = [(0, 13), (13, 14), (14, 37), (37, 50)]
CHUNKS = [(X[a:b], Y[a:b]) for a, b in CUTS]


def make(backend: str = "numpy", classes: bool = False, dtype: str = "float64") -> ns.Network:
    output, loss = ("softmax", "cross_entropy") if classes else ("identity", "squared_error")
    return ns.Network([3, 6, 2], activation="tanh", output=output, loss=loss, dtype=dtype, backend=backend)


@pytest.fixture(params=QUICK)
def backend(request: pytest.FixtureRequest) -> str:
    return request.param


def generate() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    yield from CHUNKS


@pytest.mark.parametrize("source", [CHUNKS, generate], ids=["list", "function"])
def test_chunks_in_order_are_the_steps_of_their_batches(backend: str, source: Any) -> None:
    net, twin, total = make(backend), make(backend), [0.0, 0.0]
    optimizer = ns.Adam(0.02)
    history = net.train(source, epochs=2, batch_size=10, optimizer=ns.Adam(0.02), shuffle=False)
    for epoch in range(2):
        for x, y in CHUNKS:
            for start in range(0, len(x), 10):
                batch = slice(start, start + 10)
                total[epoch] += len(x[batch]) * twin.step(x[batch], y[batch], optimizer=optimizer)
    np.testing.assert_allclose(net.theta, twin.theta, rtol=1e-12)
    np.testing.assert_allclose(history.loss, np.array(total) / 50, rtol=1e-12)
    assert (history.epochs, history.steps, history.samples) == (2, 2 * (2 + 1 + 3 + 2), 100)
    assert history.stopped == "epochs"


@pytest.mark.parametrize("batch_size", [1, 7])
def test_one_chunk_is_an_array(each_backend: str, batch_size: int) -> None:
    arguments: dict[str, Any] = {
        "epochs": 3, "batch_size": batch_size, "seed": 4, "dropout": 0.2, "validation": (X[:9], Y[:9]),
        "metrics": "r2", "schedule": schedules.ExponentialLR(0.9, every="step"),
    }  # fmt: skip
    net, twin = make(each_backend), make(each_backend)
    history = net.train([(X, Y)], **arguments, optimizer=ns.SGD(0.05))
    expected = twin.train(X, Y, **arguments, optimizer=ns.SGD(0.05))
    assert net.theta.tobytes() == twin.theta.tobytes()
    for name in ("loss", "validation_loss", "validation_metrics", "lr", "steps", "samples", "epochs"):
        assert getattr(history, name) == getattr(expected, name)
    assert history.metrics == {}


def test_chunks_are_shuffled_each_by_itself_and_anew_in_every_epoch() -> None:
    rows = np.arange(40.0).reshape(40, 1)

    def train(seed: int) -> list[list[float]]:
        """Return the samples of each chunk and epoch in the order of their updates, from the gradient of each."""
        net = ns.Network([1, 1], output="identity", loss="half_squared_error", backend="numpy")
        seen: list[float] = []

        def look(event: ns.StepEnd) -> None:
            change = event.network.theta
            seen.append(round(float(change[0] / change[1])))
            event.network.theta = np.zeros(2)

        net.theta = np.zeros(2)
        net.train(
            [(rows[:20], np.ones(20)), (rows[20:], np.ones(20))], epochs=2, seed=seed, optimizer=ns.SGD(0.1),
            callbacks=ns.EveryNSteps(1, look),
        )  # fmt: skip
        return [seen[start : start + 20] for start in range(0, 80, 20)]

    parts = train(3)
    for part, first in zip(parts, (0, 20, 0, 20), strict=True):
        assert sorted(part) == list(range(first, first + 20))
    relative = [tuple(np.array(part) % 20) for part in parts]
    assert len(set(relative)) == 4
    assert train(3) == parts
    assert train(4) != parts


def test_an_iterator_serves_one_epoch(backend: str) -> None:
    net, twin = make(backend), make(backend)
    net.train(iter(CHUNKS), epochs=1)
    twin.train(CHUNKS, epochs=1)
    assert net.theta.tobytes() == twin.theta.tobytes()


def test_streams_go_on(backend: str) -> None:
    net, twin = make(backend), make(backend)
    whole = net.train(CHUNKS, epochs=4, batch_size=4, optimizer=ns.Adam(), schedule=schedules.StepLR(1, 0.5))
    optimizer, losses = ns.Adam(), []
    for _ in range(4):
        losses += twin.train(
            CHUNKS, epochs=1, batch_size=4, optimizer=optimizer, schedule=schedules.StepLR(1, 0.5)
        ).loss
    assert losses == whole.loss
    assert whole.lr == [1e-3, 5e-4, 2.5e-4, 1.25e-4]
    assert net.theta.tobytes() == twin.theta.tobytes()


def test_smoothing_stopping_and_plateaus_of_streams(backend: str) -> None:
    rows = [(X[a:b], LABELS[a:b]) for a, b in CUTS]
    one_hot = [(x, np.eye(2)[labels]) for x, labels in rows]
    nets = [make(backend, classes=True) for _ in range(2)]
    for net, source in zip(nets, (rows, one_hot), strict=True):
        history = net.train(
            source, epochs=60, batch_size=8, label_smoothing=0.1, validation=(X, LABELS[::-1]), metrics="accuracy",
            early_stopping=ns.EarlyStopping(patience=4), optimizer=ns.Adam(0.05),
            schedule=schedules.ReduceLROnPlateau(patience=1, monitor="validation_loss"),
        )  # fmt: skip
        assert history.stopped == "early_stopping"
        assert history.epochs == history.best_epoch + 4
        assert history.lr[-1] < 0.05
    np.testing.assert_allclose(nets[0].theta, nets[1].theta, rtol=1e-8)


def test_callbacks_at_steps_of_streams(backend: str) -> None:
    events = []
    net = make(backend)
    look = ns.EveryNSteps(4, lambda event: events.append((event.step, event.epoch)) or event.step == 12)
    history = net.train(CHUNKS, epochs=5, batch_size=10, callbacks=look)
    assert events == [(4, 1), (8, 1), (12, 2)]
    assert (history.epochs, history.steps, history.samples, history.stopped) == (1, 12, 50 + 13 + 1 + 10, "callback")


def test_streams_resume_from_checkpoints(tmp_path: Path) -> None:
    class Killed(BaseException):
        pass

    def run(kill: int) -> ns.Network:
        def look(event: ns.EpochEnd) -> None:
            if event.epoch == kill:
                raise Killed

        net = make()
        net.train(
            CHUNKS, epochs=6, batch_size=4, optimizer=ns.Adam(), dropout=0.1, callbacks=look,
            checkpoint=ns.Checkpoint(tmp_path / f"run {kill == 0}"),
        )  # fmt: skip
        return net

    for kill in (2, 5):
        with pytest.raises(Killed):
            run(kill)
    resumed, whole = run(-1), run(0)
    assert resumed.theta.tobytes() == whole.theta.tobytes()
    assert resumed._state.slots.tobytes() == whole._state.slots.tobytes()
    for history in (resumed.history, whole.history):
        assert history is not None
        assert (history.epochs, history.samples, history.steps) == (6, 300, 6 * 15)
    assert resumed.history.loss == whole.history.loss  # type: ignore[union-attr]


def test_memory_maps_and_slices(tmp_path: Path) -> None:
    for dtype, order in (("float64", "C"), ("float32", "C"), ("float64", "F"), (">f8", "C")):
        x = np.memmap(tmp_path / f"{dtype}{order}", dtype, "w+", shape=(50, 3), order=order)
        x[...] = X
        net, twin = make(), make()
        net.train(x, Y, epochs=2, batch_size=3)
        twin.train(np.array(x, np.float64), Y, epochs=2, batch_size=3)
        assert net.theta.tobytes() == twin.theta.tobytes(), "fewer rows than a chunk"
    net, twin = make(), make()
    net.train(streams.Chunks(X, Y, rows=20), epochs=2)
    twin.train([(X[:20], Y[:20]), (X[20:40], Y[20:40]), (X[40:], Y[40:])], epochs=2)
    assert net.theta.tobytes() == twin.theta.tobytes()


ROWS, WIDTH = 200_000, 16


@pytest.mark.parametrize("kind", ["memmap", "other memmap", "npy", "parquet"])
def test_memory_is_bounded_by_a_chunk(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training on 25 MB of data in float64 takes less than an eighth of that in memory."""
    chunk = 4000
    monkeypatch.setattr(streams, "ROWS", chunk)
    monkeypatch.setattr(streams.Chunks.__init__, "__defaults__", (chunk,))
    y = np.zeros(ROWS)
    if kind == "parquet":
        with pq.ParquetWriter(
            tmp_path / "a.parquet", pa.schema([(f"c{i}", pa.float32()) for i in range(WIDTH)])
        ) as out:
            for _ in range(0, ROWS, chunk):
                out.write_batch(pa.record_batch([np.ones(chunk, np.float32)] * WIDTH, [f"c{i}" for i in range(WIDTH)]))
        source: tuple = (streams.Parquet(tmp_path, "c0", rows=chunk),)
    elif kind == "npy":
        np.save(tmp_path / "x_1.npy", np.ones((ROWS, WIDTH), np.float32))
        np.save(tmp_path / "y_1.npy", y)
        source = (streams.NpyDirectory(tmp_path, rows=chunk),)
    else:
        dtype = "float64" if kind == "memmap" else "float32"
        source = (np.memmap(tmp_path / "x", dtype, "w+", shape=(ROWS, WIDTH)), y)
    width = WIDTH - (kind == "parquet")
    net = ns.Network([width, 2, 1], activation="tanh", output="identity", loss="squared_error", backend="numpy")
    tracemalloc.start()
    history = net.train(*source, epochs=1, batch_size=1000, shuffle=False)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert history.samples == ROWS
    assert peak < ROWS * WIDTH * 8 / 8


def test_directories_of_npy(tmp_path: Path) -> None:
    for k, (x, y) in enumerate(CHUNKS):
        np.save(tmp_path / f"x_{k}.npy", x.astype(np.float32))
        np.save(tmp_path / f"y_{k}.npy", y)
    net, twin = make(), make()
    net.train(streams.NpyDirectory(tmp_path), epochs=2, batch_size=4)
    twin.train([(x.astype(np.float32), y) for x, y in CHUNKS], epochs=2, batch_size=4)
    assert net.theta.tobytes() == twin.theta.tobytes()
    cut = [x.shape for x, _ in streams.NpyDirectory(tmp_path, rows=10)]
    assert cut == [(10, 3), (3, 3), (1, 3), (10, 3), (10, 3), (3, 3), (10, 3), (3, 3)]


def table(rows: slice) -> pa.Table:
    return pa.table({"a": X[rows, 0], "class": LABELS[rows], "b": X[rows, 1].astype(np.float32), "c": X[rows, 2]})


def test_parquet(tmp_path: Path) -> None:
    pq.write_table(table(slice(30)), tmp_path / "1.parquet", row_group_size=7)
    pq.write_table(table(slice(30, 50)), tmp_path / "2.parquet")
    x = np.stack([X[:, 0], X[:, 1].astype(np.float32), X[:, 2]], axis=1)
    chunks = list(streams.Parquet(tmp_path, "class", rows=20))
    np.testing.assert_array_equal(np.concatenate([c[0] for c in chunks]), x)
    np.testing.assert_array_equal(np.concatenate([c[1] for c in chunks]), LABELS)
    assert max(len(c[0]) for c in chunks) <= 20
    net, twin = make(classes=True), make(classes=True)
    net.train(streams.Parquet(tmp_path, "class"), epochs=2, batch_size=4)
    twin.train([(x[:30], LABELS[:30]), (x[30:], LABELS[30:])], epochs=2, batch_size=4)
    assert net.theta.tobytes() == twin.theta.tobytes()
    ((x2, y2),) = streams.Parquet(tmp_path / "2.parquet", ["c", "a"], ["b", "class"])
    np.testing.assert_array_equal(x2, np.stack([X[30:, 1].astype(np.float32), LABELS[30:]], axis=1))
    np.testing.assert_array_equal(y2, X[30:][:, [2, 0]])


def test_learning_one_by_one(each_backend: str) -> None:
    for optimizer in (ns.SGD(0.1), ns.SGD(0.1, momentum=0.5), ns.Adam()):
        net, twin = make(each_backend), make(each_backend)
        net.step(X[0], Y[0], optimizer=optimizer)
        twin.step(X[0], Y[0], optimizer=optimizer)
        losses = [net.learn_one(X[1], Y[1]), net.learn_one(X[2:3], Y[2:3]), net.learn_one(X[3].tolist(), Y[3].tolist())]
        expected = [twin.step(X[i], Y[i]) for i in (1, 2, 3)]
        np.testing.assert_allclose(losses, expected, rtol=1e-12)
        np.testing.assert_allclose(net.theta, twin.theta, rtol=1e-11)
        assert net._state.updates == 4
        for row in (X[5], X[5:6], X[5].tolist()):
            one = net.predict_one(row)
            assert one.shape == (2,)
            np.testing.assert_allclose(one, net.predict(X)[5], rtol=1e-13)
    net = make(each_backend, classes=True)
    assert net.learn_one(X[0], LABELS[0]) == pytest.approx(
        make(each_backend, classes=True).loss(X[0], LABELS[0]), rel=1e-13
    )


def test_partial_fit_is_a_pass_that_goes_on(backend: str) -> None:
    net, twin = make(backend), make(backend)
    for each in (net, twin):
        each.step(X, Y, optimizer=ns.Adam(0.01))
    for _ in range(3):
        history = net.partial_fit(X, Y, batch_size=7, sample_weight=1 + LABELS)
    twin.train(X, Y, epochs=3, batch_size=7, sample_weight=1 + LABELS)
    assert history.epochs == 1
    assert net.theta.tobytes() == twin.theta.tobytes()


def test_a_refused_chunk_leaves_what_was_learned() -> None:
    net, twin = make(), make()
    bad = [CHUNKS[0], (X[:3, :2], Y[:3])]
    with pytest.raises(ValueError, match=r"X of chunk 1 must have shape \(n, 3\)"):
        net.train(bad, epochs=2, batch_size=2)
    twin.train(CHUNKS[:1], epochs=1, batch_size=2)
    assert net.theta.tobytes() == twin.theta.tobytes()
    assert net.history is not None
    assert (net.history.stopped, net.history.samples, net._state.epochs) == ("error", 13, 1)


BAD: list[tuple[Any, type[Exception], str]] = [
    (lambda net: net.train(X), TypeError, "Y is missing"),
    (lambda net: net.train(5), TypeError, "Y is missing"),
    (lambda net: net.train("data"), TypeError, "Y is missing"),
    (lambda net: net.train(iter(CHUNKS), epochs=2), ValueError, "can be read once"),
    (lambda net: net.train(CHUNKS, sample_weight=np.ones(50)), ValueError, "sample_weight needs all samples"),
    (lambda net: net.train(CHUNKS, class_weight="balanced"), ValueError, "class_weight needs all samples"),
    (lambda net: net.train(CHUNKS, validation_split=0.1), ValueError, "validation_split is for arrays"),
    (lambda net: net.train(CHUNKS, validation_split=2), ValueError, "validation_split=2"),
    (lambda net: net.train(CHUNKS, metrics="r2"), ValueError, "metrics of a stream"),
    (
        lambda net: net.train(CHUNKS, metrics="r2", validation=(X, Y), early_stopping=ns.EarlyStopping("r2")),
        ValueError,
        "monitors 'r2'",
    ),
    (
        lambda net: net.train(CHUNKS, schedule=schedules.OneCycleLR(0.1, epochs=3)),
        ValueError,
        "needs the length of an epoch",
    ),
    (
        lambda net: net.train(CHUNKS, schedule=schedules.SequentialLR([schedules.OneCycleLR(0.1, epochs=3)], [])),
        ValueError,
        "needs the length of an epoch",
    ),
    (lambda net: net.train(CHUNKS, checkpoint=ns.Checkpoint("x", every_steps=3)), ValueError, "every_steps"),
    (lambda net: net.train(CHUNKS, optimizer=ns.LBFGS()), ValueError, "a stream is not for LBFGS"),
    (lambda net: net.train([]), ValueError, "the stream has no chunks"),
    (lambda net: net.train([X]), TypeError, "chunk 0 of the stream must be a pair"),
    (lambda net: net.train([(X[:0], Y[:0])]), ValueError, "X of chunk 0 has no samples"),
    (lambda net: net.train([(X, Y[:3])]), ValueError, "Y of chunk 0 must have shape"),
    (lambda net: net.train(lambda: 5), TypeError, "must return an iterable"),
    (lambda net: net.learn_one(X, Y), ValueError, "learn_one takes one sample; got 50"),
    (lambda net: net.learn_one(X[0], np.array([0.1, np.nan])), ValueError, "y[1] is nan"),
    (lambda net: net.predict_one(X), ValueError, "predict_one takes one sample; got 50"),
    (lambda net: net.predict_one(X[0, :2]), ValueError, "x must have shape"),
    (lambda net: net.partial_fit(X, Y, batch_size=0), ValueError, "batch_size=0"),
]


@pytest.mark.parametrize(("call", "exception", "words"), BAD)
def test_refused(call: Any, exception: type[Exception], words: str) -> None:
    net = make()
    net.step(X, Y, optimizer=ns.Adam())
    before = net.theta.tobytes(), net._state.slots.tobytes()
    with pytest.raises(exception) as caught:
        call(net)
    assert words in str(caught.value)
    assert (net.theta.tobytes(), net._state.slots.tobytes()) == before


def test_learn_one_refuses_spoiled_rates_and_read_only_parameters(backend: str) -> None:
    net, optimizer = make(backend), ns.SGD(0.1)
    net.step(X, Y, optimizer=optimizer)
    optimizer.lr = -1
    with pytest.raises(ValueError, match="lr=-1"):
        net.learn_one(X[0], Y[0])
    optimizer.lr = 0.1
    net._theta.setflags(write=False)
    with pytest.raises(ValueError, match="read-only"):
        net.learn_one(X[0], Y[0])


def test_sources_refuse(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "half").mkdir()
    (tmp_path / "uneven").mkdir()
    np.save(tmp_path / "half" / "y_1.npy", Y)
    np.save(tmp_path / "uneven" / "x_1.npy", X)
    np.save(tmp_path / "uneven" / "y_1.npy", Y[:7])
    pq.write_table(pa.table({"a": [1.0, None], "b": ["x", "y"], "c": [1, 2]}), tmp_path / "odd.parquet")
    pq.write_table(table(slice(None)), tmp_path / "good.parquet")
    good, odd = tmp_path / "good.parquet", tmp_path / "odd.parquet"
    rows: list[tuple[Any, type[Exception], str]] = [
        (lambda: streams.Chunks(X, Y[:3]), ValueError, "got 50 and 3"),
        (lambda: streams.Chunks(X, 5), TypeError, "Y must be an array that has slices"),
        (lambda: streams.Chunks(X, Y, rows=0), ValueError, "rows=0"),
        (lambda: streams.NpyDirectory(tmp_path / "no"), FileNotFoundError, "no such directory"),
        (lambda: streams.NpyDirectory(tmp_path / "empty"), FileNotFoundError, "has no files"),
        (lambda: streams.NpyDirectory(tmp_path / "half"), FileNotFoundError, "has no x_1.npy beside it"),
        (lambda: streams.NpyDirectory(tmp_path / "uneven", rows=1.5), TypeError, "rows must be an integer"),
        (lambda: list(streams.NpyDirectory(tmp_path / "uneven")), ValueError, "has 50 rows and"),
        (lambda: streams.Parquet(tmp_path / "no.parquet", "a"), FileNotFoundError, "no Parquet file"),
        (lambda: streams.Parquet(tmp_path / "empty", "a"), FileNotFoundError, "no Parquet file"),
        (lambda: streams.Parquet(good, "z"), ValueError, "target has 'z', which is no column"),
        (lambda: streams.Parquet(good, 5), TypeError, "target must be names of columns"),
        (lambda: streams.Parquet(good, []), ValueError, "target is empty"),
        (lambda: streams.Parquet(good, ["a", "b", "c", "class"]), ValueError, "no columns beside the target"),
        (lambda: streams.Parquet(good, "a", "b"), TypeError, "features must be names of columns"),
        (lambda: streams.Parquet(good, "a", ["q"]), ValueError, "features has 'q'"),
        (lambda: streams.Parquet(good, "a", rows=0), ValueError, "rows=0"),
        (lambda: list(streams.Parquet(odd, "c", ["a"])), ValueError, "column 'a' of"),
        (lambda: list(streams.Parquet(odd, "c", ["b"])), TypeError, "must hold real numbers"),
    ]
    for call, exception, words in rows:
        with pytest.raises(exception) as caught:
            call()
        assert words in str(caught.value)
