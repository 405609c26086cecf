"""Building and installing: sdist -> wheel -> import in an environment of its own, with and without a C compiler."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

TRY = """
import json, sys
import nanostep as ns
lazy = ("numba", "nanostep.backends.native", "sklearn", "rich", "click", "safetensors")
heavy = [m for m in lazy if m in sys.modules]
net = ns.Network([2, 2, 1])
loss = net.step([0.05, 0.1], 0.01, lr=0.5)
print(json.dumps({"file": ns.__file__, "backend": net.backend, "heavy": heavy, "available": ns.available_backends()}))
"""


def run(*command: str | Path, **environment: str) -> str:
    """Run a command outside the repository and return its output; a failure shows all of the output."""
    result = subprocess.run(
        [str(part) for part in command],
        env={**{k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "NANOSTEP"))}, **environment},
        cwd=ROOT.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout + result.stderr


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("sdist")
    run(sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", directory, ROOT)
    return next(directory.glob("*.tar.gz"))


def build_wheel(sdist: Path, directory: Path, **environment: str) -> tuple[Path, str]:
    """Build a wheel from an unpacked sdist; return the wheel and the output of the build."""
    with tarfile.open(sdist) as archive:
        archive.extractall(directory, filter="data")
    source = next(directory.glob("nanostep-*"))
    printed = run(
        sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", directory, source, **environment
    )
    return next(directory.glob("*.whl")), printed


def try_wheel(wheel: Path, directory: Path) -> dict[str, object]:
    """Install a wheel alone into a new environment that borrows only the dependencies, and run TRY there."""
    environment = directory / "environment"
    run(sys.executable, "-m", "venv", environment)
    python = environment / "bin" / "python"
    run(python, "-m", "pip", "install", "--no-deps", "--no-index", wheel)
    # A path in a .pth file is searched, but .pth files found there (such as that of an editable nanostep) are not read.
    site_packages = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    answer = json.loads(run(python, "-c", TRY).splitlines()[-1])
    assert Path(answer["file"]).is_relative_to(environment)
    return answer


def build_consumer(directory: Path) -> None:
    """Build and run the C program against the copy of the library inside the environment made by `try_wheel`."""
    flags = shlex.split(run(directory / "environment" / "bin" / "python", "-m", "nanostep", "--cflags", "--libs"))
    assert Path(flags[0].removeprefix("-I")).is_relative_to(directory / "environment")
    run("cc", ROOT / "tests" / "consumer" / "main.c", *flags, "-o", directory / "consumer")
    assert "0 wrong" in run(directory / "consumer")


def test_sdist_has_everything_once(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    assert len(names) == len(set(names))
    assert {"bench/floors.c", "bench/README.md", "engine/nanostep/benchmark/worker.py"} <= set(names)
    assert [name for name in names if name.endswith("worker.py")] == ["engine/nanostep/benchmark/worker.py"]


def test_sdist_to_wheel_to_import(sdist: Path, tmp_path: Path) -> None:
    wheel, _ = build_wheel(sdist, tmp_path)
    assert "-cp311-abi3-" in wheel.name
    names = zipfile.ZipFile(wheel).namelist()
    assert any(name.startswith("nanostep/backends/native/_native.abi3.") for name in names)
    assert {"nanostep/py.typed", "nanostep/data/LICENSE.digits.txt"} <= set(names)
    assert {"nanostep/benchmark/worker.py", "nanostep/benchmark/tasks/steps.py"} <= set(names)
    assert any(name.startswith("nanostep/benchmark/_floors.abi3.") for name in names)
    assert not [name for name in names if not name.startswith("nanostep")]
    answer = try_wheel(wheel, tmp_path)
    assert answer["backend"] == "c"
    assert answer["heavy"] == []
    assert answer["available"] == ["c", "numba", "numpy"]
    build_consumer(tmp_path)
    bench = ("bench", "--tasks", "W4", "--contenders", "c,jax", "--cores", "1", "--seconds", "0.01", "--repeats", "1")
    printed = run(tmp_path / "environment" / "bin" / "python", "-m", "nanostep", *bench)
    assert "GF/s float32" in printed
    assert "us/step" in printed


def test_install_without_compiler_says_so_and_runs_on_numba(sdist: Path, tmp_path: Path) -> None:
    wheel, printed = build_wheel(sdist, tmp_path, CC="no-such-compiler")
    assert "nanostep: the C backend could not be built" in printed
    assert "install a C compiler" in printed
    answer = try_wheel(wheel, tmp_path)
    assert answer["backend"] == "numba"
    assert answer["available"] == ["numba", "numpy"]
    with pytest.raises(AssertionError, match=r"has no C library.*Install a C compiler"):
        build_consumer(tmp_path)
