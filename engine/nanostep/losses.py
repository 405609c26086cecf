"""Losses with options, for ``loss=`` of networks, populations and estimators; losses without any go by their names.

A loss with several outputs for a target takes Y of shape (n, targets).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, ClassVar

import numpy as np

from nanostep._checks import check_real

__all__ = ["Custom", "GaussianNLL", "Huber", "Loss", "Quantile"]


class Loss:
    """Base of the losses that are objects. They are immutable and equal if their options are.

    Attributes
    ----------
    name : str
        As `Network.loss_name` gives it.
    """

    name: ClassVar[str]

    @property
    def outputs_per_target(self) -> int:
        """Outputs of the network for each target."""
        return 1

    def options(self) -> dict[str, Any]:
        """Return the options by name, as JSON takes them: what files keep."""
        return {
            field.name: list(value) if isinstance(value := getattr(self, field.name), tuple) else value
            for field in fields(self)  # type: ignore[arg-type]
        }

    def repeated(self, y: np.ndarray) -> np.ndarray:
        """Return targets (n, targets) as (n, outputs): for each output its target."""
        return y

    def unrepeated(self, y: np.ndarray) -> np.ndarray:
        """Return targets (n, outputs) as (n, targets)."""
        return y


@dataclass(frozen=True)
class Huber(Loss):
    """The Huber loss: quadratic for small errors, linear for large ones; the mean over outputs.

    ``(a - y)**2 / 2`` where ``|a - y| <= delta``, otherwise ``delta * (|a - y| - delta / 2)``: PyTorch's HuberLoss.
    ``loss="huber"`` stands for ``Huber(1.0)``.

    Parameters
    ----------
    delta : float, default=1.0
        Where the two parts meet, > 0.

    Examples
    --------
    >>> import nanostep as ns
    >>> ns.Network([4, 16, 1], output="identity", loss=ns.losses.Huber(delta=0.5), backend="numpy").loss_name
    'huber'
    """

    delta: float = 1.0
    name: ClassVar[str] = "huber"

    def __post_init__(self) -> None:
        object.__setattr__(self, "delta", check_real("delta", self.delta, 0.0, open_low=True))


@dataclass(frozen=True)
class Quantile(Loss):
    """The pinball loss: each output learns a quantile of its target; the mean over outputs.

    With the error ``e = y - a``, an output's term is ``max(q e, (q - 1) e)``. A network for T targets and Q quantiles
    has T Q outputs, the quantiles of one target side by side: ``net.predict(X).reshape(-1, T, Q)``. Y has shape
    (n, T).

    Parameters
    ----------
    quantiles : sequence of float, or a float
        Each in (0, 1).

    Examples
    --------
    >>> import nanostep as ns
    >>> net = ns.Network([4, 16, 3], output="identity", loss=ns.losses.Quantile([0.1, 0.5, 0.9]), backend="numpy")
    >>> net.loss([[1, 2, 3, 4]], [[0.5]]) > 0
    True
    """

    quantiles: tuple[float, ...]
    name: ClassVar[str] = "quantile"

    def __init__(self, quantiles: Iterable[float] | float) -> None:
        given = np.asarray(quantiles, object)
        if given.ndim > 1 or given.size == 0:
            raise ValueError(f"quantiles must be one or more numbers in (0, 1); got {quantiles!r}")
        checked = [
            check_real(f"quantiles[{i}]", value, 0.0, 1.0, open_low=True, open_high=True)
            for i, value in enumerate(given.ravel())
        ]
        object.__setattr__(self, "quantiles", tuple(checked))

    def __repr__(self) -> str:
        return f"Quantile({list(self.quantiles)})"

    @property
    def outputs_per_target(self) -> int:
        return len(self.quantiles)

    def of_outputs(self, outputs: int, dtype: np.dtype | type = np.float64) -> np.ndarray:
        """Return the quantile of each output."""
        return np.resize(np.array(self.quantiles, dtype), outputs)

    def repeated(self, y: np.ndarray) -> np.ndarray:
        return np.repeat(y, len(self.quantiles), axis=1)

    def unrepeated(self, y: np.ndarray) -> np.ndarray:
        return y[:, :: len(self.quantiles)]


@dataclass(frozen=True)
class GaussianNLL(Loss):
    """Negative log-likelihood of a normal distribution whose mean and variance the network gives; mean over targets.

    A network for T targets has 2 T outputs: the T means, then the T logarithms of the variances. With mean m and
    logarithm s, a target's term is ``(s + (y - m)**2 * exp(-s)) / 2``: PyTorch's GaussianNLLLoss of ``exp(s)``, which
    leaves out the constant. The output activation is "identity". Y has shape (n, T).

    Examples
    --------
    >>> import nanostep as ns
    >>> net = ns.Network([4, 16, 2], output="identity", loss=ns.losses.GaussianNLL(), backend="numpy")
    >>> mean, log_variance = np.split(net.predict([[1, 2, 3, 4]]), 2, axis=-1)
    """

    name: ClassVar[str] = "gaussian_nll"

    @property
    def outputs_per_target(self) -> int:
        return 2

    def repeated(self, y: np.ndarray) -> np.ndarray:
        return np.tile(y, (1, 2))

    def unrepeated(self, y: np.ndarray) -> np.ndarray:
        return y[:, : y.shape[1] // 2]


@dataclass(frozen=True, init=False)
class Custom(Loss):
    """A loss of your own.

    ``f(a, y)`` gets the outputs of the network and the targets of a batch, both (n, outputs), in the network's dtype
    and read-only, and returns the loss of each sample, (n,), and its derivatives by the outputs, (n, outputs). They are
    derivatives by what `predict` returns: those of a softmax or a sigmoid are applied afterwards. A batch takes the
    mean over samples. `f` is called once for each batch.

    A function that Numba has compiled (``@njit``) writes its results in place instead: ``f(a, y, loss, da)``. So does
    C: ``void f(const T *a, const T *y, size_t n, size_t outputs, T *loss, T *da, void *user)``, T float or double,
    given as a ``numba.cfunc`` or as a function of ctypes whose ``argtypes`` are set; `user` is null. On the backends
    "c" and "numba" such functions are called within the kernels, for some rows of a batch at a time and, with several
    threads, from all of them: a sample's results may depend on no other sample. What they write is not checked there.

    Parameters
    ----------
    f : callable
    name : str, optional
        What files and messages call it; by default the function's own name.

    Examples
    --------
    >>> import nanostep as ns
    >>> def log_cosh(a, y):
    ...     e = a - y
    ...     return np.log(np.cosh(e)).sum(axis=1), np.tanh(e)
    >>> net = ns.Network([2, 4, 1], output="identity", loss=ns.losses.Custom(log_cosh), backend="numpy")
    >>> net.step([[1, 2]], [[0.5]], lr=0.1) > 0
    True
    """

    f: Callable[..., Any] | None
    title: str
    name: ClassVar[str] = "custom"

    def __init__(self, f: Callable[..., Any], *, name: str | None = None) -> None:
        if not callable(f):
            raise TypeError(f"f must be a function; got {f!r} ({type(f).__name__})")
        if name is not None and not isinstance(name, str):
            raise TypeError(f"name must be a string; got {type(name).__name__}")
        object.__setattr__(self, "f", f)
        named = getattr(f, "__name__", None) or getattr(f, "native_name", type(f).__name__)
        object.__setattr__(self, "title", name or str(named))
        object.__setattr__(self, "_kind", kind_of(f))

    def __repr__(self) -> str:
        return f"Custom({self.title})"

    def __reduce__(self) -> Any:
        return _restored, (self.f, self.title)

    def __deepcopy__(self, memo: object) -> Custom:
        return self

    def options(self) -> dict[str, Any]:
        return {"name": self.title}

    def address(self, dtype: np.dtype) -> int | None:
        """Return the address of the function in C for a dtype; None for a function of Python.

        Raises
        ------
        TypeError
            It is for another dtype.
        """
        kind = getattr(self, "_kind", "none")
        if kind == "njit":
            return int(_as_cfunc(self.f, dtype.name).address)
        if kind == "cfunc":
            taken = str(self.f._sig)  # type: ignore[union-attr]
            if taken.count(f"{dtype.name}*") != 4 or len(self.f._sig.args) != 7:  # type: ignore[union-attr]
                raise TypeError(f"{self!r} is a cfunc of {taken}; a network of {dtype} needs {_signature(dtype)}")
            return int(self.f.address)  # type: ignore[union-attr]
        if kind == "ctypes":
            if tuple(self.f.argtypes or ()) != _argtypes(dtype):  # type: ignore[union-attr]
                raise TypeError(f"{self!r} must have the argtypes {_signature(dtype)} for a network of {dtype}")
            return ctypes.cast(self.f, ctypes.c_void_p).value  # type: ignore[arg-type]
        return None

    def evaluate(self, a__bo: np.ndarray, y__bo: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the losses (batch,) and dL/da (batch, outputs) of a batch, checked."""
        f, kind = self.f, getattr(self, "_kind", "none")
        if f is None:
            raise RuntimeError(
                f"the file of this network has the loss {self.title!r}, a function that files do not keep: give it as "
                "nanostep.load(path, loss=f), or of a population as Population.load(path, loss=f)"
            )
        a, y = a__bo.view(), y__bo.view()
        a.flags.writeable = y.flags.writeable = False
        try:
            if kind == "python":
                result = f(a, y)
            else:
                result = np.full(len(a), np.nan, a.dtype), np.full(a.shape, np.nan, a.dtype)
                self._call_compiled(a__bo, y__bo, *result)
        except Exception as error:
            error.add_note(f"raised within the loss {self!r}")
            raise
        return self._checked(result, a__bo)

    def _call_compiled(self, a: np.ndarray, y: np.ndarray, loss: np.ndarray, da: np.ndarray) -> None:
        """Call a function that writes in place; it gets copies of what it reads."""
        if getattr(self, "_kind", "") == "njit":
            self.f(a.copy(), y.copy(), loss, da)  # type: ignore[misc]
            return
        prototype = ctypes.CFUNCTYPE(None, *_argtypes(a.dtype))
        real = _argtypes(a.dtype)[0]
        arrays = [np.ascontiguousarray(array).copy() for array in (a, y)]
        pointers = [array.ctypes.data_as(real) for array in (*arrays, loss, da)]
        address = self.address(a.dtype)
        assert address is not None
        prototype(address)(*pointers[:2], *a.shape, *pointers[2:], None)

    def _checked(self, result: Any, a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if not isinstance(result, tuple) or len(result) != 2:
            got = f"{len(result)} values" if isinstance(result, tuple) else type(result).__name__
            raise TypeError(
                f"the loss {self!r} must return two arrays, the losses (n,) and dL/da (n, outputs); got {got}"
            )
        checked = []
        for what, value, shape in (("losses", result[0], a.shape[:1]), ("dL/da", result[1], a.shape)):
            array = np.asarray(value)
            if array.dtype.kind not in "biuf":
                raise TypeError(f"the loss {self!r} must return real numbers as {what}; got dtype {array.dtype}")
            if array.shape != shape:
                raise ValueError(f"the loss {self!r} must return {what} of shape {shape}; got {array.shape}")
            array = array.astype(a.dtype)
            if not np.isfinite(array).all():
                place = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
                finite = np.isfinite(a[place[0]]).all()
                reason = "" if finite else f"; the outputs of that row are {a[place[0]].tolist()}"
                raise ValueError(f"the loss {self!r} returned {array[place]} in {what}, at {list(place)}{reason}")
            checked.append(array)
        return checked[0], checked[1]


def unbound(name: str) -> Custom:
    """Return the loss of a file, whose function is not there."""
    if not isinstance(name, str):
        raise TypeError(f"the name of a loss must be a string; got {type(name).__name__}")
    loss = object.__new__(Custom)
    object.__setattr__(loss, "f", None)
    object.__setattr__(loss, "title", name)
    return loss


def _restored(f: Callable[..., Any] | None, title: str) -> Custom:
    return unbound(title) if f is None else Custom(f, name=title)


def kind_of(f: Callable[..., Any]) -> str:
    """Return "njit", "cfunc", "ctypes" or "python"."""
    if isinstance(f, ctypes._CFuncPtr):  # type: ignore[attr-defined]
        return "ctypes"
    if type(f).__module__.partition(".")[0] == "numba":
        return "cfunc" if hasattr(f, "address") else "njit"
    return "python"


def _argtypes(dtype: np.dtype) -> tuple[Any, ...]:
    real = ctypes.POINTER(ctypes.c_float if dtype == np.float32 else ctypes.c_double)
    return real, real, ctypes.c_size_t, ctypes.c_size_t, real, real, ctypes.c_void_p


def _signature(dtype: np.dtype) -> str:
    real = "float" if dtype == np.float32 else "double"
    return f"({real} *, {real} *, size_t, size_t, {real} *, {real} *, void *)"


@cache
def _as_cfunc(f: Any, dtype: str) -> Any:
    """Return a function that was compiled by Numba as one that C can call."""
    from numba import carray, cfunc, types

    real = types.CPointer(getattr(types, dtype))

    @cfunc(types.void(real, real, types.uintp, types.uintp, real, real, types.voidptr))
    def call(a, y, n, outputs, loss, da, user):  # type: ignore[no-untyped-def]
        f(carray(a, (n, outputs)), carray(y, (n, outputs)), carray(loss, (n,)), carray(da, (n, outputs)))

    return call


KINDS: dict[str, type[Loss]] = {kind.name: kind for kind in (Huber, Quantile, GaussianNLL, Custom)}
"""Losses with options by name."""


def name_of(loss: str | Loss) -> str:
    """Return the name of a loss."""
    return loss if isinstance(loss, str) else loss.name


def delta_of(loss: str | Loss) -> float:
    """Return the delta of a Huber loss."""
    return loss.delta if isinstance(loss, Huber) else Huber.delta
