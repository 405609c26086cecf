"""The arguments of compiled code, in bundles.

A field is None where a run does not use it: None has a type of its own in Numba, so the code of such a run does not
contain the feature. Numbers are known at run time only, so that another value needs no compilation.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Data(NamedTuple):
    """The samples of a call.

    Attributes
    ----------
    n : int
        Samples.
    x, y : flat arrays
    labels, order : flat arrays of int64
        Labels are used in place of y if `labelled`; samples are used in `order` if `ordered`, otherwise as they are
        stored.
    ordered, labelled : bool
    weight : flat array, or None
        Weight of each sample.
    """

    n: Any
    x: Any
    y: Any = None
    labels: Any = None
    order: Any = None
    ordered: Any = False
    labelled: Any = False
    weight: Any = None


class Extras(NamedTuple):
    """What a run adds to plain batches; see `nanostep.backends.contract.Plan`.

    Attributes
    ----------
    smoothing : float, or None
    p, thresholds : arrays of float64 and int64, one of each hidden layer, or None
        Probability that a unit is dropped, and how many of the 2^32 values of its hash drop it.
    alpha : float, or None
    lowest_log : float, or None
    batch_mean : bool
        Counts where samples have weights.
    squares : array of float64, ``2 * Net.groups``, or None
        Memory for sums of squares, where an update needs some.
    """

    smoothing: Any = None
    p: Any = None
    thresholds: Any = None
    alpha: Any = None
    lowest_log: Any = None
    batch_mean: Any = False
    squares: Any = None

    @property
    def is_empty(self) -> bool:
        """True if a batch is plain except for the weights of its samples."""
        return all(getattr(self, name) is None for name in ("smoothing", "p", "alpha", "lowest_log", "squares"))


PLAIN = Extras()


class Hyperparameters(NamedTuple):
    """Hyper-parameters of an optimiser.

    Attributes
    ----------
    values : array of float64, or tuple of float where they are known when code is compiled
        In the order of `nanostep.optimizers.HYPERPARAMETERS`.
    decoupled : bool
        Weight decay is applied to theta and not to the gradient (AdamW).
    """

    values: Any
    decoupled: Any


class Progress(NamedTuple):
    """What a run advances; each worker of a team has its own.

    Attributes
    ----------
    counters : array of int64, (3,)
        Epoch, row, updates.
    loss_sum, penalty_sum : arrays of float64, (1,)
    epoch_loss, epoch_penalty : arrays of float64, (epochs,)
        The penalties are None where there is none.
    """

    counters: Any
    loss_sum: Any
    epoch_loss: Any
    penalty_sum: Any = None
    epoch_penalty: Any = None


class Worker(NamedTuple):
    """One of the threads that share every update; see `nanostep.backends.jit.team`.

    Attributes
    ----------
    team : array of int64, (TEAM_WORDS,), 0 at first; None where a thread works alone
    number, workers : int
        Which of how many.
    losses : array of float64, or None
        The loss of each group of rows of a tile; shared by the team.
    """

    team: Any = None
    number: Any = 0
    workers: Any = 1
    losses: Any = None


ALONE = Worker()


class Run(NamedTuple):
    """A call of `train.train_batches` or `train.train_samples`; the latter needs no more than the first eight fields.

    Attributes
    ----------
    steps : int
        Updates to make.
    rates : array of float64, (1,) or (steps,)
        Learning rates.
    seed : uint64
    shuffle : bool
        An order is drawn for each epoch.
    theta : array
    data : Data
    progress : Progress
    memory : flat array
        Shared by the workers of a team.
    slots : array, (slots, parameters)
    optimizer : Hyperparameters
    extras : Extras
    batch : int
        Samples of an update.
    scale : float
        What gradients are multiplied by.
    worker : Worker
    """

    steps: Any
    rates: Any
    seed: Any
    shuffle: Any
    theta: Any
    data: Data
    progress: Progress
    memory: Any
    slots: Any = None
    optimizer: Any = None
    extras: Any = None
    batch: Any = None
    scale: Any = None
    worker: Any = None


class Lookahead(NamedTuple):
    """What single samples carry from call to call within an epoch.

    Attributes
    ----------
    z : array
        z of the first layer for the next sample.
    state : array of float64, (3,)
        The row of that sample, or 0 for none; the sum of the losses; and a factor whose logarithm is still to be added
        to the sum.
    """

    z: Any
    state: Any
