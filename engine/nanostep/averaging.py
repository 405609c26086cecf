"""Averages of networks: the slow copy that value-based reinforcement learning bootstraps from."""

from __future__ import annotations

from nanostep._base_model import BaseModel
from nanostep._checks import check_real


def polyak_update(source: BaseModel, target: BaseModel, tau: float) -> None:
    """Move the parameters of `target` towards those of `source`: ``target = (1 - tau) * target + tau * source``.

    Source: Lillicrap et al., 2016, "Continuous control with deep reinforcement learning", arXiv:1509.02971, section 3.

    Parameters
    ----------
    source, target : Network or Population
        Both of the same kind, architecture, size and dtype. Only the theta of `target` is changed.
    tau : float
        In [0, 1]; 1 copies the parameters, 0 changes nothing.

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong type or out of range, or the two differ; nothing is changed.

    Examples
    --------
    >>> import nanostep as ns
    >>> net = ns.Network([2, 3, 1], seed=1)
    >>> target = net.copy()
    >>> loss = net.step([[0, 1]], [1], lr=0.5)
    >>> ns.polyak_update(net, target, 0.005)
    """
    for name, model in (("source", source), ("target", target)):
        if not isinstance(model, BaseModel):
            raise TypeError(f"{name} must be a Network or a Population; got {type(model).__name__}")
    ours, theirs = source._theta, target._theta
    if source.architecture != target.architecture or ours.dtype != theirs.dtype or ours.shape != theirs.shape:
        raise ValueError(f"source and target must be alike; got {source!r} and {target!r}")
    share = check_real("tau", tau, 0.0, 1.0)
    target._check_writable()
    if share == 1.0:
        theirs[...] = ours  # also where theirs is not finite
    elif share > 0.0:
        step = share * ours  # before theirs is changed, which may be the same array
        theirs *= 1.0 - share
        theirs += step
