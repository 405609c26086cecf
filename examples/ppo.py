"""Proximal policy optimisation (Schulman et al., 2017) on CartPole-v1 of gymnasium, eight environments at once.

One network gives the probabilities of the two actions, another the value of a state. They play 32 steps in each
environment and then learn from these for twenty epochs. Advantages are generalised ones (GAE: Schulman et al., 2016).
The policy's loss is written by its derivative with respect to z, the scores before softmax: the clipped objective gives
-ratio * advantage * (chosen - p) where it is not cut off, the entropy p * (log p + entropy).

Run: python examples/ppo.py [--seed N] [--steps N] [--json]

The last line is a JSON object: score, the mean length of 100 episodes that the trained policy plays, always taking the
likelier action; seconds of the training; and the mean lengths of episodes on the way. --json prints nothing else. Needs
gymnasium (extra "rl").
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import gymnasium
import numpy as np

import nanostep as ns

STEPS, ENVS, LENGTH, EPOCHS, BATCH = 100_000, 8, 32, 20, 256
DISCOUNT, LAMBDA, CLIP, ENTROPY, RATE = 0.98, 0.8, 0.2, 0.001, 1e-3


class Agent:
    """What is learnt: the policy and the value of a state."""

    def __init__(self, seed: int) -> None:
        kind: dict[str, Any] = {"activation": "tanh", "dtype": "float32"}
        self.policy = ns.Network([4, 64, 64, 2], output="softmax", loss="cross_entropy", seed=seed, **kind)
        self.value = ns.Network([4, 64, 64, 1], output="identity", seed=seed + 1000, **kind)
        self.policy.optimizer, self.value.optimizer = ns.Adam(lr=RATE), ns.Adam(lr=RATE)

    def act(self, states: np.ndarray) -> np.ndarray:
        return self.policy.predict(states).argmax(axis=-1)

    def chances(self, states: np.ndarray) -> np.ndarray:
        return self.policy.predict(states)

    def values(self, states: np.ndarray) -> np.ndarray:
        return self.value.predict(states)[:, 0]

    def learn(self, states: np.ndarray, actions: np.ndarray, before: np.ndarray, advantages: np.ndarray,
              returns: np.ndarray, progress: float) -> None:  # fmt: skip
        """Make a step of both networks; `before` are the chances of the actions when they were taken."""
        rows, clip = np.arange(len(states)), CLIP * (1 - progress)
        self.policy.optimizer.lr = self.value.optimizer.lr = RATE * (1 - progress)  # type: ignore[attr-defined]
        p, pull = self.policy.vjp(states)
        ratio = p[rows, actions] / before
        kept = np.where(advantages > 0, ratio < 1 + clip, ratio > 1 - clip)  # elsewhere the objective is constant
        logs = np.log(p + 1e-8)
        entropy = -(p * logs).sum(axis=1, keepdims=True)
        chosen = np.eye(2, dtype=np.float32)[actions]
        dz = -(kept * ratio * advantages)[:, None] * (chosen - p) + ENTROPY * p * (logs + entropy)
        self.policy.apply_gradient(pull(dz / len(rows), wrt="z"))
        self.value.step(states, returns)


def advantages_of(rewards: np.ndarray, values: np.ndarray, terminated: np.ndarray, cut: np.ndarray) -> np.ndarray:
    """Return generalised advantages, (LENGTH, ENVS). `values` has a row more; `cut`: no way leads on from there."""
    advantages, later = np.empty_like(rewards), np.zeros(rewards.shape[1], np.float32)
    for t in range(len(rewards) - 1, -1, -1):
        error = rewards[t] + DISCOUNT * ~terminated[t] * values[t + 1] - values[t]
        later = error + DISCOUNT * LAMBDA * ~cut[t] * later
        advantages[t] = later
    return advantages


def train(agent: Any, seed: int, steps: int, quiet: bool) -> list[tuple[int, float]]:
    """Return, for each round, the steps so far and the mean length of the last 20 episodes."""
    env = gymnasium.make_vec("CartPole-v1", num_envs=ENVS, vectorization_mode="vector_entry_point")
    random, lengths, done, curve = np.random.default_rng(seed), np.zeros(ENVS), [], []
    states, _ = env.reset(seed=seed)
    # an environment that has ended starts again in the next step, whose action and reward do not count
    starts = np.zeros(ENVS, bool)
    seen = np.empty((LENGTH + 1, ENVS, 4), np.float32)
    actions, before = np.empty((LENGTH, ENVS), np.int64), np.empty((LENGTH, ENVS), np.float32)
    rewards, counts = np.empty((LENGTH, ENVS), np.float32), np.empty((LENGTH, ENVS), bool)
    terminated, cut = np.empty((LENGTH, ENVS), bool), np.empty((LENGTH, ENVS), bool)
    rounds = max(1, steps // (ENVS * LENGTH))
    for each in range(rounds):
        for t in range(LENGTH):
            seen[t], counts[t] = states, ~starts
            p = agent.chances(states)
            actions[t] = random.random(ENVS) < p[:, 1]
            before[t] = p[np.arange(ENVS), actions[t]]
            states, rewards[t], terminated[t], truncated, _ = env.step(actions[t])
            starts = terminated[t] | truncated
            cut[t] = starts | ~counts[t]
            lengths += counts[t]
            done += lengths[starts].tolist()
            lengths[starts] = 0
        seen[LENGTH] = states
        values = agent.values(seen.reshape(-1, 4)).reshape(LENGTH + 1, ENVS)
        advantages = advantages_of(rewards, values, terminated, cut)
        rows = np.flatnonzero(counts)
        gains = advantages.reshape(-1)[rows]
        returns = gains + values[:-1].reshape(-1)[rows]
        gains = (gains - gains.mean()) / (gains.std() + 1e-8)
        x, chosen, old = seen[:-1].reshape(-1, 4)[rows], actions.reshape(-1)[rows], before.reshape(-1)[rows]
        for _ in range(EPOCHS):
            order = random.permutation(len(rows))
            for i in (order[start : start + BATCH] for start in range(0, len(rows), BATCH)):
                agent.learn(x[i], chosen[i], old[i], gains[i], returns[i], each / rounds)
        if done:
            curve.append(((each + 1) * ENVS * LENGTH, float(np.mean(done[-20:]))))
        if not quiet and (each + 1) % 40 == 0:
            print(f"step {curve[-1][0]:6}: {curve[-1][1]:5.0f} steps an episode", flush=True)
    return curve


def evaluate(agent: Any, seed: int, episodes: int = 100) -> float:
    """Return the mean length of episodes in which the likelier action is taken, all at once."""
    env = gymnasium.make_vec("CartPole-v1", num_envs=episodes, vectorization_mode="vector_entry_point")
    states, _ = env.reset(seed=1000 + seed)
    lengths, plays = np.zeros(episodes), np.ones(episodes, bool)
    while plays.any():
        states, _, terminated, truncated, _ = env.step(agent.act(states))
        lengths += plays
        plays &= ~(terminated | truncated)
    return float(lengths.mean())


def main(seed: int = 0, steps: int = STEPS, quiet: bool = False, make_agent: Any = Agent) -> dict[str, Any]:
    agent = make_agent(seed)
    started = time.perf_counter()
    curve = train(agent, seed, steps, quiet)
    seconds = time.perf_counter() - started
    return {"score": evaluate(agent, seed), "seconds": round(seconds, 3), "seed": seed, "steps": steps, "curve": curve}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--json", action="store_true", help="print the JSON object alone")
    given = parser.parse_args()
    print(json.dumps(main(given.seed, given.steps, given.json)))
