"""`Online`: the methods of `nanostep.Network` for data that come as one goes."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from nanostep._arrays import check_inputs, check_samples
from nanostep._learning import Learning
from nanostep.optimizers import SGD
from nanostep.training import run
from nanostep.training.history import History
from nanostep.training.optimizer_state import continued


class Online(Learning):
    """Mixin of `Network`."""

    def partial_fit(
        self,
        X: ArrayLike,
        Y: ArrayLike,
        batch_size: int = 1,
        *,
        shuffle: bool = True,
        seed: int | None = 0,
        sample_weight: ArrayLike | None = None,
    ) -> History:
        """Go through the samples once with the network's `optimizer`, whose state goes on.

        Parameters
        ----------
        X, Y, batch_size, shuffle, seed, sample_weight
            As in `train`.

        Returns
        -------
        History
            Of this pass.
        """
        return self.train(X, Y, 1, batch_size, shuffle=shuffle, seed=seed, sample_weight=sample_weight)

    def learn_one(self, x: ArrayLike, y: ArrayLike) -> float:
        """Make one update from one sample with the network's `optimizer`, and return the loss before it.

        With plain SGD (no momentum, penalty or clipping) and arrays of the network's dtype this takes a short cut.

        Parameters
        ----------
        x : array-like, shape (inputs,) or (1, inputs)
        y : array-like
            As in `loss`.
        """
        optimizer = self._state.optimizer
        plain = isinstance(optimizer, SGD) and optimizer.is_plain
        if plain:
            loss = self._engine.step_row(self._theta, x, y, optimizer.lr)
            if loss is not None:
                self._state.updates += 1
                return loss
        samples = check_samples(self._architecture, self._dtype, x, y, names=("x", "y")).apart_from(self._theta)
        if len(samples) != 1:
            raise ValueError(f"learn_one takes one sample; got {len(samples)}: use partial_fit")
        self._check_writable()
        self._state = continued(self._state, None)
        if plain and samples.y is not None:
            # one row gives the same bits however it was handed in
            loss = self._engine.step_row(self._theta, samples.x[0], samples.y[0], float(optimizer.lr))
            if loss is not None:
                self._state.updates += 1
                return loss
        return run.step(self._net, self._state, samples)

    def predict_one(self, x: ArrayLike) -> np.ndarray:
        """Return the outputs for one sample, shape (outputs,).

        Parameters
        ----------
        x : array-like, shape (inputs,) or (1, inputs)
        """
        row = self._engine.predict_row(self._theta, x)
        if row is not None:
            return row
        checked = check_inputs(self._architecture, self._dtype, x, name="x")
        if len(checked) != 1:
            raise ValueError(f"predict_one takes one sample; got {len(checked)}: use predict")
        a = np.empty((1, self._architecture.outputs), self._dtype)
        self._engine.predict(self._theta, checked, a)
        return a[0]
