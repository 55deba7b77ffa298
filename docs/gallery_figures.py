"""Figures that pyplot does not know, as `fastsoftmax.plot` makes them, for the gallery."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure
from sphinx_gallery.scrapers import figure_rst

_SHOWN = "_shown_in_gallery"


def scrape(block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """Save a script's figures that no window manages and that were not shown before; return their markup."""
    paths = []
    for thing in block_vars["example_globals"].values():
        if not isinstance(thing, Figure) or thing.canvas.manager or hasattr(thing, _SHOWN):
            continue
        path = block_vars["image_path_iterator"].next()
        thing.savefig(path, dpi=110)
        setattr(thing, _SHOWN, True)
        paths.append(path)
    return figure_rst(paths, gallery_conf["src_dir"])
