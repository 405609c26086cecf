"""Exceptions that nanostep raises beyond ``TypeError``, ``ValueError`` and ``MemoryError``."""

from __future__ import annotations

__all__ = ["BackendUnavailable", "FileFormatError", "NanostepError", "StopTraining"]


class NanostepError(Exception):
    """Base class of nanostep's own exceptions."""


class BackendUnavailable(NanostepError, RuntimeError):
    """A backend that was asked for by name cannot run here.

    The message says why and what to install.
    """


class FileFormatError(NanostepError, ValueError):
    """A file is not a nanostep model, or is damaged."""


class StopTraining(Exception):
    """Raise it in a callback to end `Network.train` cleanly after the current epoch."""
