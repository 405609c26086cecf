"""`function`: a network as a function of theta and X for JAX.

Needs JAX: ``pip install "nanostep[jax]"``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import Lock
from typing import Any

import numpy as np

from nanostep._optional import require
from nanostep.network import Network

jax: Any = require("nanostep.jax", "JAX", "jax", "jax")
__all__ = ["function"]


def function(network: Network) -> Callable[[Any, Any], Any]:
    """Return the function ``f(theta, X)``: outputs of a network like this one, which stays as it is.

    It takes theta, laid out as ``network.theta``, and X, (n, inputs) or (inputs,), and can be used with ``jax.jit``,
    ``jax.vmap`` (one call after the other) and, for first derivatives, ``jax.grad`` and ``jax.vjp``. What `Network.vjp`
    refuses, such as NaN in X, raises there too.

    Raises
    ------
    ValueError
        The network is float64, and JAX does not use that dtype.
    """
    if not isinstance(network, Network):
        raise TypeError(f"network must be a nanostep.Network; got {type(network).__name__}")
    own, lock, dtype = network.copy(), Lock(), network.dtype  # JAX calls from threads of its own
    if jax.dtypes.canonicalize_dtype(dtype) != dtype:
        raise ValueError('the network is float64: call jax.config.update("jax_enable_x64", True) first')

    def predict(theta: Any, X: Any) -> Any:
        with lock:
            own.theta = theta
            return own.predict(np.asarray(X))

    def pull(theta: Any, X: Any, dout: Any) -> Any:
        with lock:
            own.theta = theta
            return own.vjp(np.asarray(X))[1](np.asarray(dout), inputs=True)

    @jax.custom_vjp
    def apply(theta: Any, X: Any) -> Any:
        return call(predict, jax.ShapeDtypeStruct((*X.shape[:-1], own.architecture.outputs), dtype), theta, X)

    call = partial(jax.pure_callback, vmap_method="sequential")
    apply.defvjp(lambda *given: (apply(*given), given), lambda given, dout: call(pull, given, *given, dout))
    return lambda theta, X: apply(jax.numpy.asarray(theta, dtype), jax.numpy.asarray(X, dtype))
