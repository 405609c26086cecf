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
    has_missing : True, or None
        Entries of y may be NaN, which add nothing.
    custom : int, or None
        Address of the loss, if that is a function of the user's.
    """

    n: Any
    x: Any
    y: Any = None
    labels: Any = None
    order: Any = None
    ordered: Any = False
    labelled: Any = False
    weight: Any = None
    has_missing: Any = None
    custom: Any = None


class Extras(NamedTuple):
    """What a run adds to plain batches; see `nanostep.backends.contract.RunConfig`.

    Attributes
    ----------
    smoothing : float, or None
    p, thresholds : arrays of float64 and int64, one of each hidden layer, or None
        Probability that a unit is dropped, and how many of the 2^32 values of its hash drop it.
    alpha : float, or None
    log_clip_min : float, or None
    batch_mean : bool
        Counts where samples have weights.
    squares : array of float64, ``2 * Net.groups``, or None
        Memory for sums of squares, where an update needs some.
    factors : array, packed as parameters are, or None
        What every change of a parameter is multiplied by.
    """

    smoothing: Any = None
    p: Any = None
    thresholds: Any = None
    alpha: Any = None
    log_clip_min: Any = None
    batch_mean: Any = False
    squares: Any = None
    factors: Any = None

    @property
    def is_empty(self) -> bool:
        """True if a batch is plain except for the weights of its samples."""
        return all(
            getattr(self, name) is None for name in ("smoothing", "p", "alpha", "log_clip_min", "squares", "factors")
        )


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
    """What a call of `train.train_batches` or `train.train_samples` does.

    Attributes
    ----------
    steps : int
        Updates to make.
    rates : array of float64, (1,) or (steps,)
        Learning rates.
    seed : uint64
    shuffle : bool
        An order is drawn for each epoch.
    batch : int
        Samples of an update.
    """

    steps: Any
    rates: Any
    seed: Any
    shuffle: Any
    batch: Any = 1


class State(NamedTuple):
    """Parameters of a network, and memory.

    Attributes
    ----------
    theta : array
    memory : flat array
        Shared by the workers of a team.
    slots : array, (slot_count, parameters), or None
    slot_count : int
    """

    theta: Any
    memory: Any
    slots: Any = None
    slot_count: Any = 0


class UpdateRule(NamedTuple):
    """How updates are made.

    Attributes
    ----------
    optimizer : Hyperparameters
    extras : Extras
    scale : float
        What gradients are multiplied by.
    worker : Worker
    """

    optimizer: Hyperparameters
    extras: Extras
    scale: Any
    worker: Worker = ALONE


class Step(NamedTuple):
    """One update: number t, from 1, from `rows` samples from `position` of the order on.

    Attributes
    ----------
    lr : float
    t, position, rows : int
    seed : uint64
    penalty_sum : array of float64, (1,), or None
        The penalty is added to it.
    """

    lr: Any
    t: Any
    position: Any
    rows: Any
    seed: Any
    penalty_sum: Any


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
