"""FANN, the Fast Artificial Neural Network library, from the system's packages; called through cffi's ABI mode.

Its incremental training of sigmoid networks is W1's mathematics, with one exception: FANN clips a sigmoid's output to
0.01 .. 0.99 before taking the derivative, so results differ as soon as a neuron saturates.
"""

from __future__ import annotations

import ctypes.util
import time
from functools import cache
from typing import Any, ClassVar

import numpy as np

from nanostep.benchmark.contenders.base import Contender, Run, Trainer, join, split
from nanostep.benchmark.workload import Workload

DECLARATIONS = """
struct fann;
struct fann_train_data;
struct fann_connection { unsigned int from_neuron, to_neuron; REAL weight; };
struct fann *fann_create_standard_array(unsigned int num_layers, const unsigned int *layers);
void fann_destroy(struct fann *ann);
void fann_set_activation_function_hidden(struct fann *ann, int activation_function);
void fann_set_activation_function_output(struct fann *ann, int activation_function);
void fann_set_activation_steepness_hidden(struct fann *ann, REAL steepness);
void fann_set_activation_steepness_output(struct fann *ann, REAL steepness);
void fann_set_training_algorithm(struct fann *ann, int training_algorithm);
void fann_set_train_error_function(struct fann *ann, int train_error_function);
void fann_set_learning_rate(struct fann *ann, float learning_rate);
void fann_set_learning_momentum(struct fann *ann, float learning_momentum);
unsigned int fann_get_total_connections(struct fann *ann);
void fann_get_connection_array(struct fann *ann, struct fann_connection *connections);
void fann_set_weight_array(struct fann *ann, struct fann_connection *connections, unsigned int num_connections);
struct fann_train_data *fann_create_train_from_callback(unsigned int num_data, unsigned int num_input,
    unsigned int num_output, void (*fill)(unsigned int num, unsigned int inputs, unsigned int outputs, REAL *, REAL *));
void fann_destroy_train(struct fann_train_data *train_data);
float fann_train_epoch(struct fann *ann, struct fann_train_data *data);
"""

SIGMOID = 3
INCREMENTAL = 0
ERROR_LINEAR = 0
LIBRARIES = {"float64": ("doublefann", "double"), "float32": ("floatfann", "float")}


def _find(dtype: str) -> str | None:
    return ctypes.util.find_library(LIBRARIES[dtype][0])


@cache
def _library(dtype: str) -> tuple[Any, Any]:
    from cffi import FFI

    ffi = FFI()
    ffi.cdef(DECLARATIONS.replace("REAL", LIBRARIES[dtype][1]))
    return ffi, ffi.dlopen(_find(dtype))


class FannTrainer(Trainer):
    def __init__(self, workload: Workload, x: np.ndarray, y: np.ndarray) -> None:
        self.ffi, self.lib = _library(workload.dtype)
        real, sizes = LIBRARIES[workload.dtype][1], workload.sizes
        self.workload = workload
        ann = self.lib.fann_create_standard_array(len(sizes), self.ffi.new("unsigned int[]", sizes))
        self.ann = self.ffi.gc(ann, self.lib.fann_destroy)
        for layer in ("hidden", "output"):
            getattr(self.lib, f"fann_set_activation_function_{layer}")(ann, SIGMOID)
            getattr(self.lib, f"fann_set_activation_steepness_{layer}")(ann, 0.5)  # 1 / (1 + exp(-2 s x))
        self.lib.fann_set_training_algorithm(ann, INCREMENTAL)
        self.lib.fann_set_train_error_function(ann, ERROR_LINEAR)
        self.lib.fann_set_learning_rate(ann, workload.lr)
        self.lib.fann_set_learning_momentum(ann, 0.0)

        def fill(row: int, inputs: int, outputs: int, to_x: Any, to_y: Any) -> None:
            self.ffi.buffer(to_x, x[row].nbytes)[:] = x[row].tobytes()
            self.ffi.buffer(to_y, y[row].nbytes)[:] = y[row].tobytes()

        callback = self.ffi.callback(f"void(unsigned int, unsigned int, unsigned int, {real} *, {real} *)", fill)
        data = self.lib.fann_create_train_from_callback(len(x), x.shape[1], y.shape[1], callback)
        self.data = self.ffi.gc(data, self.lib.fann_destroy_train)

    def run(self, epochs: int) -> Run:
        self._put(self.workload.initial_theta())
        error = 0.0
        started = time.perf_counter()
        for _ in range(epochs):
            error = self.lib.fann_train_epoch(self.ann, self.data)  # mean of squares over samples and outputs
        seconds = time.perf_counter() - started
        return Run(seconds, error * self.workload.sizes[-1] / 2, self._theta())

    def _connections(self) -> Any:
        count = self.lib.fann_get_total_connections(self.ann)
        connections = self.ffi.new("struct fann_connection[]", count)
        self.lib.fann_get_connection_array(self.ann, connections)
        return connections

    def _places(self, connections: Any, pairs: list[tuple[np.ndarray, np.ndarray]]) -> Any:
        """Yield (connection, array, index). Neurons are numbered layer by layer, with each layer's bias neuron last."""
        sizes = self.workload.sizes
        first = np.concatenate([[0], np.cumsum(np.array(sizes) + 1)])
        for connection in connections:
            layer = int(np.searchsorted(first, connection.from_neuron, side="right")) - 1
            source, target = connection.from_neuron - first[layer], connection.to_neuron - first[layer + 1]
            w, b = pairs[layer]
            yield (connection, b, target) if source == sizes[layer] else (connection, w, (target, source))

    def _put(self, theta: np.ndarray) -> None:
        connections = self._connections()
        for connection, array, index in self._places(connections, split(self.workload.architecture, theta)):
            connection.weight = float(array[index])
        self.lib.fann_set_weight_array(self.ann, connections, len(connections))

    def _theta(self) -> np.ndarray:
        pairs = split(self.workload.architecture, self.workload.initial_theta())
        for connection, array, index in self._places(self._connections(), pairs):
            array[index] = connection.weight
        return join(pairs)

    def about(self) -> dict[str, Any]:
        return {"library": _find(self.workload.dtype), "threads": 1}


class Fann(Contender):
    name, title = "fann", "FANN"
    loss_dtype = "float32"  # its mean squared error is a float, even in the double library
    modules: ClassVar[tuple[str, ...]] = ("cffi",)

    def unavailable(self) -> str:
        missing = [library for library, _ in LIBRARIES.values() if ctypes.util.find_library(library) is None]
        if missing:
            return (
                f"lib{' and lib'.join(missing)} not installed (Debian and Ubuntu: apt install libfann2 libdoublefann2)"
            )
        return super().unavailable()

    def cannot(self, workload: Workload, use: str) -> str:
        if workload.output == "softmax":
            return "FANN has neither softmax nor cross-entropy"
        if workload.batch != 1 or workload.optimizer != "sgd":
            return "FANN has no minibatches and no Adam"
        if (workload.activation, workload.output, workload.loss) != ("sigmoid", "sigmoid", "half_squared_error"):
            return "not written for other networks than sigmoid ones"
        if use in ("step", "predict", "start"):
            return "a C library: what it costs from Python is cffi's doing"
        return ""

    def trainer(self, workload: Workload, x: np.ndarray, y: np.ndarray, cores: int) -> Trainer:
        del cores
        return FannTrainer(workload, x, y)

    def versions(self) -> dict[str, str]:
        return {"fann": _find("float64") or ""}
