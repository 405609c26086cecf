"""Settings of the documentation: ``sphinx-build -W docs build/docs`` makes the pages (extra ``[docs]``)."""

from __future__ import annotations

from sphinx.application import Sphinx

from nanostep import __version__

project = "nanostep"
author = "nanostep maintainers"
copyright = author
version = release = __version__

extensions = ["myst_parser", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
smartquotes = False
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}

html_theme = "furo"
html_title = f"nanostep {version}"
html_copy_source = False

default_role = "py:obj"  # in docstrings: a link where the name is documented, code otherwise
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say types, with shapes
autodoc_mock_imports = ["jax", "torch"]  # for the signatures of the wrappers
numpydoc_show_class_members = False  # autodoc lists them

myst_heading_anchors = 3

REPOSITORY = "https://github.com/nanostep/nanostep/blob/main/"


def link_to_repository(app: Sphinx, name: str, source: list[str]) -> None:
    """Let links that leave docs/, which a code host follows, lead to the code host."""
    source[0] = source[0].replace("](../", f"]({REPOSITORY}")


def setup(app: Sphinx) -> None:
    app.connect("source-read", link_to_repository)
