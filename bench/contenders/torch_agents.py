"""The agents of examples/dqn.py, ppo.py and sac.py in PyTorch, as one writes them there: autograd, eager, torch.optim.

They start from the same weights as ours, so that the runs of a seed begin alike.
"""

from __future__ import annotations

import copy
import math
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from nanostep.network import Network

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh}


def layers(net: Network, activation: str) -> Any:
    """Return the layers of one of our networks; no activation at the output."""
    parts: list[Any] = []
    for w, b in zip(net.weights, net.biases, strict=True):
        linear = nn.Linear(w.shape[1], w.shape[0])
        linear.weight.data, linear.bias.data = torch.tensor(w), torch.tensor(b)
        parts += [linear, ACTIVATIONS[activation]()]
    return nn.Sequential(*parts[:-1])


def adam(net: Any, rate: float) -> Any:
    return torch.optim.Adam(net.parameters(), lr=rate, foreach=True)


@torch.no_grad()
def polyak(net: Any, target: Any, tau: float) -> None:
    torch._foreach_lerp_(list(target.parameters()), list(net.parameters()), tau)


def update(optimizer: Any, loss: Any) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def dqn(example: ModuleType) -> Any:
    class Agent:
        def __init__(self, seed: int) -> None:
            self.net = layers(example.Agent(seed).net, "relu")
            self.target = copy.deepcopy(self.net).requires_grad_(False)
            self.adam = adam(self.net, example.RATE)

        def act(self, states: np.ndarray) -> np.ndarray:
            with torch.no_grad():
                return self.net(torch.from_numpy(states)).numpy().argmax(axis=-1)

        def learn(self, *, rate: float, **batch: np.ndarray) -> None:
            b = {name: torch.from_numpy(values) for name, values in batch.items()}
            with torch.no_grad():
                best = self.net(b["after"]).argmax(dim=1, keepdim=True)
                later = self.target(b["after"]).gather(1, best)[:, 0]
                wanted = b["rewards"] + example.DISCOUNT * ~b["ends"] * later
            chosen = self.net(b["states"]).gather(1, b["actions"][:, None])[:, 0]
            self.adam.param_groups[0]["lr"] = rate
            update(self.adam, functional.smooth_l1_loss(chosen, wanted))
            polyak(self.net, self.target, example.TAU)

    return Agent


def ppo(example: ModuleType) -> Any:
    class Agent:
        def __init__(self, seed: int) -> None:
            ours = example.Agent(seed)
            self.policy, self.value = layers(ours.policy, "tanh"), layers(ours.value, "tanh")
            self.adams = adam(self.policy, example.RATE), adam(self.value, example.RATE)

        def act(self, states: np.ndarray) -> np.ndarray:
            return self.chances(states).argmax(axis=-1)

        @torch.no_grad()
        def chances(self, states: np.ndarray) -> np.ndarray:
            return self.policy(torch.from_numpy(states)).softmax(dim=-1).numpy()

        @torch.no_grad()
        def values(self, states: np.ndarray) -> np.ndarray:
            return self.value(torch.from_numpy(states))[:, 0].numpy()

        def learn(self, *arrays: np.ndarray | float) -> None:
            progress = arrays[-1]
            states, actions, before, gains, returns = (torch.from_numpy(array) for array in arrays[:-1])
            clip = example.CLIP * (1 - progress)
            for optimizer in self.adams:
                optimizer.param_groups[0]["lr"] = example.RATE * (1 - progress)
            logs = self.policy(states).log_softmax(dim=1)
            ratio = logs.gather(1, actions[:, None])[:, 0].exp() / before
            gain = torch.minimum(ratio * gains, ratio.clamp(1 - clip, 1 + clip) * gains)
            entropy = -(logs.exp() * logs).sum(dim=1)
            update(self.adams[0], -(gain + example.ENTROPY * entropy).mean())
            update(self.adams[1], 0.5 * functional.mse_loss(self.value(states)[:, 0], returns))

    return Agent


def sac(example: ModuleType) -> Any:
    class Agent:
        def __init__(self, seed: int) -> None:
            ours = example.Agent(seed)
            self.actor = layers(ours.actor, "relu")
            self.critics = nn.ModuleList(layers(critic, "relu") for critic in ours.critics)
            self.targets = copy.deepcopy(self.critics).requires_grad_(False)
            self.adams = adam(self.actor, example.RATE), adam(self.critics, example.RATE)
            self.log_alpha = 0.0

        def act(self, state: np.ndarray, noise: float) -> float:
            with torch.no_grad():
                mean, log_std = self.actor(torch.from_numpy(state)).tolist()
            low, high = example.LOG_STD
            return math.tanh(mean + math.exp(min(max(log_std, low), high)) * noise)

        def squash(self, states: Any, noise: Any) -> tuple[Any, Any]:
            mean, log_std = self.actor(states).split(1, dim=1)
            log_std = log_std.clamp(*example.LOG_STD)
            u = mean + log_std.exp() * noise
            slope = 2 * (math.log(2) - u - functional.softplus(-2 * u))
            return u.tanh(), -0.5 * noise * noise - log_std - 0.5 * math.log(2 * math.pi) - slope

        def learn(self, *arrays: np.ndarray) -> None:
            s, a, rewards, after, noise = (torch.from_numpy(array) for array in arrays)
            alpha = math.exp(self.log_alpha)
            with torch.no_grad():
                next_a, log_chance = self.squash(after, noise[0])
                x = torch.hstack([after, next_a])
                worse = torch.minimum(*(target(x) for target in self.targets))
                wanted = rewards + example.DISCOUNT * (worse - alpha * log_chance)
            x = torch.hstack([s, a])
            update(self.adams[1], sum(0.5 * functional.mse_loss(critic(x), wanted) for critic in self.critics))

            a, log_chance = self.squash(s, noise[1])
            x = torch.hstack([s, a])
            self.critics.requires_grad_(False)
            update(self.adams[0], (alpha * log_chance - torch.minimum(*(one(x) for one in self.critics))).mean())
            self.critics.requires_grad_(True)
            self.log_alpha += example.RATE * (float(log_chance.detach().mean()) + example.ENTROPY)
            polyak(self.critics, self.targets, example.TAU)

    return Agent


AGENTS = {"dqn": dqn, "ppo": ppo, "sac": sac}
"""From an example's module to a class with the interface of its `Agent`."""

torch.set_num_threads(1)
