"""`NoShortCuts`: the base of engines that leave every call to the gate and the general path."""

from __future__ import annotations

import numpy as np

from nanostep.backends.contract import UpdateState

Array = np.ndarray


class NoShortCuts:
    """Short cuts of `nanostep.backends.contract.Engine`, all of which decline."""

    def predict_row(self, theta__p: Array, x: object) -> None:
        return None

    def step_row(self, theta__p: Array, x: object, y: object, lr: object) -> None:
        return None

    def prepared_update(
        self,
        theta__p: Array,
        state: UpdateState,
        X: object,
        Y: object,
        outputs: object = None,
        sample_weight: object = None,
    ) -> None:
        return None

    def prepared_descent(
        self, theta__p: Array, X: object, Y: object, lr: object, outputs: object = None, sample_weight: object = None
    ) -> None:
        return None

    def prepared_predict(self, theta__p: Array, X: object) -> None:
        return None

    def prepared_loss(self, theta__p: Array, X: object, Y: object) -> None:
        return None

    def prepared_apply(self, theta__p: Array, state: UpdateState, grad: object) -> None:
        return None

    def prepared_forward(self, theta__p: Array, X: object) -> None:
        return None

    def prepared_gradient(self, theta__p: Array, X: object, Y: object) -> None:
        return None
