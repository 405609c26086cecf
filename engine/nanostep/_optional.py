"""Libraries that are not dependencies of the core: one import, and one error that says what to install."""

from __future__ import annotations

import importlib
from types import ModuleType


def require(purpose: str, library: str, module: str, extra: str) -> ModuleType:
    """Import and return `module`.

    Parameters
    ----------
    purpose : str
        What needs it; begins the sentence of the error.
    library : str
        Name of the library as people know it.
    module : str
        What is imported.
    extra : str
        Extra of the package that brings it.

    Raises
    ------
    ImportError
        It cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        message = f'{purpose} needs {library}: pip install "nanostep[{extra}]" ({error})'
        raise ImportError(message, name=module) from error
