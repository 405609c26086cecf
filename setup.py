"""Adds the C extension to the build; everything else stands in pyproject.toml.

Without a working C compiler the package is installed all the same: it then runs on Numba, and asking for the C backend
raises an error that says so.
"""

import sys

from setuptools import setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import BaseError, CCompilerError

MESSAGE = """
nanostep: the C backend could not be built:
    {error}
nanostep is installed without it and runs on Numba. To have it, install a C compiler
(Debian and Ubuntu: apt install gcc python3-dev; macOS: xcode-select --install) and install nanostep again.
"""


class OptionalBuild(build_ext):
    """build_ext that reports a failure to compile instead of failing the installation."""

    def run(self) -> None:
        try:
            super().run()
        except (BaseError, CCompilerError, OSError) as error:
            self.extensions = []
            print(MESSAGE.format(error=error), file=sys.stderr)


setup(
    cffi_modules=["bindings/build_ffi.py:ffibuilder"],
    cmdclass={"build_ext": OptionalBuild},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
