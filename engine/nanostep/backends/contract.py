"""The contract that every backend keeps, written as one table.

It has two levels. *Operations* are single steps of the mathematics on plain arrays; tests, the worksheet and C users
call them. *Whole runs* are the methods of `Engine`: one call works through many samples, steps and epochs.

Names carry their axes: ``x__bi`` is (batch, inputs), ``w__oi`` is (outputs, inputs), p runs over all parameters, s over
slots, n over samples. All arrays of a call have one dtype (float32 or float64) and are C-contiguous. Sums over a batch
or a layer are kept in that dtype; sums of losses over an epoch are kept in float64. Arguments that are not marked out
or inout are left unchanged; every entry of an out array is written, whatever it held before.

`OPERATIONS` is read by the conformance tests: an operation without a row, a row without an operation, a signature that
differs, or an effect that differs, fails there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from nanostep._arrays import Samples
from nanostep.architecture import Architecture
from nanostep.optimizers import Optimizer

MODULES = ("activations", "layers", "losses", "networks", "optimizers", "order")
"""Modules of every backend package; the same operation stands in the same module of each."""


@dataclass(frozen=True)
class Argument:
    """One argument of an operation.

    `axes` has a letter per axis ("bi"), or is empty for a choice or a number. `values` says how test data are drawn:
    "real", "activation:z" (the activation of argument z), "target", "probability", "scale" (some of them 0), or the
    name of a choice.
    """

    name: str
    direction: Literal["in", "out", "inout"]
    axes: str = ""
    values: str = "real"


@dataclass(frozen=True)
class Operation:
    """One row of the contract.

    Attributes
    ----------
    name, module : str
        Function `name` of the backend's `module`.
    formula : str
    arguments : tuple of Argument
        In order. Out arrays are allocated by the caller.
    returns : bool
        True if it returns a float.
    ulps : float
        Agreement with the reference evaluated in higher precision: ``|got - want| <= ulps * eps * scale`` where scale
        is the same formula with every term taken by absolute value, times the length of the sum for reductions.
    reduction : str
        Axis that is summed over, or "".
    flops : callable
        Floating-point operations for a mapping from axis letter to length.
    """

    name: str
    module: str
    formula: str
    arguments: tuple[Argument, ...]
    ulps: float
    reduction: str = ""
    returns: bool = False
    flops: Callable[[Mapping[str, int]], int] = lambda n: 0


def _in(name: str, values: str = "real") -> Argument:
    return Argument(name, "in", name.partition("__")[2], values)


def _out(name: str) -> Argument:
    return Argument(name, "out", name.partition("__")[2])


def _inout(name: str, values: str = "real") -> Argument:
    return Argument(name, "inout", name.partition("__")[2], values)


_LOSS = (
    _in("loss", "loss"),
    _in("output", "output"),
    _in("z__bo"),
    _in("a__bo", "activation:z__bo"),
    _in("y__bo", "target"),
)

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "activate",
        "activations",
        "a = f(z); softmax by row",
        (_in("activation", "activation"), _in("z__bo"), _out("a__bo")),
        ulps=8,
        flops=lambda n: 20 * n["b"] * n["o"],
    ),
    Operation(
        "activation_derivative",
        "activations",
        "df = f'(z), from a = f(z) where that is enough",
        (
            _in("activation", "hidden_activation"),
            _in("z__bo"),
            _in("a__bo", "activation:z__bo"),
            _out("df__bo"),
        ),
        ulps=16,
        flops=lambda n: 2 * n["b"] * n["o"],
    ),
    Operation(
        "dense_forward",
        "layers",
        "z = x W^T + b",
        (_in("x__bi"), _in("w__oi"), _in("b__o"), _out("z__bo")),
        ulps=2,
        reduction="i",
        flops=lambda n: 2 * n["b"] * n["i"] * n["o"],
    ),
    Operation(
        "dense_backward_input",
        "layers",
        "dx = d W",
        (_in("d__bo"), _in("w__oi"), _out("dx__bi")),
        ulps=2,
        reduction="o",
        flops=lambda n: 2 * n["b"] * n["i"] * n["o"],
    ),
    Operation(
        "dense_backward_weights",
        "layers",
        "dW = d^T x / batch, db = mean of d over the batch",
        (_in("d__bo"), _in("x__bi"), _out("dw__oi"), _out("db__o")),
        ulps=4,
        reduction="b",
        flops=lambda n: 2 * n["b"] * n["i"] * n["o"],
    ),
    Operation(
        "loss_value",
        "losses",
        "mean over the batch of L(a, y); from z where the loss and the output are joined",
        _LOSS,
        ulps=16,
        reduction="bo",
        returns=True,
        flops=lambda n: 4 * n["b"] * n["o"],
    ),
    Operation(
        "loss_derivative",
        "losses",
        "da = dL/da of each sample (not divided by the batch)",
        (_in("loss", "loss"), _in("a__bo", "activation:z__bo"), _in("y__bo", "target"), _out("da__bo")),
        ulps=16,
        flops=lambda n: 2 * n["b"] * n["o"],
    ),
    Operation(
        "output_delta",
        "losses",
        "d = dL/dz of each sample: a - y (over outputs where the loss is a mean) for joined pairs, else dL/da f'(z)",
        (*_LOSS, _out("d__bo")),
        ulps=32,
        reduction="o",
        flops=lambda n: 4 * n["b"] * n["o"],
    ),
    Operation(
        "update",
        "optimizers",
        "theta and slots after update number t (from 1) with gradient grad",
        (
            _in("optimizer", "optimizer"),
            _in("t", "update"),
            _inout("theta__p"),
            _in("grad__p"),
            _inout("slots__sp", "slots"),
        ),
        ulps=16,
        flops=lambda n: 12 * n["p"],
    ),
    Operation(
        "apply",
        "optimizers",
        "update, with the change of theta multiplied by scale; entries of scale 0 keep theta and slots, and their grad "
        "counts as 0",
        (
            _in("optimizer", "optimizer"),
            _in("t", "update"),
            _inout("theta__p"),
            _in("grad__p"),
            _inout("slots__sp", "slots"),
            _in("scale__p", "scale"),
        ),
        ulps=16,
        flops=lambda n: 15 * n["p"],
    ),
    Operation(
        "shuffle",
        "order",
        "order = the permutation of 0..n-1 that belongs to (seed, epoch)",
        (_in("seed", "seed"), _in("epoch", "epoch"), Argument("order__n", "out", "n", "index")),
        ulps=0,
    ),
)

MAX_SAMPLES = 2**32
"""Most samples whose order is drawn at random: a draw has 32 bits (see `nanostep.backends.reference.order`)."""


@dataclass(frozen=True)
class RunConfig:
    """Settings of a run; only `rates` differ from call to call.

    Attributes
    ----------
    batch : int
        Samples per update, 1 to n; the last batch of an epoch takes the rest.
    shuffle : bool
        Draw a new order for each epoch; otherwise samples are used in the order given.
    seed : int
        Seed of the sample orders and of dropout, in [0, 2**64).
    threads : int or None
        Most threads the engine may use, >= 1; None lets it choose.
    cancel : ndarray of int32, shape (1,), optional
        Set to 1 by another thread to end the call early, if the backend supports that. The updates made so far are
        complete, and they count.
    custom_order : bool
        Use the samples in the order that the caller has put into `Cursor.order`, for every epoch of the call; not
        together with `shuffle`.
    rates : ndarray of float64, shape (steps,), optional
        Learning rate, >= 0, of each update of the call, in place of the optimiser's.
    dropout : tuple of float
        For each hidden layer the probability that a unit is dropped, in [0, 1); empty for none. Units that are kept are
        multiplied by 1 / (1 - p); `nanostep.backends.reference.order.dropped` says which are dropped.
    smoothing : float
        Label smoothing in [0, 1): the one-hot row of a label is multiplied by 1 - smoothing, and smoothing / outputs is
        added to each entry. Rows of y are used unchanged.
    alpha : float
        Coefficient, >= 0, of the L2 penalty alpha / 2 * the sum of the squares of all weights, without biases. It is
        added to the sum of the losses of a batch, and so divided by its samples like them (as scikit-learn's alpha).
    scale : float
        Factor, > 0, of the loss in the gradient. Neither the penalty nor the reported losses are multiplied by it.
    batch_mean : bool
        Divide a batch by the sum of its weights (as scikit-learn does) instead of by the number of its samples. A batch
        whose weights are all 0 then has loss and gradient 0, its penalty too.
    log_clip_min : float
        Lower bound, < 0, of the logarithm of a probability: of softmax with cross_entropy, and of sigmoid with
        binary_cross_entropy. Affects reported losses only, not gradients (as in scikit-learn).
    layer_rates : tuple of float
        For each layer of weights the factor, >= 0, of every change of its part of theta, as `scale` of the operation
        `apply`; empty for 1.
    """

    batch: int
    shuffle: bool
    seed: int
    threads: int | None = None
    cancel: np.ndarray | None = None
    custom_order: bool = False
    rates: np.ndarray | None = None
    dropout: tuple[float, ...] = ()
    smoothing: float = 0.0
    alpha: float = 0.0
    scale: float = 1.0
    batch_mean: bool = False
    log_clip_min: float = -math.inf
    layer_rates: tuple[float, ...] = ()


@dataclass
class Cursor:
    """Position of a run, which `Engine.train` advances. A run may be cut into calls anywhere without changing a bit.

    Attributes
    ----------
    order : ndarray of int64, (n,), or (0,) where samples are used in the order given
        Sample order of the current epoch.
    epoch : int
        Epochs completed since the optimiser state was fresh.
    row : int
        Samples of the current epoch used so far.
    updates : int
        Optimiser updates made since the state was fresh.
    loss_sum, penalty_sum : float
        Sums over the batches of this epoch so far: samples of the batch times its mean loss, and its penalty.
    backend_state : object
        Private to the backend: memory of the run, and values prepared for the next sample within an epoch. None at the
        start, and after theta was changed between two calls.
    """

    order: np.ndarray
    epoch: int = 0
    row: int = 0
    updates: int = 0
    loss_sum: float = 0.0
    penalty_sum: float = 0.0
    backend_state: Any = None


class Keeper(Protocol):
    """Keeps the slots of an `UpdateState` in a form of its own."""

    def store(self) -> None:
        """Write them to the array that they were taken from, and keep them no longer."""
        ...


class UpdateState(Protocol):
    """What `Engine.prepared_update` needs of a `nanostep.training.optimizer_state.OptimizerState`."""

    optimizer: Optimizer
    updates: int
    array: np.ndarray
    """The slots, out of date while there is a keeper."""
    keeper: Keeper | None
    """Set by an engine that keeps the slots, to None by `slots`."""

    @property
    def slots(self) -> np.ndarray:
        """The slots, which the keeper has stored."""
        ...


class PreparedPull(Protocol):
    """Makes the backward passes that belong to `Engine.prepared_forward`."""

    def pull(
        self,
        dout: object,
        out_axes: int,
        x__ni: np.ndarray,
        theta__p: np.ndarray,
        tape: int,
        of_z: bool,
        params: bool,
        inputs: bool,
        /,
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray] | None:
        """Return the gradient (if `params`), dX (if `inputs`), or both; None if dout is not taken, or if theta is no
        longer ``theta__p``.

        `out_axes` is the number of axes of the outputs as they were returned.
        """
        ...


class Engine(Protocol):
    """Whole runs for one architecture and dtype: class ``Engine(architecture, dtype)`` of a backend's ``networks``.

    `theta`, `grad` and the rows of `slots` have the public layout; all arguments have passed the gate.
    """

    def __init__(self, architecture: Architecture, dtype: np.dtype) -> None: ...

    @property
    def isa(self) -> str:
        """Instruction set that the last call ran with, as reported by the kernel; "" if the backend reports none."""
        ...

    @property
    def threads(self) -> int:
        """Number of threads that the last call of `train` ran on."""
        ...

    def predict_row(self, theta__p: np.ndarray, x: object) -> np.ndarray | None:
        """Return the output (outputs,) for one row, or None if the input is not of the plainest kind.

        A short cut past the gate for online use: the engine takes x only if it is an array of the network's dtype,
        shape (inputs,), contiguous and finite. A backend without a short cut returns None.
        """
        ...

    def step_row(self, theta__p: np.ndarray, x: object, y: object, lr: object) -> float | None:
        """Make one plain SGD step on one row and return the loss before it; or do nothing and return None, under the
        conditions of `predict_row`.

        y must be an array (outputs,) of the network's dtype that the loss accepts, and lr a float > 0.
        """
        ...

    def prepared_update(
        self,
        theta__p: np.ndarray,
        state: UpdateState,
        X: object,
        Y: object,
        outputs: object = None,
        sample_weight: object = None,
    ) -> float | None:
        """Make one update by the state's optimiser from the mean gradient over all samples, count it in the state, and
        return the loss before it; or do nothing and return None.

        A short cut past the gate for loops of the user's own: an engine takes what it can check by itself at little
        cost, arrays and optimiser, and what it takes gives the same bits as the gate followed by `train`. It declines
        everything that the gate or `train` would refuse. A backend without such a short cut returns None.
        """
        ...

    def prepared_descent(
        self,
        theta__p: np.ndarray,
        X: object,
        Y: object,
        lr: object,
        outputs: object = None,
        sample_weight: object = None,
    ) -> float | None:
        """The same with a plain SGD step at rate `lr`."""
        ...

    def prepared_apply(self, theta__p: np.ndarray, state: UpdateState, grad: object) -> bool | None:
        """Make one update by the state's optimiser from a gradient, as the operation `update` does, count it in the
        state and return True; or None as above."""
        ...

    def prepared_forward(
        self, theta__p: np.ndarray, X: object
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, int, PreparedPull] | None:
        """Return the outputs, copies of X (n, inputs) and theta, and the number of the forward pass, which `pull` of
        the last result takes; or None as above."""
        ...

    def prepared_predict(self, theta__p: np.ndarray, X: object) -> np.ndarray | None:
        """Return the outputs in a new array, (n, outputs) or for a 1-D X (outputs,); or None as above."""
        ...

    def prepared_loss(self, theta__p: np.ndarray, X: object, Y: object) -> float | None:
        """Return the mean loss over the samples, or None as above."""
        ...

    def prepared_gradient(self, theta__p: np.ndarray, X: object, Y: object) -> tuple[float, np.ndarray] | None:
        """Return the mean loss over the samples, and its gradient in a new array; or None as above."""
        ...

    def useful_threads(self, optimizer: Optimizer, config: RunConfig, n: int) -> int:
        """Return the most threads that a run over n samples can use here; 1 if there is no choice."""
        ...

    def predict(self, theta__p: np.ndarray, x__ni: np.ndarray, a__no: np.ndarray) -> None:
        """Write the network's output for every row of x into a. n may be 0."""
        ...

    def loss(self, theta__p: np.ndarray, samples: Samples) -> float:
        """Return the mean over the samples of weight * L."""
        ...

    def gradient(self, theta__p: np.ndarray, samples: Samples, grad__p: np.ndarray) -> float:
        """Write the gradient of that mean into grad and return the mean."""
        ...

    def jacobian(self, theta__p: np.ndarray, x__ni: np.ndarray, a__no: np.ndarray, jac__nop: np.ndarray) -> None:
        """Write the network's output for every row of x into a, and its derivatives by the parameters into jac.

        n may be 0. The output activation is elementwise: not softmax.
        """
        ...

    def vjp(
        self,
        theta__p: np.ndarray,
        x__ni: np.ndarray,
        dout__no: np.ndarray,
        *,
        of_z: bool,
        grad__p: np.ndarray | None,
        dx__ni: np.ndarray | None,
    ) -> None:
        """Pull a gradient back through the network (the vector-Jacobian product of one forward pass at x).

        `dout` is dL/da of the network's output, or dL/dz of the last layer if `of_z`. dL/dtheta, the sum over the rows,
        is written into `grad`, and dL/dx into `dx`; None for what is not needed. n may be 0.
        """
        ...

    def train(
        self,
        theta__p: np.ndarray,
        slots__sp: np.ndarray,
        samples: Samples,
        optimizer: Optimizer,
        config: RunConfig,
        cursor: Cursor,
        steps: int,
        epoch_loss__e: np.ndarray,
        *,
        epoch_penalty__e: np.ndarray | None = None,
    ) -> int:
        """Make `steps` updates from the position of `cursor`; return the number of epochs that ended in this call.

        theta, slots and cursor are updated in place. The mean loss of each epoch that ends in this call is written into
        `epoch_loss__e`, and its mean penalty into `epoch_penalty__e` if that is given (both float64 and long enough).

        An update computes the gradient of the batch, with `RunConfig.scale` and the penalty, clips it as the optimiser
        prescribes, and applies the optimiser's formula.
        """
        ...
