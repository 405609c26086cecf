"""The settings that a sweep tries: `Grid`, `Random` and `Halving`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from nanostep._checks import check_integer, check_seed

Setting = dict[str, Any]
"""Values, by name, for the network, its optimiser and its training; see `nanostep.sweep`."""


class Grid:
    """All combinations of the given values of each name; the last name varies fastest.

    Parameters
    ----------
    *grids : mapping from name to sequence of values
        Several grids are tried one after the other. `nanostep.sweep` also takes plain dicts and lists of them.

    Examples
    --------
    >>> import nanostep as ns
    >>> list(ns.Grid({"lr": [0.1, 1.0], "hidden": [(4,), (8,)]}))[:2]
    [{'lr': 0.1, 'hidden': (4,)}, {'lr': 0.1, 'hidden': (8,)}]
    """

    def __init__(self, *grids: Mapping[str, Sequence[Any]]) -> None:
        if not grids:
            raise ValueError("a grid needs a mapping from names to the values to try; got none")
        for grid in grids:
            _check_names(grid)
            for name, values in grid.items():
                if isinstance(values, str) or not isinstance(values, (Sequence, np.ndarray)) or len(values) == 0:
                    raise ValueError(f"{name} must be a sequence of one or more values to try; got {values!r}")
        self._grids = [{name: list(_plain(values)) for name, values in grid.items()} for grid in grids]

    def __iter__(self) -> Iterator[Setting]:
        for grid in self._grids:
            for values in product(*grid.values()):
                yield dict(zip(grid, values, strict=True))

    def __len__(self) -> int:
        return sum(int(np.prod([len(values) for values in grid.values()])) for grid in self._grids)


class Random:
    """Settings drawn at random.

    Parameters
    ----------
    n : int
        Number of settings, >= 1.
    space : mapping
        For each name a sequence, from which one value is chosen; an object with ``rvs(random_state=)`` such as those
        of ``scipy.stats``; or a function that takes a `numpy.random.Generator` and returns a value.
    seed : int or None, default=0

    Examples
    --------
    >>> import nanostep as ns
    >>> space = {"lr": lambda rng: 10 ** rng.uniform(-3, 0), "batch_size": [16, 64]}
    >>> len(list(ns.Random(20, space)))
    20
    """

    def __init__(self, n: int, space: Mapping[str, Any], seed: int | None = 0) -> None:
        self._n, self._seed = check_integer("n", n, 1), check_seed(seed)
        _check_names(space)
        for name, values in space.items():
            is_choice = isinstance(values, (Sequence, np.ndarray)) and not isinstance(values, str) and len(values) > 0
            if not (is_choice or hasattr(values, "rvs") or callable(values)):
                raise TypeError(
                    f"{name} must be a sequence to choose from, a distribution with rvs() as in scipy.stats, or a "
                    f"function of a numpy.random.Generator; got {values!r}"
                )
        self._space = dict(space)

    def __iter__(self) -> Iterator[Setting]:
        rng = np.random.default_rng(self._seed)
        for _ in range(self._n):
            yield {name: _draw(values, rng) for name, values in self._space.items()}

    def __len__(self) -> int:
        return self._n


class Halving:
    """Successive halving: all settings get a few epochs, the best of them more, and the last ones all epochs.

    Parameters
    ----------
    space : Grid, Random, or mapping or list of mappings as for Grid
    factor : float, default=3
        After each round one in `factor` settings continues, for `factor` times as many epochs; > 1.
    min_epochs : int, optional
        Fewest epochs of the first round, by default 1. There are as many rounds as this and the number of settings
        allow.

    Source: Jamieson & Talwalkar, 2016, "Non-stochastic best arm identification and hyperparameter optimization".
    """

    def __init__(self, space: Any, factor: float = 3.0, min_epochs: int | None = None) -> None:
        self.space = make_space(space)
        if isinstance(self.space, Halving):
            raise TypeError("space must be a Grid or a Random; got a Halving")
        if not isinstance(factor, (int, float)) or isinstance(factor, bool) or not 1 < factor < float("inf"):
            raise ValueError(f"factor must be a number > 1; got {factor!r}")
        self.factor = float(factor)
        self.min_epochs = None if min_epochs is None else check_integer("min_epochs", min_epochs, 1)

    def __iter__(self) -> Iterator[Setting]:
        return iter(self.space)

    def __len__(self) -> int:
        return len(self.space)

    def rounds(self, epochs: int) -> list[tuple[int, int]]:
        """Return, for each round, the number of settings and the number of epochs that they have made after it.

        Raises
        ------
        ValueError
            `min_epochs` is more than `epochs`.
        """
        least = self.min_epochs or 1
        if least > epochs:
            raise ValueError(f"min_epochs={least} is more than epochs={epochs}")
        last = int(min(np.log(len(self)), np.log(epochs / least)) / np.log(self.factor) + 1e-9)
        return [
            (int(np.ceil(len(self) / self.factor**r - 1e-9)), round(epochs / self.factor ** (last - r)))
            for r in range(last + 1)
        ]


def make_space(value: Any) -> Grid | Random | Halving:
    """Return `value` as a space: a mapping or a sequence of them is a grid."""
    if isinstance(value, (Grid, Random, Halving)):
        return value
    if isinstance(value, Mapping):
        return Grid(value)
    if isinstance(value, Sequence) and value and all(isinstance(grid, Mapping) for grid in value):
        return Grid(*value)
    raise TypeError(
        f"space must be a dict from names to values to try, a list of such, or ns.Grid, ns.Random or ns.Halving; "
        f"got {type(value).__name__}"
    )


def _check_names(space: Any) -> None:
    if not isinstance(space, Mapping) or not space or not all(isinstance(name, str) for name in space):
        raise TypeError(f"settings must be a mapping from names to values to try, not an empty one; got {space!r}")


def _plain(values: Any) -> Any:
    """Return the entries of an array as Python numbers."""
    return values.tolist() if isinstance(values, np.ndarray) else values


def _draw(values: Any, rng: np.random.Generator) -> Any:
    if hasattr(values, "rvs"):
        return _item(values.rvs(random_state=rng))
    if callable(values):
        return _item(values(rng))
    return _item(values[int(rng.integers(len(values)))])


def _item(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
