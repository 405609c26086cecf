"""Lines of code of each backend, without blank lines, comments and docstrings."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from pathlib import Path

import nanostep

PACKAGE = Path(nanostep.__file__).parent
C_COMMENT = re.compile(r"""("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|/\*.*?\*/|//[^\n]*""", re.DOTALL)

PLACES: dict[str, tuple[tuple[str, str], ...]] = {
    "c": (("csrc/include", "*.h"), ("csrc/src", "**/*.[ch]"), ("csrc/src", "**/*.inc"), ("bindings", "*.[ch]"),
          ("bindings", "build_ffi.py"), ("backends/native", "*.py")),
    "numba": (("backends/jit", "*.py"),),
    "numpy": (("backends/reference", "*.py"),),
}  # fmt: skip
"""By backend: (directory, pattern). backends/ is that of the package; csrc/ and bindings/ are those of the checkout."""


def python_lines(text: str) -> int:
    """Return the number of lines of Python that contain more than comments and docstrings."""
    lines: set[int] = set()
    silent = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in silent:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines.difference_update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


def c_lines(text: str) -> int:
    """Return the number of lines of C that contain more than comments."""
    bare = C_COMMENT.sub(lambda found: found[1] or "\n" * found[0].count("\n"), text)
    return sum(bool(line.strip()) for line in bare.splitlines())


def count_lines(package: Path = PACKAGE) -> dict[str, dict[str, int] | str]:
    """Return the lines of each backend by directory, or the reason why they cannot be counted.

    A wheel contains no C sources, so the C backend is not counted there.
    """
    checkout = package.parent.parent
    result: dict[str, dict[str, int] | str] = {}
    for backend, places in PLACES.items():
        by_directory: dict[str, int] = {}
        for directory, pattern in places:
            root = package if directory.startswith("backends/") else checkout
            for path in sorted((root / directory).glob(pattern)):
                count = python_lines if path.suffix == ".py" else c_lines
                by_directory[directory] = by_directory.get(directory, 0) + count(path.read_text(encoding="utf-8"))
        missing = sorted({directory for directory, _ in places} - set(by_directory))
        result[backend] = f"no sources here: {', '.join(missing)}" if missing else by_directory
    return result
