"""Architectures: which are accepted, and the place of each parameter in theta."""

from __future__ import annotations

import itertools
import pickle

import numpy as np
import pytest

from nanostep.architecture import (
    ACTIVATIONS,
    HIDDEN_ACTIVATIONS,
    LOSS_OUTPUTS,
    LOSSES,
    MAX_WIDTH,
    Architecture,
    make_architecture,
)

SIZES = [(1, 1), (3, 2), (2, 2, 1), (3, 1, 7, 2), (1, 70, 1, 70, 5)]


def make(*sizes: int) -> Architecture:
    return make_architecture(sizes, "tanh", "identity", "huber")


@pytest.mark.parametrize("sizes", SIZES)
def test_layout_covers_theta_without_gap_or_overlap(sizes: tuple[int, ...]) -> None:
    architecture = make(*sizes)
    places = [place for layer in architecture.layers for place in (layer.weights, layer.biases)]
    assert [place.start for place in places] == [0, *(place.stop for place in places[:-1])]
    assert places[-1].stop == architecture.parameter_count
    for layer in architecture.layers:
        assert layer.weights.stop - layer.weights.start == layer.inputs * layer.outputs
        assert layer.biases.stop - layer.biases.start == layer.outputs


@pytest.mark.parametrize("sizes", SIZES)
def test_layers_are_chained(sizes: tuple[int, ...]) -> None:
    architecture = make(*sizes)
    assert [(layer.inputs, layer.outputs) for layer in architecture.layers] == list(itertools.pairwise(sizes))
    assert (architecture.inputs, architecture.outputs) == (sizes[0], sizes[-1])
    assert [layer.activation for layer in architecture.layers] == ["tanh"] * (len(sizes) - 2) + ["identity"]


def test_views_are_windows_on_theta() -> None:
    architecture = make(3, 4, 2)
    theta = np.arange(architecture.parameter_count, dtype=np.float32)
    weights, biases = architecture.views(theta)
    assert [w.shape for w in weights] == [(4, 3), (2, 4)]
    assert [b.shape for b in biases] == [(4,), (2,)]
    assert np.concatenate([part.ravel() for pair in zip(weights, biases, strict=True) for part in pair]).tolist() == (
        theta.tolist()
    )
    for view in (*weights, *biases):
        view[...] = -1
    assert (theta == -1).all()


def test_one_activation_for_all_or_one_per_hidden_layer() -> None:
    assert make_architecture([2, 3, 4, 1], "relu", "sigmoid", "huber").activations == ("relu", "relu", "sigmoid")
    mixed = make_architecture([2, 3, 4, 1], ["silu", "elu"], "sigmoid", "huber")
    assert mixed.activations == ("silu", "elu", "sigmoid")
    assert mixed.output == "sigmoid"
    unused: tuple[str | list[str], ...] = ("relu", [])
    for activation in unused:
        assert make_architecture([2, 1], activation, "tanh", "huber").activations == ("tanh",)


@pytest.mark.parametrize("activation", HIDDEN_ACTIVATIONS)
def test_every_elementwise_activation_may_be_hidden(activation: str) -> None:
    assert make_architecture([2, 3, 1], activation, "identity", "huber").activations[0] == activation


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("output", ACTIVATIONS)
def test_losses_of_probabilities_take_outputs_that_are_probabilities(loss: str, output: str) -> None:
    if output in LOSS_OUTPUTS.get(loss, ACTIVATIONS):
        assert make_architecture([2, 3, 2], "tanh", output, loss).output == output
    else:
        with pytest.raises(ValueError, match=f"loss='{loss}' takes probabilities, which output='{output}' does not"):
            make_architecture([2, 3, 2], "tanh", output, loss)


def test_sizes_may_be_anything_that_counts() -> None:
    assert make(*np.array([3, 4, 2])).sizes == (3, 4, 2)
    assert make_architecture((n for n in (3, 4, 2)), "tanh", "identity", "huber") == make(3, 4, 2)
    assert all(type(size) is int for size in make(*np.array([3, 4], np.uint8)).sizes)


def test_the_largest_width_is_counted_exactly() -> None:
    assert make(1, MAX_WIDTH).parameter_count == 2 * MAX_WIDTH


def test_equal_architectures_are_interchangeable() -> None:
    one, other = make(3, 4, 2), make(3, 4, 2)
    assert one.layers == other.layers  # cached values do not affect equality
    assert (one, hash(one), str(one)) == (other, hash(other), "3-4-2")
    assert pickle.loads(pickle.dumps(one)) == one
    assert one != make(3, 4, 1)
    with pytest.raises(AttributeError):
        one.sizes = (1, 1)  # type: ignore[misc]
