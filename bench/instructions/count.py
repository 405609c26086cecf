"""Count the instructions of a step of W1, W2 and W4 with callgrind: free of noise, so a change of 2 % is significant.

    python bench/instructions/count.py            compare with counts.json; exit code 1 above its figures + 2 %
    python bench/instructions/count.py --update   record the counts

The C library is the static one of the installed package. It runs its AVX2 kernels, because valgrind does not support
AVX-512. Counts depend on the compiler, so counts.json has them by compiler and version; a compiler that is not in it is
not judged.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
COUNTS = HERE / "counts.json"
STEPS = {"W1": 2048, "W2": 1024, "W4": 64}
"""Whole epochs, so that the second half of a run of twice as many has the same steps as the first."""

TOLERANCE = 0.02


def build(directory: Path) -> Path:
    """Compile train.c against the installed package's static library and return the program."""
    flags = subprocess.run(
        [sys.executable, "-m", "nanostep", "--cflags", "--libs"], capture_output=True, text=True, check=True
    ).stdout
    program = directory / "train"
    command = [
        os.environ.get("CC", "cc"),
        "-std=c11",
        "-O1",
        str(HERE / "train.c"),
        *shlex.split(flags),
        "-o",
        str(program),
    ]
    subprocess.run(command, check=True)
    return program


def count(program: Path, task: str, steps: int) -> tuple[int, str]:
    """Return the instructions of a whole run, and the compiler that the library was built with."""
    result = subprocess.run(
        ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", str(program), task, str(steps)],
        env={**os.environ, "NANOSTEP_ISA": "avx2"},
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"Collected : (\d+)", result.stderr)
    if result.returncode or found is None:
        raise SystemExit(f"{task}: the run under valgrind failed:\n{result.stderr}")
    return int(found[1]), result.stdout.strip()


def count_all() -> tuple[str, dict[str, float]]:
    """Return the compiler, and for each task the instructions of one step."""
    if shutil.which("valgrind") is None:
        raise SystemExit("valgrind is not installed (Debian and Ubuntu: apt install valgrind)")
    with tempfile.TemporaryDirectory() as directory:
        program = build(Path(directory))
        counts = {}
        for task, steps in STEPS.items():
            once, compiler = count(program, task, steps)
            twice, _ = count(program, task, 2 * steps)
            counts[task] = round((twice - once) / steps, 1)
    return compiler, counts


def judge(compiler: str, counts: dict[str, float], reference: dict[str, dict[str, float]]) -> tuple[list[str], bool]:
    """Return the lines to print, and whether no count is too high."""
    if compiler not in reference:
        known = ", ".join(reference) or "none"
        return [f"{task}: {n:.1f} instructions a step" for task, n in counts.items()] + [
            f"no reference for {compiler} (there is one for {known}): nothing is judged; --update records these"
        ], True
    lines, good = [], True
    for task, n in counts.items():
        change = n / reference[compiler][task] - 1
        verdict = ""
        if change > TOLERANCE:
            verdict, good = f": more than {TOLERANCE:.0%} above the reference", False
        elif change < -TOLERANCE:
            verdict = ": better; record it with --update"
        lines.append(f"{task}: {n:.1f} instructions a step, {change:+.1%} of {reference[compiler][task]:.1f}{verdict}")
    return [f"{compiler}, AVX2 kernels", *lines], good


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--update"]):
        raise SystemExit(__doc__)
    reference = json.loads(COUNTS.read_text(encoding="utf-8")) if COUNTS.exists() else {}
    compiler, counts = count_all()
    if arguments:
        reference[compiler] = counts
        COUNTS.write_text(json.dumps(reference, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    lines, good = judge(compiler, counts, reference)
    print("\n".join(lines))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
