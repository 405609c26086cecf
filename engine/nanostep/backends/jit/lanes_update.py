"""Updates of networks in lanes, each with hyper-parameters of its own: lane by lane what `optimizers` does."""

from __future__ import annotations

from typing import Any

import numpy as np

from nanostep.backends.jit._kernel import Choice, choice
from nanostep.backends.jit.lanes import Tile
from nanostep.backends.jit.optimizers import (
    MARKED,
    adam_vector,
    first_correction,
    moving_vector,
    rmsprop_vector,
    second_correction,
    times_sign,
)
from nanostep.backends.reference.optimizers import CLIP_EPS
from nanostep.optimizers import Optimizer

Array = np.ndarray

SINGLE = "single"
"""The rule of plain SGD on single samples."""

FLAGS = ("nesterov", "velocity_with_rate", "centered", "amsgrad", "epsilon_hat")

ROWS = {
    SINGLE: ("lr",),
    "sgd": ("lr", "decay"),
    "rmsprop": ("lr", "decay", "momentum", "alpha", "rest", "eps"),
    "adam": ("shrink", "decay", "beta1", "rest1", "beta2", "rest2"),
    "momentum": ("momentum", "keep"),
    "velocity_with_rate": ("gain",),
    "l1": ("l1", "shift"),
    "clip_norm": ("clip_norm",),
    "clip_value": ("clip_value",),
}
"""What is kept of the hyper-parameters in lanes, by the names of a rule."""

CORRECTED = ("lr", "beta1", "beta2", "eps")
"""Hyper-parameters in float64 from which Adam's corrections are made."""


def lane_rule_of(optimizer: Optimizer, dtype: np.dtype, single: bool) -> Choice:
    """Return the Static of the code for an optimiser: its kind, and what any network of the population has."""
    if single:
        return choice(dtype, SINGLE)
    kind = {"adamw": "adam"}.get(optimizer.kind, optimizer.kind)
    given = vars(optimizer)
    marks = [name for name in FLAGS if given.get(name)]
    marks += ["momentum"] if "momentum_buffer" in optimizer.slots else []
    return choice(dtype, kind, *marks, *(name for name in MARKED if np.any(given[name])))


def row_names(rule: Choice) -> tuple[str, ...]:
    """Rows of a rule's table."""
    return tuple(dict.fromkeys(row for name in rule.names for row in ROWS.get(name, ())))


def rule_tables(optimizer: Optimizer, rule: Choice, who: Array) -> tuple[Array, Array | None]:
    """Return what stays the same through a call, for whole vectors of networks: the rows of the rule, and of Adam what
    its corrections are made from, both (vector of networks, row, lane)."""
    arrays = {name: values[who] for name, values in optimizer.arrays().items()}
    h = {name: arrays.get(name, np.full(len(who), value)) for name, value in optimizer.of(0).hyperparameters().items()}
    one, none = np.ones(len(who)), np.zeros(len(who))
    lr, decay, l1 = h["lr"], h.get("weight_decay", none), h["l1"]
    decoupled, with_rate = optimizer.kind == "adamw", "velocity_with_rate" in rule.names
    gain = lr if with_rate else one
    rows = {
        **h,
        "lr": one if with_rate else lr,
        "gain": gain,
        "decay": none if decoupled else decay * gain,
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
    """Of Adam, what changes with the number of the update: rate, correction, eps. Neighbours with the same betas share
    a power."""
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
    """What gradients are multiplied by, so that the norm of each network's is clipped; NaN stays NaN."""
    grad = t.memory + t.net.grad

    def square(p: Any, total: Any) -> list[Any]:
        g = share * m.load(grad + p * t.net.lanes)
        return [g * g + total]

    (squares,) = m.loop(0, t.net.parameters, 1, square, [m.zero()])
    return m.at_most(most / (m.sqrt(squares) + CLIP_EPS), 1.0)


def moved(
    m: Any, kind: str, marks: list[str], row: dict[str, Any], fresh: Any, w: Any, g: Any, slots: list[Any]
) -> list[Any]:
    """Theta and slots after an update with gradient g."""
    held = iter(slots)
    lr, decay = row.get("lr"), row["decay"]
    if kind == "sgd":
        if not slots:
            return [w - lr * (decay * w + g)]
        rates = (row[name] for name in ("momentum", "keep"))
        return list(moving_vector(m, w, g, slots[0], fresh, "nesterov" in marks, lr, decay, *rates))
    if kind == "rmsprop":
        s = next(held), next(held) if "momentum" in marks else None, next(held) if "centered" in marks else None
        rates = (row[name] for name in ("momentum", "alpha", "rest", "eps"))
        result = rmsprop_vector(m, w, g, *s, lr, decay, *rates)
    else:
        s = next(held), next(held), next(held) if "amsgrad" in marks else None
        rates = (row[name] for name in ("beta1", "rest1", "beta2", "rest2", "rate", "correction", "eps"))
        result = adam_vector(m, w, g, *s, row["shrink"], decay, *rates)
    return [value for value in result if value is not None]


def lanes_update(m: Any, t: Tile, update: Any, share: Any) -> None:
    """Update number `update` from the sum of the gradients, times `share`."""
    net, (kind, *marks) = t.net, t.rule.names
    row = {name: rule_row(m, t, name) for name in row_names(t.rule)}
    theta, grad, slots, next_slot = t.memory, t.memory + net.grad, t.memory + net.slot, net.parameters * net.lanes
    share = m.splat(m.rounded(share))
    if "clip_norm" in marks:
        share = share * norm_factor(m, t, share, row["clip_norm"])
    if "velocity_with_rate" in marks:
        share = share * row["gain"]
    if kind == "adam":
        row |= zip(("rate", "correction", "eps"), correct_bias(m, t, update), strict=True)

    def parameter(p: Any) -> None:
        at = p * net.lanes
        w, g = m.load(theta + at), share * m.load(grad + at)
        if "clip_value" in marks:
            g = m.at_most(m.at_least(g, -row["clip_value"]), row["clip_value"])
        if "l1" in marks:
            g, w = g + times_sign(m, row["l1"], w), w - times_sign(m, row["shift"], w)
        old = [m.load(slots + (at + s * next_slot)) for s in range(net.slots)]
        w, *new = moved(m, kind, marks, row, update == 1, w, g, old)
        m.store(theta + at, w)
        for s, value in enumerate(new):
            m.store(slots + (at + s * next_slot), value)

    m.loop(0, net.parameters, 1, parameter)
