"""Reinforcement learning three ways: scores and seconds of ``examples/``, and of the same agents in PyTorch and in JAX.

    python -m nanostep.benchmark.rl --json rl.json [--algorithms dqn,ppo,sac] [--libraries ours,torch,jax] [--seeds 5]

The loops, hyper-parameters, seeds and random numbers are those of the examples; only the agent is another one
(``contenders/torch_agents.py``, ``contenders/jax_agents.py``). Each run is a process of its own on one core, one after
the other, libraries by turns. Needs a checkout, ``.[bench,rl]``.
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
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

from nanostep.benchmark.machine import describe

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
LIBRARIES = {"ours": "", "torch": "torch_agents", "jax": "jax_agents"}
ALGORITHMS = ("dqn", "ppo", "sac")
JITTED = "sac_jit"
"""The example that only we have: the whole of it is one jitted function."""


def load(algorithm: str) -> ModuleType:
    """Return the module of an example."""
    spec = importlib.util.spec_from_file_location(algorithm, EXAMPLES / f"{algorithm}.py")
    if spec is None or spec.loader is None:
        raise ImportError(f"{EXAMPLES} has no {algorithm}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[algorithm] = module
    spec.loader.exec_module(module)
    return module


def run(algorithm: str, library: str, seed: int, steps: int | None = None) -> dict[str, Any]:
    """Return what the example prints, learnt by an agent of `library`."""
    example = load(algorithm)
    arguments: dict[str, Any] = {"seed": seed, "steps": steps or example.STEPS, "quiet": True}
    if library != "ours":
        agents = importlib.import_module(f"nanostep.benchmark.contenders.{LIBRARIES[library]}")
        arguments["make_agent"] = agents.AGENTS[algorithm](example)
    result: dict[str, Any] = example.main(**arguments)
    return {"algorithm": algorithm, "library": library, **result}


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
    parser.add_argument("--libraries", default=",".join(LIBRARIES))
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
    versions = {name: version(name) for name in ("gymnasium", "torch", "jax") if importlib.util.find_spec(name)}
    for seed in range(given.seeds):
        for algorithm in given.algorithms.split(","):
            for library in libraries if algorithm != JITTED else ["ours"]:
                if (algorithm, library, seed) in runs:
                    continue
                runs[algorithm, library, seed] = one = _in_a_process(algorithm, library, seed)
                print(f"{algorithm} {library} {seed}: {one['score']:.0f} in {one['seconds']:.1f} s", flush=True)
                if given.json:
                    values = {"machine": describe(), "versions": versions, "runs": list(runs.values())}
                    given.json.write_text(json.dumps(values), encoding="utf-8")


if __name__ == "__main__":
    main()
