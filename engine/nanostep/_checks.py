"""Checks of scalar arguments. Each returns the checked value or raises an error that names the argument."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Sequence
from functools import cache
from numbers import Real

import numpy as np


def check_integer(argument: str, value: object, low: int, high: int = 2**63 - 1) -> int:
    """Return `value` as an int in [low, high]; bools and floats are refused."""
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{argument} must be an integer; got a bool")
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{argument} must be an integer; got {value!r} ({type(value).__name__})") from None
    if not low <= number <= high:
        raise ValueError(f"{argument}={number} is out of range; accepted are {low} to {high}")
    return number


def check_real(
    argument: str,
    value: object,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    open_low: bool = False,
    open_high: bool = False,
) -> float:
    """Return `value` as a finite float between `low` and `high`; bools, strings and arrays are refused."""
    plain = type(value) is float or type(value) is int  # isinstance with the abstract classes takes a microsecond
    if not plain and (isinstance(value, (bool, np.bool_)) or not isinstance(value, (Real, np.floating, np.integer))):
        raise TypeError(f"{argument} must be a real number; got {value!r} ({type(value).__name__})")
    number = float(value)  # type: ignore[arg-type]
    inside = (low < number if open_low else low <= number) and (number < high if open_high else number <= high)
    if not (math.isfinite(number) and inside):
        interval = f"{'(' if open_low or low == -math.inf else '['}{low:g}, {high:g}"
        interval += ")" if open_high or high == math.inf else "]"
        raise ValueError(f"{argument}={number!r} is out of range; accepted are finite numbers in {interval}")
    return number


def check_reals(argument: str, value: object, low: float = -math.inf, high: float = math.inf, **ends: bool) -> None:
    """Check a number as `check_real`, or each of a 1-D array of them, one for each network of a population."""
    if not isinstance(value, np.ndarray):
        check_real(argument, value, low, high, **ends)
        return
    if value.ndim != 1 or value.size == 0 or value.dtype.kind not in "iuf":
        raise TypeError(
            f"{argument} must be a real number, or a 1-D array of them for the networks of a population; "
            f"got an array of shape {value.shape} and dtype {value.dtype}"
        )
    for i in (int(value.argmin()), int(value.argmax())):  # NaN counts as both
        check_real(f"{argument}[{i}]", value[i].item(), low, high, **ends)


def check_bool(argument: str, value: object) -> bool:
    """Return `value` as a bool; only real booleans are accepted."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{argument} must be True or False; got {value!r} ({type(value).__name__})")
    return bool(value)


def check_seed(value: object) -> int:
    """Return a seed in [0, 2**64); None draws one from the operating system."""
    if value is None:
        return int.from_bytes(np.random.SeedSequence().generate_state(2).tobytes(), "little")
    return check_integer("seed", value, 0, 2**64 - 1)


def check_choice(argument: str, value: object, accepted: Sequence[str]) -> str:
    """Return `value` if it is one of `accepted`; otherwise raise an error that lists them."""
    if not isinstance(value, str):
        raise TypeError(f"{argument} must be a string, one of {', '.join(accepted)}; got {type(value).__name__}")
    if value not in accepted:
        raise ValueError(f"{argument}={value!r} is not known; choose one of: {', '.join(accepted)}")
    return value


def check_memory(what: str, needed: int) -> None:
    """Raise MemoryError if `needed` bytes exceed this machine's memory; `what` begins the message, verb included."""
    memory = physical_memory()
    if memory is not None and needed > memory:
        raise MemoryError(f"{what} {needed / 2**30:.1f} GiB, more than this machine's {memory / 2**30:.1f} GiB")


@cache
def physical_memory() -> int | None:
    """Return the size of this machine's memory in bytes; None if the system does not report it."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
