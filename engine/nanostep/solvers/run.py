"""`solve`: a training run by a solver."""

from __future__ import annotations

from nanostep.model import Model
from nanostep.solvers.base import Solver
from nanostep.solvers.problem import Problem
from nanostep.training.arguments import Data, TrainArguments, TrainConfig
from nanostep.training.recorder import Recorder
from nanostep.training.run_state import RunState


def refuse(solver: Solver, given: TrainArguments, config: TrainConfig, data: Data) -> None:
    """Raise ValueError if an argument of `Network.train` was given that a solver does not support."""
    absent = TrainArguments(None)
    refused = {
        "batch_size": given.batch_size != absent.batch_size,
        "threads": given.threads is not None,
        "schedule": config.schedule is not None,
        "dropout": config.run.dropout != (),
        "label_smoothing": config.run.smoothing > 0,
        "checkpoint": config.checkpoint is not None,
        "EveryNSteps": config.every_n_steps != (),
        "a stream": data.stream is not None,
        "layer_rates": config.run.layer_rates != (),
    }
    for name, is_given in refused.items():
        if is_given:
            raise ValueError(
                f"{name} is not for {type(solver).__name__}, which takes all samples at every iteration; leave it out"
            )
    if data.samples is not None and data.samples.has_missing and not solver.takes_missing_targets:
        raise ValueError(
            f"{type(solver).__name__} needs all targets; leave out the samples without one, or use another optimizer"
        )


def solve(model: Model, solver: Solver, data: Data, config: TrainConfig, run_state: RunState) -> None:
    """Carry out `config`, moving theta and filling the history of `run_state`."""
    assert data.samples is not None
    history = run_state.history
    recorder = Recorder(model, config.monitoring, data.measured, data.held_out, config.epochs, run_state)

    def end_iteration(loss: float) -> bool:
        recorder.end_epochs([loss], [])
        recorder.update_progress(0.0, history.epochs)
        recorder.on_epoch_end()
        return bool(history.stopped) or history.epochs >= config.epochs

    try:
        with recorder:
            if config.epochs > 0:
                problem = Problem(model, data.samples)
                try:
                    reason = solver.minimize(problem, config.epochs, end_iteration)
                finally:
                    problem.restore()
                history.stopped = history.stopped or reason
            recorder.end()
            recorder.restore_best()
    finally:
        history.steps, history.samples = history.epochs, history.epochs * len(data.samples)
        history.isa = model._engine.isa
