"""PyTorch as it is usually run: eager, functional layers, its own optimisers (foreach), slices of one tensor."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from nanostep.benchmark.contenders.base import (
    DISCOUNT,
    Calls,
    Contender,
    Memory,
    Online,
    Run,
    Trainer,
    join,
    split,
    supported,
)
from nanostep.benchmark.workload import Workload

OUTPUTS = {"sigmoid": {"half_squared_error"}, "identity": {"squared_error"}, "softmax": {"cross_entropy"}}


def forward_function(workload: Workload) -> Callable[[list[Any], Any], Any]:
    """Return forward(parameters, x), which gives the output, or its z where softmax is joined with the loss."""
    import torch

    f = {"sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": torch.relu}[workload.activation]
    linear = torch.nn.functional.linear
    last = 2 * (len(workload.sizes) - 2)

    def forward(parameters: list[Any], x: Any) -> Any:
        for i in range(0, last, 2):
            x = f(linear(x, parameters[i], parameters[i + 1]))
        z = linear(x, parameters[last], parameters[last + 1])
        return torch.sigmoid(z) if workload.output == "sigmoid" else z

    return forward


def loss_function(workload: Workload) -> Callable[[list[Any], Any, Any], Any]:
    """Return loss(parameters, x, y), the mean over a batch."""
    import torch

    forward = forward_function(workload)
    functional = torch.nn.functional

    def loss(parameters: list[Any], x: Any, y: Any) -> Any:
        a = forward(parameters, x)
        if workload.loss == "cross_entropy":
            return functional.cross_entropy(a, y)
        if workload.loss == "half_squared_error":
            return 0.5 * functional.mse_loss(a, y, reduction="sum") / len(x)
        return functional.mse_loss(a, y)

    return loss


def parameters_from(workload: Workload) -> list[Any]:
    import torch

    pairs = split(workload.architecture, workload.initial_theta())
    return [torch.tensor(part).requires_grad_() for pair in pairs for part in pair]


def theta_of(parameters: Sequence[Any]) -> np.ndarray:
    arrays = [p.detach().numpy() for p in parameters]
    return join(list(zip(arrays[::2], arrays[1::2], strict=True)))


def make_optimizer(workload: Workload, parameters: list[Any]) -> Any:
    import torch

    kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[workload.optimizer]
    return kind(parameters, lr=workload.lr, foreach=True)


class EagerTrainer(Trainer):
    def __init__(self, workload: Workload, x: np.ndarray, y: np.ndarray, cores: int) -> None:
        import torch

        torch.set_num_threads(cores)
        self.torch, self.workload = torch, workload
        self.batches = list(
            zip(torch.tensor(x).split(workload.batch), torch.tensor(y).split(workload.batch), strict=True)
        )
        self.n, self.zero = len(x), torch.zeros((), dtype=self.batches[0][0].dtype)
        self.loss = loss_function(workload)

    def run(self, epochs: int) -> Run:
        parameters = parameters_from(self.workload)
        optimizer = make_optimizer(self.workload, parameters)
        total = self.zero
        started = time.perf_counter()
        for _ in range(epochs):
            total = self.zero.clone()
            for x, y in self.batches:
                optimizer.zero_grad()
                loss = self.loss(parameters, x, y)
                loss.backward()
                optimizer.step()
                total += loss.detach() * len(x)
        seconds = time.perf_counter() - started
        return Run(seconds, float(total) / self.n, theta_of(parameters))

    def about(self) -> dict[str, Any]:
        return {"isa": self.torch.backends.cpu.get_cpu_capability(), "threads": self.torch.get_num_threads()}


class EagerOnline(Online):
    def __init__(self, workload: Workload) -> None:
        import torch

        torch.set_num_threads(1)
        self.torch, self.workload = torch, workload
        self.forward, self.loss = forward_function(workload), loss_function(workload)
        self.reset()

    def reset(self) -> None:
        self.parameters = parameters_from(self.workload)
        self.optimizer = make_optimizer(self.workload, self.parameters)

    def step(self, x__i: np.ndarray, y__o: np.ndarray) -> float:
        self.optimizer.zero_grad()
        loss = self.loss(self.parameters, self.torch.from_numpy(x__i)[None], self.torch.from_numpy(y__o)[None])
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def predict(self, x__i: np.ndarray) -> np.ndarray:
        with self.torch.inference_mode():
            return self.forward(self.parameters, self.torch.from_numpy(x__i)[None])[0].numpy()

    def theta(self) -> np.ndarray:
        return theta_of(self.parameters)


class EagerCalls(Calls):
    def __init__(self, workload: Workload) -> None:
        import torch

        torch.set_num_threads(1)
        self.torch, self.workload = torch, workload
        self.forward, self.loss = forward_function(workload), loss_function(workload)
        self.target = [part.detach() for part in parameters_from(workload)]
        self.reset()

    def reset(self) -> None:
        self.parameters = parameters_from(self.workload)
        self.optimizer = make_optimizer(self.workload, self.parameters)

    def _update(self, loss: Any) -> float:
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return float(loss.item())

    def step(self, x__bi: np.ndarray, y__bo: np.ndarray) -> float:
        return self._update(self.loss(self.parameters, self.torch.from_numpy(x__bi), self.torch.from_numpy(y__bo)))

    def predict(self, x__bi: np.ndarray) -> np.ndarray:
        with self.torch.inference_mode():
            return self.forward(self.parameters, self.torch.from_numpy(x__bi)).numpy()

    def gradient(self, x__bi: np.ndarray, y__bo: np.ndarray) -> np.ndarray:
        loss = self.loss(self.parameters, self.torch.from_numpy(x__bi), self.torch.from_numpy(y__bo))
        return theta_of(self.torch.autograd.grad(loss, self.parameters))

    def pull(self, x__bi: np.ndarray, dout__bo: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x = self.torch.from_numpy(x__bi).detach().requires_grad_()
        out = self.forward(self.parameters, x)
        *gradients, dx = self.torch.autograd.grad(out, [*self.parameters, x], self.torch.from_numpy(dout__bo))
        return theta_of(gradients), dx.numpy()

    def learn(self, memory: Memory, i__b: np.ndarray) -> None:
        states, actions, rewards, ends, after = (self.torch.from_numpy(array[i__b]) for array in memory)
        with self.torch.no_grad():
            best = self.forward(self.parameters, after).argmax(dim=1, keepdim=True)
            wanted = rewards + DISCOUNT * ~ends * self.forward(self.target, after).gather(1, best)[:, 0]
        chosen = self.forward(self.parameters, states).gather(1, actions[:, None])[:, 0]
        self._update(self.torch.nn.functional.mse_loss(chosen, wanted))

    def theta(self) -> np.ndarray:
        return theta_of(self.parameters)


class TorchEager(Contender):
    name, title = "torch", "PyTorch, eager"
    modules: ClassVar[tuple[str, ...]] = ("torch",)
    distributions: ClassVar[tuple[str, ...]] = ("torch",)

    def cannot(self, workload: Workload, use: str) -> str:
        return supported(workload, {"sigmoid", "tanh", "relu"}, OUTPUTS, {"sgd", "adam"})

    def trainer(self, workload: Workload, x: np.ndarray, y: np.ndarray, cores: int) -> Trainer:
        return EagerTrainer(workload, x, y, cores)

    def online(self, workload: Workload) -> Online:
        return EagerOnline(workload)

    def calls(self, workload: Workload) -> Calls:
        return EagerCalls(workload)
