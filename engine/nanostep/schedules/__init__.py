"""Learning-rate schedules: the names, arguments, defaults and formulas of ``torch.optim.lr_scheduler`` (PyTorch 2.x).

A schedule is an immutable description, given to ``Network.train(schedule=...)``. The rate is a closed formula in t, the
number of periods (epochs, or updates with ``every="step"``) that the optimiser's state has seen; lr is the optimiser's.
Nothing is counted here, so a run may be cut, continued and resumed, and one schedule may serve many networks.
`ReduceLROnPlateau` depends on what was measured: its state is kept with the optimiser's.
"""

from nanostep.schedules.base import Schedule
from nanostep.schedules.cycles import CosineAnnealingLR, CosineAnnealingWarmRestarts, OneCycleLR
from nanostep.schedules.decays import ConstantLR, ExponentialLR, InverseScaling, LinearLR, MultiStepLR, StepLR
from nanostep.schedules.plateau import ReduceLROnPlateau
from nanostep.schedules.sequence import SequentialLR

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
