"""Balance a pole on a cart: environment, policy and training in one jitted function, solved in seconds on one core.

The environment is the classic one (Barto, Sutton and Anderson, 1983): a force of 10 N to the left or right every 20 ms;
an episode ends when the pole leans more than 12 degrees, the cart leaves its track of 4.8 m, or after 500 steps. The
policy is trained by REINFORCE (Williams, 1992): the probability of an action is raised in proportion to the return that
followed it, compared with the mean. For softmax with cross-entropy this is an SGD step towards the action, with a rate
that carries the sign.

Run: python examples/cartpole.py [seed]
"""

from __future__ import annotations

import math
import sys
import time

import numpy as np
from numba import njit

import nanostep as ns

LONGEST = 500
EPISODES = 10
"""Episodes between updates of the policy."""

SOLVED = 475.0
"""Mean length of the last 100 episodes at which the task counts as solved."""


@njit(cache=True)
def push(state, right):
    """Advance cart and pole by 20 ms; return True if the episode goes on."""
    x, speed, angle, spin = state
    force = 10.0 if right else -10.0
    sine, cosine = math.sin(angle), math.cos(angle)
    pull = (force + 0.05 * spin * spin * sine) / 1.1
    spin_up = (9.8 * sine - cosine * pull) / (0.5 * (4.0 / 3.0 - 0.1 * cosine * cosine / 1.1))
    speed_up = pull - 0.05 * spin_up * cosine / 1.1
    state[0], state[1] = x + 0.02 * speed, speed + 0.02 * speed_up
    state[2], state[3] = angle + 0.02 * spin, spin + 0.02 * spin_up
    return abs(state[0]) <= 2.4 and abs(state[2]) <= 12 * math.pi / 180


@njit(cache=True)
def train(fns, theta, most_updates, lr, discount, random):
    """Return the length of every episode, up to the one at which the task was solved."""
    work, chances, scale = fns.workspace(), np.empty(2), np.array([0.5, 0.5, 5.0, 0.5])
    state, inputs = np.empty(4), np.empty((EPISODES * LONGEST, 4))
    actions, gains = np.empty(EPISODES * LONGEST, np.int64), np.empty(EPISODES * LONGEST)
    lengths = np.zeros(most_updates * EPISODES)
    for update in range(most_updates):
        count = 0
        for episode in range(EPISODES):
            state[:] = random.uniform(-0.05, 0.05, 4)
            start, goes_on = count, True
            while goes_on and count - start < LONGEST:
                inputs[count] = state * scale
                fns.forward(theta, inputs[count], chances, work)
                actions[count] = random.random() < chances[1]
                goes_on = push(state, actions[count] == 1)
                count += 1
            gain = 0.0
            for i in range(count - 1, start - 1, -1):
                gain = 1.0 + discount * gain
                gains[i] = gain
            lengths[update * EPISODES + episode] = count - start
        done = (update + 1) * EPISODES
        if done >= 100 and lengths[done - 100 : done].mean() >= SOLVED:
            return lengths[:done]
        mean, spread = gains[:count].mean(), gains[:count].std() + 1e-8
        order = random.permutation(count)
        for i in order:
            rate = lr * (gains[i] - mean) / spread
            fns.step(theta, inputs[i], actions[i], rate, work)
    return lengths


def main(seed: int = 0) -> np.ndarray:
    """Return the length of every episode."""
    net = ns.Network([4, 16, 2], activation="tanh", output="softmax", loss="cross_entropy", backend="numba", seed=seed)
    fns = net.jit()
    train(fns, net.theta.copy(), 1, 0.0, 0.99, np.random.default_rng(0))  # compiles, or loads the compiled code
    started = time.perf_counter()
    lengths = train(fns, net.theta, 1000, 0.0007, 0.99, np.random.default_rng(seed))
    seconds = time.perf_counter() - started
    for start in range(0, len(lengths), 100):
        print(f"episodes {start + 1:5} to {start + 100:5}: {lengths[start : start + 100].mean():5.0f} steps")
    steps = int(lengths.sum())
    solved = "solved" if lengths[-100:].mean() >= SOLVED else "not solved"
    print(f"{solved} after {len(lengths)} episodes, {steps:,} steps of the environment, {seconds:.2f} s")
    return lengths


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
