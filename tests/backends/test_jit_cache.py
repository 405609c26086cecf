"""Compiled code on disk: found by the next process, and either right or absent, whatever happens to the files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import nanostep as ns
from nanostep.backends.jit import _cache

CODE = """
import json, sys
import numpy as np
import nanostep as ns
from nanostep.backends.jit import _cache

made = []
write = _cache._write
_cache._write = lambda directory, name, data: (write(directory, name, data), made.append(str(directory / name)))
X, y = np.linspace(-1, 1, 12).reshape(6, 2), np.arange(6.0)
net = ns.Network([2, {width}, 1], activation="tanh", output="identity", backend="numba")
net.train(X, y, epochs=2, batch_size=3)
print(json.dumps({{"theta": net.theta.tolist(), "made": made}}))
"""


def start(directory: Path | None, width: int = 3, **environment: str) -> subprocess.Popen[str]:
    """Train a small network in a process of its own, with its code cache in `directory`."""
    given = {"PATH": os.environ["PATH"], "HOME": "", **environment}
    if directory is not None:
        given["NUMBA_CACHE_DIR"] = str(directory)
    return subprocess.Popen(
        [sys.executable, "-c", CODE.format(width=width)], env=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip


def finish(process: subprocess.Popen[str]) -> dict:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return json.loads(out)


def test_the_next_process_finds_the_code_and_makes_the_same_bits(tmp_path: Path) -> None:
    first = finish(start(tmp_path))
    assert len(first["made"]) == 1
    second = finish(start(tmp_path))
    assert second == {"theta": first["theta"], "made": []}
    other = finish(start(tmp_path, width=4))
    assert len(other["made"]) == 1


def test_damaged_code_is_made_again(tmp_path: Path) -> None:
    first = finish(start(tmp_path))
    path = Path(first["made"][0])
    for damage in (path.read_bytes()[:1000], b"", b"not a pickle"):
        path.write_bytes(damage)
        assert finish(start(tmp_path)) == first


def test_a_cache_that_cannot_be_written_is_still_read(tmp_path: Path) -> None:
    first = finish(start(tmp_path))
    directory = Path(first["made"][0]).parent
    if os.geteuid() == 0:  # root may write anywhere, so a file takes the place of the version's directory
        (tmp_path / "no").write_text("")
        assert finish(start(tmp_path / "no"))["theta"] == first["theta"]
    directory.chmod(0o555)
    try:
        assert finish(start(tmp_path))["theta"] == first["theta"]
    finally:
        directory.chmod(0o755)


def test_eight_processes_that_begin_together(tmp_path: Path) -> None:
    processes = [start(tmp_path, width=3 + i % 2) for i in range(8)]
    results = [finish(process) for process in processes]
    for i in range(2):
        assert len({json.dumps(result["theta"]) for result in results[i::2]}) == 1
    assert finish(start(tmp_path))["made"] == []
    assert list(tmp_path.rglob(".*")) == []


def test_eight_threads_that_begin_together() -> None:
    X, y = np.random.default_rng(0).standard_normal((50, 3)), np.random.default_rng(1).random(50)

    def train(thread: int) -> list[np.ndarray]:
        nets = [
            ns.Network([3, width, 1], activation="softplus", output="identity", backend="numba") for width in (11, 12)
        ]
        for net in nets if thread % 2 else nets[::-1]:
            net.train(X, y, epochs=2, batch_size=7)
        return [net.theta for net in nets]

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(train, range(8)))
    for result in results:
        np.testing.assert_array_equal(result[0], results[0][0])
        np.testing.assert_array_equal(result[1], results[0][1])


def test_the_stamp_depends_on_every_source(tmp_path: Path) -> None:
    paths = [tmp_path / "a.py", tmp_path / "b.py"]
    for path in paths:
        path.write_text("x = 1")
    before = _cache.fingerprint(paths)
    paths[1].write_text("x = 2")
    assert _cache.fingerprint(paths) != before


def test_old_versions_are_deleted(tmp_path: Path) -> None:
    for i in range(_cache.KEPT + 3):
        path = tmp_path / f"nanostep-{i}"
        path.mkdir()
        os.utime(path, (i, i))
    (tmp_path / "other").mkdir()
    _cache._write(tmp_path / "nanostep-new", "f.code", b"x")
    left = sorted(path.name for path in tmp_path.iterdir())
    assert len(left) == _cache.KEPT + 1
    assert {"nanostep-new", "other", f"nanostep-{_cache.KEPT + 2}"} <= set(left)


def test_directories(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_cache.config, "CACHE_DIR", "/somewhere")
    assert list(_cache.directories()) == [Path("/somewhere")]
    monkeypatch.setattr(_cache.config, "CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    beside = Path(_cache.__file__).parent / "__pycache__"
    assert list(_cache.directories()) == [beside, Path("/caches")]
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "")
    assert beside in _cache.directories()


def test_warmup_compiles_what_a_run_needs() -> None:
    assert ns.warmup([2, 3, 2], "elu", "identity", "huber", batch_size=5, optimizer=ns.Adam()) > 0
    with pytest.raises(ValueError, match="batch_size"):
        ns.warmup([2, 1], batch_size=0)
    with pytest.raises(TypeError, match="optimizer"):
        ns.warmup([2, 1], optimizer="adam")
