"""The conformance checks can fail: each wrong variant must fail the check that is meant to catch it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from conformance import wrong_engines, wrong_operations, wrong_rows
from conformance.comparisons import TOLERANCE
from conformance.differences import check_differences
from conformance.goldens import check_golden_gradient, check_golden_trajectory, check_golden_vjp, load
from conformance.operations import POISON, Function, check_operation, check_propagates_nan, reference_function
from conformance.rows import check_declined, check_rows
from conformance.runs import (
    EXTRAS,
    EngineType,
    RunCase,
    Schedule,
    check_cuts,
    check_forward,
    check_gradient,
    check_jacobian,
    check_labels,
    check_training,
    check_training_effects,
    check_vjp,
    check_weights,
)
from nanostep.architecture import make_architecture
from nanostep.backends.contract import OPERATIONS, Operation

BY_NAME = {operation.name: operation for operation in OPERATIONS}

REASONS = {
    "writes_an_input": "changed its input",
    "leaves_the_last_entry": "not",
    "writes_one_beyond": "wrote beyond",
    "writes_one_before": "wrote beyond",
    "has_the_wrong_sign": "not",
    "is_rounded_to_float32": "not",
}
"""Message of the check for each general variant."""


@pytest.mark.parametrize(
    ("name", "operation", "function"),
    [pytest.param(*v, id=f"{v[1].name}-{v[0]}") for v in wrong_operations.general()],
)
def test_wrong_effects_of_an_operation_are_rejected(name: str, operation: Operation, function: Function) -> None:
    with pytest.raises(AssertionError, match=REASONS[name]):
        check_operation(function, operation, "float64")


@pytest.mark.parametrize(
    ("operation", "function"),
    [
        pytest.param(BY_NAME[operation], function, id=f"{operation}-{name}")
        for operation, variants in wrong_operations.FORMULAS.items()
        for name, function in variants.items()
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_wrong_formula_of_an_operation_is_rejected(operation: Operation, function: Function) -> None:
    with pytest.raises(AssertionError):
        check_operation(function, operation, "float64")


def test_every_operation_has_wrong_variants() -> None:
    assert wrong_operations.FORMULAS.keys() == BY_NAME.keys()


@pytest.mark.parametrize("name", POISON)
def test_hiding_nan_is_rejected(name: str) -> None:
    operation = BY_NAME[name]
    right = reference_function(operation)

    def wrong(*arguments: object) -> object:
        returned = right(*arguments)
        for argument, value in zip(operation.arguments, arguments, strict=True):
            if argument.direction != "in" and isinstance(value, np.ndarray):
                np.nan_to_num(value, copy=False)
        return np.nan_to_num(returned) if operation.returns else returned

    with pytest.raises(AssertionError, match="Arrays are not equal"):
        check_propagates_nan(wrong, operation, "float64")


HIDDEN = RunCase(make_architecture([3, 9, 5, 2], ["silu", "elu"], "identity", "huber"), 25)
CLASSES = RunCase(make_architecture([4, 16, 3], "tanh", "softmax", "cross_entropy"), 11)
COUNTS = RunCase(make_architecture([4, 3, 2], "tanh", "identity", "poisson"), 6)
FITTED = make_architecture([3, 5, 4, 2], ["tanh", "silu"], "sigmoid", "half_squared_error")
MANY = RunCase(make_architecture([2, 1], "tanh", "identity", "half_squared_error"), 5000)
BATCHES = Schedule("sgd", batch=4, shuffle=True, steps=16)
MOMENTS = Schedule("adam", batch=4, shuffle=True, steps=16)


def forward(engine: EngineType) -> None:
    check_forward(engine, HIDDEN, "float64")
    check_forward(engine, MANY, "float64")


def gradient(engine: EngineType) -> None:
    check_gradient(engine, HIDDEN, "float64")


def differences(engine: EngineType) -> None:
    check_differences(engine, HIDDEN)


def golden_gradients(engine: EngineType) -> None:
    for golden in load("gradients"):
        check_golden_gradient(engine, golden, "float64")


def golden_vjps(engine: EngineType) -> None:
    for golden in load("gradients"):
        check_golden_vjp(engine, golden, "float64")


def golden_trajectories(engine: EngineType) -> None:
    for golden in load("optimizers"):
        check_golden_trajectory(engine, golden, "float64", TOLERANCE["float64"])


def golden_runs(engine: EngineType) -> None:
    for golden in load("runs"):
        check_golden_trajectory(engine, golden, "float64", 1e-9)


def labels(engine: EngineType) -> None:
    check_labels(engine, CLASSES, "float64")


def training(engine: EngineType) -> None:
    check_training(engine, HIDDEN, BATCHES, "float64")
    check_training(engine, HIDDEN, MOMENTS, "float64")


def extras(engine: EngineType) -> None:
    for name in EXTRAS:
        check_training(engine, HIDDEN, replace(BATCHES, extras=name), "float64")
        check_training(engine, CLASSES, replace(MOMENTS, extras=name), "float64")


def weights(engine: EngineType) -> None:
    check_weights(engine, CLASSES, "float64")


def jacobian(engine: EngineType) -> None:
    check_jacobian(engine, replace(HIDDEN, architecture=FITTED), "float64")


def vjp(engine: EngineType) -> None:
    check_vjp(engine, replace(HIDDEN, architecture=FITTED), "float64")


def effects(engine: EngineType) -> None:
    check_training_effects(engine, HIDDEN, BATCHES, "float64")


def cuts(engine: EngineType) -> None:
    check_cuts(engine, HIDDEN, BATCHES, "float64")
    check_cuts(engine, HIDDEN, MOMENTS, "float64")


def rows(engine: EngineType) -> None:
    check_rows(engine, CLASSES, "float64")


def declined(engine: EngineType) -> None:
    check_declined(engine, CLASSES, "float64")
    check_declined(engine, COUNTS, "float64")


CHECKS: dict[Callable[[EngineType], None], tuple[EngineType, ...]] = {
    forward: (
        wrong_engines.PredictSkipsTheLastRow,
        wrong_engines.PredictWritesBeyond,
        wrong_engines.PredictInFloat32,
        wrong_engines.LossOfTheFirstBlock,
        wrong_engines.LossCentresTheData,
    ),
    gradient: (
        wrong_engines.GradientOfTheSum,
        wrong_engines.GradientSkipsTheLastRow,
        wrong_engines.GradientLeavesTheLastBias,
        wrong_engines.GradientInFloat32,
        wrong_engines.GradientWritesBeyond,
        wrong_engines.GradientMovesTheta,
        wrong_engines.NoHiddenDerivative,
    ),
    differences: (
        wrong_engines.GradientOfTheSum,
        wrong_engines.GradientSkipsTheLastRow,
        wrong_engines.GradientLeavesTheLastBias,
        wrong_engines.NoHiddenDerivative,
    ),
    golden_gradients: (
        wrong_engines.GradientOfTheSum,
        wrong_engines.GradientInFloat32,
        wrong_engines.NoHiddenDerivative,
    ),
    golden_vjps: (
        wrong_engines.VjpOfTheMean,
        wrong_engines.VjpOfTheMeanByInputs,
        wrong_engines.VjpAlwaysOfZ,
        wrong_engines.VjpWithoutHiddenDerivative,
    ),
    golden_trajectories: (
        wrong_engines.AlwaysPlainSGD,
        wrong_engines.DoesNotCountUpdates,
        wrong_engines.HiddenDeltaOfNewWeights,
        wrong_engines.LastBatchDividedByAFullOne,
    ),
    golden_runs: (wrong_engines.HiddenDeltaOfNewWeights, wrong_engines.DropsTheLastPartialBatch),
    labels: (wrong_engines.LabelsIgnored, wrong_engines.LabelsShiftedInTraining),
    training: (
        wrong_engines.HiddenDeltaOfNewWeights,
        wrong_engines.DropsTheLastPartialBatch,
        wrong_engines.LastBatchDividedByAFullOne,
        wrong_engines.ShufflesOnce,
        wrong_engines.NeverShuffles,
        wrong_engines.AlwaysPlainSGD,
        wrong_engines.DoesNotCountUpdates,
        wrong_engines.LossOfTheLastBatch,
        wrong_engines.LossAfterTheEpoch,
        wrong_engines.LosesAnEpoch,
    ),
    extras: (
        wrong_engines.SameRateForever,
        wrong_engines.NeverDrops,
        wrong_engines.DropsTheSameInEveryUpdate,
        wrong_engines.KeptUnitsAreNotMultiplied,
        wrong_engines.NeverSmooths,
        wrong_engines.NoPenalty,
        wrong_engines.PenaltyOfFullBatches,
        wrong_engines.LossIsNotScaled,
        wrong_engines.LossIsNotCapped,
        wrong_engines.EverySampleCountsTheSame,
        wrong_engines.BatchesAreDividedByTheirRows,
    ),
    weights: (wrong_engines.EverySampleCountsTheSame,),
    jacobian: (wrong_engines.JacobianOfTheFirstOutput, wrong_engines.JacobianOfZ),
    vjp: (
        wrong_engines.VjpOfTheMean,
        wrong_engines.VjpOfTheMeanByInputs,
        wrong_engines.VjpSkipsTheLastRow,
        wrong_engines.VjpAlwaysOfZ,
        wrong_engines.VjpNeverOfZ,
        wrong_engines.VjpWithoutHiddenDerivative,
        wrong_engines.VjpWritesBeyond,
        wrong_engines.VjpMovesTheta,
    ),
    effects: (
        wrong_engines.TrainingWritesBeyondTheta,
        wrong_engines.TrainingScalesTheData,
        wrong_engines.TrainingDoesNothing,
    ),
    cuts: (
        wrong_engines.ForgetsTheLossAtACut,
        wrong_engines.CountsUpdatesFromTheCut,
        wrong_engines.BeginsTheEpochAgainAtACut,
        wrong_engines.RoundsAtACut,
    ),
    rows: (
        wrong_rows.StepRowReturnsTheNewLoss,
        wrong_rows.StepRowIgnoresTheRate,
        wrong_rows.StepRowMovesThetaAndDeclines,
        wrong_rows.RowsOfTheFirstTheta,
    ),
    declined: (wrong_rows.RowsTakeNan, wrong_rows.RowsTakeAnyTarget, wrong_rows.RowsOfAnyLength),
}
"""Each check of whole runs, and the engines that it must reject."""


@pytest.mark.parametrize("check", CHECKS)
def test_a_right_engine_passes(check: Callable[[EngineType], None]) -> None:
    """The variants below are rejected because of their faults alone. RightRows is the reference with short cuts."""
    assert check(wrong_rows.RightRows) is None  # type: ignore[func-returns-value]


@pytest.mark.parametrize(
    ("check", "engine"),
    [pytest.param(c, e, id=f"{c.__name__}-{e.__name__}") for c, engines in CHECKS.items() for e in engines],
)
def test_wrong_engine_is_rejected(check: Callable[[EngineType], None], engine: EngineType) -> None:
    with pytest.raises(AssertionError):
        check(engine)


def test_every_wrong_engine_is_tried() -> None:
    tried = {engine for engines in CHECKS.values() for engine in engines}
    made = {
        value
        for module in (wrong_engines, wrong_rows)
        for name, value in vars(module).items()
        if inspect.isclass(value) and value.__module__ == module.__name__ and not name.startswith("_")
    }
    assert tried == made - {wrong_rows.RightRows}
