"""JAX as it is fastest here: one jitted program that scans over the batches of all epochs, data on the device."""

from __future__ import annotations

import time
from typing import Any, ClassVar

import numpy as np

from nanostep.benchmark.contenders.base import Contender, Online, Run, Trainer, join, split, supported
from nanostep.benchmark.workload import Workload

OUTPUTS = {"sigmoid": {"half_squared_error"}, "identity": {"squared_error"}, "softmax": {"cross_entropy"}}


def _functions(workload: Workload) -> tuple[Any, Any]:
    """Return forward(parameters, x) up to the output's z or a, and the mean loss of a batch."""
    import jax
    import jax.numpy as jnp
    import optax

    f = {"sigmoid": jax.nn.sigmoid, "tanh": jnp.tanh, "relu": jax.nn.relu}[workload.activation]

    def forward(parameters: Any, x: Any) -> Any:
        for w, b in parameters[:-1]:
            x = f(x @ w + b)
        w, b = parameters[-1]
        z = x @ w + b
        return jax.nn.sigmoid(z) if workload.output == "sigmoid" else z

    def loss(parameters: Any, x: Any, y: Any) -> Any:
        a = forward(parameters, x)
        if workload.loss == "cross_entropy":
            return optax.softmax_cross_entropy_with_integer_labels(a, y).mean()
        if workload.loss == "half_squared_error":
            return 0.5 * jnp.sum((a - y) ** 2) / x.shape[0]
        return jnp.mean((a - y) ** 2)

    return forward, loss


def _parameters(workload: Workload) -> Any:
    import jax.numpy as jnp

    # W is kept as (in, out): x @ W is what XLA likes best
    pairs = split(workload.architecture, workload.initial_theta())
    return [(jnp.array(w.T.copy()), jnp.array(b)) for w, b in pairs]


def _theta(parameters: Any) -> np.ndarray:
    return join([(np.asarray(w).T, np.asarray(b)) for w, b in parameters])


def _optimizer(workload: Workload) -> Any:
    import optax

    return {"sgd": optax.sgd, "adam": optax.adam}[workload.optimizer](workload.lr)


class ScanTrainer(Trainer):
    def __init__(self, workload: Workload, x: np.ndarray, y: np.ndarray) -> None:
        import jax
        import jax.numpy as jnp
        import optax

        _, loss_of = _functions(workload)
        optimizer = _optimizer(workload)
        self.jax = jax
        self.parameters = _parameters(workload)
        self.state = optimizer.init(self.parameters)
        batches = len(x) // workload.batch
        self.x = jnp.array(x).reshape(batches, workload.batch, -1)
        self.y = jnp.array(y).reshape(batches, workload.batch, *y.shape[1:])

        def step(carry: Any, batch: Any) -> Any:
            parameters, state, total = carry
            loss, gradients = jax.value_and_grad(loss_of)(parameters, *batch)
            updates, state = optimizer.update(gradients, state, parameters)
            return (optax.apply_updates(parameters, updates), state, total + loss), None

        def epoch(_: Any, carry: Any, x: Any, y: Any) -> Any:
            parameters, state, _ = carry
            carry, _ = jax.lax.scan(step, (parameters, state, jnp.zeros((), x.dtype)), (x, y))
            return carry

        # the number of epochs is an argument, so that one compilation serves all lengths
        def train(parameters: Any, state: Any, x: Any, y: Any, epochs: Any) -> Any:
            carry = (parameters, state, jnp.zeros((), x.dtype))
            return jax.lax.fori_loop(0, epochs, lambda i, carry: epoch(i, carry, x, y), carry)

        self.train = jax.jit(train)

    def run(self, epochs: int) -> Run:
        started = time.perf_counter()
        parameters, _, total = self.jax.block_until_ready(
            self.train(self.parameters, self.state, self.x, self.y, epochs)
        )
        seconds = time.perf_counter() - started
        return Run(seconds, float(total) / len(self.x), _theta(parameters))

    def about(self) -> dict[str, Any]:
        return {"device": str(self.jax.devices()[0])}


class JitOnline(Online):
    def __init__(self, workload: Workload) -> None:
        import jax

        forward, loss_of = _functions(workload)

        def step(parameters: Any, x: Any, y: Any) -> Any:
            loss, gradients = jax.value_and_grad(loss_of)(parameters, x[None], y[None])
            return loss, jax.tree.map(lambda p, g: p - workload.lr * g, parameters, gradients)

        self.step_jitted = jax.jit(step)
        self.predict_jitted = jax.jit(lambda parameters, x: forward(parameters, x[None])[0])
        self.start = self.parameters = _parameters(workload)

    def reset(self) -> None:
        self.parameters = self.start

    def step(self, x__i: np.ndarray, y__o: np.ndarray) -> float:
        loss, self.parameters = self.step_jitted(self.parameters, x__i, y__o)
        return float(loss)

    def predict(self, x__i: np.ndarray) -> np.ndarray:
        return np.asarray(self.predict_jitted(self.parameters, x__i))

    def theta(self) -> np.ndarray:
        return _theta(self.parameters)


class JaxScan(Contender):
    name, title = "jax", "JAX, jit + scan"
    compiles = True
    modules: ClassVar[tuple[str, ...]] = ("jax", "optax")
    distributions: ClassVar[tuple[str, ...]] = ("jax", "jaxlib", "optax")

    def cannot(self, workload: Workload, use: str) -> str:
        if use == "many":
            return "compiles anew for each network"
        if workload.rows % workload.batch:
            return "lax.scan wants all batches alike: the rows are no multiple of the batch"
        return supported(workload, {"sigmoid", "tanh", "relu"}, OUTPUTS, {"sgd", "adam"})

    def load(self) -> None:
        super().load()
        import jax

        jax.config.update("jax_enable_x64", True)  # float32 arrays stay float32

    def trainer(self, workload: Workload, x: np.ndarray, y: np.ndarray, cores: int) -> Trainer:
        del cores  # XLA takes as many threads as there are processors in the worker's affinity mask
        return ScanTrainer(workload, x, y)

    def online(self, workload: Workload) -> Online:
        return JitOnline(workload)
