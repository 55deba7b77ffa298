"""The table that every reader returns, and the checks and messages that readers share."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from typing import TypeAlias

    from scipy.sparse import csr_array

    from fastsoftmax.contracts import Array

    Features: TypeAlias = Array | csr_array


class Table(NamedTuple):
    """A data set as read; parts that the source does not have are None.

    Attributes
    ----------
    X, X_test : ndarray or scipy.sparse.csr_array (n, d)
        Numbers, in the dtype of the source.
    y, y_test : ndarray (n,) or (n, K)
        Labels: integers, booleans, floats or strings; a matrix is soft labels or 0/1 flags.
    feature_names, class_names : tuple of str
        `class_names[k]` names label k.
    notes : tuple of str
        What the reader did beyond reading, one sentence each.
    """

    X: Features
    y: Array | None
    X_test: Features | None = None
    y_test: Array | None = None
    feature_names: tuple[str, ...] | None = None
    class_names: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()


def check(source: str, part: str, X: Features, y: Array | None) -> None:
    """Raise ValueError, naming the file, for features or labels that no estimator accepts."""
    if X.ndim != 2:
        raise ValueError(f"{source!r}: the {part}features have {X.ndim} dimensions, not 2")
    if X.dtype.kind not in "biuf":
        raise ValueError(f"{source!r}: the {part}features are of dtype {X.dtype}, not numbers")
    if 0 in X.shape:
        raise ValueError(f"{source!r} is empty: {X.shape[0]} {part}rows of {X.shape[1]} features")
    if y is None:
        return
    if y.ndim not in (1, 2) or len(y) != X.shape[0]:
        raise ValueError(f"{source!r} has {X.shape[0]} {part}rows, but {part}labels of shape {y.shape}")
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise ValueError(f"{source!r}: the {part}labels hold NaN or infinity")


@contextlib.contextmanager
def damage_reported(path: Path, kind: str) -> Iterator[None]:
    """Turn a parser's exception about a damaged file into a ValueError of one line that names it."""
    try:
        yield
    except (PermissionError, ImportError, MemoryError):
        raise
    except Exception as error:  # parsers raise exceptions of any kind on damaged files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{str(path)!r} is damaged or no {kind} file: {reason}") from error


def integer_labels(labels: Array) -> Array:
    """Return a copy of labels; integer-valued floats become int64, as some formats hold only floats."""
    if labels.dtype.kind != "f" or not np.isfinite(labels).all() or (labels != np.rint(labels)).any():
        return np.array(labels)
    return labels.astype(np.int64)


def column_index(path: Path, names: Sequence[str], target: str | None, by_name: bool = True) -> int:
    """Return the index of the target column: by name first, then by index, the last by default."""
    if not names:
        raise ValueError(f"{str(path)!r} has no columns")
    if target is None:
        return len(names) - 1
    if by_name and target in names:
        return names.index(target)
    with contextlib.suppress(ValueError):  # not an index either: raised below
        at = int(target)
        if -len(names) <= at < len(names):
            return at % len(names)
    shown = listed(names, 8)
    known = f"it has {len(names)} columns: {shown}" if by_name else f"it has columns 0 to {len(names) - 1}"
    raise ValueError(f"{str(path)!r} has no column {target!r}; {known}")


def listed(names: Sequence[str], max_names: int) -> str:
    """Return the first names joined in one line: names in a file may hold line breaks."""
    shown = [" ".join(name.split()) for name in names[:max_names]]
    return ", ".join(shown + ["..."] * (len(names) > max_names))
