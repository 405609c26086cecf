"""Compiles a kernel, a Python function of a `Builder`, to a function that jitted code can call."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import typeof, types
from numba.core import config
from numba.core.imputils import lower_constant
from numba.extending import NativeValue, intrinsic, models, register_model, typeof_impl, unbox

from nanostep.backends.jit import _interpreter
from nanostep.backends.jit._builder import Builder
from nanostep.backends.jit._memory import Pointer
from nanostep.backends.jit._values import Value

RESULTS = {None: types.void, "double": types.float64, "index": types.int64}


class Static:
    """A compile-time constant, such as an architecture: as an argument of jitted code its value is part of its type.

    Subclasses are frozen dataclasses with `dtype` and `lanes`; `label` identifies a value, in every process.
    """

    dtype: np.dtype
    lanes: int

    @property
    def label(self) -> str:
        raise NotImplementedError


class StaticType(types.Type):  # type: ignore[misc]
    """Numba's type of one Static."""

    def __init__(self, static: Static) -> None:
        self.static = static
        super().__init__(name=f"{type(static).__name__}({static.label})")

    def __reduce__(self) -> Any:
        return restore_type, (pickle.dumps(self.static),)


def restore_type(data: bytes) -> types.Type:
    """Return a type from an index of Numba's cache, where users' code is listed by the types of its arguments.

    A type that another version of nanostep has written may not be readable; it is then an unknown type.
    """
    try:
        return typeof(pickle.loads(data))
    except Exception:
        return types.Opaque("architecture of another version of nanostep")


@dataclass(frozen=True)
class Choice(Static):
    """Names, or objects that stand for one, that select the code of an operation, in one dtype."""

    names: tuple[Any, ...]
    dtype: np.dtype
    lanes: int

    @property
    def label(self) -> str:
        return f"{'/'.join(map(str, self.names))} {self.dtype} {self.lanes}"


def choice(dtype: np.dtype, *names: Any) -> Choice:
    """Return the Static of an operation."""
    return Choice(names, dtype, vector_bytes() // dtype.itemsize)


def register_static(static: type[Static], kind: type[StaticType]) -> None:
    """Register a class: each of its values has its own Numba type, and no data at run time."""
    typeof_impl.register(static)(lambda value, context: kind(value))
    register_model(kind)(models.OpaqueModel)
    unbox(kind)(lambda typ, value, c: NativeValue(c.context.get_dummy_value()))
    lower_constant(kind)(lambda context, builder, typ, value: context.get_dummy_value())


register_static(Static, StaticType)


def vector_bytes() -> int:
    """Width of the vectors of the processor for which code is compiled."""
    return _vector_bytes(config.CPU_FEATURES)


@cache
def _vector_bytes(features: str | None) -> int:
    """The same for features in LLVM's notation; None stands for this processor, whose query takes a third of a
    millisecond."""
    if features:
        enabled = {name[1:] for name in features.split(",") if name.startswith("+")}
    else:
        enabled = {name for name, is_there in binding.get_host_cpu_features().items() if is_there}
    return 64 if "avx512f" in enabled else 32 if "avx2" in enabled else 16


def kernel(*, fastmath: set[str], returns: str | None = None) -> Callable[[Callable[..., Any]], Any]:
    """Make a kernel, a function of (m, static, ...), callable from jitted code as (static, ...)."""

    def decorate(function: Callable[..., Any]) -> Any:
        if config.DISABLE_JIT:
            return _interpreted(function)

        def typer(typing_context: Any, *arguments: Any) -> Any:
            static = arguments[0].static

            def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
                width = vector_bytes()
                m = Builder(builder, static.dtype, static.lanes, sorted(fastmath), width == 64, width >= 32)
                given = [_argument(m, context, *pair) for pair in zip(signature.args, values, strict=True)]
                result = function(m, *given)
                if returns is None:
                    return context.get_dummy_value()
                return result.ir

            return RESULTS[returns](*arguments), generate

        parameters = list(inspect.signature(function).parameters.values())[1:]
        typing = inspect.Parameter("typing_context", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        typer.__signature__ = inspect.Signature([typing, *parameters])  # type: ignore[attr-defined]
        typer.__name__ = typer.__qualname__ = function.__name__
        return intrinsic(prefer_literal=True)(typer)

    return decorate


def _interpreted(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(static: Any, *arguments: Any) -> Any:
        m = _interpreter.Interpreter(static.dtype, static.lanes)
        given = [_interpreted_argument(a) for a in arguments]
        with np.errstate(all="ignore"):
            return function(m, static, *given)

    return call


def _interpreted_argument(a: Any) -> Any:
    if isinstance(a, tuple) and hasattr(a, "_make"):
        return a._make(_interpreted_argument(field) for field in a)
    return _interpreter.Pointer(a.reshape(-1)) if isinstance(a, np.ndarray) else a


def _argument(m: Builder, context: Any, kind: Any, value: Any) -> Any:
    """An argument as the kernel sees it."""
    if isinstance(kind, StaticType):
        return kind.static
    if isinstance(kind, (types.IntegerLiteral, types.StringLiteral, types.BooleanLiteral)):
        return kind.literal_value
    if isinstance(kind, types.NoneType):
        return None
    if isinstance(kind, (types.NamedTuple, types.NamedUniTuple)):
        fields = (m.llvm.extract_value(value, i) for i in range(len(kind)))
        return kind.instance_class._make(_argument(m, context, *pair) for pair in zip(kind, fields, strict=True))
    if isinstance(kind, types.Array):
        element = context.get_data_type(kind.dtype)
        return Pointer(m, context.make_array(kind)(context, m.llvm, value).data, element)
    if isinstance(kind, types.Boolean):
        return Value(m, m.llvm.icmp_unsigned("!=", value, ir.Constant(value.type, 0)))
    if isinstance(kind, types.Integer) and kind.bitwidth < 64:
        raise TypeError(f"kernels take 64-bit integers; got {kind}")
    return Value(m, value)
