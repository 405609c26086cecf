"""Description of the machine of a measurement: processor, instruction sets, versions."""

from __future__ import annotations

import os
import platform
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from nanostep._version import __version__
from nanostep.backends import load
from nanostep.errors import BackendUnavailable


def describe() -> dict[str, Any]:
    """Return the machine, the C library's build and the versions, as plain strings and numbers."""
    return {
        "cpu": cpu_model(),
        "cpus": os.cpu_count(),
        "usable_cpus": sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "load_average": os.getloadavg() if hasattr(os, "getloadavg") else None,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "system": platform.platform(),
        "c_library": _c_library(),
        "isa_environment": os.environ.get("NANOSTEP_ISA", ""),
        "openblas_coretype_removed": os.environ.get("OPENBLAS_CORETYPE", ""),
        "versions": {
            "nanostep": __version__,
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in ("numpy", "numba", "llvmlite")},
        },
    }


def cpu_model() -> str:
    """Return the processor's name as the operating system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, "") or platform.processor() or platform.machine()


def _c_library() -> dict[str, str]:
    try:
        return load("c").build_info()
    except BackendUnavailable as error:
        return {"unavailable": str(error)}
