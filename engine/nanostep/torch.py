"""`Module`: a network as a PyTorch module, whose parameter is the network's theta itself.

Needs PyTorch: ``pip install "nanostep[torch]"``.
"""

from __future__ import annotations

from typing import Any

from nanostep._optional import require
from nanostep.network import Network

torch: Any = require("nanostep.torch", "PyTorch", "torch", "torch")
__all__ = ["Module"]


class Module(torch.nn.Module):
    """A network in a PyTorch model: X, (n, inputs) or (inputs,), to outputs, with first derivatives by `Network.vjp`.

    Its one parameter `theta` shares its memory with ``network.theta``: PyTorch's optimisers train the network in place.
    Both stay on the CPU in the network's dtype. A deep copy has a copy of the network.

    Raises
    ------
    RuntimeError
        In a call: `theta` was moved or converted, and is not the network's any more. In the backward pass: theta has
        changed since the forward pass.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        if not isinstance(network, Network):
            raise TypeError(f"network must be a nanostep.Network; got {type(network).__name__}")
        self.network = network
        self.theta = torch.nn.Parameter(torch.from_numpy(network.theta))

    def forward(self, X: Any) -> Any:
        if self.theta.data_ptr() != self.network.theta.ctypes.data:
            raise RuntimeError("theta no longer shares memory with the network; make a new Module of the network")
        return _Function.apply(torch.as_tensor(X), self.theta, self.network)

    def __reduce__(self) -> tuple[type[Module], tuple[Network]]:
        return type(self), (self.network,)


class _Function(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, X: Any, theta: Any, network: Network) -> Any:
        out, ctx.pull = network.vjp(X.numpy(force=True))
        return torch.from_numpy(out)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dout: Any) -> tuple[Any, Any, None]:
        of_x, of_theta, _ = ctx.needs_input_grad
        found = ctx.pull(dout.numpy(), inputs=of_x, params=of_theta)
        grad, dx = found if of_x and of_theta else (found, found)
        return torch.from_numpy(dx) if of_x else None, torch.from_numpy(grad) if of_theta else None, None
