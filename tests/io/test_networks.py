"""Model files: saved networks are restored, training continues, damage is detected; pickles and copies too."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

import nanostep as ns
from cases import REQUIRED
from nanostep.io import _format, read_metadata

X = np.random.default_rng(0).standard_normal((40, 3))
Y = np.random.default_rng(1).random((40, 2))

OPTIMIZERS = [
    ns.SGD(lr=0.05),
    ns.SGD(lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3),
    ns.RMSprop(momentum=0.5, centered=True),
    ns.Adam(betas=(0.8, 0.99)),
    ns.AdamW(amsgrad=True),
]


def trained(backend: str = "numpy", optimizer: ns.Optimizer | None = None, dtype: str = "float64") -> ns.Network:
    net = ns.Network(
        [3, 5, 2], activation=["silu"], output="softplus", loss="huber", dtype=dtype, backend=backend, seed=3
    )
    net.train(X, Y, epochs=3, batch_size=7, optimizer=optimizer)
    return net


@pytest.mark.parametrize("backend", REQUIRED)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_training_goes_on_with_the_same_bits(backend: str, dtype: str, optimizer: ns.Optimizer, tmp_path: Path) -> None:
    net = trained(backend, optimizer, dtype)
    net.save(tmp_path / "model")
    loaded = ns.load(tmp_path / "model", backend=backend)
    assert loaded.dtype == net.dtype
    assert loaded.architecture == net.architecture
    assert loaded.optimizer == optimizer
    np.testing.assert_array_equal(loaded.theta, net.theta)
    histories = [n.train(X, Y, epochs=2, batch_size=7) for n in (net, loaded)]
    assert histories[0].loss == histories[1].loss
    np.testing.assert_array_equal(loaded.theta, net.theta)


@pytest.mark.parametrize("how", [copy.deepcopy, copy.copy, lambda net: pickle.loads(pickle.dumps(net))])
@pytest.mark.parametrize("backend", REQUIRED)
def test_copies_and_pickles_go_on_with_the_same_bits_and_share_nothing(backend: str, how) -> None:
    net = trained(backend, ns.Adam())
    twin = how(net)
    before = twin.theta.copy()
    net.train(X, Y, epochs=2, batch_size=7)
    np.testing.assert_array_equal(twin.theta, before)
    twin.train(X, Y, epochs=2, batch_size=7)
    np.testing.assert_array_equal(twin.theta, net.theta)
    assert twin.backend == backend


def test_weights_that_are_not_finite_come_back(tmp_path: Path) -> None:
    net = trained()
    net.theta[:3] = np.nan, np.inf, -0.0
    net.save(tmp_path / "model")
    assert net.theta.tobytes() == ns.load(tmp_path / "model").theta.tobytes()


def test_metadata_come_back(tmp_path: Path) -> None:
    net = trained()
    net.save(tmp_path / "plain")
    assert read_metadata(tmp_path / "plain") == {}
    net.save(tmp_path / "model", metadata={"classes": ["a", "b"], "mean": 1.5})
    assert read_metadata(tmp_path / "model") == {"classes": ["a", "b"], "mean": 1.5}


@pytest.mark.parametrize("metadata", [{"x": np.zeros(2)}, {"x": {1, 2}}, {"x": np.nan}, [1], "text"])
def test_metadata_that_json_cannot_hold_are_refused_and_nothing_is_written(metadata, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="metadata"):
        trained().save(tmp_path / "model", metadata=metadata)
    assert list(tmp_path.iterdir()) == []


def test_a_failing_save_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net, path = trained(), tmp_path / "model"
    net.save(path)
    old = path.read_bytes()

    def fail(handle: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(_format.os, "fsync", fail)
    net.theta[:] = 0
    with pytest.raises(OSError, match="disk full"):
        net.save(path)
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_file_has_the_permissions_of_any_new_file_and_a_replaced_one_keeps_its_own(tmp_path: Path) -> None:
    path = tmp_path / "model"
    (tmp_path / "other").write_text("")
    trained().save(path)
    assert path.stat().st_mode == (tmp_path / "other").stat().st_mode
    path.chmod(0o640)
    trained().save(path)
    assert path.stat().st_mode & 0o777 == 0o640


def test_saving_through_a_link_replaces_what_it_points_to(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "real" / "model")
    trained().save(link)
    assert link.is_symlink()
    assert ns.load(tmp_path / "real" / "model").sizes == (3, 5, 2)


def test_missing_file_and_directory(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none'$"):
        ns.load(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match=r"no/model'$"):
        trained().save(tmp_path / "no" / "model")
    with pytest.raises(IsADirectoryError, match=f"{tmp_path}'$"):
        ns.load(tmp_path)
    with pytest.raises(IsADirectoryError, match=f"{tmp_path}'$"):
        trained().save(tmp_path)


def test_hyperparameters_changed_between_steps_are_saved(tmp_path: Path) -> None:
    net = trained(optimizer=ns.SGD(lr=0.1))
    net.optimizer.lr = np.float32(0.05)
    net.optimizer.momentum = 0.9  # type: ignore[attr-defined]
    net.save(tmp_path / "model")
    loaded = ns.load(tmp_path / "model", backend="numpy")
    assert loaded.optimizer == net.optimizer
    for n in (net, loaded):
        n.train(X, Y, epochs=2)
    np.testing.assert_array_equal(loaded.theta, net.theta)
    net.optimizer.lr = -1
    with pytest.raises(ValueError, match="lr=-1"):
        net.save(tmp_path / "model")


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.99])
def test_truncated_files_are_noticed(part: float, tmp_path: Path) -> None:
    path = tmp_path / "model"
    trained().save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(ns.FileFormatError, match="model"):
        ns.load(path)


def rewritten(path: Path, change) -> None:
    """Save a model at `path` after `change` has modified its tensors and header."""
    trained(optimizer=ns.Adam()).save(path)
    header, tensors = _format.read(path)
    tensors = {name: array.copy() for name, array in tensors.items()}
    change(header, tensors)
    path.write_bytes(safetensors.numpy.save(tensors, metadata={_format.KEY: json.dumps(header)}))


def set_header(**values):
    return lambda header, tensors: header.update(values)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (set_header(format=99), "99"),
        (set_header(sizes=[3, 6, 2]), "theta has shape"),
        (set_header(sizes=[3, -5, 2]), "sizes"),
        (set_header(sizes="big"), "sizes"),
        (set_header(activations=["silu", "gelu"]), "gelu"),
        (set_header(loss="hinge"), "hinge"),
        (set_header(optimizer={"kind": "lion"}), "lion"),
        (set_header(optimizer={"kind": "adam", "lr": -1}), "lr"),
        (set_header(sizes=[2**20, 2**20, 2**20]), "theta has shape"),
        (set_header(optimizer={"kind": ["adam"]}), "kind must be one of"),
        (set_header(optimizer={"kind": "sgd", "lr": 0.1}), r"SGD.* needs \['theta'\]"),
        (set_header(updates=-1), "updates"),
        (lambda header, tensors: header.pop("loss"), "'loss' is missing"),
        (lambda header, tensors: tensors.pop("theta"), "'theta' is missing"),
        (lambda header, tensors: tensors.pop("slot.exp_avg"), "slot.exp_avg"),
        (lambda header, tensors: tensors.update({"slot.exp_avg": np.zeros(3)}), r"slot.exp_avg has shape \(3,\)"),
        (lambda header, tensors: tensors.update(theta=tensors["theta"].astype(np.float32)), "dtype"),
        (lambda header, tensors: tensors.update(theta=tensors["theta"].astype(np.int64)), "int64"),
        (lambda header, tensors: tensors.update(more=np.zeros(32)), "'more'"),
    ],
)
def test_inconsistent_files_say_what_is_wrong(change, words: str, tmp_path: Path) -> None:
    rewritten(tmp_path / "model", change)
    with pytest.raises(ns.FileFormatError, match=words):
        ns.load(tmp_path / "model")


def test_foreign_files_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a model\n" * 100)
    with pytest.raises(ns.FileFormatError, match="not a nanostep model"):
        ns.load(tmp_path / "text")
    (tmp_path / "other").write_bytes(safetensors.numpy.save({"weight": np.zeros(3)}))
    with pytest.raises(ns.FileFormatError, match="safetensors file, but not a nanostep model"):
        ns.load(tmp_path / "other")
    for text in ("{", "[" * 100_000):
        (tmp_path / "other").write_bytes(safetensors.numpy.save({"theta": np.zeros(3)}, metadata={_format.KEY: text}))
        with pytest.raises(ns.FileFormatError, match="not JSON"):
            ns.load(tmp_path / "other")


def test_unknown_backend_is_an_argument_error(tmp_path: Path) -> None:
    trained().save(tmp_path / "model")
    with pytest.raises(ValueError, match="cuda"):
        ns.load(tmp_path / "model", backend="cuda")
