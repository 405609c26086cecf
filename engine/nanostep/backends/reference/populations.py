"""Populations in NumPy: one network after another, which is the definition of a population."""

from __future__ import annotations

import numpy as np

from nanostep.architecture import Architecture
from nanostep.backends.one_by_one import OneByOne
from nanostep.backends.reference import networks, optimizers


class Engine(OneByOne):
    """See `nanostep.backends.population_contract.PopulationEngine`."""

    def __init__(self, architecture: Architecture, dtype: np.dtype) -> None:
        super().__init__(networks.Engine(architecture, dtype), architecture, optimizers)
