"""The C library as used by other projects: a C and a C++ program, built in every documented way."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import nanostep as ns
from cases import COMPILERS
from nanostep import embedding
from nanostep.cli import main
from nanostep.data import load_digits

ROOT = Path(__file__).resolve().parent.parent
CONSUMER = ROOT / "tests" / "consumer"
PROGRAMS = (("cc", "main.c"), ("c++", "main.cpp"))


def run(*command: str | Path, code: int = 0, **environment: str) -> str:
    """Run a command, check its exit code, and return its output."""
    result = subprocess.run(
        [str(part) for part in command],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == code, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout + result.stderr


def nanostep(*options: str, code: int = 0) -> str:
    return run(sys.executable, "-m", "nanostep", *options, code=code).strip()


def pkg_config(directory: Path, *options: str) -> list[str]:
    """Return the flags that pkg-config gives for the nanostep.pc in `directory`."""
    command = (sys.executable, "-m", "pkgconf", *options, "nanostep")
    return shlex.split(run(*command, PKG_CONFIG_PATH=str(directory)))


def build_and_run(flags: list[str], directory: Path, **environment: str) -> None:
    """Compile the consumer as C and as C++ with `flags`, and run both."""
    for compiler, source in PROGRAMS:
        program = directory / f"consumer_{compiler}"
        run(compiler, "-Wall", "-Wextra", "-Wpedantic", "-Werror", CONSUMER / source, *flags, "-o", program)
        assert "0 wrong" in run(program, **environment)


def find_package(directory: Path, *options: str) -> Path:
    """Configure, build and run the consumer with CMake; return the build directory."""
    run("cmake", "-S", CONSUMER, "-B", directory, *options)
    run("cmake", "--build", directory)
    assert "out of 2" in run("ctest", "--test-dir", directory, "--output-on-failure")
    return directory


def needs_shared(program: Path) -> bool:
    """Return True if the program loads a libnanostep.so when it starts."""
    return "libnanostep.so" in run("objdump", "-p", program)


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory, c_library: Callable[[str], Path]) -> Path:
    """The result of ``cmake --install``, moved to another place after it was installed."""
    directory, build = tmp_path_factory.mktemp("library"), c_library(COMPILERS[0])
    run("cmake", "--install", build, "--prefix", directory / "installed")
    for path in (directory / "installed").rglob("*"):  # nothing may refer to the place where it was built
        assert path.is_dir() or bytes(build) not in path.read_bytes(), path
    return (directory / "installed").rename(directory / "a place of its own")


@pytest.mark.parametrize(
    ("options", "shared"),
    [
        pytest.param([], False, id="default"),
        pytest.param(["-DBUILD_SHARED_LIBS=ON"], True, id="default-shared"),
        pytest.param(["-DCONSUMER_TARGET=nanostep::static", "-DBUILD_SHARED_LIBS=ON"], False, id="static"),
        pytest.param(["-DCONSUMER_TARGET=nanostep::shared"], True, id="shared"),
    ],
)
def test_find_package_in_an_installed_prefix(options: list[str], shared: bool, prefix: Path, tmp_path: Path) -> None:
    build = find_package(tmp_path, f"-DCMAKE_PREFIX_PATH={prefix}", *options)
    assert needs_shared(build / "consumer_c") == needs_shared(build / "consumer_cpp") == shared


def test_find_package_in_the_python_package(tmp_path: Path) -> None:
    build = find_package(tmp_path, f"-Dnanostep_DIR={nanostep('--cmakedir')}")
    assert not needs_shared(build / "consumer_c")


@pytest.mark.parametrize(("version", "found"), [("0.1", True), ("0.1.0", True), ("0.2", False), ("0.0.9", False),
                                                 ("0.1...0.9", True), ("0.2...1", False), ("1", False)])  # fmt: skip
def test_find_package_compares_versions(version: str, found: bool, tmp_path: Path) -> None:
    """The version file, which is the same text in both packages, decides."""
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.21)\nproject(versions LANGUAGES C)\n"
        f"find_package(nanostep {version} REQUIRED CONFIG)\n"
    )
    options = ("-S", tmp_path, "-B", tmp_path / "build", f"-Dnanostep_DIR={embedding.get_cmake_dir()}")
    printed = run("cmake", *options, code=0 if found else 1)
    assert ("compatible with requested version" in printed.replace("\n", " ")) != found


def test_find_package_refuses_a_component_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.21)\nproject(components LANGUAGES C)\n"
        "find_package(nanostep REQUIRED COMPONENTS static shared)\n"
    )
    printed = run(
        "cmake", "-S", tmp_path, "-B", tmp_path / "build", f"-Dnanostep_DIR={embedding.get_cmake_dir()}", code=1
    )
    assert "there is no component shared" in printed


def test_add_subdirectory(tmp_path: Path) -> None:
    """The sources inside another project: its build type and its tests stay its own."""
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.21)\nproject(parent LANGUAGES C)\n"
        f'add_subdirectory("{ROOT / "csrc"}" nanostep)\n'
        f'add_executable(consumer "{CONSUMER / "main.c"}")\ntarget_link_libraries(consumer nanostep::nanostep)\n'
        'if(CMAKE_BUILD_TYPE OR TARGET xor)\n  message(FATAL_ERROR "the parent was changed")\nendif()\n'
    )
    run("cmake", "-S", tmp_path, "-B", tmp_path / "build")
    run("cmake", "--build", tmp_path / "build", "--parallel", "2", "--target", "consumer")
    assert "0 wrong" in run(tmp_path / "build" / "consumer")


def test_pkg_config_in_an_installed_prefix(prefix: Path, tmp_path: Path) -> None:
    directory = prefix / "lib" / "pkgconfig"
    flags = pkg_config(directory, "--cflags", "--libs")
    assert "-pthread" not in flags  # the shared library has its own dependencies
    build_and_run(flags, tmp_path, LD_LIBRARY_PATH=str(prefix / "lib"))
    assert needs_shared(tmp_path / "consumer_cc")
    build_and_run(["-static", *pkg_config(directory, "--static", "--cflags", "--libs"), "-static"], tmp_path)
    assert not needs_shared(tmp_path / "consumer_cc")


def test_pkg_config_in_the_python_package(tmp_path: Path) -> None:
    directory = Path(nanostep("--pkgconfigdir"))
    build_and_run(pkg_config(directory, "--cflags", "--libs"), tmp_path)
    assert pkg_config(directory, "--modversion") == [ns.__version__]


def test_flags_of_the_python_package(tmp_path: Path) -> None:
    build_and_run(shlex.split(nanostep("--cflags", "--libs")), tmp_path)
    include = Path(nanostep("--includedir"))
    assert include == Path(ns.get_include())
    assert (include / "nanostep.h").read_text() == (ROOT / "csrc" / "include" / "nanostep.h").read_text()


def test_flags_are_quoted_for_a_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "it's $HOME & more"
    shutil.copytree(embedding.PREFIX, copy)
    monkeypatch.setattr(embedding, "PREFIX", copy)
    assert shlex.split(embedding.get_cflags()) == [f"-I{copy}/include"]
    assert shlex.split(embedding.get_libs())[:2] == [f"-L{copy}/lib", "-lnanostep"]


def test_wrong_programs_are_noticed(tmp_path: Path) -> None:
    """A consumer that does not link fails, and so does one that does not learn."""
    with pytest.raises(AssertionError, match="undefined reference"):
        build_and_run([f"-I{ns.get_include()}"], tmp_path)
    source = (CONSUMER / "main.c").read_text().replace("sgd.lr = 0.2", "sgd.lr = 1e-9")
    (tmp_path / "main.c").write_text(source)
    run("cc", tmp_path / "main.c", *shlex.split(nanostep("--cflags", "--libs")), "-o", tmp_path / "lazy")
    assert "2 wrong" in run(tmp_path / "lazy", code=1) or "4 wrong" in run(tmp_path / "lazy", code=1)


@pytest.mark.parametrize("option", ["--cflags", "--libs", "--includedir", "--cmakedir", "--pkgconfigdir"])
def test_an_installation_without_the_library_says_so(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, "PREFIX", tmp_path)
    with pytest.raises(ns.BackendUnavailable, match="has no C library"):
        ns.get_include()
    result = CliRunner().invoke(main, [option])
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Install a C compiler" in result.stderr


def test_options_stand_alone() -> None:
    assert "stands alone" in nanostep("--cflags", "info", code=2)


def test_archive_of_the_python_package_defines_only_the_prefix() -> None:
    lines = run("nm", "--defined-only", "--extern-only", embedding.PREFIX / "lib" / "libnanostep.a").splitlines()
    names = {line.split()[-1] for line in lines if re.search(r" [A-Z] \S+$", line)}
    assert "nst_f32_train" in names
    assert [name for name in names if not name.startswith("nst_")] == []


def test_example_learns_the_digits(tmp_path: Path) -> None:
    X, labels = load_digits()
    np.savetxt(tmp_path / "digits.csv", np.column_stack([X, labels]), "%d", ",")
    source = ROOT / "csrc" / "examples" / "digits.c"
    assert len(source.read_text().splitlines()) < 80
    run("cc", source, *shlex.split(nanostep("--cflags", "--libs")), "-o", tmp_path / "digits")
    printed = run(tmp_path / "digits", tmp_path / "digits.csv")
    assert float(re.search(r"([\d.]+) % of 359 held-out", printed)[1]) > 95  # type: ignore[index]
    assert "64 pixels and the digit" in run(tmp_path / "digits", tmp_path / "none.csv", code=1)
    assert "too few" in run(tmp_path / "digits", source, code=1)


def test_program_of_the_document(tmp_path: Path) -> None:
    """The program of docs/embedding.md is complete, and its command line builds it."""
    text = (ROOT / "docs" / "embedding.md").read_text(encoding="utf-8")
    (tmp_path / "xor.c").write_text(re.search(r"^```c\n(.*?)^```", text, re.M | re.S)[1])  # type: ignore[index]
    (command,) = re.findall(r"^(cc xor\.c .*)$", text, re.M)
    command = command.replace("python", shlex.quote(sys.executable))
    run("sh", "-c", f"cd {shlex.quote(str(tmp_path))} && {command}")
    printed = run(tmp_path / "xor")
    expected = re.search(r"^```text\n(.*?)^```", text, re.M | re.S)[1]  # type: ignore[index]
    assert printed == expected
