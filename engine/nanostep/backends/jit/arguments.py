"""What the engine hands to a compiled run, in bundles.

None stands for what a run does not use: as the type of an argument it makes code of its own, which has nothing of it.
Numbers are known at run time only, so that another value needs no compilation.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Data(NamedTuple):
    """The samples of a call.

    Attributes
    ----------
    x, y : flat arrays
    labels, order : flat arrays of int64
        Labels stand for y if `labelled`; samples are used in this order if `ordered`, otherwise as they stand.
    ordered, labelled : bool
    weight : flat array, or None
        What each sample counts.
    """

    x: Any
    y: Any
    labels: Any
    order: Any
    ordered: Any
    labelled: Any
    weight: Any = None


class Extras(NamedTuple):
    """What makes a batch other than plain; see `nanostep.backends.contract.RunConfig`.

    Attributes
    ----------
    smoothing : float, or None
    p, thresholds : arrays of float64 and int64, one of each hidden layer, or None
        Probability that a unit is dropped, and how many of the 2^32 values of its hash mean that.
    alpha : float, or None
    log_clip_min : float, or None
    batch_mean : bool
        Counts where samples have weights.
    squares : array of float64, ``2 * Net.groups``, or None
        Memory for sums of squares, where an update needs some.
    """

    smoothing: Any = None
    p: Any = None
    thresholds: Any = None
    alpha: Any = None
    log_clip_min: Any = None
    batch_mean: Any = False
    squares: Any = None

    @property
    def is_empty(self) -> bool:
        """True if a batch is plain but for the weights of its samples."""
        return all(getattr(self, name) is None for name in ("smoothing", "p", "alpha", "log_clip_min", "squares"))


PLAIN = Extras()


class Progress(NamedTuple):
    """What a run moves on, each member of a team its own.

    Attributes
    ----------
    place : array of int64, (3,)
        Epoch, row, updates.
    loss_sum, penalty_sum : arrays of float64, (1,)
    epoch_loss, epoch_penalty : arrays of float64, (epochs,)
        The penalties are None where there is none.
    """

    place: Any
    loss_sum: Any
    epoch_loss: Any
    penalty_sum: Any = None
    epoch_penalty: Any = None
