"""Write the measured figures into the pages: each page has them from one file, ``docs/figures/PAGE.json``.

    python tools/figures.py                      write what the files hold into the pages
    python tools/figures.py --check              change nothing; fail if a page shows anything else
    python tools/figures.py --measure PAGE ...   run the page's benchmark, make its file from that, write the page
    python tools/figures.py --from RAW PAGE      the same from the output of a benchmark that has already run

A file holds the date, the machine and the commit of the measurement, the command, and the figures by name. A page shows
a figure between ``<!--fig:NAME-->`` and ``<!--/fig-->``, which neither a code host nor Sphinx displays: a text within a
line, or a table, a list or a block of code on lines of its own. ``run`` (date, commit, machine) and ``command`` are
names too.

``pages/`` has a module for each page that makes the figures from the output of the page's benchmark.
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FIGURES = ROOT / "docs" / "figures"

MARKS = re.compile(r"<!--fig:([\w.-]+)-->(.*?)<!--/fig-->", re.DOTALL)
STARTS_A_LINE = re.compile(r"^(?:[ >*+-]|\d+\.)*<!--fig:([\w.-]+)-->(?!\n)", re.MULTILINE)
"""A comment at the start of a line makes the whole line HTML, in which no Markdown is read."""

Value = str | list[str] | dict[str, Any]
"""A text; the items of a list; or a table, as its head, the number of columns to be aligned left, and its rows."""


def path_of(page: str) -> Path:
    """Return where the page is: README in the root, the others in docs/."""
    return (ROOT if page == "README" else ROOT / "docs") / f"{page}.md"


def pages() -> list[str]:
    """Return the names of the pages that have figures."""
    return sorted(path.stem for path in FIGURES.glob("*.json"))


def read(page: str) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((FIGURES / f"{page}.json").read_text(encoding="utf-8"))
    return values


def show(value: Value) -> str:
    """Return a figure as Markdown."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(f"\n- {item}" for item in value) + "\n"
    head, left = value["head"], value["left"]
    rule = ["---" if i < left else "---:" for i in range(len(head))]
    return "".join(f"\n| {' | '.join(cells)} |" for cells in (head, rule, *value["rows"])) + "\n"


def shown(values: dict[str, Any]) -> dict[str, str]:
    """Return everything that a page may show, by name."""
    return {
        **{name: show(value) for name, value in values["figures"].items()},
        "run": f"{values['date']}, commit {values['commit']}, {values['machine']}",
        "command": f"\n```bash\n{values['command']}\n```\n",
    }


def render(text: str, values: dict[str, Any]) -> str:
    """Return the text of a page with the figures between its marks.

    Raises
    ------
    ValueError
        The page has a mark without a figure, or does not show a figure, the date, the machine or the commit; or a mark
        within a line starts it.
    """
    known = shown(values)
    used = [match[1] for match in MARKS.finditer(text)]
    problems = [f"no figure for the mark {name}" for name in used if name not in known]
    problems += [f"{name} is not shown" for name in known if name not in used and name != "command"]
    problems += [f"the mark {match[1]} starts a line" for match in STARTS_A_LINE.finditer(text)]
    if text.count("<!--fig:") != len(used) or text.count("<!--/fig-->") != len(used):
        problems.append("marks that open and marks that close are not in pairs")
    if problems:
        raise ValueError("; ".join(problems))
    return MARKS.sub(lambda match: f"<!--fig:{match[1]}-->{known[match[1]]}<!--/fig-->", text)


def commit() -> str:
    """Return the commit of the tree, with "-dirty" if anything but documents has been changed since."""
    git = ["git", "-C", str(ROOT)]
    name = subprocess.run(
        [*git, "rev-parse", "--short", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.strip()
    changed = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", ":!docs", ":!*.md"], check=False).returncode
    return f"{name}-dirty" if changed else name


def build(page: str, raw: Path) -> None:
    """Make the page's file of figures from the output of its benchmark."""
    builder = builder_of(page)
    made = builder.build(raw)
    command = f"{builder.COMMAND.format(raw='raw')} && python tools/figures.py --from raw {page}"
    values = {"date": made["date"], "machine": made["machine"], "commit": commit(), "command": command}
    (FIGURES / f"{page}.json").write_text(dump({**values, "figures": made["figures"]}), encoding="utf-8")


def dump(values: dict[str, Any]) -> str:
    """Return a file's text: JSON with a line for each text, item of a list and row of a table."""

    def text(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False)

    def lines(items: list[Any]) -> str:
        return "[\n" + ",\n".join(f"   {text(item)}" for item in items) + "\n  ]"

    figures = []
    for name, value in values["figures"].items():
        if isinstance(value, dict):
            shape = f'"head": {text(value["head"])}, "left": {value["left"]}'
            figures.append(f'  {text(name)}: {{{shape}, "rows": {lines(value["rows"])}}}')
        else:
            figures.append(f"  {text(name)}: {lines(value) if isinstance(value, list) else text(value)}")
    head = [f" {text(name)}: {text(value)}" for name, value in values.items() if name != "figures"]
    return "{\n" + ",\n".join([*head, ' "figures": {\n' + ",\n".join(figures) + "\n }"]) + "\n}\n"


def builder_of(page: str) -> Any:
    return importlib.import_module(f"pages.{page.lower().replace('-', '_')}")


def measure(page: str) -> None:
    """Run the page's benchmark and make its file of figures."""
    with tempfile.TemporaryDirectory() as directory:
        raw = Path(directory) / "raw"
        command = builder_of(page).COMMAND.format(raw=shlex.quote(str(raw)))
        print(f"{page}: {command}", flush=True)
        subprocess.run(["bash", "-euc", command], check=True, cwd=ROOT)
        build(page, raw)


def write(*, check: bool) -> list[str]:
    """Write the figures into all pages, or only compare; return the pages that showed something else."""
    different = []
    for page in pages():
        path = path_of(page)
        text = path.read_text(encoding="utf-8")
        try:
            new = render(text, read(page))
        except ValueError as error:
            raise SystemExit(f"{path.relative_to(ROOT)}: {error}") from None
        if new != text:
            different.append(page)
            if not check:
                path.write_text(new, encoding="utf-8")
    return different


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="change nothing; fail if a page shows anything else")
    parser.add_argument(
        "--measure", nargs="+", metavar="PAGE", default=[], help="run the benchmarks of these pages first"
    )
    parser.add_argument(
        "--from", nargs=2, metavar=("RAW", "PAGE"), dest="source", help="make PAGE's file from RAW first"
    )
    arguments = parser.parse_args()
    for page in arguments.measure:
        measure(page)
    if arguments.source:
        build(arguments.source[1], Path(arguments.source[0]).resolve())
    different = write(check=arguments.check)
    if arguments.check and different:
        sys.exit(f"not what docs/figures has: {', '.join(different)}; run python tools/figures.py")


if __name__ == "__main__":
    main()
