"""Adds the C extension, and the C library beside it, to the build; everything else stands in pyproject.toml.

Without a working C compiler the package is installed all the same: it then runs on Numba, and asking for the C backend
raises an error that says so.
"""

import os
import re
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import BaseError, CCompilerError

CSRC = Path("csrc")

MESSAGE = """
nanostep: the C backend could not be built:
    {error}
nanostep is installed without it and runs on Numba. To have it, install a C compiler
(Debian and Ubuntu: apt install gcc python3-dev; macOS: xcode-select --install) and install nanostep again.
"""


class OptionalBuild(build_ext):
    """build_ext that reports a failure to compile instead of failing the installation.

    What the compiler made for the extension also becomes a static library. With headers, CMake package and pkg-config
    file it goes to nanostep/clib, laid out as by ``cmake --install``, for programs without Python.
    """

    def run(self) -> None:
        try:
            super().run()
            self.install_library()
        except (BaseError, CCompilerError, OSError) as error:
            self.extensions = []
            print(MESSAGE.format(error=error), file=sys.stderr)

    def build_extensions(self) -> None:
        """Compile the sources of an extension side by side: three of them take nearly all the time."""
        compile_one = self.compiler.compile

        def compile_all(sources: list[str], **options: Any) -> list[str]:
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                objects = list(pool.map(lambda source: compile_one([source], **options), sources))
            return [name for names in objects for name in names]

        self.compiler.compile = compile_all
        super().build_extensions()

    def install_library(self) -> None:
        """Write nanostep/clib into the build directory, or beside the sources when the extension goes there."""
        (extension,) = (one for one in self.extensions if one.name.endswith("._native"))
        build_py = self.get_finalized_command("build_py")
        package = build_py.get_package_dir("nanostep") if self.inplace else Path(self.build_lib, "nanostep")
        prefix = Path(package, "clib")
        shutil.rmtree(prefix, ignore_errors=True)  # `ar` would keep objects whose source is gone

        library, cmake = prefix / "lib", prefix / "lib" / "cmake" / "nanostep"
        sources = [source for source in extension.sources if Path(source).is_relative_to(CSRC)]
        objects = self.compiler.object_filenames(sources, output_dir=self.build_temp)
        self.compiler.create_static_lib(objects, "nanostep", output_dir=str(library))

        shutil.copytree(CSRC / "include", prefix / "include")
        shutil.copytree(CSRC / "cmake", cmake, ignore=shutil.ignore_patterns("*.in", "install.cmake"))
        values = {
            "PREFIX": "${pcfiledir}/../..",
            "INCLUDEDIR": "${prefix}/include",
            "LIBDIR": "${prefix}/lib",
            "PROJECT_VERSION": self.distribution.get_version(),
            # all that a static library needs, even without `pkg-config --static`: there is no shared one beside it
            "LIBS_PUBLIC": " ".join([*(f"-l{name}" for name in extension.libraries), *extension.extra_link_args]),
            "LIBS_PRIVATE": "",
        }
        fill(CSRC / "cmake" / "nanostep.pc.in", library / "pkgconfig" / "nanostep.pc", values)
        fill(CSRC / "cmake" / "nanostep-config-version.cmake.in", cmake / "nanostep-config-version.cmake", values)


def fill(template: Path, target: Path, values: dict[str, str]) -> None:
    """Write `target`: the template with @NAME@ replaced, as CMake's configure_file does."""
    target.parent.mkdir(parents=True, exist_ok=True)
    text = template.read_text(encoding="utf-8")
    target.write_text(re.sub(r"@(\w+)@", lambda match: values[match[1]], text), encoding="utf-8")


ROW = Extension(
    "nanostep.backends.native._row",
    [f"bindings/{name}.c" for name in ("row_module", "calls", "arrays", "kept_optimizer")],
    include_dirs=[numpy.get_include(), str(CSRC / "include"), str(CSRC / "src")],
    define_macros=[("Py_LIMITED_API", "0x030B0000"), ("NPY_TARGET_VERSION", "NPY_2_0_API_VERSION")],
    depends=[
        "bindings/calls.h",
        *(
            f"csrc/{name}.h"
            for name in ("include/nanostep", "include/nanostep_real", "src/prepared", "src/prepared_real")
        ),
    ],
    py_limited_api=True,
)

setup(
    ext_modules=[ROW],
    cffi_modules=["bindings/build_ffi.py:ffibuilder", "bindings/build_floors.py:ffibuilder"],
    cmdclass={"build_ext": OptionalBuild},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
