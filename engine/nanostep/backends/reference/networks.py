"""Whole networks: predict, loss, gradient and training runs, composed of the operations."""

from __future__ import annotations

import math

import numpy as np

from nanostep._arrays import Samples
from nanostep.architecture import Architecture
from nanostep.backends.contract import Cursor, RunConfig
from nanostep.backends.no_short_cuts import NoShortCuts
from nanostep.backends.reference.activations import activate, activation_derivative
from nanostep.backends.reference.layers import dense_backward_input, dense_backward_weights, dense_forward
from nanostep.backends.reference.losses import sample_deltas, sample_losses, times_output_derivative
from nanostep.backends.reference.optimizers import apply, update
from nanostep.backends.reference.order import dropped, shuffle
from nanostep.optimizers import Optimizer

Array = np.ndarray
Masks = list[Array] | None

BLOCK = 4096
"""Rows that `Engine.predict` and `Engine.loss` work on at a time, so that memory does not grow with the data."""


def targets(samples: Samples, rows: slice | Array, outputs: int, smoothing: float = 0.0) -> Array:
    """Return the target rows y__bo of the given samples, labels as one-hot rows, smoothed."""
    if samples.labels is None:
        assert samples.y is not None
        return samples.y[rows]
    labels = samples.labels[rows]
    y__bo = np.full((len(labels), outputs), smoothing / outputs, samples.x.dtype)
    y__bo[np.arange(len(labels)), labels] += samples.x.dtype.type(1 - smoothing)
    return y__bo


def squares_of_weights(weights: tuple[Array, ...]) -> float:
    """Return the sum of the squares of all weights, biases left out."""
    return float(sum((w__oi * w__oi).sum() for w__oi in weights))


class Engine(NoShortCuts):
    """See `nanostep.backends.contract.Engine`. Overflow is silent, as in compiled code."""

    isa = ""
    threads = 1
    update_operation = staticmethod(update)

    def __init__(self, architecture: Architecture, dtype: np.dtype) -> None:
        self.architecture = architecture
        self.dtype = dtype

    def forward(self, theta__p: Array, x__bi: Array, masks: Masks = None) -> tuple[list[Array], list[Array]]:
        """Return z of every layer, and a: the input of every layer, then the output. a[l + 1] = f(z[l]) * masks[l]."""
        weights, biases = self.architecture.views(theta__p)
        z, a = [], [x__bi]
        for l, (layer, w__oi, b__o) in enumerate(zip(self.architecture.layers, weights, biases, strict=True)):
            z.append(np.empty((len(x__bi), layer.outputs), self.dtype))
            dense_forward(a[-1], w__oi, b__o, z[-1])
            a.append(np.empty_like(z[-1]))
            activate(layer.activation, z[-1], a[-1])
            if masks is not None and l < len(masks):
                a[-1] *= masks[l]
        return z, a

    def backward(
        self, theta__p: Array, z: list[Array], a: list[Array], d__bo: Array, grad__p: Array | None, masks: Masks = None
    ) -> Array:
        """Write the mean gradient of the batch, unless that is None, given the output delta; return the delta of the
        first layer. Every delta is made with the old weights."""
        weights, _ = self.architecture.views(theta__p)
        for l in reversed(range(len(weights))):
            if grad__p is not None:
                grad_weights, grad_biases = self.architecture.views(grad__p)
                dense_backward_weights(d__bo, a[l], grad_weights[l], grad_biases[l])
            if l > 0:
                name = self.architecture.activations[l - 1]
                dx__bi, df__bi, f__bi = np.empty_like(a[l]), np.empty_like(a[l]), a[l]
                dense_backward_input(d__bo, weights[l], dx__bi)
                if masks is not None:
                    f__bi = np.empty_like(a[l])
                    activate(name, z[l - 1], f__bi)
                activation_derivative(name, z[l - 1], f__bi, df__bi)
                d__bo = dx__bi * df__bi
                if masks is not None:
                    d__bo *= masks[l - 1]
        return d__bo

    def output_delta(self, z: list[Array], a: list[Array], samples: Samples, y__bo: Array) -> Array:
        """Return dL/dz of the last layer, times the weight of each sample."""
        missing__bo = np.isnan(y__bo) if samples.has_missing else None
        d__bo = sample_deltas(self.architecture.criterion, self.architecture.output, z[-1], a[-1], y__bo, missing__bo)
        return d__bo if samples.weight is None else d__bo * samples.weight[:, None]

    def mean_loss(
        self, z: list[Array], a: list[Array], samples: Samples, y__bo: Array, log_clip_min: float = -math.inf
    ) -> float:
        """Return the mean over the batch of weight * L."""
        loss__b = sample_losses(
            self.architecture.criterion, self.architecture.output, z[-1], a[-1], y__bo, log_clip_min,
            missing__bo=np.isnan(y__bo) if samples.has_missing else None,
        )  # fmt: skip
        return float((loss__b if samples.weight is None else samples.weight * loss__b).mean())

    def useful_threads(self, optimizer: Optimizer, config: RunConfig, n: int) -> int:
        return 1

    @np.errstate(all="ignore")
    def predict(self, theta__p: Array, x__ni: Array, a__no: Array) -> None:
        for start in range(0, len(x__ni), BLOCK):
            rows = slice(start, start + BLOCK)
            a__no[rows] = self.forward(theta__p, x__ni[rows])[1][-1]

    @np.errstate(all="ignore")
    def loss(self, theta__p: Array, samples: Samples) -> float:
        total = 0.0
        for start in range(0, len(samples), BLOCK):
            block = samples.take(slice(start, start + BLOCK))
            z, a = self.forward(theta__p, block.x)
            y__bo = targets(block, slice(None), self.architecture.outputs)
            total += len(block) * self.mean_loss(z, a, block, y__bo)
        return total / len(samples)

    def gradient(self, theta__p: Array, samples: Samples, grad__p: Array) -> float:
        return self.batch_gradient(theta__p, samples, grad__p)

    @np.errstate(all="ignore")
    def batch_gradient(
        self,
        theta__p: Array,
        samples: Samples,
        grad__p: Array,
        smoothing: float = 0.0,
        masks: Masks = None,
        log_clip_min: float = -math.inf,
    ) -> float:
        """Write the gradient of the mean of weight * L and return that mean."""
        z, a = self.forward(theta__p, samples.x, masks)
        y__bo = targets(samples, slice(None), self.architecture.outputs, smoothing)
        self.backward(theta__p, z, a, self.output_delta(z, a, samples, y__bo), grad__p, masks)
        return self.mean_loss(z, a, samples, y__bo, log_clip_min)

    @np.errstate(all="ignore")
    def jacobian(self, theta__p: Array, x__ni: Array, a__no: Array, jac__nop: Array) -> None:
        for b in range(len(x__ni)):
            z, a = self.forward(theta__p, x__ni[b : b + 1])
            a__no[b] = a[-1][0]
            df__1o = np.empty_like(a[-1])
            activation_derivative(self.architecture.output, z[-1], a[-1], df__1o)
            for o in range(self.architecture.outputs):
                d__1o = np.zeros_like(df__1o)
                d__1o[0, o] = df__1o[0, o]
                self.backward(theta__p, z, a, d__1o, jac__nop[b, o])

    @np.errstate(all="ignore")
    def vjp(
        self,
        theta__p: Array,
        x__ni: Array,
        dout__no: Array,
        *,
        of_z: bool,
        grad__p: Array | None,
        dx__ni: Array | None,
    ) -> None:
        if len(x__ni) == 0:
            if grad__p is not None:
                grad__p[...] = 0
            return
        z, a = self.forward(theta__p, x__ni)
        d__no = dout__no if of_z else times_output_derivative(self.architecture.output, z[-1], a[-1], dout__no)
        d__no = self.backward(theta__p, z, a, d__no, grad__p)
        if grad__p is not None:
            grad__p *= len(x__ni)  # the sum over the rows, not the mean
        if dx__ni is not None:
            dense_backward_input(d__no, self.architecture.views(theta__p)[0][0], dx__ni)

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
        n, done = len(samples), 0
        for step in range(steps):
            if cursor.row == 0 and config.shuffle:
                shuffle(config.seed, cursor.epoch, cursor.order)
            end = min(cursor.row + config.batch, n)
            in_order = not (config.shuffle or config.custom_order)
            batch = samples.take(slice(cursor.row, end) if in_order else cursor.order[cursor.row : end])
            o = optimizer if config.rates is None else optimizer.at_rate(float(config.rates[step]))
            cursor.updates += 1
            loss, penalty = self._update(theta__p, slots__sp, batch, o, config, cursor.updates)
            cursor.loss_sum += len(batch) * loss
            cursor.penalty_sum += len(batch) * penalty
            cursor.row = end
            if end == n:
                epoch_loss__e[done] = cursor.loss_sum / n
                if epoch_penalty__e is not None:
                    epoch_penalty__e[done] = cursor.penalty_sum / n
                done += 1
                cursor.epoch += 1
                cursor.row, cursor.loss_sum, cursor.penalty_sum = 0, 0.0, 0.0
        return done

    @np.errstate(all="ignore")
    def _update(
        self, theta__p: Array, slots__sp: Array, batch: Samples, optimizer: Optimizer, config: RunConfig, t: int
    ) -> tuple[float, float]:
        """Make update number t and return the loss and the penalty of the batch before it."""
        rows, grad__p = len(batch), np.empty_like(theta__p)
        masks = self._masks(config, t, rows)
        loss = self.batch_gradient(theta__p, batch, grad__p, config.smoothing, masks, config.log_clip_min)
        # a batch is divided by the number of its samples, or by the sum of their weights
        divisor = float(rows)
        if config.batch_mean and batch.weight is not None:
            divisor = float(batch.weight.sum(dtype=np.float64))
        mean = rows / divisor if divisor > 0 else 0.0
        grad__p *= grad__p.dtype.type(mean * config.scale)
        penalty = 0.0
        if config.alpha > 0 and divisor > 0:
            weights, _ = self.architecture.views(theta__p)
            penalty = config.alpha / 2 * squares_of_weights(weights) / divisor
            for dw__oi, w__oi in zip(self.architecture.views(grad__p)[0], weights, strict=True):
                dw__oi += config.alpha / divisor * w__oi
        if config.layer_rates:
            rates = self.architecture.by_layer(config.layer_rates).astype(self.dtype)
            apply(optimizer, t, theta__p, grad__p, slots__sp, rates)
        else:
            self.update_operation(optimizer, t, theta__p, grad__p, slots__sp)
        return mean * loss, penalty

    def _masks(self, config: RunConfig, t: int, rows: int) -> Masks:
        """Return the factor of each hidden unit, 0 or 1 / (1 - p), by layer."""
        if not any(config.dropout):
            return None
        return [
            np.where(dropped(config.seed, t, l, rows, width, p), 0, 1 / (1 - p)).astype(self.dtype)
            for l, (width, p) in enumerate(zip(self.architecture.sizes[1:-1], config.dropout, strict=True))
        ]
