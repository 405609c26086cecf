"""What may be given by position, what is public, and that Network and Population agree in both."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import nanostep as ns

BY_POSITION: dict[Callable[..., Any], list[str]] = {
    ns.Network: ["sizes"],
    ns.Network.train: ["X", "Y"],
    ns.Network.partial_fit: ["X", "Y"],
    ns.Network.step: ["X", "Y", "lr"],
    ns.Network.loss: ["X", "Y"],
    ns.Network.gradient: ["X", "Y"],
    ns.Network.predict: ["X"],
    ns.Network.worksheet: ["x", "y", "lr"],
    ns.Population: ["sizes", "size"],
    ns.Population.train: ["X", "Y"],
    ns.Population.step: ["X", "Y", "lr"],
    ns.Population.loss: ["X", "Y"],
    ns.Population.predict: ["X"],
    ns.LBFGS: [],
    ns.LevenbergMarquardt: [],
}

PUBLIC_PACKAGES = (
    "dask",
    "data",
    "embedding",
    "io",
    "losses",
    "jit",
    "plots",
    "schedules",
    "sklearn",
    "streams",
    "sweeps",
    "worksheet",
)

WRAPPERS = ("jax", "torch")
"""Public too, of libraries that are not installed here; tests/interop has their tests."""


def parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    return {name: p for name, p in inspect.signature(function).parameters.items() if name != "self"}


@pytest.mark.parametrize("function", BY_POSITION, ids=lambda function: function.__qualname__)
def test_all_else_is_keyword_only(function: Callable[..., Any]) -> None:
    given = parameters(function)
    assert [name for name, p in given.items() if p.kind is not p.KEYWORD_ONLY] == BY_POSITION[function]


@pytest.mark.parametrize("name", ["__init__", "train", "step", "loss", "predict"])
def test_arguments_that_both_have_are_the_same(name: str) -> None:
    ours, theirs = parameters(getattr(ns.Network, name)), parameters(getattr(ns.Population, name))
    shared = ours.keys() & theirs.keys()
    assert {"X", "Y"} & ours.keys() <= shared or name == "__init__"
    assert [key for key in ours if key in shared] == [key for key in theirs if key in shared]
    for key in shared - {"Y"}:  # a network trains on streams too, which have no Y
        assert (ours[key].default, ours[key].kind) == (theirs[key].default, theirs[key].kind), key


def test_dir_is_what_is_public() -> None:
    assert dir(ns) == sorted(ns.__all__)
    assert all(hasattr(ns, name) for name in ns.__all__)


def test_nothing_public_is_in_a_private_module() -> None:
    for package in (ns, *(importlib.import_module(f"nanostep.{name}") for name in PUBLIC_PACKAGES)):
        for name in package.__all__:
            module = getattr(getattr(package, name), "__module__", None) or ""
            private = [part for part in module.split(".") if part.startswith("_")]
            assert not private, f"{package.__name__}.{name} is defined in {module}"


def test_what_a_module_exports_is_public() -> None:
    for info in pkgutil.iter_modules(ns.__path__):
        if info.name != "__main__" and info.name not in (*PUBLIC_PACKAGES, *WRAPPERS):
            module = importlib.import_module(f"nanostep.{info.name}")
            assert set(getattr(module, "__all__", ())) <= set(ns.__all__), info.name


MOST_BY_POSITION = 8
"""Arguments by position of any function of the package; more of them are an object, or have names."""


def long_lists(source: str) -> list[str]:
    """Names of the functions in `source` that take more arguments by position than that, self aside."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.Lambda)):
            names = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args)]
            if len(names) - (names[:1] in (["self"], ["cls"])) > MOST_BY_POSITION:
                found.append(getattr(node, "name", "lambda"))
    return found


def test_no_long_lists_by_position() -> None:
    assert long_lists("def f(a, b, c, d, e, f, g, h, i): ...") == ["f"]
    assert long_lists("def f(self, b, c, d, e, f, g, h, i, *, j): ...") == []
    root = Path(ns.__file__).parent
    found = {str(path.relative_to(root)): long_lists(path.read_text()) for path in root.rglob("*.py")}
    assert {path: names for path, names in found.items() if names} == {}
