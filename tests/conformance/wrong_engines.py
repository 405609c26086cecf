"""Engines that are wrong on purpose, made from the reference's; `test_can_fail` requires that each is rejected."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from nanostep._arrays import Samples
from nanostep.backends.contract import Cursor, RunConfig
from nanostep.backends.reference import activations, layers, networks
from nanostep.optimizers import SGD, Optimizer

Array = np.ndarray
Right = networks.Engine


class PredictSkipsTheLastRow(Right):
    def predict(self, theta__p: Array, x__ni: Array, a__no: Array) -> None:
        super().predict(theta__p, x__ni[:-1], a__no[:-1])


class PredictWritesBeyond(Right):
    def predict(self, theta__p: Array, x__ni: Array, a__no: Array) -> None:
        super().predict(theta__p, x__ni, a__no)
        np.lib.stride_tricks.as_strided(a__no.reshape(-1), (a__no.size + 1,))[-1] = 0


class PredictInFloat32(Right):
    def predict(self, theta__p: Array, x__ni: Array, a__no: Array) -> None:
        super().predict(theta__p, x__ni, a__no)
        a__no[...] = a__no.astype(np.float32)


class LossOfTheFirstBlock(Right):
    def loss(self, theta__p: Array, samples: Samples) -> float:
        return super().loss(theta__p, samples.take(slice(0, networks.BLOCK)))


class LossCentresTheData(Right):
    def loss(self, theta__p: Array, samples: Samples) -> float:
        value = super().loss(theta__p, samples)
        samples.x[...] -= samples.x.mean(axis=0)
        return value


class GradientOfTheSum(Right):
    def gradient(self, theta__p: Array, samples: Samples, grad__p: Array) -> float:
        value = super().gradient(theta__p, samples, grad__p)
        grad__p *= len(samples)
        return value


class GradientSkipsTheLastRow(Right):
    def gradient(self, theta__p: Array, samples: Samples, grad__p: Array) -> float:
        value = super().gradient(theta__p, samples, grad__p)
        if len(samples) > 1:
            super().gradient(theta__p, samples.take(slice(0, -1)), grad__p)
        return value


class GradientLeavesTheLastBias(Right):
    def gradient(self, theta__p: Array, samples: Samples, grad__p: Array) -> float:
        kept = grad__p[-1]
        value = super().gradient(theta__p, samples, grad__p)
        grad__p[-1] = kept
        return value


class GradientInFloat32(Right):
    def gradient(self, theta__p: Array, samples: Samples, grad__p: Array) -> float:
        value = super().gradient(theta__p, samples, grad__p)
        grad__p[...] = grad__p.astype(np.float32)
        return value


class GradientWritesBeyond(Right):
    def gradient(self, theta__p: Array, samples: Samples, grad__p: Array) -> float:
        value = super().gradient(theta__p, samples, grad__p)
        np.lib.stride_tricks.as_strided(grad__p, (grad__p.size + 1,))[-1] = 0
        return value


class GradientMovesTheta(Right):
    def gradient(self, theta__p: Array, samples: Samples, grad__p: Array) -> float:
        value = super().gradient(theta__p, samples, grad__p)
        theta__p -= 1e-3 * grad__p
        return value


class NoHiddenDerivative(Right):
    """Leaves f'(z) out of the deltas of hidden layers."""

    def backward(self, theta__p, z, a, d__bo, grad__p, masks=None):  # type: ignore[no-untyped-def]
        _backward(self, theta__p, z, a, d__bo, grad__p, derivative=False)


class HiddenDeltaOfNewWeights(Right):
    """Updates each layer before the delta of the one below is taken; right in `gradient`, wrong in `train`."""

    lr = 0.0

    def backward(self, theta__p, z, a, d__bo, grad__p, masks=None):  # type: ignore[no-untyped-def]
        _backward(self, theta__p, z, a, d__bo, grad__p, lr=self.lr)

    def train(self, *arguments: Any, **penalty: Any) -> int:
        self.lr = arguments[3].lr
        return super().train(*arguments, **penalty)


class LabelsIgnored(Right):
    """Takes every sample to be of class 0."""

    def gradient(self, theta__p: Array, samples: Samples, grad__p: Array) -> float:
        return super().gradient(theta__p, _class_zero(samples), grad__p)

    def loss(self, theta__p: Array, samples: Samples) -> float:
        return super().loss(theta__p, _class_zero(samples))


class LabelsShiftedInTraining(Right):
    """Counts classes from 1, but only where it gathers batches."""

    def train(self, theta__p: Array, slots__sp: Array, samples: Samples, *rest: Any, **penalty: Any) -> int:
        if samples.labels is not None:
            samples = Samples(samples.x, None, (samples.labels + 1) % self.architecture.outputs)
        return super().train(theta__p, slots__sp, samples, *rest, **penalty)


class _Train(Right):
    """Trains one step at a time, so that wrong engines can intervene between steps."""

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
        done = 0
        self.penalties = np.empty(steps) if epoch_penalty__e is None else epoch_penalty__e
        for step in range(steps):
            now = config if config.rates is None else replace(config, rates=config.rates[step : step + 1])
            ended = self.one(theta__p, slots__sp, samples, optimizer, now, cursor, epoch_loss__e[done:])
            self.penalties = self.penalties[ended:]
            done += ended
        return done

    def one(
        self,
        theta: Array,
        slots: Array,
        samples: Samples,
        optimizer: Optimizer,
        config: RunConfig,
        cursor: Cursor,
        room: Array,
    ) -> int:
        return Right.train(
            self, theta, slots, samples, optimizer, config, cursor, 1, room, epoch_penalty__e=self.penalties
        )  # fmt: skip


class DropsTheLastPartialBatch(_Train):
    def one(self, theta, slots, samples, optimizer, config, cursor, room):  # type: ignore[no-untyped-def]
        kept = (theta.copy(), slots.copy())
        partial = cursor.row + config.batch > len(samples)
        done = super().one(theta, slots, samples, optimizer, config, cursor, room)
        if partial:
            theta[...], slots[...] = kept
        return done


class LastBatchDividedByAFullOne(_Train):
    def one(self, theta, slots, samples, optimizer, config, cursor, room):  # type: ignore[no-untyped-def]
        share = min(config.batch, len(samples) - cursor.row) / config.batch
        return super().one(theta, slots, samples, replace(optimizer, lr=optimizer.lr * share), config, cursor, room)


class ShufflesOnce(_Train):
    """Uses the order of the first epoch in all of them."""

    def one(self, theta, slots, samples, optimizer, config, cursor, room):  # type: ignore[no-untyped-def]
        epoch, cursor.epoch = cursor.epoch, 0
        done = super().one(theta, slots, samples, optimizer, config, cursor, room)
        cursor.epoch += epoch
        return done


class NeverShuffles(_Train):
    def one(self, theta, slots, samples, optimizer, config, cursor, room):  # type: ignore[no-untyped-def]
        return super().one(theta, slots, samples, optimizer, replace(config, shuffle=False), cursor, room)


class AlwaysPlainSGD(_Train):
    def one(self, theta, slots, samples, optimizer, config, cursor, room):  # type: ignore[no-untyped-def]
        return super().one(theta, slots, samples, SGD(lr=optimizer.lr), config, cursor, room)


class DoesNotCountUpdates(_Train):
    def one(self, theta, slots, samples, optimizer, config, cursor, room):  # type: ignore[no-untyped-def]
        updates = cursor.updates
        done = super().one(theta, slots, samples, optimizer, config, cursor, room)
        cursor.updates = updates
        return done


class LossOfTheLastBatch(_Train):
    """Reports the loss of an epoch's last batch as that of the epoch."""

    def one(self, theta, slots, samples, optimizer, config, cursor, room):  # type: ignore[no-untyped-def]
        cursor.loss_sum = 0.0
        done = super().one(theta, slots, samples, optimizer, config, cursor, room)
        if done:
            room[0] *= len(samples) / ((len(samples) - 1) % config.batch + 1)
        return done


class LossAfterTheEpoch(_Train):
    """Reports the loss of the parameters at the end of the epoch, not the mean of the losses during it."""

    def one(self, theta, slots, samples, optimizer, config, cursor, room):  # type: ignore[no-untyped-def]
        done = super().one(theta, slots, samples, optimizer, config, cursor, room)
        if done:
            room[0] = self.loss(theta, samples)
        return done


class SameRateForever(_Train):
    """Uses the optimiser's rate in place of those in the settings."""

    def one(self, theta, slots, samples, optimizer, config, cursor, room):  # type: ignore[no-untyped-def]
        return super().one(theta, slots, samples, optimizer, replace(config, rates=None), cursor, room)


class NeverDrops(_Train):
    def one(self, theta, slots, samples, optimizer, config, cursor, room):  # type: ignore[no-untyped-def]
        return super().one(theta, slots, samples, optimizer, replace(config, dropout=()), cursor, room)


class DropsTheSameInEveryUpdate(_Train):
    def _masks(self, config, t, rows):  # type: ignore[no-untyped-def]
        return super()._masks(config, 1, rows)


class KeptUnitsAreNotMultiplied(_Train):
    def _masks(self, config, t, rows):  # type: ignore[no-untyped-def]
        masks = super()._masks(config, t, rows)
        return masks and [np.sign(mask) for mask in masks]


class NeverSmooths(_Train):
    def one(self, theta, slots, samples, optimizer, config, cursor, room):  # type: ignore[no-untyped-def]
        return super().one(theta, slots, samples, optimizer, replace(config, smoothing=0.0), cursor, room)


class NoPenalty(_Train):
    def one(self, theta, slots, samples, optimizer, config, cursor, room):  # type: ignore[no-untyped-def]
        return super().one(theta, slots, samples, optimizer, replace(config, alpha=0.0), cursor, room)


class PenaltyOfFullBatches(_Train):
    """Divides the penalty by the size of a full batch, also in the last one of an epoch."""

    def one(self, theta, slots, samples, optimizer, config, cursor, room):  # type: ignore[no-untyped-def]
        share = min(config.batch, len(samples) - cursor.row) / config.batch
        return super().one(theta, slots, samples, optimizer, replace(config, alpha=config.alpha * share), cursor, room)


class LossIsNotScaled(_Train):
    def one(self, theta, slots, samples, optimizer, config, cursor, room):  # type: ignore[no-untyped-def]
        return super().one(theta, slots, samples, optimizer, replace(config, scale=1.0), cursor, room)


class LossIsNotCapped(_Train):
    def one(self, theta, slots, samples, optimizer, config, cursor, room):  # type: ignore[no-untyped-def]
        return super().one(theta, slots, samples, optimizer, replace(config, log_clip_min=-np.inf), cursor, room)


class EverySampleCountsTheSame(Right):
    def gradient(self, theta__p: Array, samples: Samples, grad__p: Array) -> float:
        return super().gradient(theta__p, replace(samples, weight=None), grad__p)

    def train(self, *arguments: Any, **penalty: Any) -> int:
        samples = replace(arguments[2], weight=None)
        return super().train(*arguments[:2], samples, *arguments[3:], **penalty)


class BatchesAreDividedByTheirRows(_Train):
    """Divides by the number of samples even if the sum of their weights is required."""

    def one(self, theta, slots, samples, optimizer, config, cursor, room):  # type: ignore[no-untyped-def]
        return super().one(theta, slots, samples, optimizer, replace(config, batch_mean=False), cursor, room)


class JacobianOfTheFirstOutput(Right):
    """Writes the derivatives of the first output for all of them."""

    def jacobian(self, theta__p: Array, x__ni: Array, a__no: Array, jac__nop: Array) -> None:
        super().jacobian(theta__p, x__ni, a__no, jac__nop)
        jac__nop[...] = jac__nop[:, :1]


class JacobianOfZ(Right):
    """Leaves the derivative of the output's activation out."""

    def jacobian(self, theta__p: Array, x__ni: Array, a__no: Array, jac__nop: Array) -> None:
        super().jacobian(theta__p, x__ni, a__no, jac__nop)
        z, a = self.forward(theta__p, x__ni)
        df__no = activations.DERIVATIVES[self.architecture.output](z[-1], a[-1])
        jac__nop /= df__no[:, :, None]


class _Vjp(Right):
    """Pulls back rightly, and then spoils what was asked for."""

    def spoil(self, theta: Array, x: Array, dout: Array, grad: Array, dx: Array) -> None:
        raise NotImplementedError

    def vjp(self, theta__p, x__ni, dout__no, *, of_z, grad__p, dx__ni):  # type: ignore[no-untyped-def]
        super().vjp(theta__p, x__ni, dout__no, of_z=of_z, grad__p=grad__p, dx__ni=dx__ni)
        grad = np.empty_like(theta__p) if grad__p is None else grad__p
        self.spoil(theta__p, x__ni, dout__no, grad, np.empty_like(x__ni) if dx__ni is None else dx__ni)


class VjpOfTheMean(_Vjp):
    def spoil(self, theta: Array, x: Array, dout: Array, grad: Array, dx: Array) -> None:
        grad /= len(x)


class VjpOfTheMeanByInputs(_Vjp):
    def spoil(self, theta: Array, x: Array, dout: Array, grad: Array, dx: Array) -> None:
        dx /= len(x)


class VjpSkipsTheLastRow(Right):
    def vjp(self, theta__p, x__ni, dout__no, **to):  # type: ignore[no-untyped-def]
        kept = dout__no.copy()
        kept[-1] = 0
        super().vjp(theta__p, x__ni, kept, **to)


class VjpAlwaysOfZ(Right):
    """Leaves the derivative of the output's activation out."""

    def vjp(self, theta__p, x__ni, dout__no, *, of_z, **to):  # type: ignore[no-untyped-def]
        super().vjp(theta__p, x__ni, dout__no, of_z=True, **to)


class VjpNeverOfZ(Right):
    def vjp(self, theta__p, x__ni, dout__no, *, of_z, **to):  # type: ignore[no-untyped-def]
        super().vjp(theta__p, x__ni, dout__no, of_z=False, **to)


class VjpWithoutHiddenDerivative(Right):
    def vjp(self, theta__p, x__ni, dout__no, **to):  # type: ignore[no-untyped-def]
        right = networks.activation_derivative
        networks.activation_derivative = lambda f, z, a, df: df.fill(1)  # type: ignore[assignment]
        try:
            super().vjp(theta__p, x__ni, dout__no, **to)
        finally:
            networks.activation_derivative = right


class VjpWritesBeyond(_Vjp):
    def spoil(self, theta: Array, x: Array, dout: Array, grad: Array, dx: Array) -> None:
        if grad.base is not None:
            np.lib.stride_tricks.as_strided(grad, (grad.size + 1,))[-1] = 0


class VjpMovesTheta(_Vjp):
    def spoil(self, theta: Array, x: Array, dout: Array, grad: Array, dx: Array) -> None:
        theta += 1


class LosesAnEpoch(Right):
    """Returns one epoch less than have ended."""

    def train(self, *arguments: Any, **penalty: Any) -> int:
        return max(super().train(*arguments, **penalty) - 1, 0)


class TrainingWritesBeyondTheta(Right):
    def train(self, *arguments: Any, **penalty: Any) -> int:
        np.lib.stride_tricks.as_strided(arguments[0], (len(arguments[0]) + 1,))[-1] = 0
        return super().train(*arguments, **penalty)


class TrainingScalesTheData(Right):
    def train(self, *arguments: Any, **penalty: Any) -> int:
        arguments[2].x[...] *= 2
        ended = super().train(*arguments, **penalty)
        arguments[2].x[...] *= 0.25
        return ended


class TrainingDoesNothing(Right):
    def train(self, *arguments: Any, **penalty: Any) -> int:
        kept = arguments[0].copy()
        ended = super().train(*arguments, **penalty)
        arguments[0][...] = kept
        return ended


class ForgetsTheLossAtACut(Right):
    """Sums an epoch's loss from the beginning of the call."""

    def train(self, *arguments: Any, **penalty: Any) -> int:
        arguments[5].loss_sum = 0.0
        return super().train(*arguments, **penalty)


class CountsUpdatesFromTheCut(Right):
    """Starts Adam's t, or the first velocity, afresh in every call."""

    def train(self, *arguments: Any, **penalty: Any) -> int:
        cursor = arguments[5]
        before, cursor.updates = cursor.updates, 0
        ended = super().train(*arguments, **penalty)
        cursor.updates += before
        return ended


class BeginsTheEpochAgainAtACut(Right):
    def train(self, *arguments: Any, **penalty: Any) -> int:
        arguments[5].row = 0
        return super().train(*arguments, **penalty)


class RoundsAtACut(Right):
    """Rounds theta when a call ends, which makes a small difference, but not the same bits."""

    def train(self, *arguments: Any, **penalty: Any) -> int:
        ended = super().train(*arguments, **penalty)
        arguments[0][...] *= 1 + 2 * np.finfo(arguments[0].dtype).eps
        return ended


def _class_zero(samples: Samples) -> Samples:
    return samples if samples.labels is None else Samples(samples.x, None, np.zeros_like(samples.labels))


def _backward(
    engine: Right,
    theta__p: Array,
    z: list[Array],
    a: list[Array],
    d__bo: Array,
    grad__p: Array,
    *,
    derivative: bool = True,
    lr: float = 0.0,
) -> None:
    """Write the gradient as the reference does, but with W - lr dW in the hidden deltas, or without f'."""
    architecture = engine.architecture
    weights, _ = architecture.views(theta__p)
    grad_weights, grad_biases = architecture.views(grad__p)
    for l in reversed(range(len(weights))):
        layers.dense_backward_weights(d__bo, a[l], grad_weights[l], grad_biases[l])
        if l > 0:
            d__bo = d__bo @ (weights[l] - lr * grad_weights[l])
            if derivative:
                d__bo = d__bo * activations.DERIVATIVES[architecture.activations[l - 1]](z[l - 1], a[l])
