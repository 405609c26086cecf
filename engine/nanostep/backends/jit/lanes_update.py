"""Updates of networks in lanes, each with its own hyper-parameters: the formulas of `optimizers`, lane by lane."""

from __future__ import annotations

from typing import Any

import numpy as np

from nanostep.backends.jit._kernel import Choice, choice
from nanostep.backends.jit.lanes import Tile
from nanostep.backends.jit.optimizers import (
    STATIC_FLAGS,
    AdamScalars,
    MomentumScalars,
    RMSpropScalars,
    adam_vector,
    first_correction,
    momentum_vector,
    rmsprop_vector,
    second_correction,
    times_sign,
)
from nanostep.backends.reference.optimizers import CLIP_EPS
from nanostep.optimizers import Optimizer

Array = np.ndarray

SINGLE = "single"
"""The rule of plain SGD on single samples."""

LANE_FLAGS = ("nesterov", "velocity_with_rate", "centered", "amsgrad", "epsilon_hat")
"""Static flags of populations beyond `STATIC_FLAGS`, and "momentum"."""

ROWS = {
    SINGLE: ("lr",),
    "sgd": ("lr", "decay"),
    "rmsprop": ("lr", "decay", "momentum", "alpha", "rest", "eps"),
    "adam": ("shrink", "penalty", "beta1", "rest1", "beta2", "rest2"),
    "momentum": ("momentum", "keep"),
    "velocity_with_rate": ("gain",),
    "l1": ("l1", "shift"),
    "clip_norm": ("clip_norm",),
    "clip_value": ("clip_value",),
}
"""Rows of the table of hyper-parameters in lanes, by the names of a rule."""

CORRECTED = ("lr", "beta1", "beta2", "eps")
"""Hyper-parameters in float64 from which Adam's corrections are computed."""


def lane_rule_of(optimizer: Optimizer, dtype: np.dtype, single: bool) -> Choice:
    """Return the Static of the code for an optimiser: its kind, and the flags of any network of the population."""
    if single:
        return choice(dtype, SINGLE)
    kind = {"adamw": "adam"}.get(optimizer.kind, optimizer.kind)
    given = vars(optimizer)
    flags = [name for name in LANE_FLAGS if given.get(name)]
    flags += ["momentum"] if "momentum_buffer" in optimizer.slots else []
    return choice(dtype, kind, *flags, *(name for name in STATIC_FLAGS if np.any(given[name])))


def row_names(rule: Choice) -> tuple[str, ...]:
    """Rows of a rule's table."""
    return tuple(dict.fromkeys(row for name in rule.names for row in ROWS.get(name, ())))


def rule_tables(optimizer: Optimizer, rule: Choice, indices: Array) -> tuple[Array, Array | None]:
    """Return the constants of a call for whole vectors of networks: the rows of the rule, and for Adam those of
    `CORRECTED`, both (vector of networks, row, lane)."""
    arrays = {name: values[indices] for name, values in optimizer.arrays().items()}
    h = {
        name: arrays.get(name, np.full(len(indices), value))
        for name, value in optimizer.of(0).hyperparameters().items()
    }
    one, none = np.ones(len(indices)), np.zeros(len(indices))
    lr, decay, l1 = h["lr"], h.get("weight_decay", none), h["l1"]
    decoupled, with_rate = optimizer.kind == "adamw", "velocity_with_rate" in rule.names
    gain = lr if with_rate else one
    rows = {
        **h,
        "lr": one if with_rate else lr,
        "gain": gain,
        "decay": none if decoupled else decay * gain,
        "penalty": none if decoupled else decay,
        "shrink": 1 - lr * decay if decoupled else one,
        "l1": none if decoupled else l1 * gain,
        "shift": lr * l1 if decoupled else none,
        "keep": np.where(h.get("momentum", none) == 0, 1, 1 - h.get("dampening", none)),
        "clip_value": h["clip_value"] * gain,
    }
    rows |= {
        rest: 1 - h[name] for name, rest in (("alpha", "rest"), ("beta1", "rest1"), ("beta2", "rest2")) if name in h
    }

    def table(names: tuple[str, ...], source: dict[str, Array], dtype: Any) -> Array:
        values = np.array([source[name] for name in names]).reshape(len(names), -1, rule.lanes)
        return np.ascontiguousarray(values.swapaxes(0, 1), dtype)

    return table(row_names(rule), rows, rule.dtype), table(CORRECTED, h, np.float64) if "adam" in rule.names else None


def rule_row(m: Any, t: Tile, name: str, g: int = 0) -> Any:
    """A row of the rule, of vector g of the networks of a tile."""
    names = row_names(t.rule)
    return m.load(t.h + (g * len(names) + names.index(name)) * t.net.lanes)


def correct_bias(m: Any, t: Tile, update: Any) -> list[Any]:
    """Return what changes with the number of the update in Adam: rate, correction, eps. Neighbours with the same betas
    share a power."""
    lanes, rates = t.net.lanes, t.memory + t.net.rates

    def lane(k: Any, beta1: Any, one: Any, beta2: Any, two: Any) -> list[Any]:
        lr, own1, own2, eps = (m.load_number(t.corrected + (k + r * lanes)) for r in range(len(CORRECTED)))
        (one,) = m.when(own1 != beta1, lambda _: [first_correction(m, own1, update)], None, [one])
        (two,) = m.when(own2 != beta2, lambda _: [second_correction(m, own2, update)], None, [two])
        for r, value in enumerate((lr / one, two, eps * two if "epsilon_hat" in t.rule.names else eps)):
            m.store_number(rates + (k + r * lanes), m.rounded(value))
        return [own1, one, own2, two]

    m.loop(0, lanes, 1, lane, [m.double(-1.0)] * 4)
    return [m.load(rates + r * lanes) for r in range(3)]


def norm_factor(m: Any, t: Tile, share: Any, most: Any) -> Any:
    """The factor that clips the norm of each network's gradient; NaN stays NaN."""
    grad = t.memory + t.net.grad

    def square(p: Any, total: Any) -> list[Any]:
        g = share * m.load(grad + p * t.net.lanes)
        return [g * g + total]

    (squares,) = m.loop(0, t.net.parameters, 1, square, [m.zero()])
    return m.at_most(most / (m.sqrt(squares) + CLIP_EPS), 1.0)


def moved(m: Any, rule: Choice, row: dict[str, Any], is_first: Any, w: Any, g: Any, slots: list[Any]) -> list[Any]:
    """Theta and slots after an update with gradient g."""
    (kind, *flags), held = rule.names, iter(slots)
    if kind == "sgd":
        if not slots:
            return [w - row["lr"] * (row["decay"] * w + g)]
        momentum = MomentumScalars(*(row[name] for name in MomentumScalars._fields))
        return list(momentum_vector(m, w, g, slots[0], is_first, "nesterov" in flags, momentum))
    if kind == "rmsprop":
        s = next(held), next(held) if "momentum" in flags else None, next(held) if "centered" in flags else None
        result = rmsprop_vector(m, w, g, *s, RMSpropScalars(*(row[name] for name in RMSpropScalars._fields)))
    else:
        s = next(held), next(held), next(held) if "amsgrad" in flags else None
        result = adam_vector(m, w, g, *s, AdamScalars(*(row[name] for name in AdamScalars._fields)))
    return [value for value in result if value is not None]


def lanes_update(m: Any, t: Tile, update: Any, share: Any) -> None:
    """Update number `update` from the sum of the gradients, times `share`."""
    net, kind = t.net, t.rule.names[0]
    row = {name: rule_row(m, t, name) for name in row_names(t.rule)}
    theta, grad, slots, next_slot = t.memory, t.memory + net.grad, t.memory + net.slot, net.parameters * net.lanes
    share = m.splat(m.rounded(share))
    if "clip_norm" in t.rule.names:
        share = share * norm_factor(m, t, share, row["clip_norm"])
    if "velocity_with_rate" in t.rule.names:
        share = share * row["gain"]
    if kind == "adam":
        row |= zip(("rate", "correction", "eps"), correct_bias(m, t, update), strict=True)

    def parameter(p: Any) -> None:
        at = p * net.lanes
        w, g = m.load(theta + at), share * m.load(grad + at)
        if "clip_value" in t.rule.names:
            g = m.at_most(m.at_least(g, -row["clip_value"]), row["clip_value"])
        if "l1" in t.rule.names:
            g, w = g + times_sign(m, row["l1"], w), w - times_sign(m, row["shift"], w)
        old = [m.load(slots + (at + s * next_slot)) for s in range(net.slots)]
        w, *new = moved(m, t.rule, row, update == 1, w, g, old)
        m.store(theta + at, w)
        for s, value in enumerate(new):
            m.store(slots + (at + s * next_slot), value)

    m.loop(0, net.parameters, 1, parameter)
