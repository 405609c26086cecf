"""Finite differences for every hidden activation with every loss and output."""

from __future__ import annotations

from types import ModuleType

import pytest

from cases import ALL_PAIRS, outputs_for
from conformance.differences import check_differences
from conformance.runs import RunCase
from nanostep.architecture import HIDDEN_ACTIVATIONS, make_architecture
from nanostep.losses import Loss


@pytest.mark.parametrize("activation", HIDDEN_ACTIVATIONS)
@pytest.mark.parametrize(("loss", "output"), ALL_PAIRS)
def test_gradient_is_the_limit_of_differences(
    backend: ModuleType, loss: str | Loss, output: str, activation: str
) -> None:
    architecture = make_architecture([2, 4, outputs_for(loss, 3)], activation, output, loss)
    check_differences(backend.networks.Engine, RunCase(architecture, 4))
