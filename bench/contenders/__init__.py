"""Contenders: the libraries under test, one file each. A peer is imported only in its worker process."""

from nanostep.benchmark.contenders.base import Contender
from nanostep.benchmark.contenders.fann import Fann
from nanostep.benchmark.contenders.jax_scan import JaxScan
from nanostep.benchmark.contenders.numpy_by_hand import NumPyByHand
from nanostep.benchmark.contenders.ours import C, Numba, NumPy
from nanostep.benchmark.contenders.sklearn_mlp import ScikitLearn
from nanostep.benchmark.contenders.torch_compile import TorchCompile
from nanostep.benchmark.contenders.torch_eager import TorchEager

CONTENDERS: dict[str, Contender] = {
    contender.name: contender
    for contender in (
        C(),
        Numba(),
        NumPy(),
        JaxScan(),
        TorchEager(),
        TorchCompile(),
        ScikitLearn(),
        NumPyByHand(),
        Fann(),
    )
}
"""All contenders by name, ours first."""

__all__ = ["CONTENDERS", "Contender"]
