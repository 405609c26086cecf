"""Soft actor-critic (Haarnoja et al., 2018) on Pendulum in one jitted function: environment, memory and learning.

The algorithm is that of examples/sac.py, with its hyper-parameters. Networks come from `net.jit()`: `forward` of a
batch leaves a tape, `backward` pulls a gradient back to parameters or inputs, `update` makes Adam's step. The
environment is gymnasium's Pendulum-v1: a torque of at most 2 on a rod of length and mass 1, steps of 50 ms, episodes
of 200.

Run: python examples/sac_jit.py [--seed N] [--steps N] [--json]

The last line is a JSON object: score, the mean return of the last ten episodes of the training; seconds of the
training, without compilation; and the returns of all episodes. --json prints nothing else.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from typing import Any

import numpy as np
from numba import njit

import nanostep as ns

STEPS, WARM_UP, BATCH, DISCOUNT, TAU, RATE = 10_000, 100, 100, 0.99, 0.005, 1e-3
ENTROPY, LOG_STD_LOW, LOG_STD_HIGH, EPISODE = -1.0, -5.0, 2.0, 200


@njit(cache=True)
def observe(angle, speed, out):
    out[0], out[1], out[2] = math.cos(angle), math.sin(angle), speed


@njit(cache=True)
def swing(angle, speed, torque):
    """Return angle and speed after a step, and the reward."""
    folded = (angle + math.pi) % (2 * math.pi) - math.pi
    reward = -(folded * folded + 0.1 * speed * speed + 0.001 * torque * torque)
    speed = min(max(speed + 0.05 * (15.0 * math.sin(angle) + 3.0 * torque), -8.0), 8.0)
    return angle + 0.05 * speed, speed, reward


@njit(cache=True)
def squash(mean, log_std, noise):
    """Return the action, the log of its probability density and the standard deviation."""
    log_std = min(max(log_std, LOG_STD_LOW), LOG_STD_HIGH)
    std = math.exp(log_std)
    u = mean + std * noise
    # log(1 - tanh(u)^2) without cancellation
    slope = 2 * (math.log(2) - abs(u) - math.log1p(math.exp(-2 * abs(u))))
    return math.tanh(u), -0.5 * noise * noise - log_std - 0.5 * math.log(2 * math.pi) - slope, std


@njit(cache=True)
def train(actor_fns, critic_fns, actor, critics, steps, random):
    """Train the actor's theta and the critics' (2, parameters) in place; return the episodes' returns."""
    n, f32 = BATCH, np.float32
    targets, log_alpha = critics.copy(), 0.0
    actor_grad, actor_slots = np.empty_like(actor), actor_fns.slots()
    critic_grad, critic_slots = np.empty_like(critics[0]), (critic_fns.slots(), critic_fns.slots())
    actor_work, works = actor_fns.workspace(n), (critic_fns.workspace(n), critic_fns.workspace(n))
    # rows of the memory: state, action, reward, next state
    memory = np.empty((steps, 8), np.float32)
    s, after, xs = np.empty((n, 3), f32), np.empty((n, 3), f32), np.empty((n, 4), f32)
    rewards, wanted, noise, std = np.empty(n, f32), np.empty(n, f32), np.empty(n, f32), np.empty(n, f32)
    out, dout, one, one_out = np.empty((n, 2), f32), np.empty((n, 2), f32), np.empty(3, f32), np.empty(2, f32)
    q, dq, dx = np.empty((2, n, 1), f32), np.empty((n, 1), f32), np.empty((2, n, 4), f32)
    returns = np.zeros(steps // EPISODE + 1)
    angle, speed = random.uniform(-math.pi, math.pi), random.uniform(-1, 1)
    for step in range(steps):
        if step % EPISODE == 0:
            angle, speed = random.uniform(-math.pi, math.pi), random.uniform(-1, 1)
        observe(angle, speed, one)
        memory[step, :3] = one
        if step < WARM_UP:
            action = random.uniform(-1, 1)
        else:
            actor_fns.forward(actor, one, one_out, actor_work)
            action, _, _ = squash(one_out[0], one_out[1], random.standard_normal())
        angle, speed, reward = swing(angle, speed, 2 * action)
        observe(angle, speed, one)
        memory[step, 3], memory[step, 4], memory[step, 5:] = action, reward, one
        returns[step // EPISODE] += reward
        if step < WARM_UP:
            continue

        alpha, t = math.exp(log_alpha), step - WARM_UP + 1
        for i in range(n):
            row = memory[random.integers(0, step + 1)]
            s[i], rewards[i], after[i] = row[:3], row[4], row[5:]
            xs[i, 3] = row[3]
        # the targets of the critics
        wide = dx[0]
        actor_fns.forward(actor, after, out, actor_work)
        for i in range(n):
            action, log_chance, _ = squash(out[i, 0], out[i, 1], random.standard_normal())
            wide[i, :3], wide[i, 3], wanted[i] = after[i], action, -alpha * log_chance
        for k in range(2):
            critic_fns.forward(targets[k], wide, q[k], works[k])
        for i in range(n):
            wanted[i] = rewards[i] + DISCOUNT * (min(q[0, i, 0], q[1, i, 0]) + wanted[i])
        xs[:, :3] = s
        for k in range(2):
            critic_fns.forward(critics[k], xs, q[k], works[k])
            for i in range(n):
                dq[i, 0] = (q[k, i, 0] - wanted[i]) / n
            critic_fns.backward(critics[k], xs, dq, critic_grad, None, works[k])
            critic_fns.update(critics[k], critic_grad, critic_slots[k], t)
        # the actor climbs the smaller critic
        actor_fns.forward(actor, s, out, actor_work)
        entropy = 0.0
        for i in range(n):
            noise[i] = random.standard_normal()
            xs[i, 3], log_chance, std[i] = squash(out[i, 0], out[i, 1], noise[i])
            entropy -= log_chance / n
        for k in range(2):
            critic_fns.forward(critics[k], xs, q[k], works[k])
        dq[:] = -1.0 / n
        for k in range(2):
            critic_fns.backward(critics[k], xs, dq, None, dx[k], works[k])
        for i in range(n):
            a, worse = xs[i, 3], 0 if q[0, i, 0] <= q[1, i, 0] else 1
            du = alpha * 2 * a / n + dx[worse, i, 3] * (1 - a * a)
            dout[i, 0] = du
            inside = LOG_STD_LOW < out[i, 1] < LOG_STD_HIGH
            dout[i, 1] = du * std[i] * noise[i] - alpha / n if inside else 0.0
        actor_fns.backward(actor, s, dout, actor_grad, None, actor_work)
        actor_fns.update(actor, actor_grad, actor_slots, t)
        log_alpha += RATE * (ENTROPY - entropy)
        for k in range(2):
            targets[k] += f32(TAU) * (critics[k] - targets[k])
    return returns


def main(seed: int = 0, steps: int = STEPS, quiet: bool = False) -> dict[str, Any]:
    kind: dict[str, Any] = {"activation": "relu", "output": "identity", "dtype": "float32", "backend": "numba"}
    actor = ns.Network([3, 64, 64, 2], seed=seed, **kind)
    critics = [ns.Network([4, 64, 64, 1], seed=seed + 1000 * i, **kind) for i in (1, 2)]
    fns = actor.jit(optimizer=ns.Adam(lr=RATE)), critics[0].jit(optimizer=ns.Adam(lr=RATE))
    thetas = np.stack([critic.theta for critic in critics])
    # compiles, or loads the compiled code
    train(*fns, actor.theta.copy(), thetas.copy(), WARM_UP + 1, np.random.default_rng(0))
    started = time.perf_counter()
    returns = train(*fns, actor.theta, thetas, steps, np.random.default_rng(seed))
    seconds = time.perf_counter() - started
    curve = [((i + 1) * EPISODE, float(one)) for i, one in enumerate(returns[: steps // EPISODE])]
    for i in range(5, len(curve) + 1, 5) if not quiet else ():
        print(f"step {curve[i - 1][0]:6}: return {np.mean([one for _, one in curve[i - 5 : i]]):6.0f}")
    score = float(np.mean([one for _, one in curve[-10:]])) if curve else math.nan
    return {"score": score, "seconds": round(seconds, 3), "seed": seed, "steps": steps, "curve": curve}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--json", action="store_true", help="print the JSON object alone")
    given = parser.parse_args()
    print(json.dumps(main(given.seed, given.steps, given.json)))
