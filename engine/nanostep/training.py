"""One run of training: epochs, validation, callbacks, record, and a clean stop. `nanostep.calls` makes its steps."""

from __future__ import annotations

import math
import time
import warnings
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nanostep._arrays import Samples
from nanostep._checks import check_bool, check_integer, check_seed
from nanostep.backends.contract import Cursor, Plan
from nanostep.callbacks import Callback, EpochEnd, check_callbacks
from nanostep.calls import Caller
from nanostep.errors import StopTraining
from nanostep.history import History
from nanostep.optimizers import Optimizer

if TYPE_CHECKING:
    from nanostep.network import Network


@dataclass
class OptimizerState:
    """What an optimiser remembers between updates of one network.

    Attributes
    ----------
    optimizer : Optimizer
    slots : ndarray, shape (number of slots, parameters)
        Rows named by ``optimizer.slots``.
    updates, epochs : int
        Made since the state was fresh.
    """

    optimizer: Optimizer
    slots: np.ndarray
    updates: int = 0
    epochs: int = 0


@dataclass(frozen=True)
class Request:
    """The checked arguments of a `Network.train` call that are not data."""

    epochs: int
    plan: Plan
    callbacks: tuple[Callback, ...]
    progress: bool


def fresh_state(optimizer: Optimizer, parameters: int, dtype: np.dtype) -> OptimizerState:
    """Return the state of an optimiser that has made no update: slots are zero."""
    return OptimizerState(optimizer, np.zeros((len(optimizer.slots), parameters), dtype))


def continued(state: OptimizerState, optimizer: Optimizer | None) -> OptimizerState:
    """Return `state` if `optimizer` is None or the object it belongs to, otherwise a fresh state.

    A state whose slots no longer fit (momentum switched on between calls) starts afresh too.
    """
    chosen = state.optimizer if optimizer is None else optimizer
    chosen.check()
    if chosen is state.optimizer and len(chosen.slots) == len(state.slots):
        return state
    return fresh_state(chosen, state.slots.shape[1], state.slots.dtype)


def check_request(
    n: int,
    epochs: object,
    batch_size: object,
    shuffle: object,
    seed: object,
    threads: object,
    callbacks: object,
    progress: object,
) -> Request:
    """Check the arguments of `Network.train`."""
    batch = min(check_integer("batch_size", batch_size, 1), n)
    plan = Plan(
        batch=batch,
        shuffle=check_bool("shuffle", shuffle),
        seed=check_seed(seed),
        threads=None if threads is None else check_integer("threads", threads, 1, 2**16),
    )
    if plan.shuffle and n > 2**32:
        raise ValueError(f"X has {n} samples; shuffling takes at most {2**32}: use shuffle=False")
    checked_epochs = check_integer("epochs", epochs, 0, 2**48)
    return Request(checked_epochs, plan, check_callbacks(callbacks), check_bool("progress", progress))


def step(net: Network, state: OptimizerState, samples: Samples) -> float:
    """Make one update from all samples and return the loss before it."""
    cursor = Cursor(np.empty(0, np.int64), updates=state.updates)
    plan = Plan(batch=len(samples), shuffle=False, seed=0)
    caller = Caller(net, state.slots, samples, state.optimizer, plan, cursor)
    losses = caller.call(1)
    state.updates = cursor.updates
    if caller.interrupted:
        raise KeyboardInterrupt
    return losses[0]


def run(
    net: Network, state: OptimizerState, samples: Samples, held_out: Samples | None, request: Request, history: History
) -> None:
    """Carry out `request`, moving theta and `state` on and filling `history` as it goes."""
    started = time.perf_counter()
    cursor = Cursor(
        np.empty(len(samples) if request.plan.shuffle else 0, np.int64), epoch=state.epochs, updates=state.updates
    )
    caller = Caller(net, state.slots, samples, state.optimizer, request.plan, cursor)
    every_epoch = bool(held_out is not None or request.callbacks)
    warned = False
    try:
        with _progress_bar(request) as bar:
            while history.epochs < request.epochs:
                ended = caller.call(1 if every_epoch else request.epochs - history.epochs)
                history.loss += ended
                if caller.interrupted:
                    raise KeyboardInterrupt
                if held_out is not None and ended:
                    history.validation_loss.append(net._engine.loss(net._theta, held_out))
                if ended and not warned and not math.isfinite(ended[-1]):
                    warned = True
                    warnings.warn(
                        f"the training loss is {ended[-1]} after epoch {history.epochs}; "
                        "a smaller learning rate may help",
                        RuntimeWarning,
                        stacklevel=3,
                    )
                if bar is not None:
                    bar.update(history, cursor.row / len(samples))
                if ended and _stopped(net, request, history):
                    break
    except KeyboardInterrupt:
        history.interrupted = True
        raise
    finally:
        history.steps = cursor.updates - state.updates
        history.samples = history.epochs * len(samples) + cursor.row
        history.isa, history.threads = net._engine.isa, caller.threads
        history.seconds = time.perf_counter() - started
        state.updates = cursor.updates
        state.epochs = cursor.epoch + (cursor.row > 0)


def _stopped(net: Network, request: Request, history: History) -> bool:
    """Call the callbacks; True if one of them ends the run."""
    if not request.callbacks:
        return False
    validation_loss = history.validation_loss[-1] if history.validation_loss else None
    event = EpochEnd(net, history.epochs, request.epochs, history.loss[-1], validation_loss, history)
    try:
        # a list, not a generator: one that stops must not keep the next from being called
        answers = [callback(event) for callback in request.callbacks]
        return any(answer is True for answer in answers)
    except StopTraining:
        return True


def _progress_bar(request: Request):  # type: ignore[no-untyped-def]
    if not request.progress:
        return nullcontext()
    from nanostep.progress import EpochBar

    return EpochBar(request.epochs)
