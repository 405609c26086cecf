"""Deep Q-learning (Mnih et al., 2015; Double DQN: van Hasselt et al., 2016) on CartPole-v1 of gymnasium.

The network estimates the return of both actions. It learns from transitions drawn from a replay memory: the target of
the chosen action is the reward plus the discounted value, by a slowly moving copy of the network, of the action that
the network itself prefers in the next state. `step(outputs=actions)` makes the update: of each row only the output of
the chosen action counts.

Run: python examples/dqn.py [--seed N] [--steps N] [--json]

The last line is a JSON object: score, the mean length of 100 episodes that the trained network plays; seconds of the
training; and the lengths of the episodes on the way. --json prints nothing else. Needs gymnasium (extra "rl").
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import gymnasium
import numpy as np

import nanostep as ns

SIZES = [4, 64, 64, 2]
STEPS, WARM_UP, BATCH, DISCOUNT, TAU, RATE = 50_000, 1000, 128, 0.99, 0.005, 1e-3
SCALE = np.array([0.5, 0.5, 5, 0.5], np.float32)
"""Brings positions, angles and speeds to about the same size."""
EXPLORATION = 10_000
"""Steps in which the share of random actions falls from 1 to 0.05."""


class Agent:
    """What is learnt: the network and its slow copy."""

    def __init__(self, seed: int) -> None:
        self.net = ns.Network(SIZES, activation="relu", output="identity", loss="huber", dtype="float32", seed=seed)
        self.target = self.net.copy()
        self.adam = ns.Adam(lr=RATE)

    def act(self, states: np.ndarray) -> np.ndarray:
        return self.net.predict(states).argmax(axis=-1)

    def learn(self, states: np.ndarray, actions: np.ndarray, rewards: np.ndarray, ends: np.ndarray, rate: float,
              after: np.ndarray) -> None:  # fmt: skip
        best = self.net.predict(after).argmax(axis=1)
        wanted = rewards + DISCOUNT * ~ends * self.target.predict(after)[np.arange(len(best)), best]
        self.adam.lr = rate
        self.net.step(states, wanted, optimizer=self.adam, outputs=actions)
        ns.polyak_update(self.net, self.target, TAU)


class Memory:
    """The transitions so far."""

    def __init__(self, size: int) -> None:
        self.count = 0
        self.states, self.after = np.empty((2, size, 4), np.float32)
        self.actions, self.rewards = np.empty(size, np.int64), np.empty(size, np.float32)
        self.ends = np.empty(size, bool)

    def add(self, state: np.ndarray, action: int, reward: float, end: bool, after: np.ndarray) -> None:
        i = self.count
        self.states[i], self.actions[i], self.rewards[i], self.ends[i], self.after[i] = (
            state,
            action,
            reward,
            end,
            after,
        )
        self.count += 1

    def draw(self, random: np.random.Generator) -> dict[str, np.ndarray]:
        i = random.integers(self.count, size=BATCH)
        return {
            "states": self.states[i], "actions": self.actions[i], "rewards": self.rewards[i], "ends": self.ends[i],
            "after": self.after[i],
        }  # fmt: skip


def train(agent: Any, seed: int, steps: int, quiet: bool) -> list[tuple[int, float]]:
    """Return the step at which each episode ended, and its length."""
    # the reward is -1 when the pole falls and 0 otherwise: values lie between -1 and 0, and those of a fresh network
    # are near what is right for safe states (with 1 for each step they would have to climb to 100)
    env = gymnasium.make("CartPole-v1", sutton_barto_reward=True, disable_env_checker=True)
    random, memory, episodes, length = np.random.default_rng(seed), Memory(steps), [], 0
    state = env.reset(seed=seed)[0] * SCALE
    for step in range(steps):
        chance = max(0.05, 1 - 0.95 * step / EXPLORATION)
        action = int(random.integers(2)) if random.random() < chance else int(agent.act(state))
        after, reward, terminated, truncated, _ = env.step(action)
        after *= SCALE
        memory.add(state, action, float(reward), terminated, after)
        state, length = after, length + 1
        if terminated or truncated:
            episodes.append((step + 1, float(length)))
            state, length = env.reset()[0] * SCALE, 0
        if step >= WARM_UP:
            agent.learn(rate=RATE * (1 - step / steps), **memory.draw(random))
        if not quiet and (step + 1) % 5000 == 0:
            print(f"step {step + 1:6}: {np.mean([one for _, one in episodes[-20:]]):5.0f} steps an episode", flush=True)
    return episodes


def evaluate(agent: Any, seed: int, episodes: int = 100) -> float:
    """Return the mean length of episodes played without random actions, all at once."""
    env = gymnasium.make_vec("CartPole-v1", num_envs=episodes, vectorization_mode="vector_entry_point")
    states, _ = env.reset(seed=1000 + seed)
    lengths, plays = np.zeros(episodes), np.ones(episodes, bool)
    while plays.any():
        states, _, terminated, truncated, _ = env.step(agent.act(states * SCALE))
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
