"""Fixtures of all tests."""

from __future__ import annotations

import gc
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from cases import REQUIRED
from nanostep.backends import load
from tiers import FILES, FUNCTIONS, SLOW_ON_NUMBA, markers_of

CSRC = Path(__file__).resolve().parent.parent / "csrc"

# Numba's compiler makes millions of objects that stay; with the usual thresholds a sixth of the time goes into walks
# over them.
gc.set_threshold(100_000, 20, 100)

TOGETHER = {
    # the library that both look at takes a minute to build; and those that make many threads leave each other alone
    **dict.fromkeys(("test_csrc.py", "test_embedding.py", "test_isas.py"), "C library and threads"),
    **dict.fromkeys(("test_threads.py", "test_jit_threads.py"), "C library and threads"),
    # a cluster of processes for each file
    **dict.fromkeys(("test_local_sgd.py", "test_sweeps_dask.py"), "clusters"),
    # one fixture of the file takes half a minute
    **{name: name for name in ("test_jit.py", "test_jit_python.py", "test_package.py")},
}
"""Files whose tests run in one process, one after the other. Groups begin first, all other tests fill the gaps."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Deal out the tests one at a time but for the groups.

    pytest-xdist's own ``--dist loadgroup`` does not see its marks with pytest 9.2 (pytest-xdist issue 1386).
    """
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return TOGETHER.get(Path(nodeid.partition("::")[0]).name, nodeid)

    return Scheduling(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests that take long, before pytest looks at the markers."""
    for item in items:
        parameters = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
        for marker in markers_of(item.path.name, getattr(item, "originalname", None) or item.name, parameters):
            item.add_marker(marker)
    if Path(config.rootpath / "tests") in {Path(argument).resolve() for argument in config.args}:
        _check_tiers(items)


def _check_tiers(items: list[pytest.Item]) -> None:
    """Raise UsageError if `tiers` names a file or a function that is not there."""
    files = {item.path.name for item in items}
    functions = {getattr(item, "originalname", None) or item.name for item in items}
    unknown = set().union(*FILES.values()) - files | set().union(SLOW_ON_NUMBA, *FUNCTIONS.values()) - functions
    if unknown:
        raise pytest.UsageError(f"tests/tiers.py names what is not there: {', '.join(sorted(unknown))}")


@pytest.fixture(params=REQUIRED)
def backend(request: pytest.FixtureRequest) -> ModuleType:
    """Each required backend's package. One that cannot run fails the tests that use it; nothing is skipped."""
    return load(request.param)


@pytest.fixture(params=REQUIRED)
def each_backend(request: pytest.FixtureRequest) -> str:
    """Its name."""
    return request.param


@pytest.fixture(scope="session")
def c_library(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Function from the name of a compiler to a directory in which CMake built the C library and its tests with it."""

    @cache
    def build(compiler: str) -> Path:
        assert shutil.which(compiler), f"compiler {compiler} is not installed"
        directory = tmp_path_factory.mktemp(f"library-{compiler}")
        options = ("-DNANOSTEP_WARNINGS_AS_ERRORS=ON", "-DCMAKE_INSTALL_LIBDIR=lib", f"-DCMAKE_C_COMPILER={compiler}")
        for command in (["-S", str(CSRC), "-B", str(directory), *options], ["--build", str(directory), "-j", "2"]):
            result = subprocess.run(["cmake", *command], capture_output=True, text=True, check=False)
            assert result.returncode == 0, result.stdout + result.stderr
        return directory

    return build


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Callable:
    """The benchmark, brief and in this process, on one core and without the floors, which take a second."""
    from nanostep.benchmark.lanes import LocalLane
    from nanostep.benchmark.measure import measure
    from nanostep.benchmark.request import check_request

    monkeypatch.setattr("nanostep.benchmark.floors.unavailable", lambda: "not in this test")

    def run(tasks, contenders, *, repeats=2, quick=False, open_lane=LocalLane, on_progress=lambda *_: None):
        request = check_request(tasks, contenders, ["1"], seconds=1e-4, repeats=repeats, quick=quick)
        return measure(request, open_lane=open_lane, on_progress=on_progress)

    return run
