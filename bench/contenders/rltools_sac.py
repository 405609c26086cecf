"""RLtools (C++) on its own benchmark: SAC on its Pendulum, 10,000 steps, hidden layers 64-64, batches of 100.

It is compiled for this machine (-march=native, -ffast-math) when it is first run, with MKL if the packages ``mkl`` and
``mkl-include`` are installed, as its authors recommend. Needs ``pip install rltools pybind11``.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ENVIRONMENT = """#include <rl_tools/rl/environments/pendulum/operations_generic.h>
namespace pendulum = rl_tools::rl::environments::pendulum;
template <typename T, typename TI>
using ENVIRONMENT_FACTORY =
    rl_tools::rl::environments::Pendulum<pendulum::Specification<T, TI, pendulum::DefaultParameters<T>>>;
"""


def run(seed: int, steps: int) -> dict[str, Any]:
    """Return what examples/sac.py prints; the score is the mean return of ten episodes of the trained actor's means."""
    import rltools

    folder = Path(tempfile.gettempdir()) / "nanostep-rltools"
    folder.mkdir(exist_ok=True)
    (folder / "environment.h").write_text(ENVIRONMENT, encoding="utf-8")
    with contextlib.redirect_stdout(sys.stderr):
        made = rltools.SAC(
            {"path": str(folder), "action_dim": 1, "observation_dim": 3},
            enable_evaluation=False,
            interface_name="nanostep",
            STEP_LIMIT=steps,
        )
    state = made.State(seed)
    started = time.perf_counter()
    while not state.step():
        pass
    seconds = time.perf_counter() - started
    score = evaluate(state, seed)
    return {"score": score, "seconds": round(seconds, 3), "seed": seed, "steps": steps, "curve": []}


def evaluate(state: Any, seed: int, episodes: int = 10) -> float:
    import gymnasium

    env = gymnasium.make("Pendulum-v1", disable_env_checker=True)
    total = 0.0
    for episode in range(episodes):
        seen, _ = env.reset(seed=1000 * seed + episode)
        truncated = False
        while not truncated:
            seen, reward, _, truncated, _ = env.step(2 * state.action(seen.astype(np.float32)))
            total += float(reward)
    return total / episodes
