"""A run of a solver."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nanostep.solvers.problem import Problem, Solver
from nanostep.training.arguments import Data, Request
from nanostep.training.checkpoints import Position
from nanostep.training.recorder import Recorder

if TYPE_CHECKING:
    from nanostep.network import Network


def refuse(solver: Solver, **arguments: tuple[object, object]) -> None:
    """Raise ValueError if an argument, given with the value that stands for its absence, is there."""
    for name, (value, absent) in arguments.items():
        if value is not absent and value != absent:
            raise ValueError(
                f"{name} is not for {type(solver).__name__}, which takes all samples at every iteration; leave it out"
            )


def solve(net: Network, solver: Solver, data: Data, request: Request, position: Position) -> None:
    """Carry out `request`, moving theta and filling the history of `position`."""
    assert data.samples is not None
    history = position.history
    recorder = Recorder(net, request.watch, data.measured, data.held_out, request.epochs, position)

    def end_iteration(loss: float) -> bool:
        recorder.end_epochs([loss], [])
        recorder.show(0.0, history.epochs)
        recorder.ask()
        return bool(history.stopped) or history.epochs >= request.epochs

    try:
        with recorder:
            if request.epochs > 0:
                problem = Problem(net, data.samples)
                try:
                    reason = solver.minimize(problem, request.epochs, end_iteration)
                finally:
                    problem.restore()
                history.stopped = history.stopped or reason
            recorder.end()
            recorder.restore_best()
    finally:
        history.steps, history.samples = history.epochs, history.epochs * len(data.samples)
        history.isa = net._engine.isa
