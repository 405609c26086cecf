"""Compiled code on disk: one file for each function, architecture and combination of argument types.

Numba's own cache has an index for each function, which two processes that compile different architectures at the same
time can corrupt, and it compares the source of that function only. Here the name of a file is a hash of everything that
the code depends on, so a file is either valid or absent: it appears complete, by renaming, and is never changed. Any
failure of the disk costs a compilation and nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import shutil
import sys
import uuid
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba.core import config, serialize
from numba.core.compiler import CompileResult

from nanostep import _names, architecture, optimizers
from nanostep._version import __version__

KEPT = 4
"""Number of versions of the kernels whose code is kept in one directory."""


def fingerprint(sources: Iterable[Path]) -> str:
    """Return a hash of the contents of some files."""
    digest = hashlib.sha256()
    for path in sorted(sources):
        digest.update(path.read_bytes())
    return digest.hexdigest()


@cache
def stamp() -> str:
    """Return a hash of what all kernels depend on: sources, versions, Python."""
    here = Path(__file__).parent
    own = [*here.glob("*.py"), *(here.parent / "reference").glob("*.py")]  # for its constants
    parts = [
        fingerprint([*own, *(Path(str(module.__file__)) for module in (_names, architecture, optimizers))]),
        __version__, numba.__version__, llvmlite.__version__, sys.version, str(config.OPT),
    ]  # fmt: skip
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def directories() -> Iterator[Path]:
    """Return the directories for compiled code, best first, as in Numba: beside the sources, the user's caches."""
    if config.CACHE_DIR:
        yield Path(config.CACHE_DIR)
        return
    yield Path(__file__).parent / "__pycache__"
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if os.path.isabs(home):  # without HOME, ~ may stay as it is
        yield Path(home)


class DiskCache:
    """The cache of one dispatcher, with the interface of Numba's cache object."""

    def __init__(self, name: str, options: dict[str, Any]) -> None:
        self.name = name
        self.options = repr(sorted((key, str(value)) for key, value in options.items()))
        self.enabled = True

    cache_path = None

    def enable(self) -> None:
        self.enabled = True

    def disable(self) -> None:
        self.enabled = False

    def flush(self) -> None:
        """Nothing is held in memory."""

    def file_name(self, signature: Any, codegen: Any) -> str:
        """Return the name of the file with the code for a signature on the processor of `codegen`."""
        parts = (stamp(), self.name, self.options, str(signature), repr(codegen.magic_tuple()))
        return f"{self.name}-{hashlib.sha256('/'.join(parts).encode()).hexdigest()[:40]}.code"

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        """Return the code for a signature, or None."""
        target_context.refresh()
        if not self.enabled:
            return None
        name = self.file_name(signature, target_context.codegen())
        for directory in directories():
            with contextlib.suppress(Exception):  # damaged, or unusable for any other reason: compile again
                payload = pickle.loads((directory / folder() / name).read_bytes())
                return CompileResult._rebuild(target_context, *payload)
        return None

    def save_overload(self, signature: Any, result: Any) -> None:
        """Write the code for a signature to the first directory that can be written."""
        if not self.enabled or result.lifted or result.library.has_dynamic_globals:
            return
        name, data = self.file_name(signature, result.codegen), serialize.dumps(result._reduce())
        for directory in directories():
            try:
                _write(directory / folder(), name, data)
            except OSError:
                continue
            return


def folder() -> str:
    """Return the name of the directory for this version of the kernels."""
    return f"nanostep-{stamp()[:16]}"


def _write(directory: Path, name: str, data: bytes) -> None:
    if not directory.is_dir():
        directory.mkdir(parents=True, exist_ok=True)
        _delete_old_versions(directory)
    temporary = directory / f".{uuid.uuid4().hex}"
    try:
        temporary.write_bytes(data)
        os.replace(temporary, directory / name)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def _delete_old_versions(newest: Path) -> None:
    """Delete all but the code of the last few versions of the kernels."""
    with contextlib.suppress(OSError):
        versions = sorted(newest.parent.glob("nanostep-*/"), key=lambda path: path.stat().st_mtime)
        for path in versions[:-KEPT]:
            shutil.rmtree(path, ignore_errors=True)
