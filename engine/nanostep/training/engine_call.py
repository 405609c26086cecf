"""The calls of the engine that a run is made of: how many steps each makes, and on how many threads.

The engine works through many steps per call. Between calls Python gets a turn, so that Ctrl-C and other threads are
served: a call is sized, from the measured time of the last one, to take about `CALL_SECONDS`. Neither the cut nor the
number of threads changes a bit of the result (see `nanostep.backends.contract.Cursor`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from nanostep._arrays import Samples
from nanostep.backends.contract import Cursor, RunConfig
from nanostep.model import Model
from nanostep.training.interrupt import interruptible
from nanostep.training.optimizer_state import OptimizerState
from nanostep.training.threads import CALL_SECONDS, TRIAL_FLOPS, ThreadTuner

LONG_CALL_SECONDS = 0.08
"""A call that is expected to take longer, because a single step does, is made so that Ctrl-C can end it."""

FIRST_CALL_FLOPS = 2e6
"""Work of the first call of a run, before its speed is known: under a millisecond compiled, some in the reference."""

SLOWEST_FLOPS_PER_SECOND = 1e9
"""Guess for the first call, whose speed is not known."""


class EngineCall:
    """The calls of the engine that make the updates of one run.

    Attributes
    ----------
    interrupted : bool
        Ctrl-C has ended the last call early; what it made counts.
    penalties : list of float
        Mean penalty of each epoch that ended in the last call; empty where `RunConfig.alpha` is 0.
    epoch_rates : list of float
        Rate of the last update of each epoch that ended in the last call.
    rate : float
        Rate of the last update.
    threads : int
        The number found to be fastest, or that of the last call.
    """

    def __init__(
        self,
        model: Model,
        state: OptimizerState,
        samples: Samples,
        config: RunConfig,
        cursor: Cursor,
    ) -> None:
        self._model, self._state, self._samples, self._optimizer = model, state, samples, state.optimizer
        self._config, self._cursor = config, cursor
        self.epoch_rates: list[float] = []
        self.rate = state.optimizer.lr
        self._steps_per_epoch = -(-len(samples) // config.batch)
        self._flops = 6.0 * model.architecture.parameter_count * config.batch
        self._steps = max(1, int(FIRST_CALL_FLOPS / self._flops))
        self._step_seconds = self._flops / SLOWEST_FLOPS_PER_SECOND
        self._threads = self._thread_tuner()
        self.interrupted = False
        self.penalties: list[float] = []
        self.threads = 1

    def call(
        self, epochs: int, most: int | None = None, rates_of: Callable[[int], np.ndarray | None] = lambda steps: None
    ) -> list[float]:
        """Make some steps, at most to the end of `epochs` epochs from here and at most `most`; return the losses of the
        epochs that ended.

        `rates_of` returns the learning rates of the next updates, given their number, or None for the optimiser's. No
        reference to it is kept: it belongs to a run, which holds this object, and such a cycle would leave the memory
        of both to the garbage collector.
        """
        made_in_epoch = self._cursor.row // self._config.batch
        threads, share = self._threads.next_call()
        steps = min(max(1, int(self._steps * share)), epochs * self._steps_per_epoch - made_in_epoch)
        if most is not None:
            steps = min(steps, most)
        losses = np.empty(steps // self._steps_per_epoch + 1)
        penalties = np.empty_like(losses) if self._config.alpha > 0 else None
        rates = rates_of(steps)
        started = time.perf_counter()
        if threads != self._config.threads:
            self._config = replace(self._config, threads=threads)
        config = self._config if rates is None else replace(self._config, rates=rates)
        ended = self._make(config, steps, losses, penalties)
        seconds = time.perf_counter() - started

        self._step_seconds = seconds / steps
        self._threads.record(threads, self._step_seconds, seconds)
        # at most fourfold at a time: the first call of a jitted kernel includes its compilation
        fitting = int(CALL_SECONDS / max(self._step_seconds, 1e-12))
        self._steps = max(1, min(fitting, 4 * max(self._steps, steps)))
        if not self._threads.trying:
            self.threads = self._model._engine.threads
        self.penalties = [] if penalties is None else penalties[:ended].tolist()
        if rates is None:
            self.epoch_rates, self.rate = [self._optimizer.lr] * ended, self._optimizer.lr
        else:
            first_end = self._steps_per_epoch - made_in_epoch - 1
            self.epoch_rates = rates[first_end :: self._steps_per_epoch][:ended].tolist()
            self.rate = float(rates[-1])
        return losses[:ended].tolist()

    def _make(self, config: RunConfig, steps: int, losses: np.ndarray, penalties: np.ndarray | None) -> int:
        # the slots anew for each call: a callback between two may have made a step
        state = (self._model._theta, self._state.slots, self._samples, self._optimizer)

        def make(config: RunConfig) -> int:
            return self._model._engine.train(
                *state, config, self._cursor, steps, losses, epoch_penalty__e=penalties
            )  # fmt: skip

        if steps * self._step_seconds < LONG_CALL_SECONDS:
            return make(config)
        cancel = np.zeros(1, np.int32)
        ended, self.interrupted = interruptible(lambda: make(replace(config, cancel=cancel)), cancel)
        return ended

    def _thread_tuner(self) -> ThreadTuner:
        """Return the cached thread tuner for this batch size, optimiser and thread limit."""
        if self._config.threads is not None:
            return ThreadTuner((self._config.threads,))
        if self._flops < TRIAL_FLOPS:
            return ThreadTuner((1,))
        most = self._model._engine.useful_threads(self._optimizer, self._config, len(self._samples))
        key = (self._config.batch, self._optimizer.kind, most)
        tuner: ThreadTuner = self._model._thread_tuners.setdefault(key, ThreadTuner((1, most) if most > 1 else (1,)))
        return tuner
