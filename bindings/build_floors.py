"""Builds the benchmark's measurement of the machine, ``bench/floors.c``, into ``nanostep.benchmark._floors``.

A separate module, because users of the C library do not need it. Where it cannot be built, the benchmark reports that
there are no floors. cffi runs this file by ``exec`` with ``__file__`` set, so it imports nothing of the project.
"""

import sys
from pathlib import Path

from cffi import FFI

ROOT = Path(__file__).resolve().parent.parent
HEADER = ROOT / "bench" / "floors.h"

ffibuilder = FFI()
ffibuilder.cdef(
    HEADER.read_text(encoding="utf-8").partition("/* cdef: begin")[2].partition("*/")[2].partition("/* cdef: end")[0]
)
ffibuilder.set_source(
    "nanostep.benchmark._floors",
    '#include "floors.h"',
    # the thread pool is compiled in, because the library does not export its internal interface
    sources=["bench/floors.c", "csrc/src/pool.c"],
    depends=["bench/floors.h", "bench/floors.inc", "bench/floors_isa.inc", "csrc/src/team.h", "csrc/src/internal.h"],
    include_dirs=["bench", "csrc/include", "csrc/src"],
    extra_compile_args=[]
    if sys.platform == "win32"
    else ["-std=c11", "-pthread", "-O3", "-ffp-contract=fast", "-fvisibility=hidden"],
    extra_link_args=[] if sys.platform == "win32" else ["-pthread"],
    optional=True,
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
