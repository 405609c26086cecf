"""Files of networks, by path: `load`, `save` and `read_metadata`; `nanostep.io._format` describes their content."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nanostep.backends import resolve
from nanostep.errors import FileFormatError
from nanostep.io._format import decode, read, usable
from nanostep.losses import Custom
from nanostep.network import Network

if TYPE_CHECKING:
    from os import PathLike


def save(net: Network, path: str | PathLike[str], metadata: Mapping[str, Any] | None = None) -> None:
    """Write `net` to `path`; see `Network.save`."""
    net.save(path, metadata=metadata)


def load(
    path: str | PathLike[str], backend: str = "auto", *, loss: Callable[..., Any] | Custom | None = None
) -> Network:
    """Return the network in a file that `Network.save` wrote, with the state of its optimiser.

    Training continues as if it had not been interrupted if no optimiser is given, or if ``net.optimizer`` is.

    Parameters
    ----------
    path : str or path-like
    backend : {"auto", "c", "numba", "numpy"}, default="auto"
        Files do not say which backend wrote them.
    loss : callable or Custom, optional
        The loss of a network that was trained with a function, which files do not keep (see `nanostep.losses.Custom`).
        Without it the network predicts, but does not learn.

    Raises
    ------
    TypeError, ValueError
        `loss` is not a function, or the network has another kind of loss.
    FileNotFoundError
    FileFormatError
        The file is damaged, or is not a nanostep model.
    BackendUnavailable
        The requested backend cannot run here.
    """
    resolve(backend)  # first, so that the error for a wrong backend does not look like one for a wrong file
    header, tensors = read(Path(path))
    if "population" in header:
        raise FileFormatError(f"{path} holds a population: ns.Population.load reads it")
    with usable(path):
        architecture, state = decode(header, tensors)
    if loss is not None:
        architecture = architecture.with_loss(loss)
    theta = tensors["theta"]
    return Network._restored(architecture, theta.dtype, backend, theta, state)


def read_metadata(path: str | PathLike[str]) -> dict[str, Any]:
    """Return the metadata that was given to `Network.save` ({} if none was)."""
    metadata = read(Path(path))[0].get("metadata", {})
    if not isinstance(metadata, dict):
        raise FileFormatError(f"{path} is not a usable nanostep model: its metadata is not an object")
    return metadata
