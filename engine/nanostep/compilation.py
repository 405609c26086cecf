"""`warmup` compiles the Numba backend's code for an architecture before it is needed, and keeps it on disk."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import DTypeLike

from nanostep._checks import check_integer
from nanostep.network import Network
from nanostep.optimizers import SGD, Optimizer, check_optimizer


def warmup(
    sizes: Iterable[int],
    activation: str | Sequence[str] = "sigmoid",
    output: str = "sigmoid",
    loss: str = "half_squared_error",
    dtype: DTypeLike = "float64",
    batch_size: int = 1,
    optimizer: Optimizer | None = None,
) -> float:
    """Compile the code that the ``"numba"`` backend runs for a network, so that no later call has to wait.

    The code is kept on disk: where Numba keeps its own (``NUMBA_CACHE_DIR``, or beside the installed package if that is
    writable), otherwise in the user's cache directory. Other backends need no warming up.

    Parameters
    ----------
    sizes, activation, output, loss, dtype
        As in `Network`.
    batch_size : int, default=1
        As in `Network.train`. Single steps, batches of up to a tile, and larger batches are compiled separately.
    optimizer : Optimizer, default=SGD(lr=0.1)
        Plain SGD and every other kind of optimiser are compiled separately, and so are an L1 penalty, clip_norm and
        clip_value; other hyper-parameters need no code of their own. Dropout, label smoothing, sample weights and an L2
        penalty on weights are compiled when a run first uses them.

    Returns
    -------
    float
        Seconds that it took: a few hundredths if the code was on disk already.

    Raises
    ------
    BackendUnavailable
        Numba cannot run here.
    TypeError, ValueError
        As `Network` and `Network.train`.

    Examples
    --------
    >>> import nanostep as ns
    >>> seconds = ns.warmup([2, 3, 1], batch_size=1)
    >>> ns.warmup([2, 3, 1], batch_size=1) < 1
    True
    """
    rows = check_integer("batch_size", batch_size, 1)
    chosen = SGD(lr=0.1) if optimizer is None else check_optimizer(optimizer)
    started = time.perf_counter()
    net = Network(sizes, activation=activation, output=output, loss=loss, dtype=dtype, backend="numba")
    # at least two rows, so that a run of single steps has a next step to look ahead to
    x = np.zeros((max(rows, 2), net.sizes[0]), net.dtype)
    y: np.ndarray = np.zeros((len(x), net.sizes[-1]), net.dtype)
    if loss == "cross_entropy":
        y = np.zeros(len(x), np.int64)
    net.predict(x)
    net.loss(x, y)
    net.gradient(x, y)
    net.train(x, y, epochs=1, batch_size=rows, optimizer=chosen)
    return time.perf_counter() - started
