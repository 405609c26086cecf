"""The C library by itself: it builds without Python and without warnings, passes its tests, and has no side effects."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from cases import COMPILERS

CSRC = Path(__file__).resolve().parents[2] / "csrc"

ALLOWED_IMPORTS = {
    *("memcpy", "memmove", "memset", "memcmp", "bcmp", "strcmp", "getenv"),
    *("exp", "expf", "log", "logf", "log1p", "log1pf", "pow", "sqrt", "sqrtf"),
    *("_GLOBAL_OFFSET_TABLE_", "__cpu_model", "__cpu_indicator_init", "__stack_chk_fail"),
    # threads of a pool that the caller starts: the system allocates their stacks, the caller everything else
    *(f"pthread_attr_{name}" for name in ("init", "destroy", "setstacksize")),
    *(f"pthread_mutex_{name}" for name in ("init", "destroy", "lock", "unlock")),
    *(f"pthread_cond_{name}" for name in ("init", "destroy", "wait", "signal")),
    *("pthread_create", "pthread_join", "pthread_sigmask", "sigfillset", "sched_yield", "clock_gettime", "getpid"),
}
"""All external symbols that the library may use: no allocation, no output, no exit, no abort."""


def run(*command: str | Path) -> str:
    """Run a command, show what it printed if it fails, and return its standard output."""
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout


@pytest.fixture(params=COMPILERS)
def build(request: pytest.FixtureRequest, c_library: Callable[[str], Path]) -> Path:
    """Directory in which the library was built with -Werror."""
    return c_library(request.param)


def test_own_tests_pass(build: Path) -> None:
    report = run("ctest", "--test-dir", build, "--output-on-failure")
    assert re.search(r"100% tests passed.* out of 21", report)


def undefined_symbols(archive: Path) -> set[str]:
    """Return the names that the objects of `archive` need but do not define."""
    lines = run("nm", "-A", archive).splitlines()
    defined = {line.split()[-1] for line in lines if re.search(r" [A-TV-Zu] \S+$", line)}
    needed = {line.split()[-1] for line in lines if re.search(r" U \S+$", line)}
    return needed - defined


def test_takes_nothing_but_arithmetic_and_threads_from_outside(build: Path) -> None:
    needed = undefined_symbols(build / "libnanostep.a")
    assert "memcpy" in needed  # the check does see symbols
    assert needed <= ALLOWED_IMPORTS


def test_symbol_check_notices_output(tmp_path: Path) -> None:
    source = tmp_path / "bad.c"
    source.write_text('#include <stdio.h>\nvoid nst_bad(int x) { printf("%d", x); }\n')
    run(COMPILERS[0], "-c", source, "-o", tmp_path / "bad.o")
    run("ar", "rc", tmp_path / "libbad.a", tmp_path / "bad.o")
    assert not undefined_symbols(tmp_path / "libbad.a") <= ALLOWED_IMPORTS


def test_exports_begin_with_prefix(build: Path) -> None:
    exports = [line.split()[-1] for line in run("nm", "-D", "--defined-only", build / "libnanostep.so").splitlines()]
    assert "nst_f32_train" in exports
    assert [name for name in exports if not name.startswith("nst_")] == []


def test_keeps_no_state_but_the_instruction_set(build: Path) -> None:
    lines = run("nm", "-A", build / "libnanostep.a").splitlines()
    writable = {line.split()[-1].split(".")[0] for line in lines if re.search(r" [bBdDcC] \S+$", line)}
    assert writable <= {"selected"} | {
        # tables of pointers are read-only once the loader has relocated them
        *("f32_tables", "f64_tables", "names", "messages"),
        *(f"nst_{real}_{isa}" for real in ("f32", "f64") for isa in ("baseline", "avx2", "avx512")),
    }


def test_header_compiles_as_cpp(build: Path, tmp_path: Path) -> None:
    source = tmp_path / "user.cpp"
    source.write_text('#include "nanostep.h"\nint main() { return nst_status_message(NST_OK) == nullptr; }\n')
    run("g++", "-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-I{CSRC / 'include'}", source,
        build / "libnanostep.a", "-lm", "-o", tmp_path / "user")  # fmt: skip
    run(tmp_path / "user")
