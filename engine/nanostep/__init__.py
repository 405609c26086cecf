"""nanostep: trains small dense neural networks on the CPU, one SGD step after another, at the machine's limit.

`Network` is the front door; see its docstring. Heavy parts (Numba, the C extension, files, the command line) are
imported when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from nanostep import losses, schedules, streams
from nanostep._version import __version__
from nanostep.averaging import polyak_update
from nanostep.backends import available_backends
from nanostep.errors import BackendUnavailable, FileFormatError, NanostepError, StopTraining
from nanostep.network import Network
from nanostep.optimizers import SGD, Adam, AdamW, Optimizer, RMSprop
from nanostep.solvers import LBFGS, LevenbergMarquardt, Solver
from nanostep.training.callbacks import EpochEnd, EveryNSteps, StepEnd
from nanostep.training.checkpoints import Checkpoint
from nanostep.training.early_stopping import EarlyStopping
from nanostep.training.history import History

if TYPE_CHECKING:
    from nanostep import io
    from nanostep.compilation import warmup
    from nanostep.embedding import get_include
    from nanostep.io.networks import load
    from nanostep.plots import plot_decision_boundary
    from nanostep.population import Population
    from nanostep.populations.callbacks import PopulationEpochEnd
    from nanostep.populations.history import PopulationHistory
    from nanostep.sweeps import Grid, Halving, Random, SweepTable, sweep
    from nanostep.worksheet import Worksheet

_LAZY = {
    "Grid": "nanostep.sweeps",
    "Halving": "nanostep.sweeps",
    "Population": "nanostep.population",
    "PopulationEpochEnd": "nanostep.populations.callbacks",
    "PopulationHistory": "nanostep.populations.history",
    "Random": "nanostep.sweeps",
    "SweepTable": "nanostep.sweeps",
    "Worksheet": "nanostep.worksheet",
    "get_include": "nanostep.embedding",
    "io": "nanostep.io",
    "load": "nanostep.io.networks",
    "plot_decision_boundary": "nanostep.plots",
    "sweep": "nanostep.sweeps",
    "warmup": "nanostep.compilation",
}

__all__ = [
    "LBFGS",
    "SGD",
    "Adam",
    "AdamW",
    "BackendUnavailable",
    "Checkpoint",
    "EarlyStopping",
    "EpochEnd",
    "EveryNSteps",
    "FileFormatError",
    "Grid",
    "Halving",
    "History",
    "LevenbergMarquardt",
    "NanostepError",
    "Network",
    "Optimizer",
    "Population",
    "PopulationEpochEnd",
    "PopulationHistory",
    "RMSprop",
    "Random",
    "Solver",
    "StepEnd",
    "StopTraining",
    "SweepTable",
    "Worksheet",
    "__version__",
    "available_backends",
    "get_include",
    "io",
    "load",
    "losses",
    "plot_decision_boundary",
    "polyak_update",
    "schedules",
    "streams",
    "sweep",
    "warmup",
]


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module 'nanostep' has no attribute {name!r}")
    value = importlib.import_module(_LAZY[name])
    return value if _LAZY[name] == f"nanostep.{name}" else getattr(value, name)


def __dir__() -> list[str]:
    return __all__
