"""The agents of examples/dqn.py, ppo.py and sac.py in JAX: every call one jitted function.

They start from the same weights as ours, so that the runs of a seed begin alike. A network is a flat vector; the
optimiser is optax's Adam.
"""

from __future__ import annotations

import math
from functools import partial
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from nanostep.architecture import Architecture
from nanostep.benchmark.contenders.base import split
from nanostep.network import Network


def flat(net: Network) -> Any:
    return jnp.array(net.theta)


def forward(architecture: Architecture, theta: Any, x: Any, activation: Any) -> Any:
    """Return z of the output layer."""
    *hidden, (w, b) = split(architecture, theta)
    for w_hidden, b_hidden in hidden:
        x = activation(x @ w_hidden.T + b_hidden)
    return x @ w.T + b


def step(theta: Any, grad: Any, slots: Any, rate: Any) -> tuple[Any, Any]:
    """Make an update of Adam."""
    change, slots = optax.scale_by_adam().update(grad, slots)
    return theta - rate * change, slots


def fresh(theta: Any) -> Any:
    return optax.scale_by_adam().init(theta)


def dqn(example: ModuleType) -> Any:
    architecture = example.Agent(0).net.architecture
    q = partial(forward, architecture, activation=jax.nn.relu)

    @partial(jax.jit, donate_argnums=0)
    def learn(learnt: Any, states: Any, actions: Any, rewards: Any, ends: Any, after: Any, rate: Any) -> Any:
        theta, target, slots = learnt
        best = q(theta, after).argmax(axis=1)
        later = jnp.take_along_axis(q(target, after), best[:, None], 1)[:, 0]
        wanted = rewards + example.DISCOUNT * ~ends * later

        def loss(theta: Any) -> Any:
            chosen = jnp.take_along_axis(q(theta, states), actions[:, None], 1)[:, 0]
            return optax.huber_loss(chosen, wanted).mean()

        theta, slots = step(theta, jax.grad(loss)(theta), slots, rate)
        return theta, target + example.TAU * (theta - target), slots

    choose = jax.jit(lambda theta, states: q(theta, states).argmax(axis=-1))

    class Agent:
        def __init__(self, seed: int) -> None:
            net = example.Agent(seed).net
            self.learnt = flat(net), flat(net), fresh(flat(net))

        def act(self, states: np.ndarray) -> np.ndarray:
            return np.asarray(choose(self.learnt[0], states))

        def learn(self, **batch: Any) -> None:
            self.learnt = learn(self.learnt, **batch)

    return Agent


def ppo(example: ModuleType) -> Any:
    ours = example.Agent(0)
    scores = partial(forward, ours.policy.architecture, activation=jnp.tanh)
    value = partial(forward, ours.value.architecture, activation=jnp.tanh)

    @partial(jax.jit, donate_argnums=0)
    def learn(learnt: Any, states: Any, actions: Any, before: Any, gains: Any, returns: Any, progress: Any) -> Any:
        clip, rate = example.CLIP * (1 - progress), example.RATE * (1 - progress)

        def policy_loss(theta: Any) -> Any:
            logs = jax.nn.log_softmax(scores(theta, states))
            ratio = jnp.exp(jnp.take_along_axis(logs, actions[:, None], 1)[:, 0]) / before
            gain = jnp.minimum(ratio * gains, jnp.clip(ratio, 1 - clip, 1 + clip) * gains)
            return -(gain - example.ENTROPY * (jnp.exp(logs) * logs).sum(axis=1)).mean()

        def value_loss(theta: Any) -> Any:
            return 0.5 * ((value(theta, states)[:, 0] - returns) ** 2).mean()

        (policy, slots), (critic, more) = learnt
        return (
            step(policy, jax.grad(policy_loss)(policy), slots, rate),
            step(critic, jax.grad(value_loss)(critic), more, rate),
        )

    chances = jax.jit(lambda theta, states: jax.nn.softmax(scores(theta, states)))
    values = jax.jit(lambda theta, states: value(theta, states)[:, 0])

    class Agent:
        def __init__(self, seed: int) -> None:
            ours = example.Agent(seed)
            self.learnt = tuple((flat(net), fresh(flat(net))) for net in (ours.policy, ours.value))

        def act(self, states: np.ndarray) -> np.ndarray:
            return self.chances(states).argmax(axis=-1)

        def chances(self, states: np.ndarray) -> np.ndarray:
            return np.asarray(chances(self.learnt[0][0], states))

        def values(self, states: np.ndarray) -> np.ndarray:
            return np.asarray(values(self.learnt[1][0], states))

        def learn(self, states: np.ndarray, *rest: Any) -> None:
            """In batches of one size: rows that start again are left out of a round, and another size would compile."""
            *arrays, progress = (states, *rest)
            i = np.resize(np.arange(len(states)), example.BATCH)
            self.learnt = learn(self.learnt, *(array[i] for array in arrays), progress)

    return Agent


def sac(example: ModuleType) -> Any:
    ours = example.Agent(0)
    actor_of = partial(forward, ours.actor.architecture, activation=jax.nn.relu)
    value = partial(forward, ours.critics[0].architecture, activation=jax.nn.relu)
    low, high = example.LOG_STD

    def squash(actor: Any, states: Any, noise: Any) -> tuple[Any, Any]:
        out = actor_of(actor, states)
        log_std = jnp.clip(out[:, 1:], low, high)
        u = out[:, :1] + jnp.exp(log_std) * noise
        slope = 2 * (math.log(2) - u - jax.nn.softplus(-2 * u))
        return jnp.tanh(u), -0.5 * noise * noise - log_std - 0.5 * math.log(2 * math.pi) - slope

    @partial(jax.jit, donate_argnums=0)
    def learn(learnt: Any, s: Any, a: Any, rewards: Any, after: Any, noise: Any) -> Any:
        actor, slots, critics, critic_slots, targets, log_alpha = learnt
        alpha = jnp.exp(log_alpha)
        next_a, log_chance = squash(actor, after, noise[0])
        both = jax.vmap(value, (0, None))
        worse = both(targets, jnp.hstack([after, next_a])).min(axis=0)
        wanted = rewards + example.DISCOUNT * (worse - alpha * log_chance)

        def critic_loss(critics: Any) -> Any:
            return 0.5 * ((both(critics, jnp.hstack([s, a])) - wanted) ** 2).mean(axis=(1, 2)).sum()

        critics, critic_slots = step(critics, jax.grad(critic_loss)(critics), critic_slots, example.RATE)

        def actor_loss(actor: Any) -> Any:
            chosen, log_chance = squash(actor, s, noise[1])
            worse = both(critics, jnp.hstack([s, chosen])).min(axis=0)
            return (alpha * log_chance - worse).mean(), log_chance.mean()

        grad, entropy = jax.grad(actor_loss, has_aux=True)(actor)
        actor, slots = step(actor, grad, slots, example.RATE)
        log_alpha += example.RATE * (entropy + example.ENTROPY)
        return actor, slots, critics, critic_slots, targets + example.TAU * (critics - targets), log_alpha

    @jax.jit
    def act(actor: Any, state: Any, noise: Any) -> Any:
        mean, log_std = actor_of(actor, state)
        return jnp.tanh(mean + jnp.exp(jnp.clip(log_std, low, high)) * noise)

    class Agent:
        def __init__(self, seed: int) -> None:
            ours = example.Agent(seed)
            actor, critics = flat(ours.actor), jnp.stack([flat(critic) for critic in ours.critics])
            self.learnt = actor, fresh(actor), critics, fresh(critics), critics.copy(), jnp.zeros(())

        def act(self, state: np.ndarray, noise: float) -> float:
            return float(act(self.learnt[0], state, noise))

        def learn(self, *arrays: np.ndarray) -> None:
            self.learnt = learn(self.learnt, *arrays)

    return Agent


AGENTS = {"dqn": dqn, "ppo": ppo, "sac": sac}
"""From an example's module to a class with the interface of its `Agent`."""
