"""Make schedules.json with PyTorch: the learning rates of its schedulers, period by period.

The file here was made by PyTorch 2.13.0. To make it again, with PyTorch installed, from the repository's root::

    python tests/golden/make_schedules.py
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.optim import lr_scheduler

LR = 0.3
PERIODS = 60

CASES: list[tuple[str, dict[str, Any]]] = [
    ("ConstantLR", {}),
    ("ConstantLR", {"factor": 0.25, "total_iters": 17}),
    ("LinearLR", {}),
    ("LinearLR", {"start_factor": 0.1, "end_factor": 0.5, "total_iters": 23}),
    ("StepLR", {"step_size": 7}),
    ("StepLR", {"step_size": 1, "gamma": 0.9}),
    ("MultiStepLR", {"milestones": [5, 20, 20, 41], "gamma": 0.5}),
    ("ExponentialLR", {"gamma": 0.93}),
    ("CosineAnnealingLR", {"T_max": 60}),
    ("CosineAnnealingLR", {"T_max": 13, "eta_min": 0.01}),
    ("CosineAnnealingWarmRestarts", {"T_0": 9, "eta_min": 0.02}),
    ("CosineAnnealingWarmRestarts", {"T_0": 5, "T_mult": 2}),
    ("CosineAnnealingWarmRestarts", {"T_0": 1, "T_mult": 3}),
    ("OneCycleLR", {"max_lr": 0.7, "total_steps": 60}),
    ("OneCycleLR", {"max_lr": 0.7, "total_steps": 60, "anneal_strategy": "linear", "pct_start": 0.11}),
    ("OneCycleLR", {"max_lr": 0.7, "total_steps": 60, "three_phase": True, "pct_start": 0.42, "div_factor": 7}),
]

PLATEAUS: list[dict[str, Any]] = [
    {},
    {"patience": 2, "factor": 0.5},
    {"patience": 1, "factor": 0.3, "threshold": 0.05, "cooldown": 3},
    {"patience": 0, "threshold": 0.02, "threshold_mode": "abs", "min_lr": 1e-3},
    {"patience": 1, "mode": "max", "threshold": 0.02},
    {"patience": 3, "mode": "max", "threshold": 0.01, "threshold_mode": "abs", "eps": 0.01},
]

# falls, stays, rises and falls again
VALUES = [round(1 / (1 + t) + (0.05 if t > 25 else 0) * (t - 25) / 7 - 0.3 * (t > 45), 4) for t in range(PERIODS)]


def sequence(make: Callable[..., Any], **arguments: Any) -> list[float]:
    """Return the rate of each period under the scheduler ``make(optimizer, **arguments)``."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=LR)
    scheduler = make(optimizer, **arguments)
    rates = []
    for t in range(PERIODS):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        if isinstance(scheduler, lr_scheduler.ReduceLROnPlateau):
            scheduler.step(VALUES[t])
        elif t + 1 < PERIODS:
            scheduler.step()
    return rates


def warm_up(optimizer: torch.optim.Optimizer) -> lr_scheduler.SequentialLR:
    parts = [
        lr_scheduler.LinearLR(optimizer, start_factor=0.1, total_iters=6),
        lr_scheduler.CosineAnnealingLR(optimizer, T_max=20, eta_min=0.01),
        lr_scheduler.ExponentialLR(optimizer, gamma=0.8),
    ]
    return lr_scheduler.SequentialLR(optimizer, parts, milestones=[6, 30])


def main() -> None:
    warnings.simplefilter("ignore")  # SequentialLR's own use of a deprecated argument
    content = {
        "lr": LR,
        "values": VALUES,
        "schedules": [
            {"name": name, "arguments": arguments, "rates": sequence(getattr(lr_scheduler, name), **arguments)}
            for name, arguments in CASES
        ],
        "warm_up": sequence(warm_up),
        "plateaus": [
            {"arguments": arguments, "rates": sequence(lr_scheduler.ReduceLROnPlateau, **arguments)}
            for arguments in PLATEAUS
        ],
    }
    (Path(__file__).parent / "schedules.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
