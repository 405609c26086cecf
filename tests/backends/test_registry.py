"""The choice of a backend: by argument, by environment and automatically, also when one is missing."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import nanostep as ns
from cases import REQUIRED
from nanostep import backends


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process of its own, without NANOSTEP_* variables other than the given ones."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("NANOSTEP")}
    return subprocess.run(
        [sys.executable, "-c", code], env={**clean, **environment}, capture_output=True, text=True, check=False
    )


def blocked(*modules: str) -> str:
    """Code that makes importing `modules` fail, as if they were not installed."""
    return "import sys\n" + "".join(f"sys.modules[{name!r}] = None\n" for name in modules)


SHOW = "import nanostep as ns; print(ns.Network([2, 1]).backend, *ns.available_backends())"
MODULES = {"c": "nanostep.backends.native._native", "numba": "numba"}
"""The modules that each backend needs."""


def test_required_backends_are_available() -> None:
    assert set(REQUIRED) <= set(ns.available_backends())
    assert ns.available_backends() == tuple(name for name in backends.PACKAGES if name in ns.available_backends())


@pytest.mark.parametrize("backend", REQUIRED)
def test_the_backend_asked_for_is_the_one_that_runs(backend: str) -> None:
    net = ns.Network([2, 3, 1], backend=backend)
    assert net.backend == backend
    assert type(net._engine).__module__.startswith(backends.PACKAGES[backend])
    assert net.train([[0, 1]], [1], epochs=1).backend == backend


@pytest.mark.parametrize("backend", REQUIRED)
def test_environment_chooses_for_auto_and_gives_way_to_an_argument(backend: str) -> None:
    assert run(SHOW, NANOSTEP_BACKEND=backend).stdout.split()[0] == backend
    code = "import nanostep as ns; print(ns.Network([2, 1], backend='numpy').backend)"
    assert run(code, NANOSTEP_BACKEND=backend).stdout.strip() == "numpy"


@pytest.mark.parametrize("value", ["", "auto"])
def test_environment_may_leave_the_choice_open(value: str) -> None:
    assert run(SHOW, NANOSTEP_BACKEND=value).stdout.split()[0] == ns.available_backends()[0]


def test_unknown_name_in_the_environment() -> None:
    assert (
        "NANOSTEP_BACKEND='cuda' is not known; choose one of: auto, c, numba, numpy"
        in run(SHOW, NANOSTEP_BACKEND="cuda").stderr
    )


@pytest.mark.parametrize("missing", [("c",), ("numba",), ("c", "numba")])
def test_auto_falls_back_in_order(missing: tuple[str, ...]) -> None:
    left = [name for name in ns.available_backends() if name not in missing]
    code = blocked(*(MODULES[name] for name in missing)) + SHOW
    assert run(code).stdout.split() == [left[0], *left]


@pytest.mark.parametrize(("backend", "advice"), [("c", "Install a C compiler"), ("numba", "pip install numba")])
def test_a_backend_asked_for_and_missing_raises_and_says_what_to_install(backend: str, advice: str) -> None:
    module = MODULES[backend]
    by_argument = run(blocked(module) + f"import nanostep as ns; ns.Network([2, 1], backend={backend!r})")
    by_environment = run(blocked(module) + SHOW, NANOSTEP_BACKEND=backend)
    for result in (by_argument, by_environment):
        assert result.returncode != 0
        assert "BackendUnavailable" in result.stderr
        assert f"backend {backend!r} cannot run" in result.stderr
        assert advice in result.stderr


def test_pickles_of_an_automatic_choice_choose_again() -> None:
    best, *others = ns.available_backends()
    assert others
    written = run("import pickle, nanostep as ns; print(pickle.dumps(ns.Network([2, 1])).hex())")
    code = f"import pickle; print(pickle.loads(bytes.fromhex({written.stdout.strip()!r})).backend)"
    assert run(blocked(MODULES[best]) + code).stdout.strip() == others[0]
