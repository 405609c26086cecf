"""`train`: local SGD on a Dask cluster."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from dask.distributed import Client, get_client

import dask
from nanostep._arrays import Samples
from nanostep._checks import check_bool, check_choice, check_integer, check_seed
from nanostep.dask._files import is_paths
from nanostep.dask._partitions import Source, check_source, load
from nanostep.dask._rounds import Rounds
from nanostep.dask._tasks import Recipe
from nanostep.dask.history import RoundHistory
from nanostep.network import Network
from nanostep.optimizers import Optimizer, check_optimizer
from nanostep.training.arguments import Monitoring, check_validation
from nanostep.training.early_stopping import BestSoFar
from nanostep.training.optimizer_state import continued
from nanostep.training.recorder import Recorder
from nanostep.training.run_state import RunState

AVERAGES = ("parameters",)


def train(
    net: Network,
    X: Any,
    Y: Any = None,
    *,
    rounds: int = 10,
    epochs: int = 1,
    batch_size: int = 32,
    optimizer: Optimizer | None = None,
    shuffle: bool = True,
    seed: int | None = 0,
    validation: tuple[Any, Any] | None = None,
    shards: int | None = None,
    client: Client | None = None,
    average: str = "parameters",
    progress: bool = False,
) -> RoundHistory:
    """Train a network by local SGD on data that are spread over a Dask cluster.

    In each round, a copy of the network is trained on every shard of the data for some epochs; then the network becomes
    the mean of the copies, weighted by their rows. Data stay on the workers that hold them: only parameters, the
    optimiser's state and numbers are sent.

    The result depends on the data, their partitions and the arguments, but not on the placement of data, the number of
    workers or timing: a run that loses workers ends with the same bits, provided that all workers have processors that
    run the same kernels. One shard of one partition gives ``net.train(x, y, epochs=rounds * epochs, ...)``, one shard
    of several gives ``net.train`` on the list of their chunks.

    Parameters
    ----------
    net : Network
        The caller's network; it holds the averaged parameters and optimiser state after every round.
    X : dask array, dask DataFrame or list of paths
        An array of shape (n, inputs) that is chunked along its rows only, a frame whose columns are the inputs, or
        chunk files, each of them a partition, which all workers can read: ``.npz`` with arrays X and Y, ``.npy``,
        ``.csv`` with a header, ``.parquet`` (needs pyarrow). Data that are persisted stay where they are; others are
        computed and kept in the workers' memory for the duration of the call.
    Y : dask array, DataFrame or Series, list of paths, str or list of str
        Targets as in `Network.loss`, in the same partitions as X. For a DataFrame, CSV and Parquet files it may be the
        name of the target's column, or a list of names; all other columns are inputs. For ``.npy`` it is a list of
        files, for ``.npz`` it is left out.
    rounds : int, default=10
        Number of rounds, >= 1.
    epochs : int, default=1
        Local epochs between two averages, >= 1.
    batch_size : int, default=32
        Samples per update of a local model, >= 1. Batches end with their partition.
    optimizer : Optimizer, optional
        As in `Network.train`: None, or the object of the last call, continues with its state.
    shuffle : bool, default=True
        Draw a new order of each partition's samples for each local epoch.
    seed : int or None, default=0
        Seed of the orders: partition k has ``seed`` plus k times an odd constant. None draws a seed.
    validation : (Xv, Yv), optional
        Data on which to measure the loss after every round: arrays, evaluated by the caller, or Dask collections or
        chunk files, evaluated by the workers.
    shards : int, optional
        Number of local models, 1 to the number of partitions. Each trains on an equal share of neighbouring partitions,
        one after the other. None: one for each partition. As many as there are worker threads keep all threads busy;
        with more, each learns from fewer rows.
    client : dask.distributed.Client, optional
        None takes the current client.
    average : {"parameters"}, default="parameters"
        The quantity to average: parameters and the optimiser's slots. Its number of updates is the rounded mean.
    progress : bool, default=False
        As in `Network.train`, with a round for an epoch.

    Returns
    -------
    RoundHistory
        Also ``net.history``.

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        Before anything is changed; also if a worker finds an error in its part of the data.
    RuntimeError
        No client is running, a partition was lost for good, or every attempt at a round loses workers. The network
        keeps the result of its last complete round.
    KeyboardInterrupt
        Ctrl-C: the network keeps the result of its last complete round, and ``net.history`` describes it.
    """
    if not isinstance(net, Network):
        raise TypeError(f"net must be a nanostep.Network; got {type(net).__name__}")
    checked_rounds = check_integer("rounds", rounds, 1, 2**32)
    checked_epochs = check_integer("epochs", epochs, 1, 2**16)
    check_choice("average", average, AVERAGES)
    monitoring = Monitoring(progress=check_bool("progress", progress))
    if optimizer is not None:
        check_optimizer(optimizer)
    state = continued(net._state, optimizer)
    recipe = Recipe(
        net.architecture,
        net.dtype.name,
        net.backend,
        state.optimizer,
        check_integer("batch_size", batch_size, 1),
        check_bool("shuffle", shuffle),
        check_seed(seed),
    )
    source = check_source(net.architecture, X, Y)
    held_out_source, held_out_samples = _check_validation(net, validation)
    count = source.partitions if shards is None else check_integer("shards", shards, 1, source.partitions)
    checked_client = _check_client(client)
    net._check_writable()

    with checked_client.as_current():  # for Dask's functions that take no client
        data = load(checked_client, recipe, source)
        held_out = None if held_out_source is None else load(checked_client, recipe, held_out_source)
        count = min(count, len(data.samples))
        ends = [s * len(data.samples) // count for s in range(count + 1)]
        groups = [range(*pair) for pair in pairwise(ends)]

        history = RoundHistory(backend=net.backend, seed=recipe.seed, shards=count)
        net._state, net._history = state, history
        run_state = RunState({}, history, BestSoFar(), state.updates, state.epochs)
        recorder = Recorder(net, monitoring, None, held_out_samples, checked_rounds, run_state)
        run = Rounds(
            net, checked_client, recipe, data, groups,
            epochs=checked_epochs, held_out=held_out, history=history, recorder=recorder,
        )  # fmt: skip
        run.execute(checked_rounds)
    return history


def _check_validation(net: Network, validation: Any) -> tuple[Source | None, Samples | None]:
    """Return the validation data on the cluster, or those of the caller."""
    if isinstance(validation, (tuple, list)) and len(validation) == 2:
        X, Y = validation
        if dask.is_dask_collection(X) or is_paths(X):
            return check_source(net.architecture, X, Y, names=("validation X", "validation Y")), None
    return None, check_validation(net, validation)


def _check_client(client: object) -> Client:
    if client is None:
        try:
            client = get_client()
        except ValueError:
            raise RuntimeError(
                "no Dask client is running: start one with client = dask.distributed.Client(), or with "
                "Client('tcp://SCHEDULER:8786') for a cluster that is there, and call again"
            ) from None
    if not isinstance(client, Client):
        raise TypeError(f"client must be a dask.distributed.Client; got {type(client).__name__}")
    if client.asynchronous:
        raise TypeError("client is asynchronous; give one that is not, Client(..., asynchronous=False)")
    if client.status != "running":
        raise RuntimeError(f"client is {client.status}; start another with dask.distributed.Client()")
    return client
