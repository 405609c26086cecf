"""Learning-rate schedules: the names, arguments, defaults and formulas of ``torch.optim.lr_scheduler`` (PyTorch 2.x).

A schedule is an immutable description, given to `train(schedule=...)` of a network or a population. The rate is a
closed formula in t, the number of periods (epochs, or updates with ``every="step"``) that the optimiser's state has
seen, and lr, the optimiser's rate. A schedule has no state, so a run may be cut, continued and resumed, and one
schedule may serve many networks. `ReduceLROnPlateau` depends on measured values: its state is kept with the
optimiser's.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from nanostep.schedules.base import Schedule
from nanostep.schedules.plateau import ReduceLROnPlateau

if TYPE_CHECKING:
    from nanostep.schedules.cycles import CosineAnnealingLR, CosineAnnealingWarmRestarts, OneCycleLR
    from nanostep.schedules.decays import ConstantLR, ExponentialLR, InverseScaling, LinearLR, MultiStepLR, StepLR
    from nanostep.schedules.sequence import SequentialLR

# Imported when they are first used: creating these classes would take a tenth of the time of `import nanostep`.
_LAZY = {
    "ConstantLR": "decays",
    "CosineAnnealingLR": "cycles",
    "CosineAnnealingWarmRestarts": "cycles",
    "ExponentialLR": "decays",
    "InverseScaling": "decays",
    "LinearLR": "decays",
    "MultiStepLR": "decays",
    "OneCycleLR": "cycles",
    "SequentialLR": "sequence",
    "StepLR": "decays",
}

__all__ = [
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "ExponentialLR",
    "InverseScaling",
    "LinearLR",
    "MultiStepLR",
    "OneCycleLR",
    "ReduceLROnPlateau",
    "Schedule",
    "SequentialLR",
    "StepLR",
]


def __getattr__(name: str) -> object:
    if name in _LAZY:
        return getattr(importlib.import_module(f"nanostep.schedules.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'nanostep.schedules' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
