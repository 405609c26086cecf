"""`Contender`, the base class of the libraries under test, and the classes for their runs and calls."""

from __future__ import annotations

import importlib
import importlib.util
from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib import metadata
from typing import Any, ClassVar, NamedTuple

import numpy as np

from nanostep.architecture import Architecture
from nanostep.benchmark.workload import PopulationWorkload, Workload

USES = ("train", "step", "predict", "calls", "start", "many", "population")
"""Uses of a contender by tasks: a whole run; a call of `step` or `predict` for one row; calls
with batches; the first run of a process;
many networks one by one, and as a population."""


@dataclass(frozen=True)
class Run:
    """Result of a training run.

    Attributes
    ----------
    seconds : float
        Wall time from the first step to the last, after all conversion and compilation.
    loss : float or ndarray, shape (networks,)
        Mean over the samples of the last epoch of the loss before the step that used the sample; for a population, of
        each network.
    theta : ndarray, shape (parameters,) or (networks, parameters)
        Laid out as `Network.theta`.
    """

    seconds: float
    loss: float | np.ndarray
    theta: np.ndarray


class Trainer(ABC):
    """One workload on one contender, with data and initial weights in the contender's preferred form."""

    @abstractmethod
    def run(self, epochs: int) -> Run:
        """Train from the initial weights, with a new optimiser, rows in order."""

    def about(self) -> dict[str, Any]:
        """Return what the library itself reports about the run, such as {"isa": "avx2", "threads": 2}."""
        return {}


class Online(ABC):
    """One network that is called with single rows: NumPy arrays in, a float or a NumPy array out."""

    @abstractmethod
    def reset(self) -> None:
        """Restore the initial weights."""

    @abstractmethod
    def step(self, x__i: np.ndarray, y__o: np.ndarray) -> float:
        """Make one SGD step and return the loss before it."""

    @abstractmethod
    def predict(self, x__i: np.ndarray) -> np.ndarray:
        """Return the output for one row."""

    @abstractmethod
    def theta(self) -> np.ndarray:
        """Return the parameters, laid out as `Network.theta`."""


class Calls(ABC):
    """One network that is called with batches of NumPy arrays, and returns a float or NumPy arrays."""

    @abstractmethod
    def reset(self) -> None:
        """Restore the initial weights, with a new optimiser."""

    @abstractmethod
    def step(self, x__bi: np.ndarray, y__bo: np.ndarray) -> float:
        """Make one update of the workload's optimiser and return the loss before it."""

    @abstractmethod
    def predict(self, x__bi: np.ndarray) -> np.ndarray:
        """Return the outputs."""

    @abstractmethod
    def gradient(self, x__bi: np.ndarray, y__bo: np.ndarray) -> np.ndarray:
        """Return the gradient of the mean loss, laid out as `Network.theta`."""

    @abstractmethod
    def pull(self, x__bi: np.ndarray, dout__bo: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the gradients of sum(dout * outputs) with respect to the parameters and to x."""

    @abstractmethod
    def learn(self, memory: Memory, i__b: np.ndarray) -> None:
        """Make an update of deep Q-learning from rows of a replay memory; the initial weights are the target's."""

    @abstractmethod
    def theta(self) -> np.ndarray:
        """Return the parameters, laid out as `Network.theta`."""


class Memory(NamedTuple):
    """A replay memory: states (n, inputs), actions, rewards, ends of episodes (n,), and the next states."""

    states: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    ends: np.ndarray
    after: np.ndarray


DISCOUNT = 0.99
"""Of `Calls.learn`, whose loss is the squared error of the chosen action's value, a mean over the rows."""


class Contender(ABC):
    """A library under test.

    Attributes
    ----------
    name, title : str
        The name in options and tables, and the full title.
    ours : bool
        True for nanostep's own backends.
    modules : tuple of str
        Modules that are required and imported by `load`.
    distributions : tuple of str
        Installed packages whose versions are recorded.
    loss_dtype : str
        Precision of the reported loss, if that is lower than the workload's; "" otherwise.
    compiles : bool
        True if the first run of every trainer is slow because it compiles for the shapes.
    series : bool
        False if it is left out of the points of series.
    quick : bool
        False if it is left out of ``--quick`` unless requested by name.
    most_networks : int
        Largest population that it trains in reasonable time; 0 if it cannot train many networks at once.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    ours: ClassVar[bool] = False
    modules: ClassVar[tuple[str, ...]] = ()
    distributions: ClassVar[tuple[str, ...]] = ()
    loss_dtype: ClassVar[str] = ""
    compiles: ClassVar[bool] = False
    series: ClassVar[bool] = True
    quick: ClassVar[bool] = True
    most_networks: ClassVar[int] = 0

    def unavailable(self) -> str:
        """Return why it cannot run on this machine, or ""."""
        missing = [name for name in self.modules if importlib.util.find_spec(name.partition(".")[0]) is None]
        return f"{', '.join(missing)} not installed (pip install 'nanostep[bench]')" if missing else ""

    def cannot(self, workload: Workload, use: str) -> str:
        """Return why it does not support the workload's mathematics or this use of it, or ""."""
        del workload, use
        return ""

    def load(self) -> None:
        """Import its modules."""
        for name in self.modules:
            importlib.import_module(name)

    @abstractmethod
    def trainer(self, workload: Workload, x: np.ndarray, y: np.ndarray, cores: int) -> Trainer:
        """Return a trainer for `workload` on the given rows with at most `cores` threads."""

    def population(self, workload: PopulationWorkload, x: np.ndarray, y: np.ndarray, cores: int) -> Trainer:
        """Return a trainer for all networks of a population, as `trainer` does for one network."""
        raise NotImplementedError(self.name)

    def online(self, workload: Workload) -> Online:
        """Return a network to be called with single rows."""
        raise NotImplementedError(self.name)

    def calls(self, workload: Workload) -> Calls:
        """Return a network to be called with batches."""
        raise NotImplementedError(self.name)

    def versions(self) -> dict[str, str]:
        return {name: metadata.version(name) for name in self.distributions}


def split(architecture: Architecture, theta: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return views (W, b) into theta of shape (..., parameters), W of shape (..., out, in), layer by layer."""
    return [
        (
            theta[..., layer.weights].reshape(*theta.shape[:-1], layer.outputs, layer.inputs),
            theta[..., layer.biases],
        )
        for layer in architecture.layers
    ]


def join(pairs: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Return theta from pairs (W, b), W of shape (..., out, in), b of shape (..., out)."""
    return np.concatenate([part.reshape(*b.shape[:-1], -1) for w, b in pairs for part in (w, b)], axis=-1)


def supported(workload: Workload, activations: set[str], outputs: dict[str, set[str]], optimizers: set[str]) -> str:
    """Return which part of the workload is not among the supported ones, or ""."""
    if workload.activation not in activations:
        return f"no {workload.activation} here"
    if workload.loss not in outputs.get(workload.output, set()):
        return f"no {workload.output} output with {workload.loss} here"
    if workload.optimizer not in optimizers:
        return f"no {workload.optimizer} here"
    return ""
