"""Learning-rate schedules: PyTorch's numbers, and runs that follow them however the runs are cut."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nanostep as ns
from cases import QUICK, REQUIRED
from nanostep import schedules
from nanostep.schedules.plateau import PlateauState

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "schedules.json").read_text())
LR = GOLDEN["lr"]
X = np.random.default_rng(0).standard_normal((23, 3))
Y = np.random.default_rng(1).random((23, 2))

SCHEDULES: list[schedules.Schedule] = [
    schedules.ConstantLR(total_iters=2),
    schedules.LinearLR(0.1, total_iters=3),
    schedules.StepLR(2, gamma=0.5, every="step"),
    schedules.MultiStepLR([1, 4]),
    schedules.ExponentialLR(0.97, every="step"),
    schedules.CosineAnnealingLR(6),
    schedules.CosineAnnealingWarmRestarts(3, 2, every="step"),
    schedules.OneCycleLR(0.2, epochs=6),
    schedules.InverseScaling(samples=23),
    schedules.SequentialLR([schedules.LinearLR(every="step"), schedules.StepLR(3, every="step")], [5]),
    schedules.ReduceLROnPlateau(patience=0, threshold=0.3, monitor="loss"),
]


def make(backend: str, dtype: str = "float64") -> ns.Network:
    return ns.Network(
        [3, 6, 2], activation="tanh", output="identity", loss="squared_error", dtype=dtype, backend=backend
    )


@pytest.mark.parametrize("case", GOLDEN["schedules"], ids=lambda case: case["name"])
@pytest.mark.parametrize("every", ["epoch", "step"])
def test_rates_are_pytorchs(case: dict[str, Any], every: str) -> None:
    schedule = getattr(schedules, case["name"])(**case["arguments"], every=every)
    want = np.array(case["rates"])
    if every == "step":
        got = schedule.rates(LR, 0, len(want), steps_per_epoch=7)
    else:
        want, got = np.repeat(want, 4), schedule.rates(LR, 0, 4 * len(want), steps_per_epoch=4)
    np.testing.assert_allclose(got, want, rtol=1e-14)
    assert got.dtype == np.float64


def test_one_schedule_after_another_is_pytorchs() -> None:
    parts = [
        schedules.LinearLR(0.1, total_iters=6),
        schedules.CosineAnnealingLR(20, eta_min=0.01),
        schedules.ExponentialLR(0.8),
    ]
    schedule = schedules.SequentialLR(parts, [6, 30])
    np.testing.assert_allclose(schedule.rates(LR, 0, 60, 1), GOLDEN["warm_up"], rtol=1e-14)


@pytest.mark.parametrize("case", GOLDEN["plateaus"], ids=lambda case: str(case["arguments"]))
def test_plateaus_are_pytorchs(case: dict[str, Any]) -> None:
    schedule, state, rates = schedules.ReduceLROnPlateau(**case["arguments"]), PlateauState(LR, LR), []
    for value in GOLDEN["values"]:
        rates.append(state.lr)
        state = schedule.after(state, value, case["arguments"].get("mode", "min"))
    assert rates == case["rates"]


def test_plateaus_do_not_take_nan_for_the_best() -> None:
    schedule, state = schedules.ReduceLROnPlateau(patience=1), PlateauState(1.0, 1.0)
    for value in (float("nan"), 0.5, float("nan"), 0.4):
        state = schedule.after(state, value, "min")
    assert (state.best, state.lr, state.bad_epochs) == (0.4, 1.0, 0)


def test_inverse_scaling_is_scikit_learns() -> None:
    from sklearn.neural_network._stochastic_optimizers import SGDOptimizer

    optimizer = SGDOptimizer([np.zeros(1)], learning_rate_init=LR, lr_schedule="invscaling", power_t=0.3)
    want = []
    for epoch in range(10):
        want.append(optimizer.learning_rate)
        optimizer.iteration_ends(23 * (epoch + 1))
    np.testing.assert_allclose(schedules.InverseScaling(0.3, samples=23).rates(LR, 0, 10, 1), want, rtol=1e-14)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
def test_rates_are_a_function_of_the_updates_made(schedule: schedules.Schedule) -> None:
    whole = schedule.rates(LR, 0, 40, 5)
    for first in (0, 3, 5, 17, 39):
        for count in (0, 1, 6, 40 - first):
            np.testing.assert_array_equal(schedule.rates(LR, first, count, 5)[: 40 - first], whole[first:][:count])


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
def test_rates_of_many_networks_are_those_of_each(schedule: schedules.Schedule) -> None:
    lr = np.array([0.3, LR, 1e-3])
    rates = schedule.rates(lr, 3, 20, 5)
    assert rates.shape in ((20,), (3, 20))  # OneCycleLR has rates of its own
    for row, one in zip(np.broadcast_to(rates, (3, 20)), lr.tolist(), strict=True):
        np.testing.assert_array_equal(row, schedule.rates(one, 3, 20, 5))


RUNS = [(backend, schedule) for backend in QUICK for schedule in SCHEDULES]
RUNS += [(backend, SCHEDULES[2]) for backend in REQUIRED if backend not in QUICK]


@pytest.mark.parametrize(("backend", "schedule"), RUNS, ids=str)
def test_runs_follow_their_schedule_and_go_on_with_the_same_bits(backend: str, schedule: schedules.Schedule) -> None:
    nets, optimizers = [make(backend) for _ in range(3)], [ns.SGD(lr=0.05, momentum=0.5) for _ in range(3)]
    whole = nets[0].train(X, Y, epochs=6, batch_size=5, optimizer=optimizers[0], schedule=schedule)
    # every epoch in a run of its own, and calls cut by a callback
    lr = [
        nets[1].train(X, Y, epochs=1, batch_size=5, optimizer=optimizers[1], schedule=schedule).lr[0] for _ in range(6)
    ]
    cut = ns.EveryNSteps(2, lambda event: None)
    nets[2].train(X, Y, epochs=6, batch_size=5, optimizer=optimizers[2], schedule=schedule, callbacks=cut)
    assert lr == whole.lr
    assert {net.theta.tobytes() for net in nets} == {nets[0].theta.tobytes()}
    assert len(set(whole.lr)) > 1
    if not isinstance(schedule, schedules.ReduceLROnPlateau):
        assert whole.lr == schedule.rates(0.05, 0, 30, 5)[4::5].tolist()


def test_a_run_is_that_of_steps_with_those_rates() -> None:
    net, twin = make("numpy"), make("numpy")
    schedule = schedules.OneCycleLR(0.3, epochs=2, pct_start=0.5)
    net.train(X, Y, epochs=2, batch_size=5, optimizer=ns.SGD(), shuffle=False, schedule=schedule)
    for update, rate in enumerate(schedule.rates(1.0, 0, 10, 5)):
        rows = slice(5 * (update % 5), 5 * (update % 5) + 5)
        twin.step(X[rows], Y[rows], float(rate))
    np.testing.assert_allclose(net.theta, twin.theta, rtol=1e-13)


def test_epochs_are_counted_whatever_their_batches_were() -> None:
    net = make("numpy")
    optimizer, schedule = ns.SGD(lr=1e-3), schedules.ExponentialLR(0.5)
    rates = (
        net.train(X, Y, epochs=2, batch_size=1, optimizer=optimizer, schedule=schedule).lr
        + net.train(X, Y, epochs=2, batch_size=23, schedule=schedule).lr
    )
    assert rates == [1e-3, 5e-4, 2.5e-4, 1.25e-4]


def test_the_state_of_a_plateau_belongs_to_the_network_and_its_optimiser(tmp_path: Path) -> None:
    schedule = schedules.ReduceLROnPlateau(patience=0, factor=0.5, threshold=0.9, monitor="loss")
    net, optimizer = make("numpy"), ns.SGD(lr=0.01)
    assert net.train(X, Y, epochs=4, optimizer=optimizer, schedule=schedule).lr == [0.01, 0.01, 0.005, 0.0025]
    net.save(tmp_path / "model")
    loaded = ns.load(tmp_path / "model", backend="numpy")
    for each in (net, loaded):
        assert each.train(X, Y, epochs=2, schedule=schedule).lr == [0.00125, 0.000625]
    assert net.theta.tobytes() == loaded.theta.tobytes()
    optimizer.lr = 0.02  # another rate, another start
    assert net.train(X, Y, epochs=1, schedule=schedule).lr == [0.02]
    assert net.train(X, Y, epochs=1, optimizer=ns.SGD(lr=0.03), schedule=schedule).lr == [0.03]


def test_a_plateau_may_look_at_a_metric() -> None:
    schedule = schedules.ReduceLROnPlateau(patience=0, threshold=0.5, threshold_mode="abs", monitor="validation_r2")
    history = make("numpy").train(
        X, Y, epochs=4, optimizer=ns.SGD(1e-9), schedule=schedule, validation=(X, Y), metrics="r2"
    )
    assert history.lr == pytest.approx([1e-9, 1e-9, 1e-9, 1e-9])  # reductions of less than eps are not made
    schedule = replace(schedule, eps=0.0)
    history = make("numpy").train(
        X, Y, epochs=4, optimizer=ns.SGD(1e-9), schedule=schedule, validation=(X, Y), metrics="r2"
    )
    assert len(set(history.lr)) == 3


NAN = float("nan")
BAD: list[tuple[Any, type[Exception], str]] = [
    (lambda: schedules.Schedule(), TypeError, "not a schedule itself"),
    (lambda: schedules.ConstantLR(factor=1.5), ValueError, "factor=1.5"),
    (lambda: schedules.ConstantLR(total_iters=-1), ValueError, "total_iters=-1"),
    (lambda: schedules.ConstantLR(every="week"), ValueError, "every='week'"),
    (lambda: schedules.ConstantLR(every=1), TypeError, "every must be a string"),
    (lambda: schedules.LinearLR(start_factor=0), ValueError, "start_factor=0.0"),
    (lambda: schedules.LinearLR(end_factor=2), ValueError, "end_factor=2.0"),
    (lambda: schedules.LinearLR(total_iters=0), ValueError, "total_iters=0"),
    (lambda: schedules.StepLR(0), ValueError, "step_size=0"),
    (lambda: schedules.StepLR(1.5), TypeError, "step_size must be an integer"),
    (lambda: schedules.StepLR(3, gamma=-0.1), ValueError, "gamma=-0.1"),
    (lambda: schedules.MultiStepLR(5), TypeError, "milestones must be a sequence"),
    (lambda: schedules.MultiStepLR([1, -2]), ValueError, "milestones[1]=-2"),
    (lambda: schedules.MultiStepLR([1], gamma=NAN), ValueError, "gamma=nan"),
    (lambda: schedules.ExponentialLR("x"), TypeError, "gamma must be a real number"),
    (lambda: schedules.CosineAnnealingLR(0), ValueError, "T_max=0"),
    (lambda: schedules.CosineAnnealingLR(5, eta_min=-1), ValueError, "eta_min=-1.0"),
    (lambda: schedules.CosineAnnealingWarmRestarts(0), ValueError, "T_0=0"),
    (lambda: schedules.CosineAnnealingWarmRestarts(2, 0), ValueError, "T_mult=0"),
    (lambda: schedules.CosineAnnealingWarmRestarts(2, eta_min=NAN), ValueError, "eta_min=nan"),
    (lambda: schedules.OneCycleLR(0.1), ValueError, "total_steps or epochs"),
    (lambda: schedules.OneCycleLR(0.1, 5, 5), ValueError, "total_steps or epochs"),
    (lambda: schedules.OneCycleLR(0, 5), ValueError, "max_lr=0.0"),
    (lambda: schedules.OneCycleLR(0.1, 0), ValueError, "total_steps=0"),
    (lambda: schedules.OneCycleLR(0.1, epochs=0), ValueError, "epochs=0"),
    (lambda: schedules.OneCycleLR(0.1, 5, pct_start=1.5), ValueError, "pct_start=1.5"),
    (lambda: schedules.OneCycleLR(0.1, 5, pct_start=0.6, three_phase=True), ValueError, "pct_start=0.6"),
    (lambda: schedules.OneCycleLR(0.1, 5, anneal_strategy="exp"), ValueError, "anneal_strategy='exp'"),
    (lambda: schedules.OneCycleLR(0.1, 5, div_factor=0), ValueError, "div_factor=0.0"),
    (lambda: schedules.OneCycleLR(0.1, 5, final_div_factor=-1), ValueError, "final_div_factor=-1"),
    (lambda: schedules.OneCycleLR(0.1, 5, three_phase=1), TypeError, "three_phase"),
    (lambda: schedules.InverseScaling(-1), ValueError, "power=-1.0"),
    (lambda: schedules.InverseScaling(samples=0), ValueError, "samples=0"),
    (lambda: schedules.SequentialLR(5, []), TypeError, "schedulers must be a sequence"),
    (lambda: schedules.SequentialLR([], []), ValueError, "0 schedulers"),
    (lambda: schedules.SequentialLR(["x"], []), TypeError, "schedulers[0]"),
    (lambda: schedules.SequentialLR([schedules.ReduceLROnPlateau()], []), TypeError, "ReduceLROnPlateau"),
    (lambda: schedules.SequentialLR([schedules.StepLR(1)] * 2, [1, 2]), ValueError, "2 schedulers need 1 milestones"),
    (lambda: schedules.SequentialLR([schedules.StepLR(1)] * 3, [2, 2]), ValueError, "must increase"),
    (
        lambda: schedules.SequentialLR([schedules.StepLR(1), schedules.StepLR(1, every="step")], [2]),
        ValueError,
        "the same every",
    ),
    (lambda: schedules.ReduceLROnPlateau("best"), ValueError, "mode='best'"),
    (lambda: schedules.ReduceLROnPlateau(factor=1), ValueError, "factor=1.0"),
    (lambda: schedules.ReduceLROnPlateau(patience=-1), ValueError, "patience=-1"),
    (lambda: schedules.ReduceLROnPlateau(threshold=-1), ValueError, "threshold=-1"),
    (lambda: schedules.ReduceLROnPlateau(threshold_mode="x"), ValueError, "threshold_mode='x'"),
    (lambda: schedules.ReduceLROnPlateau(cooldown=1.0), TypeError, "cooldown must be an integer"),
    (lambda: schedules.ReduceLROnPlateau(min_lr=-1), ValueError, "min_lr=-1"),
    (lambda: schedules.ReduceLROnPlateau(eps=NAN), ValueError, "eps=nan"),
    (lambda: schedules.ReduceLROnPlateau(every="step"), ValueError, "every='step'"),
    (lambda: schedules.ReduceLROnPlateau(monitor=3), TypeError, "monitor must be a string"),
    (lambda: schedules.StepLR(1).rates(0, 0, 1, 1), ValueError, "lr=0.0"),
    (lambda: schedules.StepLR(1).rates(1, -1, 1, 1), ValueError, "first_update=-1"),
    (lambda: schedules.StepLR(1).rates(1, 0, -1, 1), ValueError, "count=-1"),
    (lambda: schedules.StepLR(1).rates(1, 0, 1, 0), ValueError, "steps_per_epoch=0"),
]


@pytest.mark.parametrize(("call", "exception", "words"), BAD)
def test_schedules_refuse(call: Any, exception: type[Exception], words: str) -> None:
    with pytest.raises(exception) as caught:
        call()
    assert words in str(caught.value)
