"""Fails if the imports of the package form a circle; prints the number of modules, arrows and floors.

Every import statement counts: those for type checkers only, and those inside functions. The graph is drawn by grimp,
which reads the sources and runs none of them; a module's import of its own ancestors' `__init__` is left out, as
Python makes it whatever the module says.

    python tools/import_graph.py [PACKAGE]
"""

from __future__ import annotations

import sys
from graphlib import CycleError, TopologicalSorter

import grimp

PACKAGE = "nanostep"


def imports_of(package: str) -> dict[str, set[str]]:
    """Return, for each module of the package, the modules of the package that it imports."""
    graph = grimp.build_graph(package, cache_dir=None)
    return {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}


def floors(imports: dict[str, set[str]]) -> int:
    """Return the length of the longest chain of imports, counted in modules.

    Raises
    ------
    graphlib.CycleError
        There is a circle.
    """
    height: dict[str, int] = {}
    for module in TopologicalSorter(imports).static_order():
        height[module] = 1 + max((height[imported] for imported in imports[module]), default=0)
    return max(height.values(), default=0)


def main(package: str = PACKAGE) -> int:
    imports = imports_of(package)
    try:
        count = floors(imports)
    except CycleError as error:
        print("a circle of imports, each module imported by the next:", *error.args[1], sep="\n    ")
        return 1
    print(f"{len(imports)} modules, {sum(map(len, imports.values()))} imports between them, {count} floors, no circle")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
