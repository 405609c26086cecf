"""Operations that are wrong on purpose, made from the reference's; `test_can_fail` requires that each is rejected."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from conformance.operations import Function, reference_function
from nanostep.backends.contract import OPERATIONS, Operation
from nanostep.backends.reference import activations, layers, losses, optimizers, order
from nanostep.losses import GaussianNLL, Huber, Quantile
from nanostep.optimizers import OPTIMIZERS, SGD, Adam, AdamW, Optimizer, RMSprop

Array = np.ndarray
Sabotage = Callable[[Operation, dict[str, Any], dict[str, Any]], None]


# Wrong effects and wrong precision, for every operation: changes of the arguments after a right call.


def _arrays(operation: Operation, arguments: dict[str, Any], *directions: str) -> Iterator[Array]:
    return (arguments[a.name] for a in operation.arguments if a.axes and a.direction in directions)


def _with_sabotage(
    operation: Operation, sabotage: Callable[[Operation, dict[str, Any], dict[str, Any]], None]
) -> Function:
    right = reference_function(operation)

    def wrong(*values: Any) -> Any:
        arguments = {a.name: value for a, value in zip(operation.arguments, values, strict=True)}
        before = {name: value.copy() if isinstance(value, np.ndarray) else value for name, value in arguments.items()}
        returned = right(*values)
        sabotage(operation, arguments, before)
        return returned

    return wrong


def _writes_an_input(operation: Operation, arguments: dict[str, Any], before: dict[str, Any]) -> None:
    for array in _arrays(operation, arguments, "in"):
        array.flat[-1] = np.nextafter(array.flat[-1], np.inf)


def _leaves_the_last_entry(operation: Operation, arguments: dict[str, Any], before: dict[str, Any]) -> None:
    for argument in operation.arguments:
        if argument.direction != "in" and arguments[argument.name].size:
            arguments[argument.name].flat[-1] = before[argument.name].flat[-1]


def _writes_one_beyond(operation: Operation, arguments: dict[str, Any], before: dict[str, Any]) -> None:
    for array in _arrays(operation, arguments, "out", "inout"):
        np.lib.stride_tricks.as_strided(array.reshape(-1), (array.size + 1,))[-1] = 0


def _writes_one_before(operation: Operation, arguments: dict[str, Any], before: dict[str, Any]) -> None:
    for array in _arrays(operation, arguments, "out", "inout"):
        np.lib.stride_tricks.as_strided(array.reshape(-1)[::-1], (array.size + 1,))[-1] = 0


def _has_the_wrong_sign(operation: Operation, arguments: dict[str, Any], before: dict[str, Any]) -> None:
    for array in _arrays(operation, arguments, "out", "inout"):
        array *= -1


def _is_rounded_to_float32(operation: Operation, arguments: dict[str, Any], before: dict[str, Any]) -> None:
    for array in _arrays(operation, arguments, "out", "inout"):
        array[...] = array.astype(np.float32)


def general() -> Iterator[tuple[str, Operation, Function]]:
    """Yield name, row and function of the variants that every operation has."""
    for operation in OPERATIONS:
        directions = {a.direction for a in operation.arguments if a.axes}
        sabotages: list[Sabotage] = []
        if "in" in directions:
            sabotages.append(_writes_an_input)
        if directions & {"out", "inout"}:
            sabotages += [_leaves_the_last_entry, _writes_one_beyond, _writes_one_before, _has_the_wrong_sign]
        if operation.module != "order" and not operation.returns:
            sabotages.append(_is_rounded_to_float32)
        for sabotage in sabotages:
            yield sabotage.__name__.strip("_"), operation, _with_sabotage(operation, sabotage)


# Wrong formulas, operation by operation.


def _only_for(name: str, formula: Callable[[Array], Array]) -> Function:
    """Return an activate that is wrong for one activation."""

    def activate(activation: str, z__bo: Array, a__bo: Array) -> None:
        a__bo[...] = formula(z__bo) if activation == name else activations.FUNCTIONS[activation](z__bo)

    return activate


def _derivative_only_for(name: str, formula: Callable[[Array, Array], Array]) -> Function:
    def derivative(activation: str, z__bo: Array, a__bo: Array, df__bo: Array) -> None:
        df__bo[...] = (formula if activation == name else activations.DERIVATIVES[activation])(z__bo, a__bo)

    return derivative


def _forward_without_bias(x__bi: Array, w__oi: Array, b__o: Array, z__bo: Array) -> None:
    z__bo[...] = x__bi @ w__oi.T


def _forward_skips_the_last_input(x__bi: Array, w__oi: Array, b__o: Array, z__bo: Array) -> None:
    z__bo[...] = x__bi[:, :-1] @ w__oi[:, :-1].T + b__o


def _forward_sums_in_float32(x__bi: Array, w__oi: Array, b__o: Array, z__bo: Array) -> None:
    z__bo[...] = x__bi.astype(np.float32) @ w__oi.astype(np.float32).T + b__o


def _backward_input_skips_the_last_output(d__bo: Array, w__oi: Array, dx__bi: Array) -> None:
    dx__bi[...] = d__bo[:, :-1] @ w__oi[:-1]


def _backward_weights_sums(d__bo: Array, x__bi: Array, dw__oi: Array, db__o: Array) -> None:
    dw__oi[...], db__o[...] = d__bo.T @ x__bi, d__bo.sum(axis=0)


def _backward_weights_skips_the_last_row(d__bo: Array, x__bi: Array, dw__oi: Array, db__o: Array) -> None:
    dw__oi[...], db__o[...] = d__bo[:-1].T @ x__bi[:-1] / len(d__bo), d__bo[:-1].sum(axis=0) / len(d__bo)


def _backward_weights_forgets_the_mean_of_biases(d__bo: Array, x__bi: Array, dw__oi: Array, db__o: Array) -> None:
    dw__oi[...], db__o[...] = d__bo.T @ x__bi / len(d__bo), d__bo.sum(axis=0)


def _loss_changed(change: Callable[..., float]) -> Function:
    def loss_value(loss: str, output: str, z__bo: Array, a__bo: Array, y__bo: Array) -> Any:
        return change(losses.loss_value(loss, output, z__bo, a__bo, y__bo), z__bo)

    return loss_value


def _loss_skips_the_last_row(loss: str, output: str, z__bo: Array, a__bo: Array, y__bo: Array) -> float:
    rows = slice(None, -1 if len(z__bo) > 1 else None)
    return losses.loss_value(loss, output, z__bo[rows], a__bo[rows], y__bo[rows])


def _loss_from_clipped_probabilities(loss: str, output: str, z__bo: Array, a__bo: Array, y__bo: Array) -> float:
    if loss in ("binary_cross_entropy", "cross_entropy"):
        clipped = np.clip(a__bo, 1e-7, 1 - 1e-7)
        return losses.loss_value(loss, "identity", z__bo, clipped, y__bo)
    return losses.loss_value(loss, output, z__bo, a__bo, y__bo)


def _loss_derivative_without_share(loss: str, a__bo: Array, y__bo: Array, da__bo: Array) -> None:
    da__bo[...] = losses.loss_slopes(loss, a__bo, y__bo)


def _huber_is_not_clipped(loss: str, a__bo: Array, y__bo: Array, da__bo: Array) -> None:
    losses.loss_derivative(loss, a__bo, y__bo, da__bo)
    if loss == "huber":
        da__bo[...] = (a__bo - y__bo) / a__bo.shape[1]


def _loss_with(change: Callable[[Any], Any]) -> Function:
    """Return a loss_value of another loss."""

    def loss_value(loss: Any, output: str, z__bo: Array, a__bo: Array, y__bo: Array) -> float:
        return losses.loss_value(change(loss), output, z__bo, a__bo, y__bo)

    return loss_value


def _derivative_with(change: Callable[[Any], Any]) -> Function:
    def loss_derivative(loss: Any, a__bo: Array, y__bo: Array, da__bo: Array) -> None:
        losses.loss_derivative(change(loss), a__bo, y__bo, da__bo)

    return loss_derivative


def _without_delta(loss: Any) -> Any:
    return "huber" if isinstance(loss, Huber) else loss


def _reversed_quantiles(loss: Any) -> Any:
    return Quantile(loss.quantiles[::-1]) if isinstance(loss, Quantile) else loss


def _other_side(loss: Any) -> Any:
    return Quantile([1 - q for q in loss.quantiles]) if isinstance(loss, Quantile) else loss


def _quantiles_apart(loss: Any, a__bo: Array, y__bo: Array, da__bo: Array) -> None:
    """The outputs of one quantile side by side, instead of those of one target."""
    losses.loss_derivative(loss, a__bo, y__bo, da__bo)
    if isinstance(loss, Quantile):
        q = np.repeat(loss.quantiles, a__bo.shape[1] // len(loss.quantiles))
        da__bo[...] = np.where(a__bo > y__bo, 1 - q, -q) / a__bo.shape[1]


def _gaussian_interleaved(loss: Any, a__bo: Array, y__bo: Array, da__bo: Array) -> None:
    """Mean and variance of one target side by side."""
    if not isinstance(loss, GaussianNLL):
        losses.loss_derivative(loss, a__bo, y__bo, da__bo)
        return
    order = np.concatenate([np.arange(0, a__bo.shape[1], 2), np.arange(1, a__bo.shape[1], 2)])
    moved = np.empty_like(da__bo)
    losses.loss_derivative(loss, a__bo[:, order], y__bo[:, order], moved)
    da__bo[:, order] = moved


def _gaussian_is(change: Callable[[Array], Array]) -> Function:
    """Return a loss_derivative whose derivatives by the logarithms of the variances are changed."""

    def loss_derivative(loss: Any, a__bo: Array, y__bo: Array, da__bo: Array) -> None:
        losses.loss_derivative(loss, a__bo, y__bo, da__bo)
        if isinstance(loss, GaussianNLL):
            s = slice(a__bo.shape[1] // 2, None)
            da__bo[:, s] = change(da__bo[:, s])

    return loss_derivative


def _gaussian_mean_over_outputs(loss: Any, output: str, z__bo: Array, a__bo: Array, y__bo: Array) -> float:
    value = losses.loss_value(loss, output, z__bo, a__bo, y__bo)
    return value / 2 if isinstance(loss, GaussianNLL) else value


def _delta_divided_by_batch(loss: str, output: str, z__bo: Array, a__bo: Array, y__bo: Array, d__bo: Array) -> None:
    losses.output_delta(loss, output, z__bo, a__bo, y__bo, d__bo)
    d__bo /= len(d__bo)


def _joined_delta_without_share(loss: str, output: str, z__bo: Array, a__bo: Array, y__bo: Array, d__bo: Array) -> None:
    losses.output_delta(loss, output, z__bo, a__bo, y__bo, d__bo)
    if (loss, output) in losses.JOINED:
        d__bo[...] = a__bo - y__bo


def _softmax_without_the_other_outputs(
    loss: str, output: str, z__bo: Array, a__bo: Array, y__bo: Array, d__bo: Array
) -> None:
    losses.output_delta(loss, output, z__bo, a__bo, y__bo, d__bo)
    if output == "softmax" and loss != "cross_entropy":
        losses.loss_derivative(loss, a__bo, y__bo, d__bo)
        d__bo *= a__bo * (1 - a__bo)


def _update_with(change: Callable[[Optimizer, int], tuple[Optimizer, int]]) -> Function:
    def update(optimizer: Optimizer, t: int, theta__p: Array, grad__p: Array, slots__sp: Array) -> None:
        optimizers.update(*change(optimizer, t), theta__p, grad__p, slots__sp)

    return update


def ignores(kind: type[Optimizer], field: str) -> Callable[[Optimizer], Optimizer]:
    """Return an optimiser in which one hyper-parameter is not read but has its default."""
    default = next(f.default for f in dataclasses.fields(kind) if f.name == field)  # type: ignore[arg-type]

    def changed(optimizer: Optimizer) -> Optimizer:
        if type(optimizer) is not kind:
            return optimizer
        fields = dataclasses.asdict(optimizer) | {field: default}  # type: ignore[call-overload]
        if fields.get("nesterov") and not fields["momentum"]:
            fields["nesterov"] = False  # these two cannot be combined
        return kind(**fields)

    return changed


def _ignoring(kind: type[Optimizer], field: str) -> Function:
    changed = ignores(kind, field)
    return _update_with(lambda optimizer, t: (changed(optimizer), t))


def _adamw_decays_after_the_step(o: Optimizer, t: int, theta__p: Array, grad__p: Array, slots__sp: Array) -> None:
    if isinstance(o, AdamW):
        optimizers.update(dataclasses.replace(o, weight_decay=0.0), t, theta__p, grad__p, slots__sp)
        theta__p *= 1 - o.lr * o.weight_decay
    else:
        optimizers.update(o, t, theta__p, grad__p, slots__sp)


def _rmsprop_eps_under_the_root(o: Optimizer, t: int, theta__p: Array, grad__p: Array, slots__sp: Array) -> None:
    plain = isinstance(o, RMSprop) and not (o.centered or o.momentum or o.weight_decay)
    before = theta__p.copy()
    optimizers.update(o, t, theta__p, grad__p, slots__sp)
    if isinstance(o, RMSprop) and plain:
        theta__p[...] = before - o.lr * grad__p / np.sqrt(slots__sp[0] + o.eps)


def _apply_ignores_the_scale(o: Optimizer, t: int, theta: Array, grad: Array, slots: Array, scale: Array) -> None:
    optimizers.update(o, t, theta, grad, slots)


def _apply_scales_the_gradient(o: Optimizer, t: int, theta: Array, grad: Array, slots: Array, scale: Array) -> None:
    optimizers.update(o, t, theta, scale * grad, slots)


def _apply_moves_frozen_slots(o: Optimizer, t: int, theta: Array, grad: Array, slots: Array, scale: Array) -> None:
    moved = slots.copy()
    optimizers.update(o, t, theta.copy(), np.where(scale == 0, 0, grad), moved)
    optimizers.apply(o, t, theta, grad, slots, scale)
    slots[...] = moved


def _apply_takes_the_norm_of_all(o: Optimizer, t: int, theta: Array, grad: Array, slots: Array, scale: Array) -> None:
    clipped = optimizers.clipped(o, grad)
    free = dataclasses.replace(o, clip_norm=None) if o.clip_norm is not None else o
    optimizers.apply(free, t, theta, clipped, slots, scale)


def _apply_does_not_scale_decay(o: Optimizer, t: int, theta: Array, grad: Array, slots: Array, scale: Array) -> None:
    optimizers.apply(o, t, theta, grad, slots, scale)
    if isinstance(o, AdamW):
        theta -= np.where(scale == 0, 0, (1 - scale) * o.lr * o.weight_decay * theta)


def _shuffle_is_identity(seed: int, epoch: int, order__n: Array) -> None:
    order__n[...] = np.arange(len(order__n))


def _shuffle_ignores_the_epoch(seed: int, epoch: int, order__n: Array) -> None:
    order.shuffle(seed, 0, order__n)


def _shuffle_ignores_the_seed(seed: int, epoch: int, order__n: Array) -> None:
    order.shuffle(0, epoch, order__n)


def _shuffle_takes_32_bits_of_the_seed(seed: int, epoch: int, order__n: Array) -> None:
    order.shuffle(seed & 0xFFFFFFFF, epoch, order__n)


def _shuffle_draws_with_repetition(seed: int, epoch: int, order__n: Array) -> None:
    order.shuffle(seed, epoch, order__n)
    order__n[-1] = order__n[0]


FORMULAS: dict[str, dict[str, Function]] = {
    "activate": {
        "softplus loses small values": _only_for("softplus", lambda z: np.log(1 + np.exp(z))),
        "elu loses small values": _only_for("elu", lambda z: np.where(z > 0, z, np.exp(np.minimum(z, 0)) - 1)),
        "tanh loses small values": _only_for("tanh", lambda z: 1 - 2 / (np.exp(2 * z) + 1)),
        "leaky relu with another slope": _only_for("leaky_relu", lambda z: np.where(z > 0, z, 0.1 * z)),
        "relu of the other side": _only_for("relu", lambda z: np.minimum(z, 0)),
        "softmax over the batch": _only_for("softmax", lambda z: activations.softmax(z.T).T),
    },
    "activation_derivative": {
        "sigmoid without 1 - a": _derivative_only_for("sigmoid", lambda z, a: a),
        "tanh taken of z": _derivative_only_for("tanh", lambda z, a: 1 - z * z),
        "silu without its second term": _derivative_only_for("silu", lambda z, a: activations.sigmoid(z)),
        "softplus loses small values": _derivative_only_for("softplus", lambda z, a: 1 - np.exp(-a)),
    },
    "dense_forward": {
        "no bias": _forward_without_bias,
        "skips the last input": _forward_skips_the_last_input,
        "sums in float32": _forward_sums_in_float32,
    },
    "dense_backward_input": {
        "skips the last output": _backward_input_skips_the_last_output,
        "new array, not the one given": lambda d__bo, w__oi, dx__bi: layers.dense_backward_input(
            d__bo, w__oi, np.empty_like(dx__bi)
        ),
    },
    "dense_backward_weights": {
        "sums instead of means": _backward_weights_sums,
        "skips the last row": _backward_weights_skips_the_last_row,
        "biases without the mean": _backward_weights_forgets_the_mean_of_biases,
    },
    "loss_value": {
        "wrong sign": _loss_changed(lambda value, z: -value),
        "float32": _loss_changed(lambda value, z: float(np.float32(value))),
        "sum over the batch": _loss_changed(lambda value, z: value * len(z)),
        "nothing returned": _loss_changed(lambda value, z: None),  # type: ignore[arg-type,return-value]
        "skips the last row": _loss_skips_the_last_row,
        "from clipped probabilities": _loss_from_clipped_probabilities,
        "Huber ignores delta": _loss_with(_without_delta),
        "quantiles in reverse": _loss_with(_reversed_quantiles),
        "quantiles from the other side": _loss_with(_other_side),
        "normal distributions: mean over outputs": _gaussian_mean_over_outputs,
    },
    "loss_derivative": {
        "without the mean over outputs": _loss_derivative_without_share,
        "huber is not clipped": _huber_is_not_clipped,
        "Huber ignores delta": _derivative_with(_without_delta),
        "quantiles in reverse": _derivative_with(_reversed_quantiles),
        "quantiles from the other side": _derivative_with(_other_side),
        "outputs of one quantile side by side": _quantiles_apart,
        "mean and variance side by side": _gaussian_interleaved,
        "variances do not learn": _gaussian_is(np.zeros_like),
        "variances are not halved": _gaussian_is(lambda d: 2 * d),
    },
    "output_delta": {
        "divided by the batch": _delta_divided_by_batch,
        "joined without the mean over outputs": _joined_delta_without_share,
        "softmax without the other outputs": _softmax_without_the_other_outputs,
    },
    "update": {
        **{
            f"{kind.__name__} ignores {field.name}": _ignoring(kind, field.name)
            for kind in OPTIMIZERS.values()
            for field in dataclasses.fields(kind)
        },
        "Adam counts updates from 2": _update_with(lambda o, t: (o, t + 1 if isinstance(o, Adam) else t)),
        "SGD decays its first velocity": _update_with(lambda o, t: (o, max(t, 2) if isinstance(o, SGD) else t)),
        "AdamW decays after the step": _adamw_decays_after_the_step,
        "RMSprop adds eps under the root": _rmsprop_eps_under_the_root,
    },
    "apply": {
        "ignores the scale": _apply_ignores_the_scale,
        "scales the gradient": _apply_scales_the_gradient,
        "moves the slots of what is frozen": _apply_moves_frozen_slots,
        "takes the norm of all": _apply_takes_the_norm_of_all,
        "does not scale decoupled decay": _apply_does_not_scale_decay,
    },
    "shuffle": {
        "identity": _shuffle_is_identity,
        "ignores the epoch": _shuffle_ignores_the_epoch,
        "ignores the seed": _shuffle_ignores_the_seed,
        "takes 32 bits of the seed": _shuffle_takes_32_bits_of_the_seed,
        "draws with repetition": _shuffle_draws_with_repetition,
    },
}
"""Variants of each operation whose results are wrong."""
