"""Builds the C library into ``nanostep.backends.native._native`` with cffi (API mode, stable ABI).

The headers are the only declarations of the C functions: the cdef is the part of the public one between its marks,
followed by the prototypes of ``nanostep_real.h`` once for each precision. Those of ``prepared_real.h``, which are
internal, follow. cffi runs this file by ``exec`` with ``__file__`` set, so it imports nothing of the project.
"""

import re
import sys
from pathlib import Path

from cffi import FFI

ROOT = Path(__file__).resolve().parent.parent
INCLUDE = ROOT / "csrc" / "include"
SOURCES = ROOT / "csrc" / "src"

# Named floating-point options only: contraction into FMA, no errno from sqrt, no traps to keep. Never -ffast-math.
GNU_OPTIONS = [
    "-std=c11",
    "-pthread",
    "-O3",
    "-ffp-contract=fast",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fvisibility=hidden",
]


def prototypes() -> str:
    """Return the declarations of the public header in the form that cffi reads."""
    header = (INCLUDE / "nanostep.h").read_text(encoding="utf-8")
    shared = header.partition("/* cdef: begin")[2].partition("*/")[2].partition("/* cdef: end")[0]
    real = (INCLUDE / "nanostep_real.h").read_text(encoding="utf-8")
    real += (SOURCES / "prepared_real.h").read_text(encoding="utf-8")
    texts = [shared, "typedef struct nst_prepared nst_prepared;"]
    for prefix, real_type in (("nst_f32_", "float"), ("nst_f64_", "double")):
        text = re.sub(r"\bNST\((\w+)\)", rf"{prefix}\1", real)
        texts.append(re.sub(r"\bREAL\b", real_type, text))
    return re.sub(r"\bNST_API\b", "", "\n".join(texts))


ffibuilder = FFI()
ffibuilder.cdef(prototypes())
ffibuilder.set_source(
    "nanostep.backends.native._native",
    '#include "prepared.h"',
    # setuptools requires paths relative to the project, which is the working directory of a build
    sources=[str(path.relative_to(ROOT)) for path in sorted(SOURCES.glob("*.c"))],
    depends=[str(path.relative_to(ROOT)) for path in sorted((ROOT / "csrc").rglob("*.[hi]*"))],
    include_dirs=[str(INCLUDE.relative_to(ROOT)), str(SOURCES.relative_to(ROOT))],
    extra_compile_args=[] if sys.platform == "win32" else GNU_OPTIONS,
    libraries=[] if sys.platform == "win32" else ["m"],
    extra_link_args=[] if sys.platform == "win32" else ["-pthread"],
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
