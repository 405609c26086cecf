"""The Numba backend: kernels compiled once for each architecture and dtype, and cached on disk. See README.md here."""

from nanostep.errors import BackendUnavailable

try:
    import numba  # noqa: F401
except ImportError as error:
    raise BackendUnavailable(f"backend 'numba' cannot run: {error}. Install it: pip install numba") from None

from nanostep.backends.jit import activations, layers, losses, networks, optimizers, order, populations

__all__ = ["activations", "layers", "losses", "networks", "optimizers", "order", "populations"]
