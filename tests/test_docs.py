"""Runs every Python block of the documents; its output must equal the ``text`` block right after it, if there is one.

Every block must name its language, and every link to a file must lead to one.
"""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from types import ModuleType

import pytest

import nanostep as ns

ROOT = Path(__file__).parent.parent
LANGUAGES = {"bash", "c", "cmake", "python", "text"}
"""Languages of code blocks. Only Python is run here; test_embedding.py builds the C program of docs/embedding.md."""

BLOCK = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```[ ]*$(\s*)", re.MULTILINE | re.DOTALL)


def documents() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def python_blocks(text: str) -> list[tuple[int, str, str | None]]:
    """Return (line, code, expected output or None) of every Python block."""
    blocks = list(BLOCK.finditer(text))
    found = []
    for i, block in enumerate(blocks):
        if block[1] != "python":
            continue
        follower = blocks[i + 1] if i + 1 < len(blocks) and blocks[i + 1].start() == block.end() else None
        expected = follower[2] if follower is not None and follower[1] == "text" else None
        found.append((text.count("\n", 0, block.start()) + 2, block[2], expected))
    return found


def run(document: Path) -> int:
    """Run the blocks of `document` in one namespace, check their output, and return their number."""
    namespace: dict[str, object] = {"__name__": "__main__"}
    blocks = python_blocks(document.read_text(encoding="utf-8"))
    for line, code, expected in blocks:
        output = io.StringIO()
        # line numbers in a traceback are those of the document
        compiled = compile("\n" * (line - 1) + code, str(document), "exec")
        with contextlib.redirect_stdout(output):
            exec(compiled, namespace)
        if expected is not None:
            assert output.getvalue() == expected, f"{document.name}, line {line}"
    return len(blocks)


@pytest.mark.parametrize("document", documents(), ids=lambda path: path.name)
def test_python_blocks(document, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(document) == document.read_text(encoding="utf-8").count("\n```python")


def wrong_blocks(text: str) -> list[str]:
    """Return the beginnings of the blocks that do not name a language; Sphinx's directives are in braces."""
    fences = re.findall(r"^```(.*)$", text, re.MULTILINE)
    return [fence for fence in fences[::2] if fence not in LANGUAGES and not re.fullmatch(r"\{[\w-]+\}", fence)]


def wrong_links(document: Path) -> list[str]:
    """Return the links and images of a document that name a file which does not exist."""
    text = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text)]
    return [target for target in targets if "://" not in target and not (document.parent / target).exists()]


@pytest.mark.parametrize("document", documents(), ids=lambda path: path.name)
def test_blocks_and_links(document):
    assert wrong_blocks(document.read_text(encoding="utf-8")) == []
    assert wrong_links(document) == []


def test_wrong_blocks_and_links_are_noticed(tmp_path):
    assert wrong_blocks("```\nx\n```\n```python\n1\n```\n```pycon\n```\n```{toctree}\n```\n") == ["", "pycon"]
    document = tmp_path / "page.md"
    document.write_text(
        "[a](page.md) ![b](none.png) [c](https://x.org/y) [d](page.md#d) [e](no.md#e)", encoding="utf-8"
    )
    assert wrong_links(document) == ["none.png", "no.md"]


def missing_from_reference(names: list[str], text: str) -> list[str]:
    """Return the names of `nanostep` that the reference documents neither by themselves nor with their module."""
    missing = []
    for name in names:
        value = getattr(ns, name)
        module = value.__name__ if isinstance(value, ModuleType) else value.__module__
        package = ".".join(module.split(".")[:2])
        if not re.search(rf"automodule:: {package}\b|auto(class|function):: (nanostep\.)?{name}\b", text):
            missing.append(name)
    return missing


def test_the_reference_has_every_public_name():
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "reference").glob("*.rst"))
    names = [name for name in ns.__all__ if name != "__version__"]
    assert missing_from_reference(names, text) == []
    assert missing_from_reference(["Network", "Adam"], text.replace("Network", "")) == ["Network"]


def test_the_worked_example_has_its_output_checked():
    blocks = python_blocks((ROOT / "docs" / "worked-example.md").read_text(encoding="utf-8"))
    assert sum(expected is not None for _, _, expected in blocks) >= 5


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("```python\nprint(1)\n```\n\n```text\n2\n```\n", AssertionError),
        ("x\n```python\na = 1\n```\n```python\nprint(b)\n```\n", NameError),
    ],
)
def test_a_wrong_document_fails(text, error, tmp_path):
    document = tmp_path / "wrong.md"
    document.write_text(text, encoding="utf-8")
    with pytest.raises(error):
        run(document)
