"""Registry of backends: which exist, which can run here, and the choice between them.

A backend is a package with the modules of `nanostep.backends.contract`; it is imported when it is first needed.
"""

from __future__ import annotations

import importlib
import os
from functools import cache
from types import ModuleType

from nanostep._checks import check_choice
from nanostep.errors import BackendUnavailable

PACKAGES = {
    "c": "nanostep.backends.native",
    "numba": "nanostep.backends.jit",
    "numpy": "nanostep.backends.reference",
}
"""Package of each backend, in the order in which ``"auto"`` prefers them."""

ENVIRONMENT = "NANOSTEP_BACKEND"


@cache
def load(name: str) -> ModuleType:
    """Import and return the package of backend `name`.

    Raises
    ------
    BackendUnavailable
        It cannot run here; the message says why and what to install.
    """
    return importlib.import_module(PACKAGES[name])


@cache
def available_backends() -> tuple[str, ...]:
    """Return the names of the backends that can really run here, best first.

    Each is imported to find out, which takes about half a second for Numba the first time.
    """
    names = []
    for name in PACKAGES:
        try:
            load(name)
        except BackendUnavailable:
            continue
        names.append(name)
    return tuple(names)


def resolve(name: str) -> tuple[str, ModuleType]:
    """Return the name and package of the backend that `name` ("auto" or a backend's name) stands for.

    ``"auto"`` takes ``NANOSTEP_BACKEND`` if that is set (and not "auto"), otherwise the first that can run.

    Raises
    ------
    BackendUnavailable
        A backend that was requested by name, here or in the environment, cannot run.
    ValueError
        Unknown name.
    """
    check_choice("backend", name, ("auto", *PACKAGES))
    if name == "auto":
        name = os.environ.get(ENVIRONMENT, "") or "auto"
        check_choice(ENVIRONMENT, name, ("auto", *PACKAGES))
    if name != "auto":
        return name, load(name)
    for candidate in PACKAGES:
        try:
            return candidate, load(candidate)
        except BackendUnavailable:
            continue
    raise AssertionError("the numpy backend always loads")
