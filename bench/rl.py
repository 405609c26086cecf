"""Reinforcement learning three ways: scores and seconds of ``examples/``, and of the same agents in PyTorch and in JAX.

    python -m nanostep.benchmark.rl --json rl.json [--algorithms dqn,ppo,sac] [--libraries ours,torch] [--seeds 5]

The loops, hyper-parameters, seeds and random numbers are those of the examples; only the agent is another one
(``contenders/torch_agents.py``, ``contenders/jax_agents.py``). Each run is a process of its own on one core, one after
the other, libraries by turns. K9 is "sac_jit", beside RLtools. What is not installed is left out. Needs a checkout and
``.[bench,rl]``.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import distributions
from pathlib import Path
from types import ModuleType
from typing import Any

from nanostep.benchmark.machine import describe

LIBRARIES = {"ours": "", "torch": "torch_agents", "jax": "jax_agents"}
ALGORITHMS = ("dqn", "ppo", "sac")
JITTED = "sac_jit"
"""K9, the example of which all is one jitted function; its peer is RLtools, which is C++."""


def load(algorithm: str) -> ModuleType:
    """Return the module of an example.

    Raises
    ------
    FileNotFoundError
        This file is not that of a checkout, and the working directory is none: the package holds no examples.
    """
    roots = (Path(__file__).resolve().parent.parent, Path.cwd())
    paths = [root / "examples" / f"{algorithm}.py" for root in roots]
    found = [path for path in paths if path.is_file()]
    if not found:
        raise FileNotFoundError(f"there is no {paths[1]}; call this from the root of a checkout of nanostep")
    spec = importlib.util.spec_from_file_location(algorithm, found[0])
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[algorithm] = module
    spec.loader.exec_module(module)
    return module


def run(algorithm: str, library: str, seed: int, steps: int | None = None) -> dict[str, Any]:
    """Return what the example prints, learnt by an agent of `library`."""
    example = load(algorithm)
    if library == "rltools":
        from nanostep.benchmark.contenders.rltools_sac import run as run_rltools

        return {"algorithm": algorithm, "library": library, **run_rltools(seed, steps or example.STEPS)}
    arguments: dict[str, Any] = {"seed": seed, "steps": steps or example.STEPS, "quiet": True}
    if library != "ours":
        agents = importlib.import_module(f"nanostep.benchmark.contenders.{LIBRARIES[library]}")
        arguments["make_agent"] = agents.AGENTS[algorithm](example)
    result: dict[str, Any] = example.main(**arguments)
    return {"algorithm": algorithm, "library": library, **result}


PACKAGES = ("gymnasium", "torch", "jax", "rltools", "mkl")
"""Whose versions are noted."""


def _installed(library: str) -> bool:
    return library == "ours" or importlib.util.find_spec(library) is not None


def _in_a_process(algorithm: str, library: str, seed: int) -> dict[str, Any]:
    core = max(os.sched_getaffinity(0))
    limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    command = [sys.executable, "-m", "nanostep.benchmark.rl", "--one", algorithm, library, str(seed)]
    done = subprocess.run(
        command,
        env={**os.environ, **limits},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--json", type=Path, help="file of the results; runs that are in it already, of as many steps, are kept"
    )
    parser.add_argument("--algorithms", default=",".join((*ALGORITHMS, JITTED)))
    parser.add_argument("--libraries", default=",".join(name for name in (*LIBRARIES, "rltools") if _installed(name)))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument(
        "--one", nargs=3, metavar=("ALGORITHM", "LIBRARY", "SEED"), help="a single run, in this process"
    )
    given = parser.parse_args(arguments)
    if given.one:
        print(json.dumps(run(given.one[0], given.one[1], int(given.one[2]))))
        return
    old = json.loads(given.json.read_text(encoding="utf-8"))["runs"] if given.json and given.json.exists() else []
    runs = {
        (one["algorithm"], one["library"], one["seed"]): one
        for one in old
        if one["steps"] == load(one["algorithm"]).STEPS
    }
    libraries = given.libraries.split(",")
    versions = {one.name: one.version for one in distributions() if one.name in PACKAGES}
    for seed in range(given.seeds):
        for algorithm in given.algorithms.split(","):
            for library in libraries:
                peer = library in (("ours", "rltools") if algorithm == JITTED else ("ours", "torch", "jax"))
                if not peer or (algorithm, library, seed) in runs:
                    continue
                runs[algorithm, library, seed] = one = _in_a_process(algorithm, library, seed)
                print(f"{algorithm} {library} {seed}: {one['score']:.0f} in {one['seconds']:.1f} s", flush=True)
                if given.json:
                    values = {"machine": describe(), "versions": versions, "runs": list(runs.values())}
                    given.json.write_text(json.dumps(values), encoding="utf-8")


if __name__ == "__main__":
    main()
