"""The conformance suite again under every instruction set of the C library, with other numbers of threads."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import nanostep as ns
from cases import REQUIRED, THREADS

FORCED = os.environ.get("NANOSTEP_ISA")
TESTS = Path(__file__).resolve().parent

pytestmark = pytest.mark.skipif("c" not in REQUIRED, reason="NANOSTEP_TEST_BACKENDS leaves the C backend out")


def test_what_is_forced_is_what_runs() -> None:
    """Part of every run below: the kernel reports what it was compiled for, and the pool how many threads took part."""
    net = ns.Network([4, 40, 40, 2], backend="c")
    history = net.train(np.ones((64, 4)), np.ones((64, 2)), epochs=1, batch_size=64, threads=THREADS)
    assert history.isa == (FORCED or history.isa)
    assert history.threads == (THREADS or history.threads)


@pytest.mark.skipif(FORCED is not None, reason="is one of the runs that this test starts")
@pytest.mark.parametrize(("isa", "threads"), [("baseline", 4), ("avx2", 2), ("avx512", 4)])
def test_conformance(isa: str, threads: int) -> None:
    """An instruction set that this machine does not have is refused; test_native.py tests that."""
    from nanostep.backends import native

    if isa not in native.available_isas():
        isa = native.available_isas()[-1]
    environment = {"NANOSTEP_ISA": isa, "NANOSTEP_TEST_THREADS": str(threads), "NANOSTEP_TEST_BACKENDS": "c"}
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", "-m", "", "-p", "no:cacheprovider", TESTS],
        env=os.environ | environment, cwd=TESTS.parent.parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout[-3000:]
    summary = re.search(r"(\d+) passed", result.stdout)
    assert summary is not None
    assert int(summary[1]) > 500
    assert "3 skipped" in result.stdout.splitlines()[-1]  # this test, and nothing else
