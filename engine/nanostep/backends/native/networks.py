"""Whole networks: predict, loss, gradient and training runs, each one call of the C library without the GIL."""

from __future__ import annotations

import math
from dataclasses import replace
from operator import is_
from typing import Any

import numpy as np

from nanostep._arrays import Samples
from nanostep.architecture import Architecture
from nanostep.backends.contract import Cursor, RunConfig, UpdateState
from nanostep.backends.native._library import (
    Calls,
    Row,
    check_status,
    ffi,
    function,
    identifier,
    isa_in_use,
    isa_name,
    lib,
    open_calls,
    open_row,
    pointer,
)
from nanostep.backends.native._pool import most_threads, pool_for
from nanostep.backends.native.losses import c_loss
from nanostep.backends.native.optimizers import c_optimizer, fill
from nanostep.optimizers import Optimizer

Array = np.ndarray
INT64, FLOAT64 = np.dtype(np.int64), np.dtype(np.float64)
REGIMES = ("tiny", "samples", "tiles", "blocks")
"""Names of nst_regime, in order."""

PREPARED_FLOPS, NEURON_FLOPS, PREPARED_PARAMETERS = 4e6, 64.0, 2**16
"""Most work of a prepared call, which holds the interpreter lock and runs on one thread: some 50 us, at most half a
millisecond on the baseline instruction set. NEURON_FLOPS stands for an activation. From there on a second thread pays
(NST_TEAM_FLOPS in C); and with more parameters, packing them takes as long.
"""

CALLS_LOSSES = True
"""The kernels call losses that are functions in C; see `nanostep.backends.own_loss`."""


class Engine:
    """See `nanostep.backends.contract.Engine`. Each call has its own workspace, so calls may overlap in time."""

    def __init__(self, architecture: Architecture, dtype: np.dtype) -> None:
        self.architecture = architecture
        self.dtype = dtype
        self.threads = 1
        self._isa = ffi.new("int32_t *", identifier("isa", isa_in_use()))  # an nst_isa, which prepared calls write too
        self._sizes = ffi.new("size_t[]", architecture.sizes)
        self._activations = ffi.new("int32_t[]", [identifier("activation", a) for a in architecture.activations])
        self._kept: list[Any] = []  # what the structures of C point to
        self._net = self._architecture(ignore_nan=False)
        self._net_with_missing: Any = None
        if architecture.loss == "custom":
            self.step_row = _decline  # type: ignore[assignment,method-assign]
        if architecture.targets != architecture.outputs:
            for name in ("step_row", "prepared_update", "prepared_descent", "prepared_loss", "prepared_gradient"):
                setattr(self, name, _decline)  # they take Y as wide as the outputs
        self._workspace_sizes: dict[int, int] = {}  # by number of slots

        # the theta that a row was opened for, and the row; replaced together, because threads may call at the same time
        self._row: tuple[Array | None, Any] = (None, None)
        self._calls: tuple[Array | None, Any] = (None, None)  # likewise

    def _architecture(self, *, ignore_nan: bool) -> Any:
        """Return a new nst_architecture, whose arrays belong to this object."""
        loss, options, quantiles = c_loss(self.architecture.criterion, self.dtype)
        if ignore_nan:
            options = options or ffi.new("nst_loss_options *")
            options.ignore_nan = 1
        self._kept += [options, quantiles]
        return ffi.new(
            "nst_architecture *",
            {
                "layers": len(self.architecture.activations),
                "sizes": self._sizes,
                "activations": self._activations,
                "loss": loss,
                "loss_options": options,
            },
        )

    def _net_of(self, samples: Samples) -> Any:
        """Return the nst_architecture for these samples, some of which may lack targets."""
        if not samples.has_missing:
            return self._net
        if self._net_with_missing is None:
            self._net_with_missing = self._architecture(ignore_nan=True)
        return self._net_with_missing

    @property
    def isa(self) -> str:
        return isa_name(self._isa[0])

    def predict_row(self, theta__p: Array, x: object) -> Array | None:
        theta, row = self._row
        return (row if theta is theta__p else self._open_row(theta__p)).predict(x)

    def step_row(self, theta__p: Array, x: object, y: object, lr: object) -> float | None:
        theta, row = self._row
        return (row if theta is theta__p else self._open_row(theta__p)).step(x, y, lr)

    def _open_row(self, theta__p: Array) -> Row:
        row = open_row(self._net, theta__p, self.architecture.inputs, self.architecture.outputs)
        self._row = theta__p, row
        return row

    def prepared_update(
        self,
        theta__p: Array,
        state: UpdateState,
        X: object,
        Y: object,
        outputs: object = None,
        sample_weight: object = None,
    ) -> float | None:
        theta, calls = self._calls
        return (calls if theta is theta__p else self._open_calls(theta__p)).update(state, X, Y, outputs, sample_weight)

    def prepared_descent(
        self,
        theta__p: Array,
        X: object,
        Y: object,
        lr: object,
        outputs: object = None,
        sample_weight: object = None,
    ) -> float | None:
        theta, calls = self._calls
        return (calls if theta is theta__p else self._open_calls(theta__p)).descend(X, Y, lr, outputs, sample_weight)

    def prepared_predict(self, theta__p: Array, X: object) -> Array | None:
        theta, calls = self._calls
        return (calls if theta is theta__p else self._open_calls(theta__p)).predict(X)

    def prepared_loss(self, theta__p: Array, X: object, Y: object) -> float | None:
        theta, calls = self._calls
        return (calls if theta is theta__p else self._open_calls(theta__p)).loss(X, Y)

    def prepared_gradient(self, theta__p: Array, X: object, Y: object) -> tuple[float, Array] | None:
        theta, calls = self._calls
        return (calls if theta is theta__p else self._open_calls(theta__p)).gradient(X, Y)

    def prepared_apply(self, theta__p: Array, state: UpdateState, grad: object) -> bool | None:
        theta, calls = self._calls
        return (calls if theta is theta__p else self._open_calls(theta__p)).apply(state, grad)

    def prepared_forward(self, theta__p: Array, X: object) -> tuple[Array, Array, Array, int, Calls] | None:
        theta, calls = self._calls
        if theta is not theta__p:
            calls = self._open_calls(theta__p)
        made = calls.forward(X)
        return None if made is None else (*made, calls)

    def _open_calls(self, theta__p: Array) -> Calls:
        inputs, outputs, count = self.architecture.inputs, self.architecture.outputs, len(theta__p)
        most_rows = 0
        if count <= PREPARED_PARAMETERS:
            row_flops = 6.0 * count + NEURON_FLOPS * sum(self.architecture.sizes[1:])
            most_rows = int(PREPARED_FLOPS / row_flops)
        calls = open_calls(self._net, theta__p, inputs, outputs, most_rows, fill, self._isa)
        self._calls = theta__p, calls
        return calls

    def useful_threads(self, optimizer: Optimizer, config: RunConfig, n: int) -> int:
        return self.choose(optimizer, replace(config, threads=most_threads()), n)["threads"]

    def choose(self, optimizer: Optimizer, config: RunConfig, n: int) -> dict[str, Any]:
        """Return which kernels a run would use: the fields of nst_plan by name, and whether each layer is wide."""
        choice = ffi.new("nst_plan *")
        wide = ffi.new("int32_t[]", len(self.architecture.activations))
        pool = pool_for(config.threads)
        c_run, dropout = self._c_run(config, pool), ffi.new("double[]", config.dropout)
        if any(config.dropout):
            c_run.dropout = dropout
        check_status(function(self.dtype, "choose")(self._net, n, c_optimizer(optimizer), c_run, choice, wide))
        fields = {name: getattr(choice[0], name) for name, _ in ffi.typeof("nst_plan").fields}
        return {**fields, "regime": REGIMES[choice.regime], "isa": isa_name(choice.isa), "wide": list(map(bool, wide))}

    def predict(self, theta__p: Array, x__ni: Array, a__no: Array) -> None:
        a = pointer(a__no, (len(x__ni), self.architecture.outputs), self.dtype, writable=True)
        call = function(self.dtype, "predict")
        check_status(call(self._net, self._theta(theta__p), len(x__ni), self._inputs(x__ni), a, *self._workspace(0)))

    def jacobian(self, theta__p: Array, x__ni: Array, a__no: Array, jac__nop: Array) -> None:
        shape = (len(x__ni), self.architecture.outputs)
        a = pointer(a__no, shape, self.dtype, writable=True)
        jac = pointer(jac__nop, (*shape, self.architecture.parameter_count), self.dtype, writable=True)
        call = function(self.dtype, "jacobian")
        x, theta = self._inputs(x__ni), self._theta(theta__p)
        check_status(call(self._net, theta, len(x__ni), x, *self._workspace(0), a, jac))

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
        grad, dx = ffi.NULL, ffi.NULL
        if grad__p is not None:
            grad = self._theta(grad__p, writable=True)
        if dx__ni is not None:
            dx = pointer(dx__ni, x__ni.shape, self.dtype, writable=True)
        dout = pointer(dout__no, (len(x__ni), self.architecture.outputs), self.dtype)
        call = function(self.dtype, "vjp")
        x, theta = self._inputs(x__ni), self._theta(theta__p)
        check_status(call(self._net, theta, len(x__ni), x, dout, of_z, *self._workspace(0), grad, dx))

    def loss(self, theta__p: Array, samples: Samples) -> float:
        value = ffi.new("double *")
        call = function(self.dtype, "loss")
        net, theta = self._net_of(samples), self._theta(theta__p)
        check_status(call(net, theta, *self._samples(samples), *self._workspace(0), value))
        return value[0]

    def gradient(self, theta__p: Array, samples: Samples, grad__p: Array) -> float:
        value = ffi.new("double *")
        grad = self._theta(grad__p, writable=True)
        call = function(self.dtype, "gradient")
        net, theta = self._net_of(samples), self._theta(theta__p)
        check_status(call(net, theta, *self._samples(samples), *self._workspace(0), grad, value))
        return value[0]

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
        ordered = config.shuffle or config.custom_order
        order = pointer(cursor.order, (len(samples) if ordered else 0,), INT64, writable=True)
        losses = pointer(epoch_loss__e, epoch_loss__e.shape, FLOAT64, writable=True)
        penalties = ffi.NULL
        if epoch_penalty__e is not None:
            penalties = pointer(epoch_penalty__e, epoch_loss__e.shape, FLOAT64, writable=True)
        steps_per_epoch = -(-len(samples) // config.batch)
        if len(epoch_loss__e) < steps // steps_per_epoch + (steps % steps_per_epoch > 0):
            raise ValueError(f"epoch_loss has room for {len(epoch_loss__e)} epochs; {steps} steps may end more")
        if config.rates is not None and len(config.rates) < steps:
            raise ValueError(f"there are {len(config.rates)} rates for {steps} steps")
        if cursor.backend_state is None:
            cursor.backend_state = _Run(self, len(optimizer.slots))
        run: _Run = cursor.backend_state
        run.bind(theta__p, slots__sp, samples, optimizer, config)
        c_cursor = run.cursor
        c_cursor.order, c_cursor.epoch, c_cursor.row = order, cursor.epoch, cursor.row
        c_cursor.updates = cursor.updates
        c_cursor.loss_sum, c_cursor.penalty_sum = cursor.loss_sum, cursor.penalty_sum
        ended = ffi.new("size_t *")
        call = function(self.dtype, "train")
        status = call(
            self._net_of(samples), *run.state, *run.samples, run.optimizer, run.config, c_cursor, steps, losses,
            penalties, ended, *run.memory,
        )  # fmt: skip
        cursor.epoch, cursor.row = c_cursor.epoch, c_cursor.row
        cursor.updates = c_cursor.updates
        cursor.loss_sum, cursor.penalty_sum = c_cursor.loss_sum, c_cursor.penalty_sum
        if status != lib.NST_E_CANCELLED:
            check_status(status)
        self._isa[0], self.threads = c_cursor.isa, c_cursor.threads
        return ended[0]

    def _c_run(self, config: RunConfig, pool: Any) -> Any:
        """Return a new nst_run without dropout; the caller must keep the pool and `config` alive while it is used."""
        c_run = ffi.new("nst_run *")
        c_run.batch, c_run.seed, c_run.threads, c_run.pool = config.batch, config.seed, config.threads or 0, pool
        c_run.shuffle, c_run.custom_order, c_run.batch_mean = config.shuffle, config.custom_order, config.batch_mean
        c_run.smoothing, c_run.alpha, c_run.scale = config.smoothing, config.alpha, config.scale
        c_run.log_clip_min = config.log_clip_min if config.log_clip_min > -math.inf else 0.0
        if config.cancel is not None:
            c_run.cancel = pointer(config.cancel, (1,), np.dtype(np.int32))
        if config.rates is not None:
            c_run.rates = pointer(config.rates, config.rates.shape, FLOAT64)
        return c_run

    def _theta(self, theta__p: Array, *, writable: bool = False) -> Any:
        return pointer(theta__p, (self.architecture.parameter_count,), self.dtype, writable=writable)

    def _inputs(self, x__ni: Array) -> Any:
        return pointer(x__ni, (len(x__ni), self.architecture.inputs), self.dtype)

    def _samples(self, samples: Samples) -> tuple[int, Any, Any, Any, Any]:
        """Return n, x, y, labels and weight as the C library takes them."""
        n = len(samples)
        y = labels = weight = ffi.NULL
        if samples.y is not None:
            y = pointer(samples.y, (n, self.architecture.outputs), self.dtype)
        if samples.labels is not None:
            labels = pointer(samples.labels, (n,), INT64)
        if samples.weight is not None:
            weight = pointer(samples.weight, (n,), self.dtype)
        return n, self._inputs(samples.x), y, labels, weight

    def _workspace(self, slot_count: int) -> tuple[Any, int]:
        """Return a new workspace, uninitialised, and its size in bytes."""
        if slot_count not in self._workspace_sizes:
            bytes_needed = ffi.new("size_t *")
            check_status(function(self.dtype, "workspace_size")(self._net, slot_count, bytes_needed))
            self._workspace_sizes[slot_count] = bytes_needed[0]
        size = self._workspace_sizes[slot_count]
        return ffi.from_buffer("char[]", np.empty(size, np.uint8), require_writable=True), size


def _decline(*arguments: object) -> None:
    """A short cut that takes nothing; see `nanostep.backends.contract.Engine`."""


class _Run:
    """C-side arguments of a run, cached across its calls; rebuilt when the Python object is replaced.

    Attributes
    ----------
    cursor, optimizer, config : cdata
    state : tuple
        theta, the number of slots, and the slots.
    samples : tuple
        n, x, y, labels and weight.
    memory : tuple
        Workspace and its size.
    """

    def __init__(self, engine: Engine, slot_count: int) -> None:
        self._engine = engine
        self.cursor = ffi.new("nst_cursor *")
        self.memory = engine._workspace(slot_count)
        self._arrays: tuple[Any, ...] = (None, None, None)
        self._config: RunConfig | None = None
        self._pool: Any = None
        self._optimizer: tuple[Optimizer | None, dict[str, Any]] = (None, {})

    def bind(
        self, theta__p: Array, slots__sp: Array, samples: Samples, optimizer: Optimizer, config: RunConfig
    ) -> None:
        """Set the arguments of the next call."""
        engine, arrays = self._engine, (theta__p, slots__sp, samples)
        if not all(map(is_, arrays, self._arrays)):
            count = len(optimizer.slots)
            slots = pointer(slots__sp, (count, len(theta__p)), engine.dtype, writable=True)
            self.state = engine._theta(theta__p, writable=True), count, slots
            self.samples = engine._samples(samples)
            self._arrays = arrays
        pool = pool_for(config.threads)  # another pool after a fork
        if config is not self._config or pool is not self._pool:
            # kept here, because the nst_run does not keep them alive
            self._pool, self._dropout = pool, ffi.new("double[]", config.dropout)
            self._layer_rates = ffi.new("double[]", config.layer_rates)
            self.config = engine._c_run(config, pool)
            if any(config.dropout):
                self.config.dropout = self._dropout
            if config.layer_rates:
                self.config.layer_rates = self._layer_rates
            self._config = config
        if optimizer is not self._optimizer[0] or vars(optimizer) != self._optimizer[1]:
            self.optimizer = c_optimizer(optimizer)
            self._optimizer = optimizer, dict(vars(optimizer))
