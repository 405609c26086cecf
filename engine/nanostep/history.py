"""What a run of training did."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class History:
    """Record of one `Network.train` call.

    Attributes
    ----------
    loss : list of float
        Per epoch, the mean over samples of the loss just before the step that used the sample. Parameters move during
        the epoch, so this is not the loss of the final parameters: that is ``net.loss(X, Y)``.
    validation_loss : list of float
        Per epoch, ``net.loss`` on the validation data after the epoch; empty if none was given.
    seconds : float
        Wall time inside the call, validation and callbacks included.
    steps : int
        Optimiser updates made.
    samples : int
        Rows used, counted once per epoch.
    backend : str
        The backend that ran: "c", "numba" or "numpy".
    isa : str
        Instruction set that the kernels ran with, as they report it themselves; "" where the backend does not say.
    threads : int
        Threads that ran, the calling one included, as the kernels report; if the worker threads were busy for another
        network during part of the run, as of its last part.
    seed : int
        Seed of the sample order (drawn if ``seed=None`` was given).
    interrupted : bool
        True if the run ended by Ctrl-C before its last epoch.
    """

    loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    seconds: float = 0.0
    steps: int = 0
    samples: int = 0
    backend: str = ""
    isa: str = ""
    threads: int = 1
    seed: int = 0
    interrupted: bool = False

    @property
    def epochs(self) -> int:
        """Number of epochs completed."""
        return len(self.loss)

    def to_dict(self) -> dict[str, Any]:
        """Return all fields, and `epochs`, as plain numbers, strings and lists."""
        return {**asdict(self), "epochs": self.epochs}
