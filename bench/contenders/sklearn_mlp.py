"""scikit-learn's MLPClassifier and MLPRegressor: ``partial_fit`` epoch by epoch, starting from our initial weights.

The penalty (alpha=0), shuffling, momentum and the counter of epochs without improvement are switched off. Two
conventions are changed so that the mathematics is the same: scikit-learn's gradients are those of half the squared
error summed over outputs, and its Adam adds eps before the bias correction of the second moment.
"""

from __future__ import annotations

import time
import warnings
from typing import Any, ClassVar

import numpy as np

from nanostep.benchmark.contenders.base import Contender, Online, Run, Trainer, join, split, supported
from nanostep.benchmark.workload import Workload


def make_model(workload: Workload, x: np.ndarray, y: np.ndarray) -> Any:
    """Return a model that has been fitted to the first batch, so that all its memory is allocated."""
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    outputs = workload.sizes[-1]
    lr, epsilon = workload.lr, 1e-8
    if workload.loss == "squared_error":
        # our gradient is 2 (a - y) / outputs; plain SGD has the factor in the rate, Adam cancels it except in eps
        if workload.optimizer == "sgd":
            lr *= 2 / outputs
        else:
            epsilon *= outputs / 2
    model = (MLPClassifier if workload.has_labels else MLPRegressor)(
        hidden_layer_sizes=workload.sizes[1:-1],
        activation={"sigmoid": "logistic"}.get(workload.activation, workload.activation),
        solver=workload.optimizer,
        alpha=0.0,
        batch_size=workload.batch,
        learning_rate_init=lr,
        momentum=0.0,
        nesterovs_momentum=False,
        shuffle=False,
        epsilon=epsilon,
        n_iter_no_change=10**9,
        random_state=0,
    )
    target = _targets(workload, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has not converged after one batch
        if workload.has_labels:
            model.partial_fit(x[: workload.batch], target[: workload.batch], classes=np.arange(outputs))
        else:
            model.partial_fit(x[: workload.batch], target[: workload.batch])
    return model


def _targets(workload: Workload, y: np.ndarray) -> np.ndarray:
    return y.ravel() if not workload.has_labels and workload.sizes[-1] == 1 else y


def put_weights(workload: Workload, model: Any) -> None:
    pairs = split(workload.architecture, workload.initial_theta())
    for own_w, own_b, (w, b) in zip(model.coefs_, model.intercepts_, pairs, strict=True):
        own_w[...], own_b[...] = w.T, b
    del model._optimizer  # partial_fit makes a new one
    if workload.optimizer == "adam":
        model._optimizer = make_adam(model)
    model.loss_curve_.clear()


def make_adam(model: Any) -> Any:
    """Return scikit-learn's Adam with eps added as in PyTorch, to the corrected second moment."""
    from sklearn.neural_network._stochastic_optimizers import AdamOptimizer

    class Adam(AdamOptimizer):  # type: ignore[misc]
        def _get_updates(self, gradients: Any) -> Any:
            self.epsilon = model.epsilon * (1 - self.beta_2 ** (self.t + 1)) ** 0.5
            return super()._get_updates(gradients)

    parameters = model.coefs_ + model.intercepts_
    return Adam(parameters, model.learning_rate_init, model.beta_1, model.beta_2, model.epsilon)


class PartialFitTrainer(Trainer):
    def __init__(self, workload: Workload, x: np.ndarray, y: np.ndarray) -> None:
        self.workload, self.x, self.y = workload, x, _targets(workload, y)
        self.model = make_model(workload, x, y)

    def run(self, epochs: int) -> Run:
        model, x, y = self.model, self.x, self.y
        put_weights(self.workload, model)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            started = time.perf_counter()
            for _ in range(epochs):
                model.partial_fit(x, y)
            seconds = time.perf_counter() - started
        # its squared loss is half the mean over outputs
        loss = model.loss_ * (1 if self.workload.has_labels else 2)
        theta = join([(w.T, b) for w, b in zip(model.coefs_, model.intercepts_, strict=True)])
        return Run(seconds, float(loss), theta)


class PartialFitOnline(Online):
    def __init__(self, workload: Workload) -> None:
        from nanostep.benchmark.workload import make_data

        self.workload = workload
        self.model = make_model(workload, *make_data(workload))
        self.reset()

    def reset(self) -> None:
        put_weights(self.workload, self.model)

    def step(self, x__i: np.ndarray, y__o: np.ndarray) -> float:
        self.model.partial_fit(x__i[None], y__o[None])
        return float(self.model.loss_)

    def predict(self, x__i: np.ndarray) -> np.ndarray:
        return self.model.predict_proba(x__i[None])[0]

    def theta(self) -> np.ndarray:
        return join([(w.T, b) for w, b in zip(self.model.coefs_, self.model.intercepts_, strict=True)])


class ScikitLearn(Contender):
    name, title = "sklearn", "scikit-learn, partial_fit"
    modules: ClassVar[tuple[str, ...]] = ("sklearn.neural_network",)
    distributions: ClassVar[tuple[str, ...]] = ("scikit-learn", "scipy")

    def unavailable(self) -> str:
        return super().unavailable().replace("sklearn.neural_network", "scikit-learn")

    def cannot(self, workload: Workload, use: str) -> str:
        if workload.output == "sigmoid":
            return "its regressor has no sigmoid output, its classifier no squared error"
        outputs = {"identity": {"squared_error"}, "softmax": {"cross_entropy"}}
        return supported(workload, {"sigmoid", "tanh", "relu"}, outputs, {"sgd", "adam"})

    def trainer(self, workload: Workload, x: np.ndarray, y: np.ndarray, cores: int) -> Trainer:
        del cores  # the threads of its BLAS are set by the worker's environment
        return PartialFitTrainer(workload, x, y)

    def online(self, workload: Workload) -> Online:
        return PartialFitOnline(workload)
