"""Soft actor-critic (Haarnoja et al., 2018) on Pendulum-v1 of gymnasium, in plain Python.

The actor gives mean and log of the standard deviation of a normal distribution; a sample u of it, squashed, is the
action a = tanh(u). Two critics learn the value of an action, with slowly moving copies as their targets. The actor
climbs the smaller critic: `pull(..., params=False)` of that critic returns the value's derivative by the action, which
the actor's own `pull` carries on to its parameters. The temperature alpha, which weighs entropy against reward, is
learnt too.

Run: python examples/sac.py [--seed N] [--steps N] [--json]

The last line is a JSON object: score, the mean return of the last ten episodes of the training; seconds of the
training; and the returns of all episodes. --json prints nothing else. Needs gymnasium (extra "rl").
"""

from __future__ import annotations

import argparse
import json
import math
import time
from typing import Any

import gymnasium
import numpy as np

import nanostep as ns

STEPS, WARM_UP, BATCH, DISCOUNT, TAU, RATE = 10_000, 100, 100, 0.99, 0.005, 1e-3
ENTROPY = -1.0
"""What the policy's entropy is steered to: minus the number of actions."""
LOG_STD = -5.0, 2.0


class Agent:
    """What is learnt: actor, critics with their slow copies, and alpha."""

    def __init__(self, seed: int) -> None:
        kind: dict[str, Any] = {"activation": "relu", "output": "identity", "dtype": "float32"}
        self.actor = ns.Network([3, 64, 64, 2], seed=seed, **kind)
        self.critics = [ns.Network([4, 64, 64, 1], seed=seed + 1000 * i, **kind) for i in (1, 2)]
        self.targets = [critic.copy() for critic in self.critics]
        self.log_alpha = 0.0
        for net in (self.actor, *self.critics):
            net.optimizer = ns.Adam(lr=RATE)

    def act(self, state: np.ndarray, noise: float) -> float:
        mean, log_std = self.actor.predict(state)
        return math.tanh(mean + math.exp(min(max(log_std, LOG_STD[0]), LOG_STD[1])) * noise)

    def learn(self, s: np.ndarray, a: np.ndarray, rewards: np.ndarray, after: np.ndarray, noise: np.ndarray) -> None:
        """Make a step of all networks; `noise` (2, n, 1) is standard normal. Episodes are cut, but never end."""
        n, alpha = len(s), math.exp(self.log_alpha)
        next_a, log_chance, _ = squash(self.actor.predict(after), noise[0])
        x = np.hstack([after, next_a])
        worse = np.minimum(*(target.predict(x) for target in self.targets))
        wanted = rewards + DISCOUNT * (worse - alpha * log_chance)
        x = np.hstack([s, a])
        for critic in self.critics:
            critic.step(x, wanted)

        out, pull = self.actor.vjp(s)
        a, log_chance, std = squash(out, noise[1])
        x = np.hstack([s, a])
        values, pulls = zip(*(critic.vjp(x) for critic in self.critics), strict=True)
        first = values[0] <= values[1]
        da = sum(
            one(-chosen.astype(np.float32) / n, params=False)[:, 3:]
            for one, chosen in zip(pulls, (first, ~first), strict=True)
        )
        du = alpha * 2 * a / n + da * (1 - a * a)  # d log(chance) / du = 2 tanh(u), da/du = 1 - tanh(u)^2
        inside = (out[:, 1:] > LOG_STD[0]) & (out[:, 1:] < LOG_STD[1])
        self.actor.apply_gradient(pull(np.hstack([du, inside * (du * std * noise[1] - alpha / n)])))
        self.log_alpha += RATE * (float(log_chance.mean()) + ENTROPY)
        for critic, target in zip(self.critics, self.targets, strict=True):
            ns.polyak_update(critic, target, TAU)


def squash(out: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return actions, the logs of their probability densities, and standard deviations, each (n, 1)."""
    log_std = np.clip(out[:, 1:], *LOG_STD)
    std = np.exp(log_std)
    u = out[:, :1] + std * noise
    # log(1 - tanh(u)^2) without cancellation
    slope = 2 * (math.log(2) - u - np.logaddexp(0, -2 * u))
    return np.tanh(u), -0.5 * noise * noise - log_std - 0.5 * math.log(2 * math.pi) - slope, std


def train(agent: Any, seed: int, steps: int, quiet: bool) -> list[tuple[int, float]]:
    """Return the step at which each episode ended, and its return."""
    env = gymnasium.make("Pendulum-v1", disable_env_checker=True)
    random, episodes, total = np.random.default_rng(seed), [], 0.0
    states, after = np.empty((2, steps, 3), np.float32)
    actions, rewards = np.empty((2, steps, 1), np.float32)
    state, _ = env.reset(seed=seed)
    for step in range(steps):
        a = random.uniform(-1, 1) if step < WARM_UP else agent.act(state, random.standard_normal())
        states[step], actions[step] = state, a
        state, reward, _, truncated, _ = env.step(np.array([2 * a], np.float32))
        rewards[step], after[step] = reward, state
        total += float(reward)
        if truncated:
            episodes.append((step + 1, total))
            if not quiet and len(episodes) % 5 == 0:
                print(f"step {step + 1:6}: return {np.mean([one for _, one in episodes[-5:]]):6.0f}", flush=True)
            state, total = env.reset()[0], 0.0
        if step >= WARM_UP:
            i = random.integers(step + 1, size=BATCH)
            noise = random.standard_normal((2, BATCH, 1), np.float32)
            agent.learn(states[i], actions[i], rewards[i], after[i], noise)
    return episodes


def main(seed: int = 0, steps: int = STEPS, quiet: bool = False, make_agent: Any = Agent) -> dict[str, Any]:
    agent = make_agent(seed)
    started = time.perf_counter()
    curve = train(agent, seed, steps, quiet)
    seconds = time.perf_counter() - started
    score = float(np.mean([one for _, one in curve[-10:]])) if curve else math.nan
    return {"score": score, "seconds": round(seconds, 3), "seed": seed, "steps": steps, "curve": curve}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--json", action="store_true", help="print the JSON object alone")
    given = parser.parse_args()
    print(json.dumps(main(given.seed, given.steps, given.json)))
