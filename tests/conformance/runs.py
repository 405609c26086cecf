"""Checks of a backend's whole runs, as plain functions that raise AssertionError.

They take the class ``Engine`` to check, so that `test_can_fail` can pass wrong ones. Expected values come from the
reference's engine in high precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from cases import HIGH, OPTIMIZERS, THREADS, cast, draw_samples, draw_theta
from conformance.arguments import Guarded, guard
from conformance.comparisons import TOLERANCE, assert_blocks, assert_norm
from nanostep._arrays import Samples
from nanostep.architecture import Architecture
from nanostep.backends.contract import Cursor, Engine, RunConfig
from nanostep.backends.reference import networks, order
from nanostep.optimizers import SGD

EngineType = type[Engine]


@dataclass(frozen=True)
class RunCase:
    """A network with data, all drawn from the seed."""

    architecture: Architecture
    n: int
    seed: int = 0

    def __str__(self) -> str:
        a = self.architecture
        return f"{a} {'/'.join(a.activations)} {a.criterion} n={self.n}"


@dataclass(frozen=True)
class Schedule:
    """The settings of a training run of a case; `extras` names one of `EXTRAS`."""

    optimizer: str
    batch: int
    shuffle: bool
    steps: int
    seed: int = 3
    extras: str = ""

    def plan(self, hidden: int, begin: int = 0) -> RunConfig:
        """Return the settings of a call that begins after `begin` steps, for a network with `hidden` hidden layers."""
        fields = dict(EXTRAS[self.extras])
        if "rates" in fields:
            fields["rates"] = rates(self.steps)[begin:]
        if "dropout" in fields:
            fields["dropout"] = fields["dropout"][:hidden]
        return RunConfig(batch=self.batch, shuffle=self.shuffle, seed=self.seed, threads=THREADS, **fields)


EXTRAS: dict[str, dict[str, Any]] = {
    "": {},
    "rates": {"rates": True},
    "dropout": {"dropout": (0.5, 0.2, 0.0, 0.9)},
    "smoothing": {"smoothing": 0.2},
    "alpha": {"alpha": 0.5},
    "scale": {"scale": 2.5},
    "lowest-log": {"log_clip_min": -0.5},
    "weights": {},
    "weights-mean": {"batch_mean": True},
    "everything": {
        "rates": True,
        "dropout": (0.3, 0.4, 0.5, 0.6),
        "smoothing": 0.1,
        "alpha": 0.3,
        "scale": 0.5,
        "batch_mean": True,
    },
}
"""Settings of a run beyond the order of samples: fields of `RunConfig`, and the data for them (`make_data`)."""


def rates(steps: int) -> np.ndarray:
    """Return learning rates that change after every three updates; some are 0."""
    return np.array([0.05, 0.02, 0.0, 0.07])[np.arange(steps) // 3 % 4]


def make_data(case: RunCase, extras: str) -> tuple[np.ndarray, Samples]:
    """Return theta and samples in float64, with labels for smoothing, and with weights (some 0) for weighted runs."""
    theta, samples = make(case)
    rng = np.random.default_rng(case.n)
    if "smoothing" in EXTRAS[extras] and case.architecture.loss == "cross_entropy":
        samples = Samples(samples.x, None, rng.integers(0, case.architecture.outputs, case.n))
    if "weights" in extras or extras == "everything":
        samples = replace(samples, weight=rng.integers(0, 9, case.n) / 4)
    return theta, samples


@cache
def make(case: RunCase) -> tuple[np.ndarray, Samples]:
    """Return theta and samples of a case in float64."""
    rng = np.random.default_rng([case.seed, case.n, *case.architecture.sizes])
    theta = draw_theta(case.architecture, rng)
    return theta, draw_samples(case.architecture, theta, case.n, rng)


@dataclass
class State:
    """Everything that a training run changes."""

    theta: np.ndarray
    slots: np.ndarray
    cursor: Cursor
    losses: np.ndarray
    penalties: np.ndarray
    ended: int = 0


def begin(case: RunCase, schedule: Schedule, dtype: np.dtype) -> State:
    """Return the state before a run."""
    theta = make(case)[0]
    return State(
        theta.astype(dtype),
        np.zeros((len(OPTIMIZERS[schedule.optimizer].slots), len(theta)), dtype),
        Cursor(np.full(case.n if schedule.shuffle else 0, -1, np.int64)),
        np.full(schedule.steps + 1, np.nan),
        np.full(schedule.steps + 1, np.nan),
    )


def train(
    engine_type: EngineType, case: RunCase, schedule: Schedule, dtype: np.dtype, cuts: Sequence[int] = ()
) -> State:
    """Train from the start, in calls that end after each number of steps in `cuts` and at the end of the schedule."""
    samples, optimizer = make_data(case, schedule.extras)[1], OPTIMIZERS[schedule.optimizer]
    state = begin(case, schedule, dtype)
    engine, data, made = engine_type(case.architecture, dtype), cast(samples, dtype), 0
    hidden = len(case.architecture.layers) - 1
    for end in [*cuts, schedule.steps]:
        losses, penalties = state.losses[state.ended :], state.penalties[state.ended :]
        plan, steps = schedule.plan(hidden, made), end - made
        state.ended += engine.train(
            state.theta, state.slots, data, optimizer, plan, state.cursor, steps, losses, epoch_penalty__e=penalties
        )
        made = end
    return state


@cache
def expected_training(case: RunCase, schedule: Schedule) -> State:
    """Return the reference's state in high precision, to be treated as read-only."""
    return train(networks.Engine, case, schedule, HIGH)


def check_training(engine_type: EngineType, case: RunCase, schedule: Schedule, dtype: str) -> None:
    """Check theta, slots, cursor and epoch losses after a run; each step may add a rounding of its own.

    An L1 penalty jumps where a parameter changes its sign, which rounding may put one step off: such runs are checked
    step by step.
    """
    if OPTIMIZERS[schedule.optimizer].l1 > 0:
        check_steps(engine_type, case, schedule, dtype)
        return
    got, want = train(engine_type, case, schedule, np.dtype(dtype)), expected_training(case, schedule)
    what = f"{case}, {schedule}"
    tolerance = TOLERANCE[dtype] + schedule.steps * float(np.finfo(dtype).eps)
    assert_states(case, schedule, got, want, tolerance, what)


def check_steps(engine_type: EngineType, case: RunCase, schedule: Schedule, dtype: str) -> None:
    """Check every step of a run against the reference's step from the engine's state before it."""
    optimizer = OPTIMIZERS[schedule.optimizer]
    got = begin(case, schedule, np.dtype(dtype))
    engine, exact = (
        kind(case.architecture, np.dtype(d)) for kind, d in ((engine_type, dtype), (networks.Engine, HIGH))
    )
    samples = make_data(case, schedule.extras)[1]
    for step in range(schedule.steps):
        plan = schedule.plan(len(case.architecture.layers) - 1, step)
        before = got.theta.copy()
        want = replace(
            got,
            theta=got.theta.astype(HIGH),
            slots=got.slots.astype(HIGH),
            cursor=replace(got.cursor, order=got.cursor.order.copy(), backend_state=None),
            losses=got.losses.copy(),
            penalties=got.penalties.copy(),
        )
        for state, one, d in ((got, engine, np.dtype(dtype)), (want, exact, HIGH)):
            losses, penalties = state.losses[state.ended :], state.penalties[state.ended :]
            data = cast(samples, d)
            state.ended += one.train(
                state.theta, state.slots, data, optimizer, plan, state.cursor, 1, losses, epoch_penalty__e=penalties
            )
        assert_states(case, schedule, got, want, TOLERANCE[dtype], f"{case}, {schedule}: step {step}", before)


def assert_states(
    case: RunCase,
    schedule: Schedule,
    got: State,
    want: State,
    tolerance: float,
    what: str,
    before: np.ndarray | None = None,
) -> None:
    """Check everything that a run changes; rounding may be that of theta `before` it, if given."""
    assert_blocks(case.architecture, got.theta, want.theta, tolerance, f"{what}: theta", before)
    for name, g, w in zip(OPTIMIZERS[schedule.optimizer].slots, got.slots, want.slots, strict=True):
        assert_norm(g, w, tolerance, f"{what}: {name}")
    for field in ("epoch", "row", "updates"):
        assert getattr(got.cursor, field) == getattr(want.cursor, field), f"{what}: cursor.{field}"
    np.testing.assert_array_equal(got.cursor.order, want.cursor.order, f"{what}: cursor.order")
    assert got.ended == want.ended, f"{what}: {got.ended} epochs ended, not {want.ended}"
    assert_norm(got.losses[: got.ended], want.losses[: want.ended], tolerance, f"{what}: epoch losses")
    assert_norm(np.array(got.cursor.loss_sum), np.array(want.cursor.loss_sum), tolerance, f"{what}: cursor.loss_sum")
    assert np.isnan(got.losses[got.ended :]).all(), f"{what}: wrote more losses than epochs ended"
    assert_norm(got.penalties[: got.ended], want.penalties[: want.ended], tolerance, f"{what}: epoch penalties")
    assert_norm(
        np.array(got.cursor.penalty_sum), np.array(want.cursor.penalty_sum), tolerance, f"{what}: cursor.penalty_sum"
    )
    assert np.isnan(got.penalties[got.ended :]).all(), f"{what}: wrote more penalties than epochs ended"


def check_training_effects(engine_type: EngineType, case: RunCase, schedule: Schedule, dtype: str) -> None:
    """Check that a run changes only its state: guard words and data stay as they were."""
    theta, samples = make(case)
    optimizer = OPTIMIZERS[schedule.optimizer]
    data = cast(samples, np.dtype(dtype))
    assert data.y is not None
    areas = {
        "theta": guard(theta.astype(dtype)),
        "slots": guard(np.zeros((len(optimizer.slots), len(theta)), dtype)),
        "x": guard(data.x),
        "y": guard(data.y),
        "order": guard(np.full(case.n if schedule.shuffle else 0, -1, np.int64)),
        "epoch_loss": guard(np.full(schedule.steps + 1, np.nan)),
        "epoch_penalty": guard(np.full(schedule.steps + 1, np.nan)),
    }
    arrays = {name: area.array for name, area in areas.items()}
    engine = engine_type(case.architecture, np.dtype(dtype))
    engine.train(
        arrays["theta"],
        arrays["slots"],
        Samples(arrays["x"], arrays["y"], None),
        optimizer,
        schedule.plan(len(case.architecture.layers) - 1),
        Cursor(arrays["order"]),
        schedule.steps,
        arrays["epoch_loss"],
        epoch_penalty__e=arrays["epoch_penalty"],
    )
    assert_intact(areas, case)
    assert arrays["x"].tobytes() == data.x.tobytes(), f"{case}: changed x"
    assert arrays["y"].tobytes() == data.y.tobytes(), f"{case}: changed y"
    assert arrays["theta"].tobytes() != theta.astype(dtype).tobytes(), f"{case}: theta stayed as it was"


def check_cuts(engine_type: EngineType, case: RunCase, schedule: Schedule, dtype: str) -> None:
    """Check that a run cut into calls anywhere gives the same bits as one call."""
    whole = train(engine_type, case, schedule, np.dtype(dtype))
    rng = np.random.default_rng(1)
    some = sorted(rng.integers(0, schedule.steps + 1, 5).tolist())
    for cuts in ([1], range(1, schedule.steps), some):
        parts = train(engine_type, case, schedule, np.dtype(dtype), list(cuts))
        what = f"{case}, {schedule}, cut after {list(cuts)}"
        for name in ("theta", "slots", "losses", "penalties"):
            assert getattr(parts, name).tobytes() == getattr(whole, name).tobytes(), f"{what}: {name}"
        assert parts.ended == whole.ended, what
        for field in ("epoch", "row", "updates", "loss_sum", "penalty_sum"):
            assert getattr(parts.cursor, field) == getattr(whole.cursor, field), f"{what}: cursor.{field}"
        np.testing.assert_array_equal(parts.cursor.order, whole.cursor.order, what)


def check_custom_order(engine_type: EngineType, case: RunCase, batch: int, dtype: str) -> None:
    """Check that a run with the caller's orders gives the same bits as one that draws the same orders itself."""
    schedule = Schedule("sgd", batch, True, 2 * -(-case.n // batch))
    drawn = train(engine_type, case, schedule, np.dtype(dtype))
    theta, samples = make(case)
    moving, slots, losses = theta.astype(dtype), np.empty((0, len(theta)), dtype), np.full(2, np.nan)
    engine, data, cursor = (
        engine_type(case.architecture, np.dtype(dtype)),
        cast(samples, np.dtype(dtype)),
        Cursor(np.empty(case.n, np.int64)),
    )
    plan = replace(schedule.plan(0), shuffle=False, custom_order=True)
    for epoch in range(2):
        order.shuffle(schedule.seed, epoch, cursor.order)
        kept = cursor.order.copy()
        engine.train(
            moving, slots, data, OPTIMIZERS["sgd"], plan, cursor, schedule.steps // 2, losses[epoch : epoch + 1]
        )
        np.testing.assert_array_equal(cursor.order, kept, f"{case}: changed the order")
    assert moving.tobytes() == drawn.theta.tobytes(), f"{case}, batch {batch}: theta"
    assert losses.tobytes() == drawn.losses[:2].tobytes(), f"{case}, batch {batch}: losses"


def check_forward(engine_type: EngineType, case: RunCase, dtype: str) -> None:
    """Check values and effects of predict and loss."""
    theta, samples = make(case)
    reference = networks.Engine(case.architecture, HIGH)
    expected = np.empty((case.n, case.architecture.outputs), HIGH)
    reference.predict(theta.astype(HIGH), samples.x.astype(HIGH), expected)
    areas, data = _guarded(theta, samples, dtype)
    areas["a"] = guard(np.full((case.n, case.architecture.outputs), np.nan, dtype))
    engine = engine_type(case.architecture, np.dtype(dtype))
    engine.predict(areas["theta"].array, areas["x"].array, areas["a"].array)
    assert_unchanged(areas, theta, cast(samples, np.dtype(dtype)), case)
    assert_norm(areas["a"].array, expected, TOLERANCE[dtype], f"{case}: predict")

    loss = engine.loss(areas["theta"].array, data)
    assert_unchanged(areas, theta, cast(samples, np.dtype(dtype)), case)
    expected_loss = reference.loss(theta.astype(HIGH), cast(samples, HIGH))
    assert_norm(np.array(loss), np.array(expected_loss), TOLERANCE[dtype], f"{case}: loss")


def check_gradient(engine_type: EngineType, case: RunCase, dtype: str) -> None:
    """Check values and effects of gradient."""
    theta, samples = make(case)
    expected = np.empty(len(theta), HIGH)
    expected_loss = networks.Engine(case.architecture, HIGH).gradient(theta.astype(HIGH), cast(samples, HIGH), expected)
    areas, data = _guarded(theta, samples, dtype)
    areas["grad"] = guard(np.full(len(theta), np.nan, dtype))
    loss = engine_type(case.architecture, np.dtype(dtype)).gradient(areas["theta"].array, data, areas["grad"].array)
    assert_unchanged(areas, theta, cast(samples, np.dtype(dtype)), case)
    assert_norm(np.array(loss), np.array(expected_loss), TOLERANCE[dtype], f"{case}: loss")
    assert_blocks(case.architecture, areas["grad"].array, expected, TOLERANCE[dtype], f"{case}: gradient")


def check_weights(engine_type: EngineType, case: RunCase, dtype: str) -> None:
    """Check loss and gradient of samples with different weights."""
    theta, samples = make_data(case, "weights")
    expected = np.empty(len(theta), HIGH)
    reference = networks.Engine(case.architecture, HIGH)
    expected_loss = reference.gradient(theta.astype(HIGH), cast(samples, HIGH), expected)
    engine, got = engine_type(case.architecture, np.dtype(dtype)), np.full(len(theta), np.nan, dtype)
    data = cast(samples, np.dtype(dtype))
    for loss in (engine.loss(theta.astype(dtype), data), engine.gradient(theta.astype(dtype), data, got)):
        assert_norm(np.array(loss), np.array(expected_loss), TOLERANCE[dtype], f"{case}: loss of weighted samples")
    assert_blocks(case.architecture, got, expected, TOLERANCE[dtype], f"{case}: gradient of weighted samples")


def check_jacobian(engine_type: EngineType, case: RunCase, dtype: str) -> None:
    """Check values and effects of jacobian."""
    theta, samples = make(case)
    shape = (case.n, case.architecture.outputs)
    expected_a, expected = np.empty(shape, HIGH), np.empty((*shape, len(theta)), HIGH)
    networks.Engine(case.architecture, HIGH).jacobian(theta.astype(HIGH), samples.x.astype(HIGH), expected_a, expected)
    areas, _ = _guarded(theta, samples, dtype)
    areas["a"] = guard(np.full(shape, np.nan, dtype))
    areas["jacobian"] = guard(np.full((*shape, len(theta)), np.nan, dtype))
    arrays = [areas[name].array for name in ("theta", "x", "a", "jacobian")]
    engine_type(case.architecture, np.dtype(dtype)).jacobian(*arrays)
    assert_unchanged(areas, theta, cast(samples, np.dtype(dtype)), case)
    assert_norm(areas["a"].array, expected_a, TOLERANCE[dtype], f"{case}: outputs")
    assert_norm(areas["jacobian"].array, expected, TOLERANCE[dtype], f"{case}: jacobian")


def check_vjp(engine_type: EngineType, case: RunCase, dtype: str) -> None:
    """Check values and effects of vjp: gradients by theta and by x together and alone, of the outputs and of z."""
    theta, samples = make(case)
    rng = np.random.default_rng(case.n)
    dout = np.round(rng.standard_normal((case.n, case.architecture.outputs)) * 2**8) / 2**8
    right = networks.Engine(case.architecture, HIGH)
    for of_z in (False, True):
        want_grad, want_dx = np.empty(len(theta), HIGH), np.empty(samples.x.shape, HIGH)
        high = (array.astype(HIGH) for array in (theta, samples.x, dout))
        right.vjp(*high, of_z=of_z, grad__p=want_grad, dx__ni=want_dx)
        for wants_grad, wants_dx in ((True, True), (True, False), (False, True)):
            areas, _ = _guarded(theta, samples, dtype)
            areas["dout"] = guard(dout.astype(dtype))
            grad, dx = guard(np.full(len(theta), np.nan, dtype)), guard(np.full(samples.x.shape, np.nan, dtype))
            engine_type(case.architecture, np.dtype(dtype)).vjp(
                *(areas[name].array for name in ("theta", "x", "dout")),
                of_z=of_z,
                grad__p=grad.array if wants_grad else None,
                dx__ni=dx.array if wants_dx else None,
            )
            assert_unchanged(areas, theta, cast(samples, np.dtype(dtype)), case)
            assert_intact({"grad": grad, "dx": dx}, case)
            assert areas["dout"].array.tobytes() == dout.astype(dtype).tobytes(), f"{case}: changed dout"
            what = f"{case}: pulled back from {'z' if of_z else 'a'}"
            if wants_grad:
                assert_vjp(case.architecture, grad.array, want_grad, dtype, what)
            if wants_dx:
                assert_norm(dx.array, want_dx, VJP_TOLERANCE[dtype], f"{what}, dx")


VJP_TOLERANCE = {dtype: 4 * TOLERANCE[dtype] for dtype in TOLERANCE}
"""Of gradients of random signs, whose sums over rows cancel."""


def assert_vjp(architecture: Architecture, got: np.ndarray, want: np.ndarray, dtype: str, what: str) -> None:
    """Check each W and b, with their norm or that of the whole gradient as the size: sums over rows may cancel."""
    assert_norm(got, want, VJP_TOLERANCE[dtype], what)
    for l, layer in enumerate(architecture.layers):
        for name, block in (("W", layer.weights), ("b", layer.biases)):
            assert_norm(got[block], want[block], VJP_TOLERANCE[dtype], f"{what}, {name} of layer {l}", want)


def check_labels(engine_type: EngineType, case: RunCase, dtype: str, scale: float = 1.0) -> None:
    """Check that class labels give the same as their one-hot rows; `scale` multiplies theta, and with it the logits."""
    theta, samples = make(case)
    theta = scale * theta
    classes = case.architecture.outputs
    labels = np.random.default_rng(case.seed).integers(0, classes, case.n)
    x = samples.x.astype(dtype)
    kept = labels.copy()
    by_label, by_row = Samples(x, None, labels), Samples(x, np.eye(classes, dtype=dtype)[labels], None)
    engine = engine_type(case.architecture, np.dtype(dtype))
    names = ("losses", "gradient", "theta", "epochs", "loss_sum")
    for batch in (1, min(4, case.n)):
        results = []
        for data in (by_label, by_row):
            moving, grad = theta.astype(dtype), np.full(len(theta), np.nan, dtype)
            values = [engine.loss(moving, data), engine.gradient(moving, data, grad)]
            losses = np.full(4, np.nan)
            cursor = Cursor(np.empty(case.n, np.int64))
            plan = RunConfig(batch=batch, shuffle=True, seed=1, threads=THREADS)
            steps = min(2 * -(-case.n // batch) + 1, 200)
            engine.train(moving, np.empty((0, len(theta)), dtype), data, SGD(lr=0.05), plan, cursor, steps, losses)
            ended = losses[: steps // -(-case.n // batch)]
            results.append([np.array(values), grad, moving, ended, np.array(cursor.loss_sum)])
        tolerance = TOLERANCE[dtype] + steps * float(np.finfo(dtype).eps)
        for name, from_labels, from_rows in zip(names, *results, strict=True):
            assert_norm(from_labels, from_rows, tolerance, f"{case}: {name} from labels, batch {batch}")
    np.testing.assert_array_equal(labels, kept, f"{case}: changed the labels")


def _guarded(theta: np.ndarray, samples: Samples, dtype: str) -> tuple[dict[str, Guarded], Samples]:
    assert samples.y is not None
    areas = {
        "theta": guard(theta.astype(dtype)),
        "x": guard(samples.x.astype(dtype)),
        "y": guard(samples.y.astype(dtype)),
    }
    return areas, Samples(areas["x"].array, areas["y"].array, None)


def assert_intact(areas: dict[str, Guarded], case: RunCase) -> None:
    for name, area in areas.items():
        assert area.intact(), f"{case}: wrote beyond {name}"


def assert_unchanged(areas: dict[str, Guarded], theta: np.ndarray, data: Samples, case: RunCase) -> None:
    """Check that guard words, theta and the data are unchanged to the bit."""
    assert_intact(areas, case)
    assert data.y is not None
    for name, array in (("theta", theta.astype(data.x.dtype)), ("x", data.x), ("y", data.y)):
        assert areas[name].array.tobytes() == array.tobytes(), f"{case}: changed {name}"
