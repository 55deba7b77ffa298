"""The svmlight format: a line a row, the label first, then index:value pairs of nonzero entries."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.data.readers.table import Table, damage_reported, integer_labels, opened

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fastsoftmax.data.readers.request import Request


def read(path: Path, source: str, request: Request) -> Table:
    """Return the table in an svmlight file, plain or compressed: its features as a sparse matrix."""
    from scipy import sparse
    from sklearn.datasets import load_svmlight_file

    if request.target is not None:
        raise ValueError(f"{source!r}: the label stands first in each line: it takes no target column")
    with damage_reported(source, "svmlight"):
        X, y = load_svmlight_file(str(path), zero_based=True)
    base, notes = _base(X.indices, request)
    lowest = int(X.indices.min(initial=base))
    if lowest < base:
        line, _ = _first(path, lambda index: index < base)
        raise ValueError(
            f"{source!r}: line {line} has index {lowest}, but indices start at {base}{_whose(request)}; "
            f"--index-base {lowest} if this file's start at {lowest}"
        )
    width = request.width
    largest = int(X.indices.max(initial=base)) - base
    if width is not None and largest >= width:
        line, index = _first(path, lambda index: index - base >= width)
        raise ValueError(
            f"{source!r}: line {line} has index {index}, beyond the {width} features of the model, which are "
            f"{base} to {width - 1 + base}{_whose(request)}"
        )
    shape = X.shape[0], width or (largest + 1 if X.nnz else 0)
    X = sparse.csr_array((X.data, X.indices - X.indices.dtype.type(base), X.indptr), shape=shape)
    return Table(X, integer_labels(y), notes=notes, index_base=base)


def _base(indices: np.ndarray, request: Request) -> tuple[int, tuple[str, ...]]:
    """Return the first index, and what is to be said if it had to be guessed."""
    known = None if request.model is None else request.model.index_base
    if request.index_base is not None:
        other = known is not None and known != request.index_base
        note = f"indices start at {request.index_base}, as asked for; those of the model's data at {known}"
        return request.index_base, (note,) if other else ()
    if known is not None:
        return known, ()
    if indices.min(initial=1) == 0:
        return 0, ()
    return 1, ("indices are taken to start at 1, since none is 0; --index-base 0 if they start at 0",)


def _whose(request: Request) -> str:
    """Return who said where indices start."""
    if request.index_base is not None:
        return ", as asked for"
    known = request.model is not None and request.model.index_base is not None
    return ", as in the data that the model was fitted on" if known else ""


def _first(path: Path, is_wrong: Callable[[int], bool]) -> tuple[int, int]:
    """Return the first line with a wrong index, counted from 1, and the index."""
    with opened(path) as file:
        for number, line in enumerate(file, start=1):
            for pair in line.partition(b"#")[0].split()[1:]:
                name = pair.partition(b":")[0]
                if name.isdigit() and is_wrong(int(name)):
                    return number, int(name)
    return 0, 0  # not reached: the parser has seen the index
