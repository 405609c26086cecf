"""Runs every Python block of the documents; its output must equal the ``text`` block right after it, if there is one.

Every block must name its language, and every link to a file must lead to one.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import re
from pathlib import Path
from types import ModuleType

import pytest

import nanostep as ns

ROOT = Path(__file__).parent.parent
MEASURED = re.compile(
    r"(?<![\w.,-])\d[\d,.]*(?:\s*(?:to|and|or|±)\s*\d[\d,.]*)?\s*"
    r"(?:(?:ns|us|µs|ms|s|seconds?|minutes?|hours?|\w+/s|GHz|%|times)\b|%|x\b(?!\s*\d))"
    r"|\b\w+ times as (?:fast|long|slow)\b"
    r"|^\|(?:.*\|)?(?: *[\d.,]+ *\|){3}.*$",
    re.MULTILINE,
)
"""Looks like a measured time, rate or ratio of speeds, or like a row of a table of them: three numbers side by side.

Memory, errors and numbers of steps in a sentence are not looked for.
"""

NOT_MEASURED = {
    "scaling": ["need 10 to 100 times fewer averages"],  # of the paper that is cited there
    "training": ["stays below 1 % of the run", "to Python only every 30 ms"],  # limits in the code
}
"""Phrases that only look like measured figures, for each page."""

LANGUAGES = {"bash", "c", "cmake", "python", "text"}
"""Languages of code blocks. Only Python is run here; test_embedding.py builds the C program of docs/embedding.md."""

BLOCK = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```[ ]*$(\s*)", re.MULTILINE | re.DOTALL)


NEEDS_OTHERS = {"pytorch-jax.md"}
"""Pages whose blocks need libraries that are not installed here; tests/interop runs them."""


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


@pytest.mark.parametrize(
    "document", [path for path in documents() if path.name not in NEEDS_OTHERS], ids=lambda path: path.name
)
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


@pytest.mark.parametrize(
    "document", [*documents(), ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"], ids=lambda path: path.name
)
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


# -- figures ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def figures() -> ModuleType:
    spec = importlib.util.spec_from_file_location("figures", ROOT / "tools" / "figures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def without_figures(text: str) -> str:
    """Return a page without its blocks of code, and without what stands between marks of figures."""
    text = re.sub(r"<!--fig:.*?<!--/fig-->", "", text, flags=re.DOTALL)
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def unmarked_figures(page: str, text: str) -> list[str]:
    """Return what looks like a measured figure and comes from no file, and phrases of the list that are not there."""
    text = without_figures(text)
    allowed = NOT_MEASURED.get(page, [])
    missing = [phrase for phrase in allowed if phrase not in text]
    for phrase in allowed:
        text = text.replace(phrase, "")
    return [match[0] for match in MEASURED.finditer(text)] + missing


@pytest.mark.parametrize("page", [path.stem for path in sorted((ROOT / "docs" / "figures").glob("*.json"))])
def test_pages_show_the_figures_of_their_files(figures, page):
    text, values = figures.path_of(page).read_text(encoding="utf-8"), figures.read(page)
    assert figures.render(text, values) == text
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", values["date"])
    assert re.fullmatch(r"[0-9a-f]{7,}", values["commit"]), "figures are those of a commit"
    assert values["machine"]
    path = ROOT / "docs" / "figures" / f"{page}.json"
    assert figures.dump(values) == path.read_text(encoding="utf-8")
    assert json.loads(figures.dump(values)) == values


@pytest.mark.parametrize("document", [ROOT / "ARCHITECTURE.md", *documents()], ids=lambda path: path.name)
def test_measured_figures_come_from_files(figures, document):
    text = document.read_text(encoding="utf-8")
    assert unmarked_figures(document.stem, text) == []
    assert ("<!--fig:" in text) == (document.stem in figures.pages())


def test_wrong_figures_are_noticed(figures):
    values = {**figures.read("sweeps"), "figures": {"a": "2 s", "b": ["x", "y"]}}
    page = "A <!--fig:a-->2 s<!--/fig--> b\n\n<!--fig:b-->\n- x\n- y\n<!--/fig-->\n\nrun: <!--fig:run--><!--/fig-->\n"
    good = figures.render(page, values)
    assert figures.render(good, values) == good != page
    assert figures.render(good.replace("2 s", "3 s").replace("- x\n", ""), values) == good
    for wrong, reason in (
        (good.replace("fig:a", "fig:c"), "no figure for the mark c"),
        (good.replace("A <!--", "<!--"), "the mark a starts a line"),
        (good.replace("A <!--", "- <!--"), "the mark a starts a line"),
        (good.replace("fig:run", "fig:a"), "run is not shown"),
        (good.replace("2 s<!--/fig-->", "2 s"), "not in pairs"),
    ):
        with pytest.raises(ValueError, match=reason):
            figures.render(wrong, values)


@pytest.mark.parametrize(
    "figure",
    ["48 ns", "0.1 to 0.4 us", "1.85 to 1.97 times", "12 ms", "153 GF/s", "9 million rows/s at 3 rows/s", "86 %", "86%",
     "2.5x", "2 x as much", "0.3 s", "3 seconds", "a hundred times as long", "\n| 2-2-1 | 61 | 145 | 1.8 |\n"],
)  # fmt: skip
def test_unmarked_figures_are_noticed(figure):
    assert unmarked_figures("page", f"It takes {figure}.\n")
    assert unmarked_figures("page", f"It takes <!--fig:x-->{figure}<!--/fig-->.\n```text\n{figure}\n```\n") == []
    assert unmarked_figures("training", f"It takes {figure}.\n")[-2:] == NOT_MEASURED["training"]


@pytest.mark.parametrize(
    "text", ["7 x 2 matrix", "3 steps", "some hundred times", "2-2-1", "AVX-512", "P1-f32", "v3.s"]
)
def test_other_numbers_are_not_taken_for_figures(text):
    assert unmarked_figures("page", text) == []


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


# -- ARCHITECTURE -----------------------------------------------------------------------------------------------------


def missing_paths(text: str, folder: Path = ROOT) -> list[str]:
    """Return the files and folders that a text names and that are not in `folder`, the package or the root."""
    named = re.findall(r"`([\w./-]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    for block in BLOCK.finditer(text):
        named += re.findall(r"[\w/.-]+", block[2])
    paths = [name for name in named if re.fullmatch(r"[\w./-]*\w(/|\.(py|c|h|inc|md))|csrc/[\w/.-]+", name)]
    folders = folder, ROOT, ROOT / "engine" / "nanostep", ROOT / "engine" / "nanostep" / "backends"
    return [path for path in paths if not any((place / path).exists() for place in folders)]


def test_architecture_is_one_page_of_files_that_are_there():
    path = ROOT / "ARCHITECTURE.md"
    text = path.read_text(encoding="utf-8")
    assert len(text.split()) <= 1200
    assert missing_paths(text) == []
    assert wrong_links(path) == []


@pytest.mark.parametrize(
    "path", sorted((ROOT / "engine" / "nanostep").glob("*/README.md")), ids=lambda path: path.parent.name
)
def test_readmes_beside_the_code_name_files_that_are_there(path):
    assert missing_paths(path.read_text(encoding="utf-8"), path.parent) == []
    assert wrong_links(path) == []


def test_missing_paths_are_noticed():
    text = (
        "`io/`, `io/no.py`, `Model`, `csrc/no/`, `no.py`, 1/2\n\n```\nnetwork.py  csrc/src/no.c  no/  reference/\n```\n"
    )
    assert missing_paths(text) == ["io/no.py", "csrc/no/", "no.py", "csrc/src/no.c", "no/"]


# -- files of the project ---------------------------------------------------------------------------------------------


def test_pre_commit_runs_what_ci_runs():
    hooks = re.findall(r"entry: (.*)", (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    style = re.search(
        r"^style_and_types\(\) \{\n(.*?)^\}", (ROOT / ".ci" / "run").read_text(), re.MULTILINE | re.DOTALL
    )[1]
    commands = [line.rpartition("xargs -0 ")[2].strip() for line in style.splitlines()]
    assert hooks == commands
    assert len(hooks) == 6


def test_the_citation_has_the_version():
    assert f"\nversion: {ns.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


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
