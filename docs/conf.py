"""How Sphinx builds the site: `python -m sphinx -W -b html docs docs/_site` (the extra `docs`).

Guides are the Markdown pages of this folder, whose code `docs/pages.py` runs. The reference is made from
docstrings, the page of benchmarks from the committed results, the gallery from scripts, which run with `-D
plot_gallery=1`.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import fastsoftmax  # noqa: E402
from docs import benchmarks_page  # noqa: E402

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "fastsoftmax"
author = "the fastsoftmax developers"
copyright = author  # noqa: A001 - Sphinx's name
version = release = fastsoftmax.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_site", "_generated", "gallery", "static", "auto_gallery/*.py", "**.ipynb"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

templates_path = ["_templates"]
autosummary_generate = True
autodoc_typehints = "none"  # numpydoc's sections say it in words
numpydoc_show_class_members = False  # the template lists them, with their docstrings
numpydoc_show_inherited_class_members = False
numpydoc_class_members_toctree = False
numpydoc_xref_param_type = False

# Scripts whose library is not installed are shown, and not run: the extra `docs` has neither.
NEEDS = {"plot_torch_head": "torch", "plot_boosting": "xgboost", "plot_workers": "distributed"}
LEFT_OUT = "|".join(name for name, library in NEEDS.items() if importlib.util.find_spec(library) is None)

sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "auto_gallery",
    "filename_pattern": rf"plot_(?!{LEFT_OUT.replace('plot_', '')})" if LEFT_OUT else "plot_",
    "download_all_examples": False,
    "min_reported_time": 10,
    "abort_on_example_error": True,
    "plot_gallery": "False",
    "image_scrapers": ("docs.gallery_figures.scrape", "matplotlib"),
    "remove_config_comments": True,
    "show_signature": False,
    "write_computation_times": False,
}

html_theme = "pydata_sphinx_theme"
html_title = "fastsoftmax"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_favicon = html_logo = "static/logo.svg"
html_context = {"default_mode": "auto"}
html_show_sourcelink = False
html_theme_options = {
    "logo": {"text": "fastsoftmax"},
    "navbar_end": ["theme-switcher"],
    "secondary_sidebar_items": {"**": ["page-toc"], "benchmarks": [], "index": []},
    "show_prev_next": True,
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "tango",
}
html_sidebars = {"index": [], "benchmarks": []}


def plain(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Keep |x|, an absolute value, and *.csv, a pattern of files, from being read as markup.

    What methods inherit from scikit-learn refers to pages of its own.
    """
    lines[:] = [re.sub(r":ref:`[^`<]*?(\w+)( <[^>]*>)?`", r"\1", line) for line in lines]
    lines[:] = [re.sub(r"\||\*(?=\.\w)", r"\\\g<0>", line) for line in lines]


def setup(app: Sphinx) -> None:
    """Write what is made of other files before pages are read."""
    app.connect("builder-inited", lambda app: benchmarks_page.write(HERE / "benchmarks.md"))
    app.connect("autodoc-process-docstring", plain)
