"""Make the pictures of docs/quick-start.md by running its code: python tools/pictures.py."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from pathlib import Path

import matplotlib as mpl

DOCS = Path(__file__).resolve().parent.parent / "docs"


def main() -> None:
    """Run the Python blocks in a directory of their own, and put the .png files that they write into docs/pictures."""
    blocks = re.findall(r"^```python\n(.*?)^```", (DOCS / "quick-start.md").read_text(encoding="utf-8"), re.M | re.S)
    namespace: dict[str, object] = {}
    mpl.use("Agg")
    mpl.rcParams["savefig.dpi"] = 80
    with tempfile.TemporaryDirectory() as directory, contextlib.chdir(directory):
        for block in blocks:
            exec(block, namespace)
        for picture in Path(directory).glob("*.png"):
            shutil.copy(picture, DOCS / "pictures" / picture.name)
            print(f"docs/pictures/{picture.name}: {os.path.getsize(picture)} bytes")


if __name__ == "__main__":
    main()
