"""The C library inside this installation, for programs that link it: where it is, and the flags of compiler and linker.

The build puts it beside the package (see setup.py), laid out as ``cmake --install`` does.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from nanostep.errors import HOW_TO_GET_C, BackendUnavailable

__all__ = ["get_cflags", "get_cmake_dir", "get_include", "get_libs", "get_pkgconfig_dir"]

PREFIX = Path(__file__).resolve().parent / "clib"


def _existing(*parts: str) -> Path:
    path = PREFIX.joinpath(*parts)
    if not path.exists():
        raise BackendUnavailable(f"this installation of nanostep has no C library ({path} is missing). {HOW_TO_GET_C}")
    return path


def get_include() -> str:
    """Return the directory of the C library's header ``nanostep.h``.

    Raises
    ------
    BackendUnavailable
        nanostep was installed without its C library.
    """
    return str(_existing("include", "nanostep.h").parent)


def get_cmake_dir() -> str:
    """Return the directory for CMake's ``nanostep_DIR``, with which ``find_package(nanostep)`` finds this copy.

    Raises
    ------
    BackendUnavailable
        nanostep was installed without its C library.
    """
    return str(_existing("lib", "cmake", "nanostep", "nanostep-config.cmake").parent)


def get_pkgconfig_dir() -> str:
    """Return the directory for ``PKG_CONFIG_PATH``.

    Raises
    ------
    BackendUnavailable
        nanostep was installed without its C library.
    """
    return str(_existing("lib", "pkgconfig", "nanostep.pc").parent)


def get_cflags() -> str:
    """Return the compiler's options, quoted for a shell.

    Raises
    ------
    BackendUnavailable
        nanostep was installed without its C library.
    """
    return _field("Cflags")


def get_libs() -> str:
    """Return the linker's options, quoted for a shell.

    Raises
    ------
    BackendUnavailable
        nanostep was installed without its C library.
    """
    return _field("Libs")


def _field(name: str) -> str:
    """Return a field of the pkg-config file, which holds the flags, with its variables replaced."""
    text = Path(get_pkgconfig_dir(), "nanostep.pc").read_text(encoding="utf-8")
    variables = {key: value.replace("${prefix}", str(PREFIX)) for key, value in re.findall(r"^(\w+)=(.*)$", text, re.M)}
    line = re.search(rf"^{name}:(.*)$", text, re.M)
    assert line is not None
    # split before substitution, because the path in a variable may contain spaces
    flags = [re.sub(r"\$\{(\w+)\}", lambda match: variables[match[1]], flag) for flag in line[1].split()]
    return shlex.join(flags)
