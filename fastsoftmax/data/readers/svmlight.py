"""The svmlight format: a line a row, the label first, then index:value pairs of nonzero entries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastsoftmax.data.readers.table import Table, damage_reported, integer_labels

if TYPE_CHECKING:
    from pathlib import Path


def read(path: Path, target: str | None, labelled: bool, n_features: int | None) -> Table:
    """Return the table in an svmlight file, plain or compressed: its features as a sparse matrix."""
    from scipy import sparse
    from sklearn.datasets import load_svmlight_file

    if target is not None:
        raise ValueError(f"{str(path)!r}: the label stands first in each line: it takes no target column")
    with damage_reported(path, "svmlight"):
        X, y = load_svmlight_file(str(path), n_features=n_features)
    return Table(sparse.csr_array(X), integer_labels(y))
