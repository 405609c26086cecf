"""The examples of reinforcement learning run, learn something in a short time, and print one JSON object last."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SHORT = {"dqn": 3000, "ppo": 20_000, "sac": 1200, "sac_jit": 4000}


@pytest.mark.parametrize("name", SHORT)
def test_the_last_line_is_a_json_object(name: str) -> None:
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), "--seed", "1", "--steps", str(SHORT[name])]
    loud, quiet = (
        subprocess.run([*command, *more], check=True, capture_output=True, text=True).stdout.splitlines()
        for more in ([], ["--json"])
    )
    assert len(quiet) == 1
    first, second = json.loads(loud[-1]), json.loads(quiet[0])
    assert first["score"] == second["score"]
    assert first["curve"] == second["curve"]
    assert second["seconds"] > 0
    assert second["steps"] == SHORT[name]
    assert np.isfinite(second["score"])
    assert all(0 < step <= SHORT[name] and np.isfinite(one) for step, one in second["curve"])


def test_ppo_learns_in_a_short_time() -> None:
    curve = importlib.import_module("nanostep.benchmark.rl").load("ppo").main(1, 20_000, quiet=True)["curve"]
    assert curve[-1][1] > 3 * curve[2][1]


def test_sac_in_jitted_code_learns_in_a_short_time() -> None:
    curve = importlib.import_module("nanostep.benchmark.rl").load("sac_jit").main(1, 6000, quiet=True)["curve"]
    assert np.mean([one for _, one in curve[-5:]]) > -600 > np.mean([one for _, one in curve[:5]])


def test_advantages_are_those_of_the_definition() -> None:
    """GAE as the sum that defines it, for an environment that is cut and one that ends."""
    ppo = importlib.import_module("nanostep.benchmark.rl").load("ppo")
    random = np.random.default_rng(0)
    rewards, values = random.random((6, 2)), random.random((7, 2))
    terminated, cut = np.zeros((6, 2), bool), np.zeros((6, 2), bool)
    terminated[3, 0] = cut[3, 0] = cut[2, 1] = True
    got = ppo.advantages_of(rewards, values, terminated, cut)
    for env in range(2):
        for t in range(6):
            total, weight = 0.0, 1.0
            for k in range(t, 6):
                later = 0.0 if terminated[k, env] else values[k + 1, env]
                total += weight * (rewards[k, env] + ppo.DISCOUNT * later - values[k, env])
                weight *= ppo.DISCOUNT * ppo.LAMBDA
                if cut[k, env]:
                    break
            assert got[t, env] == pytest.approx(total)
