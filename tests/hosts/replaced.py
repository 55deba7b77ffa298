"""A class under the name by which a package finds its own."""

from __future__ import annotations

import contextlib


@contextlib.contextmanager
def replaced(name, kind, *modules):
    """Let modules find `kind` under this name while the body runs; None leaves their own there."""
    own = [getattr(module, name) for module in modules]
    for module, found in zip(modules, own):
        setattr(module, name, found if kind is None else kind)
    try:
        yield
    finally:
        for module, found in zip(modules, own):
            setattr(module, name, found)
