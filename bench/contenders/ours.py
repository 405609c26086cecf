"""nanostep itself: the backends c, numba and numpy, through the public `Network` and `Population`."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from nanostep.backends import load
from nanostep.benchmark.contenders.base import DISCOUNT, Calls, Contender, Memory, Online, Run, Trainer
from nanostep.benchmark.workload import PopulationWorkload, Workload
from nanostep.errors import BackendUnavailable
from nanostep.network import Network
from nanostep.population import Population


class OurTrainer(Trainer):
    def __init__(self, workload: Workload, net: Network | Population, x: np.ndarray, y: np.ndarray, cores: int) -> None:
        self._workload, self._net, self._x, self._y = workload, net, x, y
        self._theta = self._net.theta.copy()
        # on several cores the engine chooses, as it does by default, among the processors that it may use
        self._threads = 1 if cores == 1 else None
        self._about: dict[str, Any] = {}

    def run(self, epochs: int) -> Run:
        self._net.theta = self._theta
        optimizer = self._workload.make_optimizer()
        history = self._net.train(
            self._x,
            self._y,
            epochs=epochs,
            batch_size=self._workload.batch,
            optimizer=optimizer,
            shuffle=False,
            threads=self._threads,
        )
        self._about = {"isa": history.isa, "threads": history.threads}
        return Run(history.seconds, np.asarray(history.loss)[..., -1], self._net.theta.copy())

    def about(self) -> dict[str, Any]:
        return self._about


class NetworkOnline(Online):
    def __init__(self, workload: Workload, backend: str) -> None:
        self._net = workload.make_network(backend)
        self._theta = self._net.theta.copy()
        self._lr = workload.lr

    def reset(self) -> None:
        self._net.theta = self._theta
        self._net.reset_optimizer()

    def step(self, x__i: np.ndarray, y__o: np.ndarray) -> float:
        return self._net.step(x__i, y__o, self._lr)

    def predict(self, x__i: np.ndarray) -> np.ndarray:
        return self._net.predict(x__i)

    def theta(self) -> np.ndarray:
        return self._net.theta.copy()


class NetworkCalls(Calls):
    def __init__(self, workload: Workload, backend: str) -> None:
        self._workload = workload
        self._net = workload.make_network(backend)
        self._target, self._theta = self._net.copy(), self._net.theta.copy()
        self.reset()

    def reset(self) -> None:
        self._net.theta = self._theta
        self._net.optimizer = self._workload.make_optimizer()

    def step(self, x__bi: np.ndarray, y__bo: np.ndarray) -> float:
        if self._workload.optimizer == "sgd":
            return self._net.step(x__bi, y__bo, self._workload.lr)
        return self._net.step(x__bi, y__bo)

    def predict(self, x__bi: np.ndarray) -> np.ndarray:
        return self._net.predict(x__bi)

    def gradient(self, x__bi: np.ndarray, y__bo: np.ndarray) -> np.ndarray:
        return self._net.gradient(x__bi, y__bo)[1]

    def pull(self, x__bi: np.ndarray, dout__bo: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self._net.vjp(x__bi)[1](dout__bo, inputs=True)

    def learn(self, memory: Memory, i__b: np.ndarray) -> None:
        after = memory.after[i__b]
        best = self._net.predict(after).argmax(axis=1)
        later = self._target.predict(after)[np.arange(len(best)), best]
        wanted = memory.rewards[i__b] + DISCOUNT * ~memory.ends[i__b] * later
        self._net.step(memory.states[i__b], wanted, outputs=memory.actions[i__b])

    def theta(self) -> np.ndarray:
        return self._net.theta.copy()


class Backend(Contender):
    ours = True
    modules: ClassVar[tuple[str, ...]] = ("nanostep",)
    most_networks: ClassVar[int] = 16_384

    def unavailable(self) -> str:
        try:
            load(self.name)
        except BackendUnavailable as error:
            return str(error)
        return ""

    def load(self) -> None:
        load(self.name)

    def trainer(self, workload: Workload, x: np.ndarray, y: np.ndarray, cores: int) -> Trainer:
        return OurTrainer(workload, workload.make_network(self.name), x, y, cores)

    def population(self, workload: PopulationWorkload, x: np.ndarray, y: np.ndarray, cores: int) -> Trainer:
        return OurTrainer(workload, workload.make_population(self.name), x, y, cores)

    def online(self, workload: Workload) -> Online:
        return NetworkOnline(workload, self.name)

    def calls(self, workload: Workload) -> Calls:
        return NetworkCalls(workload, self.name)


class C(Backend):
    name, title = "c", "nanostep, C"
    most_networks: ClassVar[int] = 1_000_000


class Numba(Backend):
    name, title = "numba", "nanostep, Numba"
    most_networks: ClassVar[int] = 1_000_000
    distributions: ClassVar[tuple[str, ...]] = ("numba", "llvmlite")


class NumPy(Backend):
    name, title = "numpy", "nanostep, NumPy (reference)"
    most_networks: ClassVar[int] = 256
    distributions: ClassVar[tuple[str, ...]] = ("numpy",)
