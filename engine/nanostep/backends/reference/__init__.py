"""The reference backend: matrix algebra in NumPy, written to be read. Other backends are tested against it."""

from nanostep.backends.reference import activations, layers, losses, networks, optimizers, order, populations

__all__ = ["activations", "layers", "losses", "networks", "optimizers", "order", "populations"]
