"""Populations compiled by Numba: one network after another."""

from __future__ import annotations

import numpy as np

from nanostep.architecture import Architecture
from nanostep.backends.jit import networks
from nanostep.backends.populations import OneByOne


class Engine(OneByOne):
    """See `nanostep.backends.populations.PopulationEngine`."""

    def __init__(self, architecture: Architecture, dtype: np.dtype) -> None:
        super().__init__(networks.Engine(architecture, dtype))
