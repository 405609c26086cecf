"""The Numba backend: `@njit` loops, compiled once for each dtype and cached on disk."""

from pathlib import Path

from nanostep import _names
from nanostep import optimizers as _optimizers
from nanostep.errors import BackendUnavailable

try:
    import numba  # noqa: F401
except ImportError as error:
    raise BackendUnavailable(f"backend 'numba' cannot run: {error}. Install it: pip install numba") from None

from nanostep.backends.jit import (
    _compile,
    activations,
    batches,
    layers,
    losses,
    networks,
    optimizers,
    order,
    samples,
)

__all__ = ["activations", "layers", "losses", "networks", "optimizers", "order"]

# The order of names and hyper-parameters is compiled in too.
_SOURCES = [*Path(__file__).parent.glob("*.py"), Path(_names.__file__), Path(_optimizers.__file__)]
_compile.stamp_caches(
    (activations, batches, layers, losses, networks, optimizers, order, samples), _compile.fingerprint(_SOURCES)
)
