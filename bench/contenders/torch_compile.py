"""PyTorch compiled: gradient and update of a step in one function under ``torch.compile``, called batch by batch."""

from __future__ import annotations

import shutil
import time
from typing import Any

import numpy as np

from nanostep.benchmark.contenders.base import Run, Trainer
from nanostep.benchmark.contenders.torch_eager import EagerTrainer, TorchEager, parameters_from, theta_of
from nanostep.benchmark.workload import Workload


class CompiledTrainer(EagerTrainer):
    def __init__(self, workload: Workload, x: np.ndarray, y: np.ndarray, cores: int) -> None:
        super().__init__(workload, x, y, cores)
        torch, loss_of = self.torch, self.loss
        lr, adam = workload.lr, workload.optimizer == "adam"

        # gradients by torch.func and a written-out update, so that the compiler has no graph breaks
        def step(parameters: Any, m: Any, v: Any, t: Any, x: Any, y: Any) -> Any:
            gradients, loss = torch.func.grad_and_value(loss_of)(parameters, x, y)
            for i, (p, g) in enumerate(zip(parameters, gradients, strict=True)):
                if adam:
                    m[i].mul_(0.9).add_(g, alpha=0.1)
                    v[i].mul_(0.999).addcmul_(g, g, value=0.001)
                    p.sub_(lr / (1 - 0.9**t) * m[i] / ((v[i] / (1 - 0.999**t)).sqrt() + 1e-8))
                else:
                    p.sub_(lr * g)
            return loss

        torch._dynamo.reset()
        self.step = torch.compile(step, fullgraph=True, dynamic=False)

    def run(self, epochs: int) -> Run:
        torch = self.torch
        parameters = [p.detach().clone() for p in parameters_from(self.workload)]
        m, v = ([torch.zeros_like(p) for p in parameters] for _ in range(2))
        t = torch.zeros((), dtype=torch.float64)
        total = self.zero
        with torch.no_grad():
            started = time.perf_counter()
            for _ in range(epochs):
                total = self.zero.clone()
                for x, y in self.batches:
                    t += 1
                    total += self.step(parameters, m, v, t, x, y) * len(x)
            seconds = time.perf_counter() - started
        return Run(seconds, float(total) / self.n, theta_of(parameters))

    def about(self) -> dict[str, Any]:
        return {"threads": self.torch.get_num_threads()}


class TorchCompile(TorchEager):
    name, title = "torch-compile", "PyTorch, torch.compile"
    compiles = True
    series = False
    quick = False

    def unavailable(self) -> str:
        if not super().unavailable() and not any(map(shutil.which, ("g++", "clang++", "c++"))):
            return "torch.compile needs a C++ compiler"
        return super().unavailable()

    def cannot(self, workload: Workload, use: str) -> str:
        if use == "many":
            return "compiles anew for each network"
        if use in ("step", "predict", "calls"):
            return "not written for single calls; see torch"
        return super().cannot(workload, use)

    def trainer(self, workload: Workload, x: np.ndarray, y: np.ndarray, cores: int) -> Trainer:
        return CompiledTrainer(workload, x, y, cores)
