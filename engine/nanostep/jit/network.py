"""`JittedNetwork`: its methods in Python, and in jitted code."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numba import njit, types
from numba.core import config
from numba.core.errors import TypingError
from numba.extending import overload_method

from nanostep.architecture import Architecture
from nanostep.backends.jit._cache import stamp
from nanostep.backends.jit._compile import FASTMATH, OPTIONS, specialised
from nanostep.backends.jit._kernel import Static, StaticType, register_static, vector_bytes
from nanostep.backends.jit.layout import Net, make_net
from nanostep.backends.jit.networks import aligned
from nanostep.backends.jit.optimizers import hyperparameter_array
from nanostep.backends.jit.row import row_size
from nanostep.backends.jit.tape import Gradients, backward_rows, forward_rows, tape_of
from nanostep.jit.checks import check_call
from nanostep.jit.functions import (
    backward_row,
    forward_row,
    gradient_batch,
    gradient_labels,
    loss_batch,
    loss_labels,
    step_batch,
    step_label,
    step_labels,
    step_row,
    update_all,
)
from nanostep.optimizers import Optimizer

Array = np.ndarray


@dataclass(frozen=True)
class JittedNetwork(Static):
    """The functions of one architecture, dtype and optimiser, for Python and for jitted code; made by `Network.jit`.

    In jitted code it may be an argument or a global. Its value is part of its Numba type, so code that takes it as an
    argument may be cached (``cache=True``); code that uses it as a global may not, because Numba does not notice when a
    global changes.

    Arrays must be C-contiguous, of the network's dtype and of the right size; jitted code checks their types only.

    Attributes
    ----------
    net : Net
        Architecture, dtype and vector width for single rows, and batches with targets.
    wide : Net
        The same for batches with a tape.
    kind : str
        Of the optimiser.
    hyperparameters : tuple of float
        Of the optimiser.
    slot_count : int
        Arrays that the optimiser keeps for each parameter.
    """

    net: Net
    wide: Net
    kind: str
    hyperparameters: tuple[float, ...]
    slot_count: int

    @property
    def dtype(self) -> np.dtype:  # type: ignore[override]
        return self.net.dtype

    @property
    def lanes(self) -> int:  # type: ignore[override]
        return self.net.lanes

    @cached_property
    def label(self) -> str:
        return f"{self.net.label} {self.kind}{self.hyperparameters} {stamp()[:16]}"

    def __hash__(self) -> int:
        return hash(self.label)

    @property
    def parameter_count(self) -> int:
        """Length of theta."""
        return self.net.architecture.parameter_count

    @property
    def work_size(self) -> int:
        """Length of the memory of a call, but for `forward` and `backward` of batches."""
        return max(row_size(self.net), self.net.memory_size(0) + self.parameter_count, self._tape_size(0))

    def _tape_size(self, n: int) -> int:
        """Length of the memory of `forward` and `backward` of n rows."""
        return tape_of(self.wide).size(self.wide, n)

    def _size_of_work(self, n: int) -> int:
        """Length of the memory of a batch of n rows with a tape, or of other calls for 0."""
        return max(self.work_size, self._tape_size(n))

    def workspace(self, n: int = 0) -> Array:
        """Return memory for one call at a time; each thread needs its own. May be called in jitted code.

        n is the most rows that `forward` is given, if it is given batches (n, inputs).
        """
        return aligned(self._size_of_work(n), self.dtype)

    def slots(self) -> Array:
        """Return fresh slots for `update`: zeros, shape (slot_count, parameters). May be called in jitted code."""
        return np.zeros((self.slot_count, self.parameter_count), self.dtype)

    def forward(self, theta: Array, x: Array, out: Array, work: Array) -> None:
        """Write the output for one row x (inputs,) into out (outputs,), or for a batch (n, inputs) into (n, outputs).

        The tape, which `backward` reads, is left in `work`: ``workspace(n)``.
        """
        self._run("forward", theta, x, out, work)

    def backward(self, theta: Array, x: Array, dout: Array, grad: Array | None, dX: Array | None, work: Array) -> None:
        """Pull dout = dL/d(out) back: write dL/d(theta), the sum over the rows, into grad, and dL/dx into dX.

        theta, x and `work` are those of the last `forward`, and nothing else has used `work` since. grad is laid out as
        theta; it or dX, of the shape of x, may be None. May be called again with another dout.
        """
        self._run("backward", theta, x, dout, grad, dX, work)

    def step(self, theta: Array, x: Array, y: Array | int, lr: float, work: Array) -> float:
        """Make one plain SGD step on theta and return the mean loss before it.

        x is one row (inputs,) with y (outputs,) or a class number, or a batch (n, inputs) with (n, outputs) or class
        numbers (n,) of int64.
        """
        return float(self._run("step", theta, x, y, lr, work))

    def loss(self, theta: Array, x: Array, y: Array, work: Array) -> float:
        """Return the mean loss over a batch; x and y as in `step`."""
        return float(self._run("loss", theta, x, y, work))

    def gradient(self, theta: Array, x: Array, y: Array, grad: Array, work: Array) -> float:
        """Write the gradient of the mean loss over a batch into grad, laid out as theta, and return the loss."""
        return float(self._run("gradient", theta, x, y, grad, work))

    def update(self, theta: Array, grad: Array, slots: Array, t: int, lr: float | None = None) -> None:
        """Make update number t (from 1) of the optimiser, with a gradient; moves theta and slots (slot_count,
        parameters).

        Hyper-parameters are those at the call of `Network.jit`; another learning rate may be given, and compiles
        nothing.
        """
        self._run("update", theta, grad, slots, t, lr)

    def _run(self, name: str, *arguments: Any) -> Any:
        check_call(self.net.architecture, self._size_of_work, self.slot_count, name, arguments)
        if config.DISABLE_JIT:
            return _interpret(self, name, *arguments)
        return specialised(RUNNERS[name], self)(self, *arguments)


def _row_vector_bytes(architecture: Architecture, dtype: np.dtype) -> int:
    """Largest width of vectors that fill the rows of W, if there is one: a load of part of a vector that was just
    stored waits until the store has left the store queue (4-16-3: 240 ns a step with 64 bytes, 91 with 32)."""
    widest = vector_bytes()
    for width in (64, 32, 16):
        if width <= widest and all(layer.inputs * dtype.itemsize % width == 0 for layer in architecture.layers):
            return width
    return widest


def make_jitted(architecture: Architecture, dtype: np.dtype, optimizer: Optimizer) -> JittedNetwork:
    """Return the functions of one architecture, dtype and optimiser."""
    net = make_net(architecture, dtype, _row_vector_bytes(architecture, dtype))
    wide = make_net(architecture, dtype, vector_bytes())
    return JittedNetwork(
        net, wide, optimizer.kind, tuple(hyperparameter_array(optimizer).tolist()), len(optimizer.slots)
    )


# -- The methods in jitted code ----------------------------------------------------------------------------------------


def is_none(kind: Any) -> bool:
    """True for the type of an argument that is None or left out."""
    return kind is None or isinstance(kind, types.NoneType) or (isinstance(kind, types.Omitted) and kind.value is None)


class JittedType(StaticType):
    """Numba's type of a JittedNetwork."""

    static: JittedNetwork


register_static(JittedNetwork, JittedType)


WRITTEN = frozenset({"dX", "grad", "out", "slots", "theta", "work"})
"""Arrays that some method writes; `forward` and `loss` only read theta, but a read-only one is a mistake there too."""


def _check(fns: JittedType, **arrays: Any) -> None:
    """Raise a typing error unless all are contiguous arrays of the network's dtype, writable where one is written."""
    for name, kind in arrays.items():
        expected = types.float32 if fns.static.dtype == np.float32 else types.float64
        if isinstance(kind, types.Array) and name in WRITTEN and not kind.mutable:
            raise TypingError(f"{name} must be writable; got {kind}")
        if not isinstance(kind, types.Array) or kind.dtype != expected or kind.layout != "C":
            raise TypingError(f"{name} must be a C-contiguous array of {expected}; got {kind}")


def _check_rows(x: Any, **arrays: Any) -> None:
    """Raise a typing error unless all have as many dimensions as x, which has 1 or 2."""
    if x.ndim not in (1, 2):
        raise TypingError(f"x must be one row (inputs,) or a batch (n, inputs); got {x}")
    for name, kind in arrays.items():
        if kind.ndim != x.ndim:
            raise TypingError(f"{name} must have {x.ndim} dimensions, as x; got {kind}")


def _takes_labels(fns: JittedType, y: Any) -> bool:
    """True if y holds class numbers."""
    number = getattr(y, "dtype", y)
    if not isinstance(number, types.Integer):
        _check(fns, y=y)
        return False
    if fns.static.net.loss != "cross_entropy":
        raise TypingError(f"class numbers are for cross_entropy; the loss is {fns.static.net.loss}")
    if isinstance(y, types.Array) and (y.layout != "C" or number != types.int64):
        raise TypingError(f"class numbers must be a C-contiguous array of int64; got {y}")
    return True


@overload_method(JittedType, "forward", inline="always")
def _forward(fns, theta, x, out, work):
    _check(fns, theta=theta, x=x, out=out, work=work)
    _check_rows(x, out=out)
    if x.ndim == 1:
        return lambda fns, theta, x, out, work: forward_row(fns, theta, x, out, work)
    wide = fns.static.wide
    run = specialised(forward_rows, wide)
    return lambda fns, theta, x, out, work: run(wide, theta, x.shape[0], x, out, work)


@overload_method(JittedType, "backward", inline="always")
def _backward(fns, theta, x, dout, grad, dX, work):
    _check(fns, theta=theta, x=x, dout=dout, work=work)
    _check_rows(x, dout=dout)
    if not is_none(grad):
        _check(fns, grad=grad)
    if not is_none(dX):
        _check(fns, dX=dX)
        _check_rows(x, dX=dX)
    if x.ndim == 1:
        return lambda fns, theta, x, dout, grad, dX, work: backward_row(fns, theta, x, Gradients(dout, grad, dX), work)
    wide = fns.static.wide
    run = specialised(backward_rows, wide)
    return lambda fns, theta, x, dout, grad, dX, work: run(wide, theta, x.shape[0], x, Gradients(dout, grad, dX), work)


@overload_method(JittedType, "step", inline="always")
def _step(fns, theta, x, y, lr, work):
    _check(fns, theta=theta, x=x, work=work)
    if x.ndim == 2:
        chosen = step_labels if _takes_labels(fns, y) else step_batch
        return lambda fns, theta, x, y, lr, work: chosen(fns, theta, x.shape[0], x, y, float(lr), work)
    if _takes_labels(fns, y):
        return lambda fns, theta, x, y, lr, work: step_label(fns, theta, x, np.int64(y), float(lr), work)
    return lambda fns, theta, x, y, lr, work: step_row(fns, theta, x, y, float(lr), work)


@overload_method(JittedType, "loss", inline="always")
def _loss(fns, theta, x, y, work):
    _check(fns, theta=theta, x=x, work=work)
    chosen = loss_labels if _takes_labels(fns, y) else loss_batch
    return lambda fns, theta, x, y, work: chosen(fns, theta, x.shape[0], x, y, work)


@overload_method(JittedType, "gradient", inline="always")
def _gradient(fns, theta, x, y, grad, work):
    _check(fns, theta=theta, x=x, grad=grad, work=work)
    chosen = gradient_labels if _takes_labels(fns, y) else gradient_batch
    return lambda fns, theta, x, y, grad, work: chosen(fns, theta, x.shape[0], x, y, grad, work)


@overload_method(JittedType, "update", inline="always")
def _update(fns, theta, grad, slots, t, lr=None):
    _check(fns, theta=theta, grad=grad, slots=slots)
    if is_none(lr):
        return lambda fns, theta, grad, slots, t, lr=None: update_all(fns, theta, grad, slots, np.int64(t), None)
    return lambda fns, theta, grad, slots, t, lr=None: update_all(fns, theta, grad, slots, np.int64(t), float(lr))


@overload_method(JittedType, "workspace")
def _workspace(fns, n=0):
    static = fns.static
    least, dtype, spare = static.work_size, static.dtype, 64 // static.dtype.itemsize
    itemsize, tile = static.dtype.itemsize, static.wide.tile
    head, each = static._tape_size(0), static._tape_size(tile) - static._tape_size(0)

    def workspace(fns, n=0):
        count = max(least, head + -(-n // tile) * each)
        memory = np.empty(count + spare, dtype)
        start = -(memory.ctypes.data // itemsize) % spare
        return memory[start : start + count]

    return workspace


@overload_method(JittedType, "slots")
def _slots(fns):
    shape, dtype = (fns.static.slot_count, fns.static.parameter_count), fns.static.dtype
    return lambda fns: np.zeros(shape, dtype)


# -- The methods in Python ---------------------------------------------------------------------------------------------


@njit(fastmath=FASTMATH, **OPTIONS)
def run_forward(fns, theta, x, out, work):
    """See `JittedNetwork.forward`"""
    fns.forward(theta, x, out, work)


@njit(fastmath=FASTMATH, **OPTIONS)
def run_backward(fns, theta, x, dout, grad, dX, work):
    """See `JittedNetwork.backward`"""
    fns.backward(theta, x, dout, grad, dX, work)


@njit(fastmath=FASTMATH, **OPTIONS)
def run_step(fns, theta, x, y, lr, work):
    """See `JittedNetwork.step`"""
    return fns.step(theta, x, y, lr, work)


@njit(fastmath=FASTMATH, **OPTIONS)
def run_loss(fns, theta, x, y, work):
    """See `JittedNetwork.loss`"""
    return fns.loss(theta, x, y, work)


@njit(fastmath=FASTMATH, **OPTIONS)
def run_gradient(fns, theta, x, y, grad, work):
    """See `JittedNetwork.gradient`"""
    return fns.gradient(theta, x, y, grad, work)


@njit(fastmath=FASTMATH, **OPTIONS)
def run_update(fns, theta, grad, slots, t, lr):
    """See `JittedNetwork.update`"""
    fns.update(theta, grad, slots, t, lr)


RUNNERS = {
    "forward": run_forward, "backward": run_backward, "step": run_step, "loss": run_loss,
    "gradient": run_gradient, "update": run_update,
}  # fmt: skip


def _interpret(fns: JittedNetwork, name: str, *arguments: Any) -> Any:
    """Run a method where Numba is switched off."""
    if name == "update":
        return update_all(fns, *arguments)
    theta, x, y, *rest = arguments
    if name == "forward":
        return forward_row(fns, *arguments) if x.ndim == 1 else forward_rows(fns.wide, theta, len(x), x, y, *rest)
    if name == "backward":
        gradients = Gradients(y, *rest[:2])
        if x.ndim == 1:
            return backward_row(fns, theta, x, gradients, rest[-1])
        return backward_rows(fns.wide, theta, len(x), x, gradients, rest[-1])
    labelled = np.asarray(y).dtype.kind == "i"
    if x.ndim == 1:
        return (step_label if labelled else step_row)(fns, theta, x, y, *rest)
    batch = {
        "step": (step_batch, step_labels), "loss": (loss_batch, loss_labels),
        "gradient": (gradient_batch, gradient_labels),
    }  # fmt: skip
    return batch[name][labelled](fns, theta, len(x), x, y, *rest)
