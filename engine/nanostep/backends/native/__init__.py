"""The C backend: the library in ``csrc/``, bound with cffi. Nothing of cffi is visible above this package."""

import os

from nanostep.backends.native._library import available_isas, build_info, isa_in_use, select_isa
from nanostep.errors import BackendUnavailable

try:
    isa_in_use()
except BackendUnavailable:
    raise BackendUnavailable(
        f"backend 'c' cannot run: NANOSTEP_ISA={os.environ.get('NANOSTEP_ISA')!r} names an instruction set that this "
        f"machine or build lacks; available are {', '.join(available_isas())}"
    ) from None

from nanostep.backends.native import activations, layers, losses, networks, optimizers, order, populations

__all__ = [
    "activations",
    "available_isas",
    "build_info",
    "isa_in_use",
    "layers",
    "losses",
    "networks",
    "optimizers",
    "order",
    "populations",
    "select_isa",
]
