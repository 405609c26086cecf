"""Finite-difference check of a gradient.

Each parameter w is moved up and down by a step h and the loss is computed again. This is done in float64 with the
reference backend, whatever the network's own dtype and backend are, so that a float32 gradient is compared with a more
precise one. The central difference ``(L(w + h) - L(w - h)) / 2h`` is shown. The verdict uses a finer criterion: with
the one-sided differences ``D+(h) = (L(w + h) - L(w)) / h`` and ``D-(h) = (L(w) - L(w - h)) / h``, the slopes on either
side of w are ``2 D(h/2) - D(h)`` to second order (Richardson's extrapolation), and an entry is ok if it lies between
them, up to rounding and truncation. Where L is smooth the two slopes are equal. At a kink of relu or of an absolute
value they are not, and any value between them is a subgradient.

The step is eps^(1/3), where the truncation of a central difference (h^2) and the rounding of L (eps / h) balance
(Press et al., "Numerical Recipes", section 5.7), divided by the input that w multiplies if that is above 1, so that z
moves by about the same amount whatever the scale of the data.

Cost: four partial forward passes per parameter, starting from z of its own layer. Blocks (a W or a b) of more than
`MAX_PER_BLOCK` entries are checked at that many entries, spread evenly over the block.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from nanostep.architecture import Architecture
from nanostep.backends.reference.activations import activate
from nanostep.backends.reference.layers import dense_forward
from nanostep.backends.reference.losses import loss_value
from nanostep.worksheet.trace import Trace, rounding_errors

Array = np.ndarray

MAX_PER_BLOCK = 4096
"""Most entries of one block that are checked: under a second of work in a network of common size."""

ROWS = 256
"""Parameters that are moved at a time; bounds the memory."""

EPS = float(np.finfo(np.float64).eps)
STEP = EPS ** (1 / 3)

ROUNDINGS = 16.0
"""Tolerance, in roundings of the size that `rounding_errors` estimates for one."""


@dataclass(frozen=True)
class Check:
    """Check of the entries of a gradient, or of one block of it; all arrays have the block's shape.

    Attributes
    ----------
    difference : ndarray of float64
        Central difference; NaN where none was taken.
    taken, ok : ndarray of bool
        Whether a difference was taken, and whether the entry agrees with it (False where none was taken).
    """

    difference: Array
    taken: Array
    ok: Array

    def views(self, architecture: Architecture) -> tuple[tuple[Check, ...], tuple[Check, ...]]:
        """Return the checks of the weights and of the biases, by layer, of a check of a whole gradient."""
        blocks = [architecture.views(array) for array in (self.difference, self.taken, self.ok)]
        weights, biases = (tuple(map(Check, *(views[i] for views in blocks))) for i in (0, 1))
        return weights, biases

    def to_dict(self) -> dict[str, Any]:
        """Return differences and verdicts as nested lists; None where no difference was taken."""
        difference, ok = np.full(self.taken.shape, None), np.full(self.taken.shape, None)
        difference[self.taken], ok[self.taken] = self.difference[self.taken].tolist(), self.ok[self.taken].tolist()
        return {"difference": difference.tolist(), "ok": ok.tolist()}


def check_gradient(architecture: Architecture, theta: Array, trace: Trace) -> Check:
    """Compare ``trace.grad`` with finite differences of the loss at `theta`; both have shape (parameters,)."""
    differences = _Differences(architecture, theta.astype(np.float64), trace)
    errors, noise = rounding_errors(architecture, theta, trace)
    central, ok = np.full(len(theta), np.nan), np.zeros(len(theta), bool)
    taken = np.zeros(len(theta), bool)
    for l, chosen in _chosen(architecture):
        slopes = differences.slopes(l, chosen)
        tolerance = ROUNDINGS * (errors[chosen] + EPS * noise / slopes.step) + slopes.truncation
        low, high = np.minimum(slopes.below, slopes.above), np.maximum(slopes.below, slopes.above)
        grad = trace.grad[chosen]
        taken[chosen] = True
        central[chosen] = slopes.central
        # comparisons with NaN are False, so an entry without a finite difference is not ok
        ok[chosen] = (low - tolerance <= grad) & (grad <= high + tolerance)
    return Check(central, taken, ok)


def _chosen(architecture: Architecture) -> Iterator[tuple[int, Array]]:
    """Yield (layer, places in theta) of the parameters to check, at most `ROWS` of one layer and block at a time."""
    for l, layer in enumerate(architecture.layers):
        for block in (layer.weights, layer.biases):
            size = block.stop - block.start
            places = block.start + np.linspace(0, size - 1, min(size, MAX_PER_BLOCK)).astype(np.int64)
            for start in range(0, len(places), ROWS):
                yield l, places[start : start + ROWS]


class _Slopes(NamedTuple):
    """Differences of the loss in some parameters.

    ``below`` and ``above`` are the one-sided slopes, and ``central`` the central differences with ``step``.
    ``truncation`` is the change of the central differences when the step is halved: an estimate of the error of all
    three.
    """

    step: Array
    below: Array
    above: Array
    central: Array
    truncation: Array


class _Differences:
    """Differences of the loss around one point theta, in float64."""

    def __init__(self, architecture: Architecture, theta: Array, trace: Trace) -> None:
        self.architecture = architecture
        self.theta = theta
        self.weights, self.biases = architecture.views(theta)
        self.y__bo = trace.y.astype(np.float64)
        # inputs and z of every layer
        self.x: list[Array] = [trace.a[0].astype(np.float64)]
        self.z: list[Array] = []
        for l in range(len(architecture.layers)):
            self.z.append(self._dense(l, self.x[l]))
            self.x.append(self._activate(l, self.z[l]))
        self.loss = self._losses(len(self.z) - 1, self.z[-1])[0]

    def slopes(self, l: int, places: Array) -> _Slopes:
        """Return the slopes of the loss in the parameters of layer l at `places` in theta."""
        layer = self.architecture.layers[l]
        if places[0] < layer.weights.stop:
            unit, column = np.divmod(places - layer.weights.start, layer.inputs)
            factor = self.x[l][0, column]
        else:
            unit, factor = places - layer.biases.start, np.ones(len(places))
        w = self.theta[places]
        h = STEP * np.maximum(np.abs(w), 1.0) / np.maximum(np.abs(factor), 1.0)

        def change(step: Array) -> tuple[Array, Array]:
            """Return the change of the loss, and the actual step once w + step is rounded."""
            made = (w + step) - w
            return self._losses(l, self._moved(l, unit, made * factor)) - self.loss, made

        (rise, up), (half_rise, half_up) = change(h), change(h / 2)
        (fall, down), (half_fall, half_down) = change(-h), change(-h / 2)
        above = 2 * half_rise / half_up - rise / up
        below = 2 * half_fall / half_down - fall / down
        central = (rise - fall) / (up - down)
        half_central = (half_rise - half_fall) / (half_up - half_down)
        return _Slopes(h, below, above, central, np.abs(central - half_central))

    def _moved(self, l: int, unit: Array, by: Array) -> Array:
        """Return z of layer l once per entry, each with one unit moved; z is linear in W and b."""
        z__bo = np.repeat(self.z[l], len(unit), axis=0)
        z__bo[np.arange(len(unit)), unit] += by
        return z__bo

    def _losses(self, l: int, z__bo: Array) -> Array:
        """Return the loss for each row of z of layer l, propagated through the layers above."""
        a__bo = self._activate(l, z__bo)
        for above in range(l + 1, len(self.weights)):
            z__bo = self._dense(above, a__bo)
            a__bo = self._activate(above, z__bo)
        loss, output = self.architecture.criterion, self.architecture.output
        rows = range(len(z__bo))
        return np.array([loss_value(loss, output, z__bo[k : k + 1], a__bo[k : k + 1], self.y__bo) for k in rows])

    def _dense(self, l: int, x__bi: Array) -> Array:
        z__bo = np.empty((len(x__bi), len(self.biases[l])))
        dense_forward(x__bi, self.weights[l], self.biases[l], z__bo)
        return z__bo

    def _activate(self, l: int, z__bo: Array) -> Array:
        a__bo = np.empty_like(z__bo)
        activate(self.architecture.activations[l], z__bo, a__bo)
        return a__bo
