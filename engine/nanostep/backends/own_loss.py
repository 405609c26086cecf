"""`OwnLoss`: the engine of networks whose loss is a function of Python, `nanostep.losses.Custom`, on every backend."""

from __future__ import annotations

import math
from dataclasses import replace
from types import ModuleType

import numpy as np

from nanostep._arrays import Samples
from nanostep.architecture import Architecture
from nanostep.backends.contract import Cursor, Engine, RunConfig
from nanostep.backends.one_by_one import OneByOne
from nanostep.backends.population_contract import PopulationEngine
from nanostep.backends.reference import networks
from nanostep.backends.reference.losses import times_output_derivative
from nanostep.losses import Custom
from nanostep.optimizers import Optimizer

Array = np.ndarray


def engine_of(package: ModuleType, architecture: Architecture, dtype: np.dtype) -> Engine:
    """Return the engine of a network on a backend."""
    loss = architecture.loss_options
    if isinstance(loss, Custom):
        loss.address(dtype)  # raises if the function is for another dtype
        if not getattr(package.networks, "CALLS_LOSSES", False) or loss.address(dtype) is None:
            return OwnLoss(package, architecture, dtype)
    return package.networks.Engine(architecture, dtype)


def population_engine_of(package: ModuleType, architecture: Architecture, dtype: np.dtype) -> PopulationEngine:
    """Return the engine of a population on a backend; with a loss of the user's own it takes network after network."""
    if isinstance(architecture.loss_options, Custom):
        return OneByOne(engine_of(package, architecture, dtype), architecture, package.optimizers)
    return package.populations.Engine(architecture, dtype)


class OwnLoss(networks.Engine):
    """Outputs, gradients and updates are the backend's; between them the function is called, once for each batch.

    With dropout the passes are the reference's.
    """

    def __init__(self, package: ModuleType, architecture: Architecture, dtype: np.dtype) -> None:
        super().__init__(architecture, dtype)
        assert isinstance(architecture.loss_options, Custom)
        self._loss = architecture.loss_options
        passes = replace(architecture, loss="squared_error", loss_options=None)
        self._passes: Engine = package.networks.Engine(passes, dtype)
        self.update_operation = package.optimizers.update
        self.predict = self._passes.predict  # type: ignore[method-assign]
        self.predict_row = self._passes.predict_row  # type: ignore[method-assign]
        self.prepared_predict = self._passes.prepared_predict  # type: ignore[method-assign]
        self.jacobian = self._passes.jacobian  # type: ignore[method-assign]
        self.vjp = self._passes.vjp  # type: ignore[method-assign]

    @property
    def isa(self) -> str:  # type: ignore[override]
        return self._passes.isa

    def loss(self, theta__p: Array, samples: Samples) -> float:
        a__no = np.empty((len(samples), self.architecture.outputs), self.dtype)
        self._passes.predict(theta__p, samples.x, a__no)
        assert samples.y is not None
        return self._mean(self._loss.evaluate(a__no, samples.y)[0], samples)

    def batch_gradient(
        self,
        theta__p: Array,
        samples: Samples,
        grad__p: Array,
        smoothing: float = 0.0,
        masks: networks.Masks = None,
        log_clip_min: float = -math.inf,
    ) -> float:
        assert samples.y is not None
        if masks is None:
            a__bo = np.empty((len(samples), self.architecture.outputs), self.dtype)
            self._passes.predict(theta__p, samples.x, a__bo)
        else:
            z, a = self.forward(theta__p, samples.x, masks)
            a__bo = a[-1]
        loss__b, da__bo = self._loss.evaluate(a__bo, samples.y)
        if samples.weight is not None:
            da__bo *= samples.weight[:, None]
        if masks is None:
            da__bo /= self.dtype.type(len(samples))
            self._passes.vjp(theta__p, samples.x, da__bo, of_z=False, grad__p=grad__p, dx__ni=None)
        else:
            d__bo = times_output_derivative(self.architecture.output, z[-1], a__bo, da__bo)
            self.backward(theta__p, z, a, d__bo, grad__p, masks)
        return self._mean(loss__b, samples)

    def _mean(self, loss__b: Array, samples: Samples) -> float:
        return float((loss__b if samples.weight is None else samples.weight * loss__b).mean())

    def train(
        self,
        theta__p: Array,
        slots__sp: Array,
        samples: Samples,
        optimizer: Optimizer,
        config: RunConfig,
        cursor: Cursor,
        steps: int,
        epoch_loss__e: Array,
        *,
        epoch_penalty__e: Array | None = None,
    ) -> int:
        theta, slots, before = theta__p.copy(), slots__sp.copy(), dict(vars(cursor))
        try:
            return super().train(
                theta__p, slots__sp, samples, optimizer, config, cursor, steps, epoch_loss__e,
                epoch_penalty__e=epoch_penalty__e,
            )  # fmt: skip
        except BaseException:  # raised by the function, most likely: all is as it was before the call
            theta__p[...], slots__sp[...] = theta, slots
            vars(cursor).update(before)
            raise
