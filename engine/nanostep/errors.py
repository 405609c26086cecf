"""Exceptions that nanostep raises beyond ``TypeError``, ``ValueError`` and ``MemoryError``."""

from __future__ import annotations

__all__ = ["BackendUnavailable", "FileFormatError", "NanostepError", "StopTraining"]


HOW_TO_GET_C = (
    "Install a C compiler (Debian and Ubuntu: apt install gcc python3-dev; macOS: xcode-select --install) "
    "and install nanostep again"
)


class NanostepError(Exception):
    """Base class of nanostep's own exceptions."""


class BackendUnavailable(NanostepError, RuntimeError):
    """A backend that was requested by name cannot run here; the message says why and what to install."""


class FileFormatError(NanostepError, ValueError):
    """A file is not a nanostep model, or is damaged."""


class StopTraining(Exception):
    """Raise it in a callback to end `Network.train` or `Population.train` cleanly after the current epoch."""
