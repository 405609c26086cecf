"""`sweep`: checks the arguments, runs the rounds, and returns the table."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from nanostep._arrays import Samples, check_samples, rectangular
from nanostep._base_model import check_dtype
from nanostep._checks import check_bool, check_integer, check_seed
from nanostep.backends import resolve
from nanostep.sweeps.folds import make_folds
from nanostep.sweeps.results import Results
from nanostep.sweeps.rounds import Rounds, make_parallel
from nanostep.sweeps.settings import Trial, make_trial
from nanostep.sweeps.spaces import Halving, make_space
from nanostep.sweeps.table import SweepTable
from nanostep.training.metrics import Metric, check_metrics


def sweep(
    X: ArrayLike,
    Y: ArrayLike,
    space: Any,
    cv: Any = 5,
    *,
    metric: Any = "loss",
    mode: str | None = None,
    repeats: int = 1,
    seed: int | None = 0,
    dtype: DTypeLike = "float64",
    backend: str = "auto",
    threads: int | None = None,
    n_jobs: int | None = None,
    path: Any = None,
    progress: bool = False,
    **fixed: Any,
) -> SweepTable:
    """Train and score networks with many settings by cross-validation, as populations where possible.

    Settings with the same architecture that differ in hyper-parameters are trained together, fold by fold (see
    `nanostep.Population`). Networks on the same fold see the samples in the same order.

    Parameters
    ----------
    X : array-like, shape (n, inputs)
    Y : array-like
        Integer class labels (n,), or targets (n,) or (n, outputs).
    space : dict or list of dict, Grid, Random or Halving
        The values to try, by name. Names are "hidden" (width or widths of the hidden layers, default 16), "activation"
        (default "tanh"), "output" and "loss" (for labels "softmax" and "cross_entropy", otherwise "identity" and
        "squared_error"), "optimizer" ("sgd", "rmsprop", "adam", the default, or "adamw") and its parameters such as
        "lr", "momentum", "betas" and "weight_decay", "epochs" (default 10), "batch_size" (default 32), "shuffle",
        "dropout", "label_smoothing".
    cv : int, float, splitter or iterable, default=5
        Number of folds (each with a fair share of every class, samples shuffled by `seed`); or a share to hold out
        once; or an object with ``split``, such as scikit-learn's; or pairs of index arrays.
    metric : str or callable, default="loss"
        Score on the samples left out: "loss", "accuracy", "mae", "rmse", "r2", "auc", or ``f(y_true, y_pred)`` as in
        `Network.train`.
    mode : {"min", "max"}, optional
        Whether lower or higher scores are better; required for a callable.
    repeats : int, default=1
        Networks of each setting and fold, with different initial weights: those of seeds `seed`, `seed` + 1, ...
    seed : int or None, default=0
    dtype, backend
        As in `Network`.
    threads : int, optional
        Threads of each task; None takes all processors, or one in a worker of joblib.
    n_jobs : int, optional
        Tasks at a time, as in joblib, whose backends distribute them: within
        ``joblib.parallel_config(backend="dask")`` a sweep runs on a cluster. None means 1 outside such a context.
    path : path-like, optional
        File that keeps the scores of finished tasks. A sweep that was stopped and is called again with the same data
        and settings continues from there.
    progress : bool, default=False
        Show a bar on a terminal or in a notebook.
    **fixed
        Settings that are the same for all, by name.

    Returns
    -------
    SweepTable
        A row for each setting, in the order of the space; the same bits for every `n_jobs` and joblib backend.

    Warns
    -----
    UserWarning
        Ctrl-C has ended the sweep: scores of unfinished tasks are NaN.

    Raises
    ------
    TypeError, ValueError, BackendUnavailable, FileFormatError
        Before anything is trained.

    Examples
    --------
    >>> import numpy as np, nanostep as ns
    >>> X = np.random.default_rng(0).standard_normal((200, 2))
    >>> y = (X[:, 0] * X[:, 1] > 0).astype(int)
    >>> table = ns.sweep(X, y, {"lr": [0.001, 0.01, 0.1], "hidden": [(4,), (16,)]}, metric="accuracy", epochs=30)
    >>> table["mean_score"].shape, table.best["hidden"]
    ((6,), (16,))
    """
    space = make_space(space)
    both = sorted({name for setting in space for name in setting} & fixed.keys())
    if both:
        raise ValueError(f"{', '.join(both)} cannot be varied and fixed at a time")
    settings = list(space)
    outputs, labels = _outputs_of(Y)
    x = rectangular("X", X)
    inputs = x.shape[1] if x.ndim == 2 else 1
    trials = [make_trial({**fixed, **setting}, inputs, outputs, labels=labels) for setting in settings]
    checked_dtype = check_dtype(dtype)
    samples = _check_data(trials, checked_dtype, X, Y)
    chosen = _check_metric(trials, metric, mode, samples)
    seed = check_seed(seed)
    folds = make_folds(cv, len(samples), samples.labels, seed % 2**32)
    repeats = check_integer("repeats", repeats, 1)
    if isinstance(space, Halving) and len({trial.epochs for trial in trials}) > 1:
        raise ValueError("epochs is what Halving hands out: give it as one number, not among the settings")
    rounds = space.rounds(trials[0].epochs) if isinstance(space, Halving) else [(len(trials), 0)]
    run = Rounds(
        trials=trials,
        samples=samples,
        folds=folds,
        repeats=repeats,
        seed=seed,
        dtype=checked_dtype,
        backend=resolve(backend)[0],
        metric=chosen,
        threads=None if threads is None else check_integer("threads", threads, 1, 2**16),
    )
    run.execute(rounds, make_parallel(n_jobs), Results(path), progress=check_bool("progress", progress))
    return SweepTable(settings, fixed, run.scores, run.epochs, chosen.name, chosen.mode)


def _outputs_of(Y: Any) -> tuple[int, bool]:
    """Return the number of outputs that Y needs, and True if it holds class labels."""
    y = rectangular("Y", Y)
    if y.size == 0:
        raise ValueError("Y has no samples; at least one is needed")
    if y.ndim == 1 and y.dtype.kind in "iu":
        return max(2, int(y.max()) + 1), True
    return (1 if y.ndim < 2 else y.shape[1]), False


def _check_data(trials: list[Trial], dtype: np.dtype, X: Any, Y: Any) -> Samples:
    """Return the samples, which must be valid for all trials."""
    first = trials[0].architecture
    samples = check_samples(first, dtype, X, Y)
    kinds = {str(trial.architecture.criterion): trial.architecture for trial in trials}
    for architecture in kinds.values():
        other = check_samples(architecture, dtype, samples.x, Y)
        if (other.labels is None) != (samples.labels is None):
            raise ValueError(
                f"class labels suit loss='cross_entropy' only; the settings have {', '.join(sorted(kinds))}"
            )
    return samples


def _check_metric(trials: list[Trial], metric: Any, mode: str | None, samples: Samples) -> Metric:
    if not (isinstance(metric, str) or callable(metric)):
        raise TypeError(f"metric must be the name of one, or a callable; got {type(metric).__name__}")
    found = [check_metrics(metric, trial.architecture, samples.labels is not None)[0] for trial in trials]
    if len({trial.architecture.criterion for trial in trials}) > 1 and metric == "loss":
        raise ValueError("networks of different losses cannot be compared by metric='loss'; give another")
    if mode not in (None, "min", "max"):
        raise ValueError(f"mode must be 'min' or 'max'; got {mode!r}")
    wanted = mode or found[0].mode
    if not wanted:
        raise ValueError(f"mode must say whether less or more of {found[0].name!r} is better: 'min' or 'max'")
    return Metric(found[0].name, found[0].function, wanted)
