"""Checks against the golden files, which PyTorch made (see ``tests/golden/make_goldens.py``)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from cases import HIGH, OPTIMIZERS
from conformance.comparisons import TOLERANCE, assert_blocks, assert_norm
from conformance.runs import EngineType
from nanostep._arrays import Samples
from nanostep.architecture import Architecture, make_architecture
from nanostep.backends.contract import Cursor, RunConfig
from nanostep.backends.reference import losses, networks
from nanostep.losses import KINDS

FOLDER = Path(__file__).parent.parent / "golden"

UNITS = {"theta": 2.0**-13, "x": 2.0**-10, "y": 2.0**-3}
"""Unit of the integers in which drawn numbers are stored."""


@dataclass(frozen=True, eq=False)
class Golden:
    """One case: an architecture, float64 arrays (drawn ones are exact in float32), and the rest of its description."""

    name: str
    architecture: Architecture
    arrays: Mapping[str, np.ndarray]
    description: Mapping[str, Any]

    def __str__(self) -> str:
        return self.name

    def start(self, dtype: str) -> tuple[np.ndarray, Samples]:
        """Return theta and samples in `dtype`, in new arrays."""
        theta, x, y = (self.arrays[name].astype(dtype) for name in ("theta", "x", "y"))
        return theta, Samples(x, y, None)


@cache
def load(name: str) -> tuple[Golden, ...]:
    """Return the cases of a golden file."""
    with np.load(FOLDER / f"{name}.npz") as file:
        arrays = {key: file[key] for key in file.files}
    goldens = []
    for k, description in enumerate(json.loads(str(arrays["cases"]))):
        own = {key.partition("/")[2]: value for key, value in arrays.items() if key.startswith(f"{k}/")}
        own |= {key: own[key] * unit for key, unit in UNITS.items()}
        network = [description.pop(key) for key in ("sizes", "activation", "output", "loss")]
        if "options" in description:
            network[-1] = KINDS[network[-1]](**description.pop("options"))
        architecture = make_architecture(*network)
        label = f"{k}: {architecture} {architecture.criterion} {description.get('optimizer', '')}".strip()
        goldens.append(Golden(label, architecture, own, description))
    return tuple(goldens)


def check_golden_gradient(engine_type: EngineType, golden: Golden, dtype: str) -> None:
    """Check loss and gradient."""
    theta, samples = golden.start(dtype)
    got = np.full(len(theta), np.nan, dtype)
    loss = engine_type(golden.architecture, np.dtype(dtype)).gradient(theta, samples, got)
    assert_norm(np.array(loss), golden.arrays["loss"], TOLERANCE[dtype], f"{golden}: loss")
    assert_blocks(golden.architecture, got, golden.arrays["gradient"], TOLERANCE[dtype], f"{golden}: gradient")


def check_golden_vjp(engine_type: EngineType, golden: Golden, dtype: str) -> None:
    """Check that the derivatives of the loss by z and by the outputs, pulled back, are PyTorch's gradient."""
    theta, samples = golden.start(dtype)
    a, n = golden.architecture, len(samples)
    z, outputs = networks.Engine(a, HIGH).forward(theta.astype(HIGH), samples.x.astype(HIGH))
    y, dout = golden.arrays["y"].astype(HIGH), {}
    dout["z"], dout["out"] = np.empty_like(y), np.empty_like(y)
    losses.output_delta(a.criterion, a.output, z[-1], outputs[-1], y, dout["z"])
    losses.loss_derivative(a.criterion, outputs[-1], y, dout["out"])
    engine = engine_type(a, np.dtype(dtype))
    for wrt, values in dout.items():
        if wrt == "out" and (a.loss, a.output) in losses.JOINED:
            continue  # for the sake of which they are joined
        grad, dx = np.full(len(theta), np.nan, dtype), np.full(samples.x.shape, np.nan, dtype)
        engine.vjp(theta, samples.x, (values / n).astype(dtype), of_z=wrt == "z", grad__p=grad, dx__ni=dx)
        tolerance, what = 4 * TOLERANCE[dtype], f"{golden}: pulled back from {wrt}"
        assert_blocks(a, grad, golden.arrays["gradient"], tolerance, what)
        assert_norm(dx, golden.arrays["dx"], tolerance, f"{what}, dx")


def check_golden_trajectory(engine_type: EngineType, golden: Golden, dtype: str, tolerance: float) -> None:
    """Check the loss before every step and all parameters after it, or after every few steps if the file has fewer."""
    theta, samples = golden.start(dtype)
    optimizer, n = OPTIMIZERS[golden.description["optimizer"]], len(samples)
    engine = engine_type(golden.architecture, np.dtype(dtype))
    plan = RunConfig(batch=golden.description["batch"], shuffle=False, seed=0)
    slots, cursor = np.zeros((len(optimizer.slots), len(theta)), dtype), Cursor(np.empty(0, np.int64))
    values, thetas = golden.arrays["losses"], golden.arrays["thetas"]
    every = len(values) // len(thetas)
    for step, expected_loss in enumerate(values):
        assert samples.y is not None
        rows = slice(cursor.row, min(cursor.row + plan.batch, n))
        loss = engine.loss(theta, Samples(samples.x[rows], samples.y[rows], None))
        assert_norm(np.array(loss), expected_loss, tolerance, f"{golden}: loss before step {step}")
        engine.train(theta, slots, samples, optimizer, plan, cursor, 1, np.empty(1))
        if (step + 1) % every == 0:
            assert_norm(theta, thetas[step // every], tolerance, f"{golden}: theta after step {step}")
