"""JAX in its fastest form here: one jitted program that scans over the batches of all epochs, with data on the device.

For a population, the step in that program is mapped over the networks (`vmap`).
"""

from __future__ import annotations

import time
from typing import Any, ClassVar

import numpy as np

from nanostep.benchmark.contenders.base import (
    DISCOUNT,
    Calls,
    Contender,
    Memory,
    Online,
    Run,
    Trainer,
    join,
    split,
    supported,
)
from nanostep.benchmark.workload import PopulationWorkload, Workload

OUTPUTS = {"sigmoid": {"half_squared_error"}, "identity": {"squared_error"}, "softmax": {"cross_entropy"}}


def _functions(workload: Workload) -> tuple[Any, Any]:
    """Return forward(parameters, x), which gives the output's z or a, and the mean loss of a batch."""
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


def _parameters(workload: Workload, theta: np.ndarray) -> Any:
    import jax.numpy as jnp

    # W is kept as (in, out), because XLA is fastest with x @ W
    pairs = split(workload.architecture, theta)
    return [(jnp.array(w.swapaxes(-1, -2).copy()), jnp.array(b)) for w, b in pairs]


def _theta(parameters: Any) -> np.ndarray:
    return join([(np.asarray(w).swapaxes(-1, -2), np.asarray(b)) for w, b in parameters])


def _optimizer(workload: Workload, lr: Any) -> Any:
    import optax

    return {"sgd": optax.sgd, "adam": optax.adam}[workload.optimizer](lr)


def _step(workload: Workload) -> Any:
    """Return step(parameters, state, lr, x, y), which returns the new parameters and state, and the loss."""
    import jax
    import optax

    _, loss_of = _functions(workload)

    def step(parameters: Any, state: Any, lr: Any, x: Any, y: Any) -> Any:
        loss, gradients = jax.value_and_grad(loss_of)(parameters, x, y)
        updates, state = _optimizer(workload, lr).update(gradients, state, parameters)
        return optax.apply_updates(parameters, updates), state, loss

    return step


class ScanTrainer(Trainer):
    def __init__(self, workload: Workload, x: np.ndarray, y: np.ndarray) -> None:
        import jax
        import jax.numpy as jnp

        self.jax = jax
        if isinstance(workload, PopulationWorkload):
            lr = jnp.array(workload.rates(), workload.dtype)
            step_of = jax.vmap(_step(workload), in_axes=(0, 0, 0, None, None))
            self.parameters = _parameters(workload, workload.initial_thetas())
            self.state = jax.vmap(_optimizer(workload, workload.lr).init)(self.parameters)
        else:
            lr = workload.lr
            step_of = _step(workload)
            self.parameters = _parameters(workload, workload.initial_theta())
            self.state = _optimizer(workload, lr).init(self.parameters)
        no_loss = jnp.zeros(np.shape(lr), workload.dtype)
        batches = len(x) // workload.batch
        self.x = jnp.array(x).reshape(batches, workload.batch, -1)
        self.y = jnp.array(y).reshape(batches, workload.batch, *y.shape[1:])

        def step(carry: Any, batch: Any) -> Any:
            parameters, state, total = carry
            parameters, state, loss = step_of(parameters, state, lr, *batch)
            return (parameters, state, total + loss), None

        def epoch(_: Any, carry: Any, x: Any, y: Any) -> Any:
            parameters, state, _ = carry
            carry, _ = jax.lax.scan(step, (parameters, state, no_loss), (x, y))
            return carry

        # the number of epochs is an argument, so that one compilation serves all lengths
        def train(parameters: Any, state: Any, x: Any, y: Any, epochs: Any) -> Any:
            carry = (parameters, state, no_loss)
            return jax.lax.fori_loop(0, epochs, lambda i, carry: epoch(i, carry, x, y), carry)

        self.train = jax.jit(train)

    def run(self, epochs: int) -> Run:
        started = time.perf_counter()
        parameters, _, total = self.jax.block_until_ready(
            self.train(self.parameters, self.state, self.x, self.y, epochs)
        )
        seconds = time.perf_counter() - started
        return Run(seconds, np.asarray(total, np.float64) / len(self.x), _theta(parameters))

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
        self.start = self.parameters = _parameters(workload, workload.initial_theta())

    def reset(self) -> None:
        self.parameters = self.start

    def step(self, x__i: np.ndarray, y__o: np.ndarray) -> float:
        loss, self.parameters = self.step_jitted(self.parameters, x__i, y__o)
        return float(loss)

    def predict(self, x__i: np.ndarray) -> np.ndarray:
        return np.asarray(self.predict_jitted(self.parameters, x__i))

    def theta(self) -> np.ndarray:
        return _theta(self.parameters)


class JitCalls(Calls):
    """Every call one jitted function of the flat vector of parameters, which is donated to those that change it."""

    def __init__(self, workload: Workload) -> None:
        import jax
        import jax.numpy as jnp
        import optax

        forward_pairs, loss_of_pairs = _functions(workload)
        optimizer = _optimizer(workload, workload.lr)
        self.workload, self.init, self.array = workload, optimizer.init, jnp.array

        def pairs(theta: Any) -> Any:
            return [(w.T, b) for w, b in split(workload.architecture, theta)]

        def forward(theta: Any, x: Any) -> Any:
            return forward_pairs(pairs(theta), x)

        def loss_of(theta: Any, x: Any, y: Any) -> Any:
            return loss_of_pairs(pairs(theta), x, y)

        def update(theta: Any, state: Any, gradient: Any) -> Any:
            change, state = optimizer.update(gradient, state, theta)
            return optax.apply_updates(theta, change), state

        def step(theta: Any, state: Any, x: Any, y: Any) -> Any:
            loss, gradient = jax.value_and_grad(loss_of)(theta, x, y)
            return *update(theta, state, gradient), loss

        def learn(theta: Any, state: Any, target: Any, memory: Any, i: Any) -> Any:
            states, actions, rewards, ends, after = (array[i] for array in memory)
            best = forward(theta, after).argmax(axis=1)
            later = jnp.take_along_axis(forward(target, after), best[:, None], 1)[:, 0]
            wanted = rewards + DISCOUNT * ~ends * later

            def loss(theta: Any) -> Any:
                chosen = jnp.take_along_axis(forward(theta, states), actions[:, None], 1)[:, 0]
                return ((chosen - wanted) ** 2).mean()

            return update(theta, state, jax.grad(loss)(theta))

        self._step, self._predict = jax.jit(step, donate_argnums=(0, 1)), jax.jit(forward)
        self._gradient = jax.jit(jax.grad(loss_of))
        self._pull = jax.jit(lambda theta, x, dout: jax.vjp(forward, theta, x)[1](dout))
        self._learn = jax.jit(learn, donate_argnums=(0, 1))
        self.target = self.array(workload.initial_theta())
        self.wait = jax.block_until_ready
        self.reset()

    def reset(self) -> None:
        self.parameters = self.array(self.workload.initial_theta())
        self.state = self.init(self.parameters)
        self.memory: Any = None

    def step(self, x__bi: np.ndarray, y__bo: np.ndarray) -> float:
        self.parameters, self.state, loss = self._step(self.parameters, self.state, x__bi, y__bo)
        return float(loss)

    def predict(self, x__bi: np.ndarray) -> np.ndarray:
        return np.asarray(self._predict(self.parameters, x__bi))

    def gradient(self, x__bi: np.ndarray, y__bo: np.ndarray) -> np.ndarray:
        return np.asarray(self._gradient(self.parameters, x__bi, y__bo))

    def pull(self, x__bi: np.ndarray, dout__bo: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        gradient, dx = self._pull(self.parameters, x__bi, dout__bo)
        return np.asarray(gradient), np.asarray(dx)

    def learn(self, memory: Memory, i__b: np.ndarray) -> None:
        if self.memory is None:  # on the device once, as its users keep it
            self.memory = Memory(*map(self.array, memory))
        made = self._learn(self.parameters, self.state, self.target, self.memory, i__b)
        self.parameters, self.state = self.wait(made)

    def theta(self) -> np.ndarray:
        return np.asarray(self.parameters).copy()


class JaxScan(Contender):
    name, title = "jax", "JAX, jit + scan"
    compiles = True
    most_networks: ClassVar[int] = 16_384
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

    def population(self, workload: PopulationWorkload, x: np.ndarray, y: np.ndarray, cores: int) -> Trainer:
        return self.trainer(workload, x, y, cores)

    def online(self, workload: Workload) -> Online:
        return JitOnline(workload)

    def calls(self, workload: Workload) -> Calls:
        return JitCalls(workload)
