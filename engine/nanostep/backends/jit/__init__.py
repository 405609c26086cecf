"""The Numba backend: `@njit` loops, compiled once for each dtype and cached on disk."""

from nanostep.errors import BackendUnavailable

try:
    import numba  # noqa: F401
except ImportError as error:
    raise BackendUnavailable(f"backend 'numba' cannot run: {error}. Install it: pip install numba") from None

from nanostep.backends.jit import activations, layers, losses, networks, optimizers, order, populations

__all__ = ["activations", "layers", "losses", "networks", "optimizers", "order", "populations"]
